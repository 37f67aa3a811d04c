"""What a run leaves behind: the files of results/README.md, their columns, and the same bytes twice."""

import csv
import io
import json
import os
import re
import struct

from program import Case, OK, SOURCE, main

ALWAYS = {"run.json", "samples.csv", "failures.csv", "frames.bin"}
NATIVE = {"latency.csv", "slow.csv", "timing.json"}
PROBED = {"events.csv"}
DETERMINISTIC = ("samples.csv", "failures.csv", "events.csv", "frames.bin")

NUMBER = (int, float)
RUN = {
    "schema": int,
    "config": {"experiment": str, "run": str, "trace": str, "trace_sha256": str, "frames": str,
               "tables": str, "options": dict, "machine": str, "machine_known": bool, "arch": str,
               "ram_bytes": int, "usable_frames": int, "direct_leaf_bytes": int, "cpus": int,
               "seed": int, "start": str, "place": str, "pass": str, "sample_events": int,
               "command": str},
    "result": {"digest": str, "events": int, "operations": int, "failures": int, "skipped": int,
               "deferred_frees": int, "prologue": int, "prologue_frames": int, "displaced": int,
               "untouched_frames": int, "violations": int, "violation_list": list,
               "passes": {"native": {"digest": str}, "probed": {"digest": str, "counters": dict}},
               "boot": {"state_bytes": int, "table_frames": int, "managed_frames": int,
                        "loads": int, "stores": int},
               "metrics": dict},
    "host": {"program": str, "compiler": str, "flags": str, "cpu": str, "timer_cost_ns": NUMBER,
             "slow_threshold_ns": int, "sample_rate": NUMBER, "host_minor_faults": int,
             "native_seconds": NUMBER, "probed_seconds": NUMBER},
}


