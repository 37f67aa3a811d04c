"""Statistics and wording against values worked out by hand, findings against the raw samples."""

import csv
import tempfile
import unittest
from pathlib import Path

import support  # noqa: F401  (finds the scripts, skips without matplotlib)
import numpy as np

import plot_fragmentation
import plot_latency
import plot_summary
from kmemlab_plots import ranking, statistics, style, wording
from kmemlab_plots.experiment import load_experiment
from kmemlab_plots.framelayout import lay_out
from kmemlab_plots.framemap import FrameMap
from kmemlab_plots.series import marker_places
from synthetic import Spec, write_experiment


class Statistics(unittest.TestCase):
    def test_a_sample_holds_until_the_next_one(self):
        time = np.array([0.0, 10.0, 40.0])
        self.assertEqual(statistics.time_mean(time, np.array([1.0, 5.0, 99.0])), 160 / 40)

    def test_without_a_span_the_mean_is_the_plain_one(self):
        self.assertEqual(statistics.time_mean(np.array([3.0, 3.0]), np.array([1.0, 2.0])), 1.5)
        self.assertIsNone(statistics.time_mean(np.array([]), np.array([])))

    def test_band_joins_seeds_sampled_at_different_times(self):
        found = statistics.band_over_time([(np.array([0.0, 2.0]), np.array([1.0, 3.0])),
                                           (np.array([1.0]), np.array([5.0]))])
        self.assertEqual(found.x.tolist(), [0, 1, 2])
        self.assertEqual(found.median.tolist(), [3, 3, 4])
        self.assertEqual((found.low.tolist(), found.high.tolist()), ([1, 1, 3], [5, 5, 5]))

    def test_percentiles_are_nearest_ranks(self):
        one = statistics.Histogram(np.array([30.0, 10.0, 20.0]), np.array([1.0, 900.0, 99.0]))
        shares = np.array([0, 0.5, 0.9, 0.901, 0.999, 1])
        self.assertEqual(one.percentile(shares).tolist(), [10, 10, 10, 20, 20, 30])

    def test_trimmed_mean_leaves_out_the_slowest(self):
        one = statistics.Histogram(np.array([10.0, 20.0, 9000.0]), np.array([60.0, 39.0, 1.0]))
        self.assertAlmostEqual(one.trimmed_mean(0.99), (600 + 780) / 99)
        self.assertAlmostEqual(one.trimmed_mean(0.7), (600 + 200) / 70)
        self.assertIsNone(statistics.Histogram(np.array([]), np.array([])).trimmed_mean(0.9))

    def test_a_curve_ends_at_the_slowest_operation(self):
        one = statistics.Histogram(np.array([1.0, 7.0]), np.array([99.0, 1.0]))
        self.assertEqual(one.curve(np.array([0.0, 1.0, 2.0])).tolist(), [1, 1, 1])
        self.assertEqual(float(one.curve(np.array([2.1]))), 7)


    def test_markers_are_evenly_apart_and_within_the_line(self):
        x = np.array([0.0, 1, 2, 3, 10])
        self.assertEqual(marker_places(x, 2.0, 0.0), [0, 2, 4])
        self.assertEqual(marker_places(x, 2.0, 0.5), [1, 3, 4])
        self.assertEqual(marker_places(np.array([5.0]), 1.0, 0.5), [0])


class FrameLayout(unittest.TestCase):
    """Long holes are drawn short; frame numbers stay true."""

    @staticmethod
    def map_of(hole: list[bool], per_cell: int = 4096) -> FrameMap:
        holes = np.array([hole])
        zero = np.zeros(holes.shape)
        return FrameMap(np.zeros(1), zero, zero, holes, per_cell, per_cell * len(hole))

    def test_without_holes_there_is_one_part(self):
        layout = lay_out(self.map_of([False] * 8))
        self.assertEqual([part.cells for part in layout.parts], [slice(0, 8)])
        self.assertEqual(layout.height, 8)

    def test_a_long_hole_is_cut_out(self):
        layout = lay_out(self.map_of([False] * 10 + [True] * 200 + [False] * 10))
        self.assertEqual([(part.first_frame, part.frames, part.shortened)
                          for part in layout.parts],
                         [(0, 40960, False), (40960, 819200, True), (860160, 40960, False)])
        self.assertLess(layout.height, 22)

    def test_a_short_hole_stays(self):
        self.assertEqual(len(lay_out(self.map_of([False] * 20 + [True] + [False] * 20)).parts), 1)

    def test_ticks_tell_frames_on_both_sides_of_a_hole(self):
        layout = lay_out(self.map_of([False] * 16 + [True] * 240 + [False] * 16))
        frames = [frame for _, frame in layout.ticks()]
        self.assertEqual(frames, sorted(frames))
        self.assertIn(0, frames)
        self.assertIn(256 * 4096, frames)
        for place, frame in layout.ticks():
            if frame < 16 * 4096:
                self.assertEqual(place, frame / 4096)


