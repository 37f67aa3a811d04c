"""The contract of --json: keys and types, as the guide states them."""

import re

from program import OK, Case, main, run

LISTS = ("frames", "heaps", "tables", "spaces", "machines", "workloads", "starts", "metrics")

EVENTS = ("frame_alloc", "frame_free", "frame_alloc_failed", "heap_alloc", "heap_free", "touch",
          "marker")
LATENCY = {"count": int, "p50_ns": (int, float), "p90_ns": (int, float), "p99_ns": (int, float),
           "p999_ns": (int, float), "p9999_ns": (int, float), "max_ns": (int, float)}
COUNTERS = {"loads": int, "stores": int, "cache_lines": int, "tlb_lookups": int,
            "tlb_misses": int, "walk_reads": int, "faults": int}


def digest(value):
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{16}", value)


def operation(key):
    return re.fullmatch(r"frame_(alloc|free)/([0-9]|[12][0-9]|3[01])", key)


class Distances(Case):
    BUDDYINFO = "Node 0, zone   DMA32      4      2      1      0      0      0      0      0      0      0      1\n"

    def test_states_are_fixtures_runs_and_buddyinfo(self):
        self.assert_exit(0, "replay", self.trace(), "--frames", "buddy", "-o", self.path("run"),
                         "--start", "checkerboard", "--seed", "3")
        text = self.write("buddyinfo", self.BUDDYINFO)
        for states in (("half-random", "aged-desktop"), (self.path("run"), self.path("run@start")),
                       (self.path("run@100"), text), (text, "empty")):
            with self.subTest(states=states):
                done = self.json("distance", *states, "--ram", "64M", "--json")
                self.assert_shape(done, {"distance": lambda it: 0 <= it <= 1, "states": [
                    {"state": str, "free_blocks": [int]}]})
                self.assertEqual([len(one["free_blocks"]) for one in done["states"]], [11, 11])
        self.assertEqual(done["states"][0]["free_blocks"], [4, 2, 1] + [0] * 7 + [1])
        same = self.json("distance", "half-random", "half-random", "--seed", "9", "--json")
        self.assertEqual(same["distance"], 0)
        self.assertRegex(same["states"][0]["hash"], "^[0-9a-f]{16}$")
        start = self.json("distance", self.path("run@start"), "checkerboard", "--json")
        self.assertGreater(start["states"][0]["free_blocks"][0], 500)

    def test_what_is_no_state_is_refused(self):
        self.assert_complains(3, "missing", "distance", "missing", "empty")
        self.assert_complains(3, "is neither", "distance", self.write("odd", "x\n"), "empty")
        self.assert_complains(3, "samples.csv", "distance", self.folder, "empty")
        self.assert_complains(2, "takes STATE STATE", "distance", "empty")
        self.assert_complains(2, "no size", "distance", "empty", "empty", "--ram", "x")

    def test_a_run_says_where_it_started(self):
        done = self.json("replay", self.trace(), "--frames", "bitmap", "--start", "one-per-2M",
                         "--json")
        self.assert_shape(done["start_state"], {"target_hash": digest, "reached_hash": digest,
                                                "missing_frames": int, "extra_frames": int,
                                                "distance": (int, float)})
        self.assertNotIn("start_state", self.json("replay", self.trace(), "--frames", "bitmap",
                                                  "--json"))
        self.assert_complains(2, "neither frees nor takes", "replay", self.trace(), "--frames",
                              "null", "--start", "half-random")
        self.assert_complains(2, "nor a fixture", "replay", self.trace(), "--frames", "buddy",
                              "--start", "frobnicate")


class Boots(Case):
    SIZES = ("--ram", "16M", "--ram", "64M")

    def boot(self, *names):
        frames = [word for name in names for word in ("--frames", name)]
        done = self.json("boot", *frames, *self.SIZES, "--json")
        self.assert_shape(done, [{"frames": str, "ram_bytes": int, "managed_frames": int,
                                  "state_bytes": int, "table_frames": int, "loads": int,
                                  "stores": int, "atomics": int, "touched_frames": int,
                                  "boot_ns": int}])
        return {(row["frames"], row["ram_bytes"] >> 20): row for row in done}

    def test_what_starting_costs_is_counted(self):
        rows = self.boot("null", "stack", "stack-lazy", "bitmap")
        for name in ("null", "stack-lazy"):
            for size in (16, 64):
                self.assertLess(rows[name, size]["touched_frames"], 12)
        for size in (16, 64):
            row = rows["stack", size]
            # Every free frame, the state, the tables and the loader's memory map.
            self.assertGreaterEqual(row["touched_frames"], row["managed_frames"])
            self.assertLess(row["touched_frames"],
                            row["managed_frames"] + row["table_frames"] + 12)
            self.assertGreaterEqual(row["stores"], row["managed_frames"])
        self.assertGreater(rows["bitmap", 64]["state_bytes"], rows["bitmap", 16]["state_bytes"])
        again = self.boot("stack", "bitmap")
        for key, row in again.items():
            self.assertEqual({**row, "boot_ns": 0}, {**rows[key], "boot_ns": 0})

    def test_a_table_for_the_plots_and_refusals(self):
        self.assert_exit(0, "boot", "-f", "stack", *self.SIZES, "--host-memory", "16M", "-o",
                         self.path("boot.csv"))
        lines = self.read("boot.csv").decode().splitlines()
        self.assertTrue(lines[0].startswith("frames,ram_bytes,managed_frames,"))
        self.assertEqual([line.split(",")[-1] for line in lines[1:]], ["0", "1"])
        self.assertIn("refused: writes every free frame", self.assert_exit(
            0, "boot", "-f", "stack", "--ram", "64M", "--host-memory", "1M").stdout)
        self.assert_complains(2, "no size", "boot", "--ram", "x")
        self.assert_complains(2, "no size", "boot", "--ram", "1K")
        self.assert_complains(2, "unknown page-frame allocator", "boot", "--frames", "frobnicate")


