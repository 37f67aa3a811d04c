"""Experiments: cells, what is kept, what fails; and drawing what they leave."""

import json
import os
import subprocess
import unittest

from program import BAD_INPUT, CHECK_FAILED, Case, OK, USAGE, main, run

SPEC = """# A comment.
[experiment]
name = tiny
title = Two allocators

[cells]
trace = small.kmt
frames = bitmap; bitmap:policy=next-fit; buddy
seed = 1; 2

[options]
pass = native
sample-events = 100
set = machine.leaf=4K
"""


class Experiments(Case):
    def setUp(self):
        super().setUp()
        self.trace()
        self.spec = self.write("tiny.ini", SPEC)
        self.out = self.path("out")

    def run_it(self, *options, code=OK, spec=None, **more):
        return self.assert_exit(code, "run", spec or self.spec, "-o", self.out, *options, **more)

    def status(self):
        with open(os.path.join(self.out, "experiment.json"), encoding="utf-8") as file:
            done = json.load(file)
        self.assert_shape(done, {"schema": int, "name": str, "title": str, "cells": [
            {"run": str, "trace": str, "frames": str, "machine": str, "ram": str, "start": str,
             "heap": str, "tables": str, "space": str, "seed": int, "exit": int, "message": str,
             "status": lambda it: it in ("done", "failed", "pending", "skipped")}]})
        return done

    def times(self):
        """When each run.json was written."""
        return {name: os.stat(os.path.join(self.out, name, "run.json")).st_mtime_ns
                for name in os.listdir(self.out) if os.path.isdir(os.path.join(self.out, name))}

    def statuses(self):
        return [cell["status"] for cell in self.status()["cells"]]

    def test_every_combination_is_a_cell(self):
        self.run_it("--jobs", "2")
        done = self.status()
        self.assertEqual((done["schema"], done["name"], done["title"]),
                         (1, "tiny", "Two allocators"))
        self.assertEqual([(cell["frames"], cell["seed"]) for cell in done["cells"]],
                         [(frames, seed) for frames in ("bitmap", "bitmap:policy=next-fit", "buddy")
                          for seed in (1, 2)])
        for cell in done["cells"]:
            self.assertEqual((cell["trace"], cell["machine"], cell["status"], cell["exit"]),
                             ("small", "recorded", "done", 0))
            with open(os.path.join(self.out, cell["run"], "run.json"), encoding="utf-8") as file:
                config = json.load(file)["config"]
            self.assertEqual((config["experiment"], config["run"]), ("tiny", cell["run"]))
            self.assertEqual((config["frames"], config["seed"]), (cell["frames"], cell["seed"]))
            self.assertEqual((config["pass"], config["sample_events"]), ("native", 100))
            self.assertEqual(config["options"]["machine.leaf"], "4K")
        self.assertEqual(len({cell["run"] for cell in done["cells"]}), 6)
        self.assertEqual(sorted(self.times()), sorted(cell["run"] for cell in done["cells"]))

    def test_what_is_finished_is_kept(self):
        self.run_it()
        first = self.times()
        self.run_it()
        self.assertEqual(self.times(), first)
        self.assertEqual(self.statuses(), ["done"] * 6)
        self.run_it("--again")
        for name, time in self.times().items():
            self.assertGreater(time, first[name])

    def test_what_is_finished_is_kept_whatever_its_path_is_called(self):
        folder = self.path("a folder's name; with ümlaut")
        os.mkdir(folder)
        os.rename(self.path("small.kmt"), os.path.join(folder, "small.kmt"))
        spec = os.path.join(folder, "some spec.ini")
        with open(spec, "w", encoding="utf-8") as file:
            file.write(SPEC.replace("name = tiny", "name = tiny words"))
        self.run_it(spec=spec)
        first = self.times()
        self.run_it(spec=spec)
        self.assertEqual(self.times(), first)

    def test_a_changed_trace_or_option_runs_again(self):
        self.run_it()
        first = self.times()
        self.trace(seed=2)
        self.run_it()
        second = self.times()
        self.assertTrue(all(second[name] > first[name] for name in first))
        self.write("tiny.ini", SPEC.replace("sample-events = 100", "sample-events = 50"))
        self.run_it()
        self.assertTrue(all(self.times()[name] > second[name] for name in first))

    def test_one_removed_run_is_the_only_one_repeated(self):
        self.run_it()
        first = self.times()
        gone = self.status()["cells"][3]["run"]
        subprocess.run(["rm", "-r", os.path.join(self.out, gone)], check=True)
        self.run_it()
        self.assertEqual({name for name, time in self.times().items() if time != first[name]},
                         {gone})

    def test_a_dry_run_prints_the_cells_and_runs_none(self):
        done = self.run_it("--dry-run")
        self.assertFalse(os.path.exists(self.out))
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        self.assertEqual([line[0] for line in lines], [str(i) for i in range(6)])
        for _, name, command in lines:
            self.assertTrue(command.startswith("kmemlab replay "), command)
            self.assertIn(name, command)
        self.assert_exit(OK, *lines[5][2].split()[1:])

    def test_some_cells_may_be_chosen(self):
        self.run_it("--cell", "4")
        self.assertEqual(self.statuses(), ["pending"] * 4 + ["done", "pending"])
        self.run_it("--cells", "0..1")
        self.assertEqual(self.statuses(), ["done"] * 2 + ["pending"] * 2 + ["done", "pending"])
        self.run_it("--cells", "0..5")
        self.assertEqual(self.statuses(), ["done"] * 6)

    def test_cells_that_do_not_exist_are_refused(self):
        for cells in ("6", "4..6", "1000"):
            with self.subTest(cells=cells):
                self.assert_complains(USAGE, "cells", "run", self.spec, "-o", self.out, "--cells",
                                      cells)

    def test_a_failing_cell_does_not_stop_the_others(self):
        spec = self.write("mixed.ini", "[cells]\ntrace = small.kmt; missing.kmt\n"
                          "frames = frobnicate; buddy\nram = 4K; recorded\n[options]\npass = native\n")
        done = self.run_it(code=CHECK_FAILED, spec=spec)
        cells = self.status()["cells"]
        good = [cell for cell in cells if cell["status"] == "done"]
        self.assertEqual([(cell["trace"], cell["frames"], cell["ram"]) for cell in good],
                         [("small", "buddy", "recorded")])
        for cell in cells:
            if cell in good:
                continue
            self.assertEqual(cell["status"], "failed")
            self.assertEqual(cell["exit"],
                             USAGE if cell["trace"] == "small" or cell["frames"] == "frobnicate"
                             else BAD_INPUT, cell)
            self.assertIn("frobnicate" if cell["frames"] == "frobnicate" else
                          "missing.kmt" if cell["trace"] == "missing" else "smallest RAM",
                          cell["message"])
            self.assertIn(cell["run"], done.stderr)
            self.assertFalse(os.path.exists(os.path.join(self.out, cell["run"])))
        self.assertIn("7 of 8 cells failed", done.stderr)

    def test_a_cell_gives_what_the_same_replay_gives(self):
        self.run_it("--cell", "5")
        cell = self.status()["cells"][5]
        self.assert_exit(OK, "replay", self.path("small.kmt"), "--frames", "buddy", "--seed", "2",
                         "--pass", "native", "--sample-events", "100", "--set", "machine.leaf=4K",
                         "-o", self.path("alone"))
        for name in ("samples.csv", "failures.csv", "frames.bin"):
            self.assertEqual(self.read("out", cell["run"], name), self.read("alone", name))

    def test_without_a_folder_results_are_named_after_the_experiment(self):
        self.assert_exit(OK, "run", self.spec, cwd=self.folder)
        self.assertTrue(os.path.exists(self.path("results", "tiny", "experiment.json")))

    def test_messages_go_nowhere_when_all_is_well(self):
        os.mkdir(self.path("tmp"))
        done = self.run_it(env={"TMPDIR": self.path("tmp")})
        self.assertEqual((done.stdout, done.stderr), ("", ""))
        self.assertEqual(os.listdir(self.path("tmp")), [])