class Wording(unittest.TestCase):
    def test_numbers(self):
        for shown, wanted in ((wording.percent(71.4), "71 %"), (wording.percent(0.3), "0.3 %"),
                              (wording.percent(99.97), "99.97 %"), (wording.percent(0), "0 %"),
                              (wording.percent(1e-5), "under 0.001 %"),
                              (wording.nanoseconds(999), "999 ns"),
                              (wording.nanoseconds(9190), "9.19 µs"),
                              (wording.size(1), "4 KiB"), (wording.size(512), "2 MiB"),
                              (wording.rate(14_500_000), "14.5 million/s"),
                              (wording.significant(12345.6), "12,346")):
            with self.subTest(wanted):
                self.assertEqual(shown.replace(wording.SPACE, " "), wanted)

    def test_who_reads_the_same_shares_a_place(self):
        places = wording.ranking({"a": 70.9, "b": 71.2, "c": 3.0}, "high", wording.percent)
        self.assertEqual([place.names for place in places], [["b", "a"], ["c"]])

    def test_measured_values_within_the_tolerance_share_a_place(self):
        places = wording.ranking({"a": 100, "b": 109, "c": 118}, "low", wording.nanoseconds, 0.1)
        self.assertEqual([place.names for place in places], [["a", "b"], ["c"]])
        self.assertEqual(places[0].shown(wording.nanoseconds).replace(wording.SPACE, " "),
                         "100 ns to 109 ns")

    def test_long_lists_keep_the_ends(self):
        places = [wording.Place([name], [value]) for value, name in enumerate("abcde")]
        self.assertEqual(wording.listed(places, str, 3), "a 0, b 1, 2 more between, e 4")
        self.assertEqual(wording.listed(places[:3], str, 3), "a 0, b 1, c 2")


class Looks(unittest.TestCase):
    def test_known_names_differ_in_colour_or_line(self):
        looks = {(look.color, look.line) for look in style.LOOKS.values()}
        self.assertEqual(len(looks), len(style.LOOKS))

    def test_unknown_names_keep_their_look_and_take_no_known_one(self):
        taken = {(look.color, look.line) for look in style.LOOKS.values()}
        for name in ("mine.so", "theirs", "x"):
            self.assertEqual(style.look(name), style.look(name))
            self.assertNotIn((style.look(name).color, style.look(name).line), taken)

    def test_a_variant_keeps_the_colour_of_its_name(self):
        self.assertEqual(style.look("bitmap (policy=next-fit)").color, style.look("bitmap").color)