class Lists(Case):
    def test_a_list_is_an_array_of_names_ids_summaries_and_capabilities(self):
        for kind in LISTS:
            with self.subTest(kind=kind):
                done = self.json("list", kind, "--json")
                self.assert_shape(done, [{"name": str, "id": str, "summary": str,
                                          "capabilities": [str]}])
                names = [one["name"] for one in done]
                self.assertEqual(len(names), len(set(names)))
                self.assertTrue(all(one["name"] and one["id"] and one["summary"] for one in done))

    def test_frames_are_rows_of_the_systems_table_and_null_comes_first(self):
        done = self.json("list", "frames", "--json")
        self.assertEqual((done[0]["name"], done[0]["id"]), ("null", "-"))
        for one in done[1:]:
            self.assertRegex(one["id"], r"^F([1-9]|1[01])$")
        self.assertLessEqual({"null", "bitmap", "stack", "buddy"}, {one["name"] for one in done})

    def test_all_lists_at_once_are_an_object_of_them(self):
        done = self.json("list", "--json")
        self.assertEqual(tuple(done), LISTS)
        for kind in LISTS:
            self.assertEqual(done[kind], self.json("list", kind, "--json"))


class Info(Case):
    def test_info_counts_what_the_text_held(self):
        trace = self.trace(events=500)
        text = self.read("small.kmt.txt").decode()
        done = self.json("info", trace, "--json")
        self.assert_shape(done, {
            "events": {kind: int for kind in EVENTS}, "source_events": dict, "prologue": int,
            "prologue_frames": int, "compaction_allocs": int, "untraced_allocs": int,
            "implied_frees": int, "cpus": int, "span_ns": int, "bytes": int, "machine": str})
        self.assertEqual(done["source_events"], {"mm_page_alloc": text.count("mm_page_alloc:"),
                                                 "mm_page_free": text.count("mm_page_free:")})
        self.assertEqual(done["events"]["frame_alloc"], text.count("mm_page_alloc:"))
        self.assertEqual(done["events"]["frame_free"], text.count("mm_page_free:"))
        self.assertEqual(done["machine"], "recorded")
        self.assertEqual(done["cpus"], 2)
        self.assertEqual(done["bytes"], len(self.read("small.kmt")))
        self.assertGreater(done["prologue"], 0)

    def test_without_a_memory_map_the_machine_is_guessed(self):
        done = self.json("info", self.trace(memmap=None), "--json")
        self.assertEqual(done["machine"], "guessed")
        # Usable RAM up to the highest frame seen, rounded up to 32 MiB.
        self.assertEqual(done["usable_frames"] * 4096 % (32 << 20), 0)


