"""Plots of synthetic experiments: complete, deterministic, and drawn whatever is missing."""

import subprocess
import sys
import unittest

from support import SCRIPTS, Case, png_size
from synthetic import join_experiments, turn_into_heaps, turn_into_spaces
from kmemlab_plots import gallery
from kmemlab_plots.experiment import load_experiment


class Plots(Case):
    def test_every_question_gives_pictures_of_sensible_size(self):
        files = self.draw(self.make(traces=("redis-page", "thp-page")))
        self.assertEqual(len(files), 12)  # two of the seven questions take both traces
        for file in files:
            with self.subTest(file.name):
                width, height = png_size(file.read_bytes())
                self.assertEqual(width, 1575)
                self.assertTrue(300 <= height <= 3000, height)

    BOOT = ("frames,ram_bytes,managed_frames,state_bytes,table_frames,loads,stores,atomics,"
            "touched_frames,boot_ns,refused\n"
            "null,67108864,16000,80,4,1000,900,0,6,70000,0\nnull,1073741824,260000,80,4,1100,950,0,6,80000,0\n"
            "stack,67108864,16000,600,4,80000,50000,0,16000,3000000,0\nstack,1073741824,0,0,0,0,0,0,0,0,1\n")

    def test_what_starting_costs_is_a_page_where_it_was_measured(self):
        path = self.make()
        self.assertNotIn("boot.png", [file.name for file in self.draw(path)])
        (path / "boot.csv").write_text(self.BOOT, encoding="utf-8")
        self.assertIn("boot.png", [file.name for file in self.draw(path)])
        self.assertEqual(gallery.plot_boot.finding(load_experiment(path)),
                         "At 1 GiB null touches 6 frames to start; stack cannot start in that "
                         "much here")
        (path / "boot.csv").write_text(self.BOOT.replace("16000,3000000", "x,3000000"),
                                       encoding="utf-8")
        done = subprocess.run([sys.executable, SCRIPTS / "plot_boot.py", path, "-o",
                               self.folder / "b.png"], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 3)
        self.assertIn("boot.csv:4", done.stderr)

    def test_same_files_give_same_bytes(self):
        first = self.draw(self.make("a", seeds=(1, 2)))
        second = self.draw(self.make("b", seeds=(1, 2)))
        for one, other in zip(first, second):
            with self.subTest(one.name):
                self.assertEqual(one.read_bytes(), other.read_bytes())

    def test_a_script_alone_gives_the_bytes_that_all_together_give(self):
        path = self.make()
        together = {file.name: file for file in self.draw(path)}
        alone = self.folder / "alone.png"
        subprocess.run([sys.executable, SCRIPTS / "plot_cost.py", path, "-o", alone], check=True)
        self.assertEqual(alone.read_bytes(), together["cost.png"].read_bytes())

    def test_svg_is_written_where_the_name_says_so_and_is_deterministic(self):
        experiment = load_experiment(self.make())
        for name in ("a.svg", "b.svg"):
            gallery.plot_summary.plot(experiment, self.folder / name)
        text = (self.folder / "a.svg").read_text(encoding="utf-8")
        self.assertIn("<svg", text)
        self.assertEqual(text, (self.folder / "b.svg").read_text(encoding="utf-8"))

    def test_every_question_draws_two_traces_on_one_sheet(self):
        path = self.make(traces=("a", "b"), allocators=("buddy",))
        (path / "boot.csv").write_text(self.BOOT, encoding="utf-8")
        self.draw_all(path, "frames")

    def draw_all(self, path, kind):
        experiment = load_experiment(path)
        self.assertEqual(experiment.kind, kind)
        for question in gallery.QUESTIONS[kind]:
            with self.subTest(question.__name__):
                question.plot(experiment, self.folder / "x.png")
                png_size((self.folder / "x.png").read_bytes())
                self.assertNotIn("othing to rank", question.finding(experiment))

    def test_heaps_have_questions_of_their_own(self):
        path = turn_into_heaps(self.make(traces=("a-slab", "b-slab"),
                                         allocators=("slab", "tlsf")))
        self.draw_all(path, "heaps")
        pages = {page.file: page.finding() for page in gallery.plan(load_experiment(path))}
        self.assertIn("1.50 times", pages["heap-memory.png"])
        self.assertIn("inode_cache asks for the most memory on a-slab: 82",
                      pages["heap-sites.a-slab.png"])
        self.assertIn("On a-slab Robson's bound is 5: tlsf with 2.5", pages["heap-bounds.png"])

    def test_spaces_have_questions_of_their_own(self):
        path = turn_into_spaces(self.make(traces=("a", "b"), allocators=("direct", "window")))
        self.draw_all(path, "spaces")
        pages = {page.file: page.finding() for page in gallery.plan(load_experiment(path))}
        # 84,520 operations, boot's aside: 105 and 205 invalidations of the first trace.
        self.assertRegex(pages["space-invalidations.png"],
                         "^On a, direct makes 1.24 invalidations per 1,000 operations, window 2.4")
        self.assertIn("On a and b, direct and window hold 1\u00a0MiB for users at most",
                      pages["space-memory.png"])
        for trace in "ab":
            self.assertEqual(pages[f"space-processes.{trace}.png"], f"On {trace}, direct and "
                             "window have 1.25 processes to a frame in the mean")
        self.assertIn("direct has 20\u00a0% of mapped pages in runs of 16 and more",
                      pages["space-contiguity.png"])

    def test_an_experiment_may_hold_all_kinds(self):
        path = join_experiments(self.folder / "joined", [
            self.make("f", allocators=("buddy",)),
            turn_into_heaps(self.make("h", traces=("slabs",), allocators=("slab", "tlsf"))),
            turn_into_spaces(self.make("s", traces=("storm",), allocators=("direct",)))])
        experiment = load_experiment(path)
        self.assertEqual([(part.kind, part.scenarios, part.allocators)
                          for part in experiment.parts()],
                         [("frames", ["redis-page"], ["buddy"]),
                          ("heaps", ["slabs"], ["slab", "tlsf"]),
                          ("spaces", ["storm"], ["direct"])])
        files = [page.file for page in gallery.plan(experiment)]
        self.assertEqual(len(files), len(set(files)))
        for name in ("summary.png", "heap-summary.png", "space-summary.png", "latency.png",
                     "heap-latency.png"):
            self.assertIn(name, files)
        # A script that serves several kinds draws the first one, or the one asked for.
        for kind, code in (("frames", 0), ("heaps", 0), ("spaces", 2)):
            done = subprocess.run([sys.executable, SCRIPTS / "plot_cost.py", path, "--of", kind,
                                   "-o", self.folder / "x.png"], capture_output=True)
            self.assertEqual(done.returncode, code, done.stderr)
        done = subprocess.run([sys.executable, SCRIPTS / "plot_space_faults.py",
                               self.make("only", allocators=("buddy",)), "-o",
                               self.folder / "x.png"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("the experiment compares frames, not spaces", done.stderr)

    def test_unknown_trace_is_a_usage_error(self):
        path = self.make(allocators=("buddy",))
        done = subprocess.run([sys.executable, SCRIPTS / "plot_cost.py", path, "--trace", "nope",
                               "-o", self.folder / "x.png"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("no such trace: nope; there are redis-page", done.stderr)


class EdgeCases(Case):
    """Each shape is drawn and reported."""

    def check(self, **changes) -> str:
        path = self.make(**changes)
        for file in self.draw(path):
            png_size(file.read_bytes())
        return self.write_report(path)

    def test_one_allocator_alone_has_nobody_to_beat(self):
        self.assertNotIn('class="best"', self.check(allocators=("buddy",)))

    def test_native_pass_frame_maps_and_snapshots_missing(self):
        text = self.check(recorded=False, frame_map=False, native=False)
        self.assertNotIn("the recorded kernel had", text)
        self.assertIn("No frame maps were recorded", text)
        self.assertIn("No latency was measured", text)

    def test_probed_pass_skipped(self):
        self.assertIn("No machine events were counted", self.check(probed=False))

    def test_nobody_fails(self):
        self.assertIn("Every request was served by every allocator", self.check(refusing=()))

    def test_a_trace_without_events(self):
        self.check(samples=0)

    def test_a_single_sample(self):
        self.check(samples=1)

    def test_failed_and_pending_cells_are_named_in_plots_and_report(self):
        text = self.check(allocators=("bitmap", "stack", "buddy"),
                          failed=frozenset({("redis-page", "stack")}),
                          pending=frozenset({("redis-page", "bitmap")}))
        self.assertIn("stack on redis-page, seed 1: failed (exit 2): lab error", text)
        self.assertIn("bitmap on redis-page, seed 1: not run yet", text)
        self.assertLess(text.index("Cells without figures"), text.index("Findings"))

    def test_nothing_finished(self):
        text = self.check(failed=frozenset({("redis-page", "stack"), ("redis-page", "buddy")}))
        self.assertIn("No run has finished", text)

    def test_violations_stand_above_all_figures(self):
        text = self.check(violating=("buddy",))
        self.assertLess(text.index("frame 42 handed out twice"), text.index("Findings"))
        self.assertIn("buddy broke the rules", text)

    def test_twelve_allocators_unknown_ones_among_them_with_two_seeds(self):
        names = ("null", "bitmap", "stack", "buddy", "bitmap-lockless", "range-list", "split",
                 "memblock", "mine.so", "theirs", "another", "llfree")
        text = self.check(allocators=names, seeds=(1, 2), samples=6)
        for name in names:
            self.assertIn(name, text)

    def test_six_traces_are_split_over_pages(self):
        path = self.make(traces=tuple("abcdef"), allocators=("buddy",), samples=4)
        names = [page.file for page in gallery.plan(load_experiment(path))]
        self.assertIn("fragmentation.2.png", names)
        self.assertIn("frame-map.f.png", names)
        self.assertEqual(len(names), len(set(names)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