class Files(Case):
    def replay(self, name, *options, frames="buddy", **shape):
        trace = self.trace(**shape)
        self.assert_exit(OK, "replay", trace, "--frames", frames, "-o", self.path(name), *options)
        return set(os.listdir(self.path(name)))

    def rows(self, *parts):
        return list(csv.DictReader(io.StringIO(self.read(*parts).decode())))

    def header(self, *parts):
        return self.read(*parts).decode().split("\n", 1)[0].split(",")

    def test_a_run_leaves_the_files_of_the_schema(self):
        self.assertEqual(self.replay("both"), ALWAYS | NATIVE | PROBED)
        self.assertLessEqual(ALWAYS | NATIVE, self.replay("native", "--pass", "native"))
        self.assertLessEqual(ALWAYS | PROBED, self.replay("probed", "--pass", "probed"))
        with open(os.path.join(SOURCE, "results", "README.md"), encoding="utf-8") as file:
            text = file.read()
        for name in ALWAYS | NATIVE | PROBED:
            self.assertIn(f"            {name} ", text)

    def test_run_json_has_the_keys_of_the_schema(self):
        self.replay("run", "--set", "machine.leaf=4K", "--name", "try/one")
        done = json.loads(self.read("run", "run.json"))
        self.assert_shape(done, RUN)
        config, result = done["config"], done["result"]
        self.assertEqual(done["schema"], 1)
        self.assertEqual((config["experiment"], config["run"]), ("try", "one"))
        self.assertEqual(config["trace"], "small")
        self.assertRegex(config["trace_sha256"], "^[0-9a-f]{64}$")
        self.assertEqual(config["options"], {"machine.leaf": "4K"})
        self.assertEqual(config["direct_leaf_bytes"], 4096)
        self.assertEqual(config["ram_bytes"], 4096 * config["usable_frames"])
        self.assertIsNone(config["until"])
        self.assertNotIn(self.path("run"), config["command"])
        self.assertTrue(config["command"].startswith("kmemlab replay "))
        self.assertGreater(result["boot"]["table_frames"], 2)
        self.assertGreater(result["boot"]["state_bytes"], 0)
        self.assertLess(result["boot"]["managed_frames"], config["usable_frames"])
        self.assertNotIn("seconds", result["passes"]["native"])

    def test_the_command_of_a_run_does_it_again(self):
        self.replay("one", "--set", "machine.leaf=4K", "--ram", "6M", "--start", "shuffled",
                    "--seed", "7")
        command = json.loads(self.read("one", "run.json"))["config"]["command"].split()
        self.assert_exit(OK, *command[1:], "-o", self.path("two"))
        for name in DETERMINISTIC:
            self.assertEqual(self.read("one", name), self.read("two", name), name)

    def without_host(self, name):
        done = json.loads(self.read(name, "run.json"))
        del done["host"]
        return done

    def test_deterministic_files_are_the_same_bytes_twice(self):
        for frames in (one["name"] for one in self.json("list", "frames", "--json")):
            with self.subTest(frames=frames):
                for name in ("one", "two"):
                    # The forms in which a folder can be given.
                    trace = self.trace(events=700)
                    where = (("-o", self.path(name)) if name == "one"
                             else ("--output=" + self.path(name),))
                    self.assert_exit(OK, "replay", trace, "--frames", frames, "--ram", "3M",
                                     "--force", *where)
                for name in DETERMINISTIC:
                    self.assertEqual(self.read("one", name), self.read("two", name), name)
                self.assertEqual(self.without_host("one"), self.without_host("two"))

    def test_samples_have_a_column_a_metric(self):
        self.replay("run", "--sample-events", "50")
        metrics = [one["name"] for one in self.json("list", "metrics", "--json")]
        self.assertEqual(self.header("run", "samples.csv"), ["event", "time_ns", *metrics])
        rows = self.rows("run", "samples.csv")
        self.assertEqual([int(row["event"]) for row in rows], list(range(0, 401, 50)))
        last = json.loads(self.read("run", "run.json"))["result"]["metrics"]
        for metric in metrics:
            self.assertAlmostEqual(float(rows[-1][metric]), last[metric], places=5)
            for row in rows:
                self.assertRegex(row[metric], r"^-?\d+(\.\d{6})?$")
        for row in rows:
            whole = sum(int(row[f"{kind}_frames"]) for kind in ("free", "live", "reserved"))
            self.assertEqual(whole, int(rows[0]["free_frames"]) + int(rows[0]["live_frames"]) +
                             int(rows[0]["reserved_frames"]))

    def test_without_a_wish_about_500_samples_are_taken(self):
        self.replay("run", events=3000)
        self.assertIn(len(self.rows("run", "samples.csv")), range(400, 700))

    def test_samples_by_time_come_too(self):
        self.replay("run", "--sample-events", "100000", "--sample-ns", "100000")
        times = [int(row["time_ns"]) for row in self.rows("run", "samples.csv")]
        self.assertIn(len(times), (4, 5, 6))
        self.assertEqual(times, sorted(times))

    def test_failures_are_listed_with_the_state_at_that_moment(self):
        self.replay("run", "--ram", "400K")
        rows = self.rows("run", "failures.csv")
        self.assertEqual(self.header("run", "failures.csv"),
                         ["event", "time_ns", "frames", "align_frames", "zone", "mobility", "cpu",
                          "task", "free_frames", "largest_free_order"])
        self.assertEqual(len(rows),
                         json.loads(self.read("run", "run.json"))["result"]["failures"])
        self.assertTrue(rows)
        for row in rows:
            frames, order = int(row["frames"]), int(row["largest_free_order"])
            self.assertLess(1 << order if order >= 0 else 0, frames)
            self.assertIn(int(row["task"]), (100, 101))

    def test_machine_events_add_up_to_the_counters(self):
        self.replay("run")
        rows = self.rows("run", "events.csv")
        result = json.loads(self.read("run", "run.json"))["result"]
        self.assertEqual(self.header("run", "events.csv"),
                         ["operation", "order", "operations", "loads", "stores", "atomics",
                          "cache_lines", "tlb_lookups", "tlb_misses", "walk_reads", "faults",
                          "most_accesses"])
        self.assertEqual((rows[0]["operation"], rows[0]["order"]), ("boot", ""))
        for key, value in result["passes"]["probed"]["counters"].items():
            self.assertEqual(sum(int(row[key]) for row in rows[1:]), value, key)
        self.assertEqual(int(rows[0]["loads"]), result["boot"]["loads"])
        self.assertEqual(sum(int(row["operations"]) for row in rows[1:]), result["operations"])
        for row in rows[1:]:
            accesses = sum(int(row[key]) for key in ("loads", "stores", "atomics"))
            operations, most = int(row["operations"]), int(row["most_accesses"])
            self.assertTrue(accesses / operations <= most <= accesses, row)
            self.assertTrue(most < accesses or operations == 1, row)
        self.assertGreater(len({int(row["most_accesses"]) for row in rows}), 2)

    def test_latencies_count_every_operation(self):
        self.replay("run")
        rows = self.rows("run", "latency.csv")
        self.assertEqual(self.header("run", "latency.csv"),
                         ["operation", "order", "cpu", "low_ns", "high_ns", "count"])
        result = json.loads(self.read("run", "run.json"))["result"]
        self.assertEqual(sum(int(row["count"]) for row in rows), result["operations"])
        for row in rows:
            low, high = int(row["low_ns"]), int(row["high_ns"])
            self.assertLess(low, high)
            self.assertLessEqual(high - low, max(1, low / 100))
        self.assertEqual({row["cpu"] for row in rows}, {"0", "1"})
        timing = json.loads(self.read("run", "timing.json"))
        self.assert_shape(timing, {"latency": dict, "operations_per_second": NUMBER,
                                   "native_seconds": NUMBER, "probed_seconds": NUMBER})
        by_key = {}
        for row in rows:
            key = f"{row['operation']}/{row['order']}"
            by_key[key] = by_key.get(key, 0) + int(row["count"])
        self.assertEqual(by_key, {key: one["count"] for key, one in timing["latency"].items()})
        for row in self.rows("run", "slow.csv"):
            self.assertGreaterEqual(int(row["latency_ns"]), 10000)

    def test_the_frame_map_is_as_long_as_its_header_says(self):
        self.replay("run")
        content = self.read("run", "frames.bin")
        magic, version, cells, frames, ram, count = struct.unpack_from("<8sIIQQQ", content)
        self.assertEqual((magic, version), (b"KMFRAMES", 1))
        self.assertEqual(frames & (frames - 1), 0)
        self.assertEqual(ram, 8 << 20 >> 12)
        self.assertGreaterEqual(cells * frames, ram)
        self.assertLess((cells - 1) * frames, ram)
        self.assertEqual(len(content), 40 + count * (16 + 2 * cells))
        self.assertGreater(count, 100)
        events = [struct.unpack_from("<Q", content, 40 + i * (16 + 2 * cells))[0]
                  for i in range(count)]
        self.assertEqual(events, sorted(events))
        self.assertEqual((events[0], events[-1]), (0, 400))
        first = content[56:56 + 2 * cells]
        self.assertTrue(all(share <= 250 or share == 255 for share in first))
        # The hole from 0xa0000 to 1 MiB holds whole cells without RAM.
        hole = 0xc0 // frames
        self.assertEqual((first[hole], first[cells + hole]), (255, 255))
        self.assertTrue(re.search(rb"[\x01-\xfa]", first[cells:]), "nothing is reserved")


if __name__ == "__main__":
    main()