class Replay(Case):
    def replay(self, *options, frames="buddy", **shape):
        return self.json("replay", self.trace(**shape), "--frames", frames, "--json", *options)

    def test_a_result_has_the_shape_of_the_contract(self):
        for name in (one["name"] for one in self.json("list", "frames", "--json")):
            with self.subTest(frames=name):
                done = self.replay(frames=name)
                self.assert_shape(done, {
                    "allocator": str, "events": int, "failures": int, "skipped": int,
                    "deferred_frees": int, "violations": int, "violation_list": list,
                    "digest": digest,
                    "passes": {"native": {"digest": digest, "seconds": (int, float)},
                               "probed": {"digest": digest, "seconds": (int, float),
                                          "counters": COUNTERS}},
                    "metrics": dict, "latency": dict})
                self.assertEqual(done["allocator"], name)
                self.assertEqual(done["violation_list"], [])
                for pass_name in ("native", "probed"):
                    self.assertEqual(done["passes"][pass_name]["digest"], done["digest"])
                for key, value in done["latency"].items():
                    self.assertTrue(operation(key), key)
                    self.assert_shape(value, LATENCY)
                    self.assertGreater(value["count"], 0)
                self.assertIn("frame_alloc/0", done["latency"])

    def test_metrics_are_those_that_are_listed(self):
        names = [one["name"] for one in self.json("list", "metrics", "--json")]
        done = self.replay()
        self.assertEqual(list(done["metrics"]), names)
        self.assert_shape(list(done["metrics"].values()), [(int, float)])
        for key in ("unusable_o9", "free_huge_percent"):
            self.assertIn(key, names)

    def test_counts_add_up(self):
        trace = self.trace(events=600)
        told = self.json("info", trace, "--json")
        done = self.json("replay", trace, "--frames", "buddy", "--json")
        self.assertEqual(done["events"], told["total_events"])
        self.assertEqual(done["prologue"], told["prologue"])
        calls = sum(one["count"] for one in done["latency"].values())
        self.assertEqual(calls, told["events"]["frame_alloc"] + told["events"]["frame_free"])
        allocs = sum(one["count"] for key, one in done["latency"].items() if "alloc" in key)
        self.assertEqual(allocs, told["events"]["frame_alloc"])

    def test_failures_are_counted_and_exit_0(self):
        done = self.replay("--ram", "256K")
        self.assertGreater(done["failures"], 0)
        self.assertGreater(done["skipped"], 0)
        self.assertEqual(done["metrics"]["failures"], done["failures"])

    def test_one_pass_leaves_the_other_out(self):
        native, probed = self.replay("--pass", "native"), self.replay("--pass", "probed")
        self.assertEqual(list(native["passes"]), ["native"])
        self.assertEqual(list(probed["passes"]), ["probed"])
        self.assertEqual(native["digest"], probed["digest"])
        self.assertEqual(native["metrics"], probed["metrics"])
        self.assertEqual(probed["latency"], {})

    def test_a_label_says_what_was_set(self):
        done = self.replay("--set", "frames.policy=best-fit", frames="bitmap")
        self.assertEqual(done["allocator"], "bitmap:policy=best-fit")

    def test_the_digest_knows_trace_and_allocator_and_placement(self):
        digests = {self.replay(frames=name)["digest"] for name in ("bitmap", "buddy")}
        digests.add(self.replay("--set", "frames.policy=next-fit", frames="bitmap")["digest"])
        digests.add(self.replay(seed=2)["digest"])
        digests.add(self.replay("--until", "100")["digest"])
        self.assertEqual(len(digests), 5)
        self.assertEqual(self.replay()["digest"], self.replay("--cpus", "1")["digest"])

    def test_until_replays_up_to_an_event_and_includes_it(self):
        for until in (0, 7, 399, 400, 100000):
            with self.subTest(until=until):
                self.assertEqual(self.replay("--until", until)["events"], min(until + 1, 400))

    def test_quiet_prints_nothing(self):
        done = run("replay", self.trace(), "--frames", "buddy", "--quiet")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_text_says_what_the_json_says(self):
        done = self.replay()
        text = self.assert_exit(OK, "replay", self.trace(), "--frames", "buddy").stdout
        for words in (f"native  digest {done['digest']}", f"probed  digest {done['digest']}",
                      f"(unusable_o9 {done['metrics']['unusable_o9']:.3f})",
                      f"in {done['metrics']['free_runs']} runs",
                      f"{done['metrics']['metadata_bytes_per_frame']:.2f} bytes a frame"):
            self.assertIn(words, text)
        for operation in ("frame_alloc", "frame_free"):
            count = sum(row["count"] for name, row in done["latency"].items()
                        if name.startswith(operation + "/"))
            self.assertGreater(count, 0)
            self.assertRegex(text, rf"(?m)^{operation} +{count} ")
        # Latency belongs to the native pass, machine events to the probed one.
        self.assertEqual(len(re.findall(r"(?m)^frame_(?:alloc|free) ", text)), 4)
        alone = self.assert_exit(OK, "replay", self.trace(), "--frames", "buddy",
                                 "--pass", "probed").stdout
        self.assertEqual(len(re.findall(r"(?m)^frame_(?:alloc|free) ", alone)), 2)

    def test_larger_leaves_of_the_direct_map_cost_fewer_walks(self):
        large = self.replay("--set", "machine.leaf=2M", frames="stack", largest_order=0)
        small = self.replay("--set", "machine.leaf=4K", frames="stack", largest_order=0)
        self.assertLess(large["passes"]["probed"]["counters"]["walk_reads"],
                        small["passes"]["probed"]["counters"]["walk_reads"])
        for key in ("loads", "stores"):
            self.assertEqual(large["passes"]["probed"]["counters"][key],
                             small["passes"]["probed"]["counters"][key])

    def test_machines_are_named_and_tables_chosen(self):
        for options in (("--machine", "pc-512m"), ("--machine", "pc-512m-i386"),
                        ("--machine", "pc-512m-i386", "--tables", "none"),
                        ("--machine", "pc-4g", "--ram", "64M"),
                        ("--set", "machine.arch=i386", "--set", "machine.cpu=tiny")):
            with self.subTest(options=options):
                self.assertEqual(self.replay(*options)["failures"], 0)


if __name__ == "__main__":
    main()