CROSS = """[cells]
trace = small.kmt; storm.kmt; boot.kmt
frames = buddy
heap = none; slab
tables = direct; none; window:policy=single
space = none; process
machine = pc-512m; pc-512m-i386:paging=pae
ram = 32M

[options]
pass = probed
"""


class Axes(Case):
    """What a trace, a heap, page tables, spaces and a machine make of each other."""

    def setUp(self):
        super().setUp()
        self.trace()
        self.assert_exit(OK, "generate", "fork-storm", "forks=20", "--seed", "1", "-o",
                         self.path("storm.kmt"))
        self.assert_exit(OK, "generate", "kernel-boot", "events=500", "--seed", "1", "-o",
                         self.path("boot.kmt"))
        self.out = self.path("out")

    def cells(self):
        with open(os.path.join(self.out, "experiment.json"), encoding="utf-8") as file:
            return json.load(file)["cells"]

    def test_what_makes_sense_is_run_and_the_rest_is_skipped_with_its_reason(self):
        done = self.assert_exit(OK, "run", self.write("cross.ini", CROSS), "-o", self.out)
        cells = self.cells()
        self.assertEqual(len(cells), 3 * 2 * 3 * 2 * 2)
        self.assertEqual({cell["status"] for cell in cells}, {"done", "skipped"})
        for cell in cells:
            heap, space = cell["heap"] != "none", cell["space"] != "none"
            paged = cell["tables"] != "none"
            fits = {"small": not heap and not space, "storm": space and not heap,
                    "boot": heap and not space}[cell["trace"]]
            # Without paging there are no spaces, and long mode cannot be without.
            fits = fits and (paged or (cell["machine"] != "pc-512m" and not space))
            self.assertEqual(cell["status"], "done" if fits else "skipped", cell)
            self.assertEqual(cell["message"] == "", fits, cell)
            self.assertEqual(os.path.exists(os.path.join(self.out, cell["run"])), fits, cell)
        skipped = sum(cell["status"] == "skipped" for cell in cells)
        self.assertEqual(done.stderr, f"kmemlab: {skipped} of {len(cells)} cells are impossible "
                                      "and were skipped; --dry-run says why\n")
        reasons = " ".join({cell["message"] for cell in cells})
        for words in ("small holds no heap events", "small holds no processes",
                      "storm holds no frame events: it needs a space",
                      "boot holds no frame events: it needs a heap",
                      "a heap and address spaces are replayed apart", "long mode needs paging",
                      "without paging there are none"):
            self.assertIn(words, reasons)

    def test_a_cell_runs_with_what_its_axes_say(self):
        self.assert_exit(OK, "run", self.write("cross.ini", CROSS), "-o", self.out)
        for cell in self.cells():
            if cell["status"] != "done":
                continue
            with open(os.path.join(self.out, cell["run"], "run.json"), encoding="utf-8") as file:
                config = json.load(file)["config"]
            self.assertEqual((config["tables"], config["space"], config.get("heap", "none")),
                             (cell["tables"].split(":")[0], cell["space"], cell["heap"]))
            self.assertEqual(config["options"].get("tables.policy"),
                             "single" if cell["tables"].startswith("window") else None)
            self.assertEqual(config["paging"],
                             "none" if cell["tables"] == "none" else
                             "pae" if "pae" in cell["machine"] else "4level")

    def test_a_dry_run_says_why_a_cell_is_skipped(self):
        done = self.assert_exit(OK, "run", "-n", self.write("cross.ini", CROSS))
        lines = [line.split("\t")[2] for line in done.stdout.splitlines()]
        self.assertTrue(all(line.startswith(("kmemlab replay ", "skipped: ")) for line in lines))
        self.assertIn("skipped: small holds no heap events", lines)

    def test_skipped_cells_stay_so_and_are_not_run_by_number(self):
        spec = self.write("two.ini", "[cells]\ntrace = small.kmt\nframes = buddy\n"
                          "heap = slab; none\n[options]\npass = native\n")
        self.assert_exit(OK, "run", spec, "-o", self.out, "--cell", "0")
        self.assertEqual([cell["status"] for cell in self.cells()], ["skipped", "pending"])
        for _ in range(2):
            self.assert_exit(OK, "run", spec, "-o", self.out)
            self.assertEqual([cell["status"] for cell in self.cells()], ["skipped", "done"])

    def test_groups_of_cells_stand_side_by_side(self):
        spec = self.write("groups.ini", "[cells]\ntrace = small.kmt\nframes = bitmap; buddy\n"
                          "[cells heaps]\ntrace = boot.kmt\nframes = buddy\nheap = slab; tlsf\n"
                          "[cells spaces]\ntrace = storm.kmt\nframes = buddy\nspace = cow\n"
                          "tables = direct; recursive\n[options]\npass = probed\n")
        done = self.assert_exit(OK, "run", spec, "-o", self.out)
        self.assertEqual(done.stderr, "")
        self.assertEqual([(cell["trace"], cell["frames"], cell["heap"], cell["tables"],
                           cell["space"], cell["status"]) for cell in self.cells()],
                         [("small", "bitmap", "none", "direct", "none", "done"),
                          ("small", "buddy", "none", "direct", "none", "done"),
                          ("boot", "buddy", "slab", "direct", "none", "done"),
                          ("boot", "buddy", "tlsf", "direct", "none", "done"),
                          ("storm", "buddy", "none", "direct", "cow", "done"),
                          ("storm", "buddy", "none", "recursive", "cow", "done")])

    def test_options_may_give_tables_and_space_for_all(self):
        spec = self.write("all.ini", "[cells]\ntrace = storm.kmt\nframes = buddy\n"
                          "[options]\npass = probed\nspace = cow\ntables = pool\n")
        self.assert_exit(OK, "run", spec, "-o", self.out)
        self.assertEqual([(cell["tables"], cell["space"], cell["status"])
                          for cell in self.cells()], [("pool", "cow", "done")])

    def test_a_group_in_which_nothing_can_be_run_is_refused_with_its_line(self):
        for text, words in (
                ("trace = small.kmt\nheap = slab\n", (":3:", "no heap events")),
                ("trace = small.kmt\nspace = cow\n", (":3:", "no processes")),
                ("trace = boot.kmt\nspace = cow; process\n", (":3:", "no processes")),
                ("trace = boot.kmt; storm.kmt\n", (":2:", "it needs a heap")),
                ("trace = small.kmt\ntables = none\n", (":3:", "long mode")),
                ("trace = storm.kmt\nspace = cow\ntables = none\nmachine = pc-512m-i386\n",
                 (":4:", "without paging"))):
            with self.subTest(text=text):
                spec = self.write("bad.ini", f"[cells]\n{text}frames = buddy\n")
                self.assert_complains(USAGE, ["bad.ini" + words[0], *words[1:], "[cells]"],
                                      "run", spec, "-o", self.out)
                self.assertFalse(os.path.exists(self.out))


