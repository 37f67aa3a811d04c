"""Figures of address spaces: series, samples and totals say the same."""

import csv

from program import OK, Case, main

KINDS = ("spurious", "zero", "zero-table", "fresh", "from-zero", "copy", "reuse", "bad",
         "no-memory")
LARGEST = 8
POINTS = 100


class Figures(Case):
    def replay(self, *more):
        trace = self.path("storm.kmt")
        self.assert_exit(OK, "generate", "fork-storm", "forks=60", "live=12", "--seed", "3",
                         "-o", trace)
        return self.json("replay", trace, "--frames", "buddy", "--tables", "direct", "--space",
                         "process", "--pass", "native", "--json", "-o", self.path("run"), *more)

    def samples(self):
        with open(self.path("run", "samples.csv"), encoding="utf-8") as file:
            return {int(row["event"]): row for row in csv.DictReader(file)}

    def test_series_are_the_samples_and_end_at_the_totals(self):
        done = self.replay()
        spaces, series = done["spaces"], done["spaces"]["over_time"]
        self.assertTrue(POINTS / 2 <= len(series["event"]) <= POINTS)
        columns = [series[key] for key in series if key != "faults"]
        columns += [series["faults"][kind] for kind in KINDS]
        self.assertEqual({len(column) for column in columns}, {len(series["event"])})
        samples = self.samples()
        for point, event in enumerate(series["event"]):
            row = samples[event]
            for key in ("time_ns", "processes", "mapped_pages", "user_frames",
                        "page_table_frames", "shootdowns"):
                self.assertEqual(int(row[key]), series[key][point], key)
            self.assertEqual(int(row["copied_pages"]), series["copies"][point])
            self.assertEqual(int(row["page_faults"]),
                             sum(series["faults"][kind][point] for kind in KINDS))
        for kind in KINDS:
            self.assertEqual(series["faults"][kind], sorted(series["faults"][kind]))
            self.assertLessEqual(series["faults"][kind][-1], spaces["faults"][kind])
        self.assertGreater(max(series["copies"]), 0)
        self.assertLessEqual(max(series["user_frames"]), spaces["user_frames_peak"])
        self.assertLessEqual(max(series["page_table_frames"]), spaces["tables"]["frames_peak"])
        last = samples[max(samples)]
        self.assertEqual(int(last["page_faults"]), sum(spaces["faults"].values()))
        self.assertEqual(int(last["copied_pages"]), spaces["copies"])

    def test_the_largest_processes_are_part_of_the_whole(self):
        done = self.replay()
        series = done["spaces"]["over_time"]
        largest = done["spaces"]["largest_processes"]
        self.assertEqual([one["event"] for one in largest], series["event"])
        crowded = 0
        for point, one in enumerate(largest):
            processes = series["processes"][point]
            self.assertEqual(len(one["process"]), min(processes, LARGEST))
            self.assertEqual(len(set(one["process"])), len(one["process"]))
            self.assertEqual(one["pages"], sorted(one["pages"], reverse=True))
            if processes <= LARGEST:
                self.assertEqual(sum(one["pages"]), series["mapped_pages"][point])
                self.assertEqual(sum(one["table_frames"]) + 1,  # the kernel's zero table
                                 series["page_table_frames"][point])
            else:
                crowded += 1
                self.assertLessEqual(sum(one["pages"]), series["mapped_pages"][point])
        self.assertGreater(crowded, 0)

    def test_fault_latencies_are_those_of_the_faults(self):
        done = self.replay()
        for kind, count in done["spaces"]["faults"].items():
            row = done["latency"].get(f"fault_{kind}/0")
            self.assertEqual(row["count"] if row else 0, count, kind)
        with open(self.path("run", "latency.csv"), encoding="utf-8") as file:
            copies = sum(int(row["count"]) for row in csv.DictReader(file)
                         if row["operation"] == "fault_copy")
        self.assertEqual(copies, done["spaces"]["faults"]["copy"])

    def test_reach_grows_with_what_an_entry_may_hold(self):
        contiguity = self.replay()["spaces"]["contiguity"]
        reach = [contiguity["tlb_reach"][size] for size in ("4k", "64k", "2m", "1g")]
        for smaller, larger in zip(reach, reach[1:]):
            self.assertLessEqual(smaller["reach_bytes"], larger["reach_bytes"])
            self.assertGreaterEqual(smaller["entries_for_all"], larger["entries_for_all"])
        self.assertEqual(reach[0]["entries_for_all"], contiguity["pages"])
        self.assertEqual(reach[0]["reach_bytes"],
                         4096 * min(contiguity["pages"], contiguity["tlb_reach"]["entries"]))


if __name__ == "__main__":
    main()