class Labels(unittest.TestCase):
    """Cells that differ in a setting are told apart by it, others are not bothered with it."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = write_experiment(Path(folder.name) / "e", Spec(
            traces=("t",), allocators=("bitmap", "buddy"), seeds=(1, 2), samples=2, ram_mib=4))

    def change(self, file: Path, before: str, after: str) -> None:
        text = file.read_text(encoding="utf-8")
        self.assertIn(before, text)
        file.write_text(text.replace(before, after), encoding="utf-8")

    def test_seeds_make_no_label(self):
        experiment = load_experiment(self.path)
        self.assertEqual((experiment.scenarios, experiment.allocators),
                         (["t"], ["bitmap", "buddy"]))
        self.assertEqual(len(experiment.runs("t", "buddy")), 2)

    def test_options_of_one_name_make_two_labels(self):
        self.change(self.path / "experiment.json", '"seed": 2', '"seed": 1')
        self.change(self.path / "t.bitmap.s2" / "run.json", '"options": {}',
                    '"options": {"frames.policy": "next-fit"}')
        self.assertEqual(load_experiment(self.path).allocators,
                         ["bitmap (policy=default)", "bitmap (next-fit)", "buddy"])

    def test_ram_sizes_of_one_trace_make_two_scenarios(self):
        document = self.path / "experiment.json"
        head, tail = document.read_text(encoding="utf-8").split('"ram_bytes": 0', 1)
        document.write_text(f'{head}"ram_bytes": {64 << 20}{tail}', encoding="utf-8")
        self.assertEqual([name.replace(wording.SPACE, " ")
                          for name in load_experiment(self.path).scenarios],
                         ["t · 64 MiB RAM", "t · recorded RAM"])

    def test_settings_behind_the_name_are_read(self):
        document = self.path / "experiment.json"
        self.change(document, '"frames": "bitmap"', '"frames": "bitmap:policy=next-fit,batch=8"')
        self.change(document, '"ram_bytes": 0', '"ram": "recorded"')
        self.assertEqual(load_experiment(self.path).allocators,
                         ["bitmap (next-fit, batch=8)", "buddy"])


class Findings(unittest.TestCase):
    """What a title says is what the files say."""

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls._folder.cleanup)
        spec = Spec(traces=("t",), allocators=("null", "bitmap", "stack", "buddy"), samples=30,
                    ram_mib=16)
        cls.path = write_experiment(Path(cls._folder.name) / "e", spec)
        cls.experiment = load_experiment(cls.path)

    def usable(self, allocator: str) -> float:
        with open(self.path / f"t.{allocator}.s1" / "samples.csv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        total = span = 0
        for row, following in zip(rows, rows[1:]):
            step = int(following["time_ns"]) - int(row["time_ns"])
            total += step * (1 - float(row["unusable_o9"]))
            span += step
        return 100 * total / span

    def test_fragmentation_ranks_by_the_mean_over_time(self):
        shares = {name: self.usable(name) for name in ("bitmap", "stack", "buddy")}
        best = max(shares, key=lambda name: shares[name])
        text = plot_fragmentation.finding(self.experiment).replace(wording.SPACE, " ")
        self.assertTrue(text.startswith(f"On t, {best} keeps {shares[best]:.0f} % of free memory "
                                        "usable at 2 MiB"), text)
        for name, share in shares.items():
            self.assertIn(name, text)
            self.assertIn(f"{share:.0f} %", text)

    def test_who_never_frees_is_not_ranked_and_the_reader_is_told(self):
        self.assertNotIn("null", plot_fragmentation.finding(self.experiment))
        self.assertEqual(ranking.unranked_notes(self.experiment, True),
                         ["null never takes memory back"])

    def test_refusals_are_shares_of_what_was_asked_for(self):
        # The stack refuses 20 requests a sample; events.csv counts 40,000 of order 0.
        text = plot_summary.finding(self.experiment).replace(wording.SPACE, " ")
        self.assertTrue(text.startswith("Refused: stack 2 % of the requests of t; none of them "
                                        "for a single frame"), text)

    def test_who_leaves_much_memory_unserved_is_not_ranked_by_placement_only(self):
        path = write_experiment(Path(self._folder.name) / "g",
                                Spec(traces=("t",), samples=100, ram_mib=4))
        file = path / "t.stack.s1" / "failures.csv"  # 2,000 of 42,000 requests
        text = file.read_text(encoding="utf-8").replace(",2,1,any,", ",512,1,any,")
        file.write_text(text, encoding="utf-8")
        experiment = load_experiment(path)
        self.assertNotIn("stack", plot_fragmentation.finding(experiment))
        self.assertTrue(ranking.ranked(experiment, "t", "stack", placement=False))
        self.assertEqual(experiment.runs("t", "stack")[0].refused_by_order, {9: 2000})

    def test_times_below_the_timers_cost_are_equal(self):
        text = plot_latency.finding(self.experiment).replace(wording.SPACE, " ")
        # The stack's median is 18 ns, the timer costs 21.5 ns.
        self.assertIn("stack needs 22 ns or less for the median order-0 allocation", text)

    def test_who_refuses_too_much_is_not_ranked(self):
        spec = Spec(traces=("t",), samples=300, ram_mib=4)  # 300 * 20 of 40,000 are 15 %
        experiment = load_experiment(write_experiment(Path(self._folder.name) / "f", spec))
        self.assertEqual([note.replace(wording.SPACE, " ")
                          for note in ranking.unranked_notes(experiment, True)],
                         ["stack left 15 % of the requests unserved"])
        self.assertNotIn("stack", plot_fragmentation.finding(experiment))


if __name__ == "__main__":
    unittest.main(verbosity=2)