class Specs(Case):
    def refused(self, text, *words, code=USAGE):
        spec = self.write("bad.ini", text)
        self.assert_complains(code, ["bad.ini", *words], "run", spec, "-o", self.path("out"))
        self.assertFalse(os.path.exists(self.path("out")))

    def test_what_is_wrong_in_a_file_is_named_with_its_line(self):
        cells = "[cells]\ntrace = a.kmt\nframes = buddy\n"
        for text, words in (
                (cells + "frams = buddy\n", ("bad.ini:4:", "'frams'")),
                ("[experiment]\nname = a\nnam = b\n" + cells, ("bad.ini:3:", "'nam'")),
                (cells + "[option]\n", ("bad.ini:4:", "[option]")),
                (cells + "[options]\ntrace = b.kmt\n", ("bad.ini:5:", "'trace'")),
                (cells + "[options]\nname = b\n", ("bad.ini:5:", "'name'")),
                (cells + "seed = 1; two\n", ("bad.ini:4:", "'two'")),
                (cells + "seed = -1\n", ("bad.ini:4:", "'-1'")),
                (cells + "ram = much\n", ("bad.ini:4:", "'much'")),
                (cells + "ram = matrix\n", ("bad.ini:4:", "'matrix'")),
                (cells + "start = sideways\n", ("bad.ini:4:", "'sideways'")),
                (cells + "heap = slob\n", ("bad.ini:4:", "'slob'")),
                (cells + "heap = slab:colour=1\n", ("bad.ini:4:", "colour")),
                (cells + "heap = none:colours=on\n", ("bad.ini:4:", "no heap")),
                (cells + "tables = direct; dirrect\n", ("bad.ini:4:", "'dirrect'")),
                (cells + "tables = window:slot=3\n", ("bad.ini:4:", "slot")),
                (cells + "space = cows\n", ("bad.ini:4:", "'cows'")),
                (cells + "space = cow:processes=x\n", ("bad.ini:4:", "'x'")),
                (cells + "machine = recorded:paging=6level\n", ("bad.ini:4:", "'6level'")),
                (cells + "machine = pc-512m:pages=1\n", ("bad.ini:4:", "pages")),
                (cells + "[options]\ntables = dirrect\n", ("bad.ini:5:", "'dirrect'")),
                (cells + "space = cow\n[options]\nspace = cow\n", ("bad.ini:6:", "'space'")),
                (cells + "[cells more]\nframes = buddy\n", ("[cells more]", "'trace'")),
                (cells + "[cellsmore]\n", ("bad.ini:4:", "[cellsmore]")),
                ("[cells]\ntrace = ;\nframes = buddy\n", ("bad.ini:2:", "empty")),
                ("[cells]\nframes = buddy\n", ("trace",)),
                ("[cells]\ntrace = a.kmt\n", ("frames",)),
                ("[experiment]\nname = x\n", ("trace",)),
                (cells + "seed = 1; 1\n", ("two cells",)),
                ("[cells]\ntrace = a.kmt; x/a.kmt\nframes = buddy\n", ("two cells",))):
            with self.subTest(text=text):
                self.refused(text, *words)

    def test_what_is_no_ini_file_is_bad_input(self):
        for text in ("garbage\n", "key = value\n", "[cells\n", "\1\2\3"):
            with self.subTest(text=text):
                self.refused(text, code=BAD_INPUT)
        self.assert_complains(BAD_INPUT, "missing.ini", "run", self.path("missing.ini"))


