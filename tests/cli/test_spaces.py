"""Figures of address spaces: series, samples and totals say the same."""

import csv
import os
import subprocess

from program import OK, SOURCE, Case, main, run

KINDS = ("spurious", "zero", "zero-table", "fresh", "large", "from-zero", "copy", "reuse", "bad",
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


class Fault:
    """Copy-on-write by the book: frames by page of each process, users by frame."""

    def __init__(self):
        self.count = {"fresh": 0, "copy": 0, "reuse": 0}
        self.spaces, self.users, self.frames = {}, {}, 0

    def drop(self, space, pages):
        for page in pages:
            self.users[space.pop(page)[0]] -= 1

    def take(self, space, page):
        self.frames += 1
        self.users[self.frames] = 1
        space[page] = (self.frames, True)

    def touch(self, space, page, write):
        if page not in space:
            self.count["fresh"] += 1
            self.take(space, page)
            return
        frame, writable = space[page]
        if not write or writable:
            return
        if self.users[frame] > 1:
            self.count["copy"] += 1
            self.users[frame] -= 1
            self.take(space, page)
        else:
            self.count["reuse"] += 1
            space[page] = (frame, True)

    def event(self, kind, field):
        space = self.spaces.setdefault(field["task"], {})
        if kind == "fork":
            for page, (frame, _) in space.items():
                space[page] = (frame, False)
                self.users[frame] += 1
            self.spaces[field["child"]] = dict(space)
        elif kind in ("exec", "exit"):
            self.drop(space, list(space))
        elif kind == "mmap":
            first, size = int(field["address"], 0) >> 12, int(field["bytes"])
            last = (int(field["address"], 0) + size - 1) >> 12
            self.drop(space, [page for page in space if first <= page <= last])
        else:
            address = int(field["address"], 0)
            for page in range(address >> 12, (address + int(field["bytes"]) - 1 >> 12) + 1):
                self.touch(space, page, "w" in field["access"])


class Recorded(Case):
    """Recordings' own touches, through demand paging."""

    REDIS = os.path.join(SOURCE, "workloads", "recorded", "redis-page.kmt")
    LACKEY = os.path.join(SOURCE, "tests", "data", "import", "lackey.txt.zst")

    def replay(self, trace, tables, *more):
        return self.json("replay", trace, "--frames", "buddy", "--tables", tables, "--pass",
                         "native", "--machine", "pc-1g", "--json", *more)

    def test_faults_of_a_recording_are_those_of_copy_on_write_by_the_book(self):
        book = Fault()
        dump = run("info", self.REDIS, "--dump", stdout=subprocess.PIPE)
        self.assertEqual(dump.returncode, OK, dump.stderr)
        for line in dump.stdout.splitlines():
            words = line.split()
            if words[0] == "event" and words[2] in ("mmap", "touch", "fork", "exec", "exit"):
                book.event(words[2], dict(word.split("=", 1) for word in words[3:]))
        done = self.replay(self.REDIS, "direct", "--space", "cow")
        for kind, count in book.count.items():
            self.assertGreater(count, 0, kind)
            self.assertEqual(done["spaces"]["faults"][kind], count, kind)
        self.assertEqual(done["spaces"]["copies"], book.count["copy"])
        self.assertEqual((done["spaces"]["killed"], done["violations"]), (0, 0))

    def test_contents_are_the_same_however_pages_are_mapped(self):
        done = [self.replay(self.REDIS, tables, "--space", space, *more) for tables, space, *more in (
            ("direct", "process"), ("pool", "regions"),
            ("recursive", "process", "--set", "space.large-pages=always"))]
        info = self.json("info", self.REDIS, "--json")
        for one in done:
            self.assertEqual(one["spaces"]["touches"], info["events"]["touch"])
            self.assertEqual((one["spaces"]["killed"], one["spaces"]["unserved"],
                              one["violations"]), (0, 0, 0))
        self.assertEqual(len({one["spaces"]["contents"] for one in done}), 1)
        self.assertGreater(done[2]["spaces"]["faults"]["large"], 0)
        reach = [one["spaces"]["contiguity"]["tlb_reach"]["2m"]["reach_bytes"] for one in done]
        self.assertGreater(reach[2], reach[0])

    def test_every_reference_of_lackey_goes_through_the_tlb(self):
        trace = self.path("lackey.kmt")
        self.assert_exit(OK, "import", self.LACKEY, "--format", "lackey", "-o", trace)
        touches = self.json("info", trace, "--json")["events"]["touch"]
        done = self.replay(trace, "direct", "--space", "process")
        mmu = done["passes"]["native"]["mmu"]
        self.assertEqual(done["spaces"]["touches"], touches)
        self.assertEqual(done["spaces"]["killed"], 0)
        self.assertGreaterEqual(mmu["lookups"], touches)
        self.assertGreater(mmu["walks"], 0)
        self.assertEqual(mmu["l1_misses"], mmu["l2_hits"] + mmu["walks"] - mmu["dirty_walks"])


if __name__ == "__main__":
    main()