class Drawing(Case):
    def draw(self, *arguments):
        done = run(*arguments, timeout=240)
        if done.returncode == USAGE and "no python3 with matplotlib" in done.stderr:
            raise unittest.SkipTest("no python3 with matplotlib")
        self.assertEqual(done.returncode, OK, done.stderr + done.stdout)

    def test_an_experiment_is_drawn_and_reported(self):
        self.trace()
        spec = self.write("tiny.ini", SPEC.replace("bitmap; ", ""))
        out = self.path("out")
        self.assert_exit(OK, "run", spec, "-o", out)
        self.draw("plot", out)
        plots = os.listdir(os.path.join(out, "plots"))
        self.assertTrue(plots)
        for name in plots:
            self.assertTrue(name.endswith(".png"), name)
            self.assertEqual(self.read("out", "plots", name)[:8], b"\x89PNG\r\n\x1a\n")
        self.draw("report", out)
        self.draw("report", out, "-o", self.path("other.html"))
        for path in (("out", "report.html"), ("other.html",)):
            text = self.read(*path).decode()
            self.assertIn("</html>", text)
            self.assertIn("buddy", text)

    def test_scripts_and_python_are_found_by_the_environment(self):
        trace = self.trace()
        self.assert_complains(USAGE, "KMEMLAB_PYTHON", "plot", self.folder,
                              env={"KMEMLAB_PYTHON": "/bin/false"})
        self.write("plot.py", "import sys; print('drew', sys.argv[1:])\n")
        done = run("plot", trace, env={"KMEMLAB_SCRIPTS": self.folder})
        if "no python3 with matplotlib" not in done.stderr:
            self.assertEqual(done.stdout, f"drew {[trace]}\n")

    def test_a_folder_that_is_no_experiment_is_bad_input(self):
        done = run("plot", self.folder)
        self.assertIn(done.returncode, (USAGE, BAD_INPUT))
        self.assertNotEqual(done.stderr, "")


if __name__ == "__main__":
    main()
