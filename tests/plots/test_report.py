"""The report, and what damaged experiments come to."""

import json
import os
import re
import unittest
from pathlib import Path
from unittest import mock

from support import Case, png_size, run_main
from synthetic import join_experiments, turn_into_heaps, turn_into_spaces
import plot
import report
from kmemlab_plots import gallery
from kmemlab_plots.experiment import load_experiment


class Report(Case):
    def test_it_holds_every_picture_and_needs_nothing_from_outside(self):
        path = self.make()
        files = self.draw(path)
        text = self.write_report(path)
        self.assertEqual(text.count("data:image/png;base64,"), len(files))
        for word in ("http:", "https:", "//cdn", "<script", "<link", "@import", "url("):
            self.assertNotIn(word, text)
        self.assertEqual(set(re.findall(r'src="([a-z]+:)', text)), {"data:"})

    def test_it_draws_what_is_missing_and_leaves_the_folder_alone(self):
        path = self.make(allocators=("buddy",))
        before = self.write_report(path)
        self.assertFalse((path / "plots").exists())
        self.draw(path)
        self.assertEqual(before, self.write_report(path))

    def test_plots_older_than_their_runs_are_drawn_again(self):
        path = self.make(allocators=("buddy",))
        old = self.draw(path)[0]
        old.write_bytes(b"stale")
        newest = report.newest_input_ns(load_experiment(path))
        os.utime(old, ns=(newest - 1, newest - 1))
        experiment = load_experiment(path)
        pictures = report.pictures(experiment, gallery.plan(experiment))
        png_size(pictures[0][1])

    def write_text(self, path: Path) -> str:
        """A report without its pictures, for tests of its words."""
        with mock.patch.object(report, "pictures", return_value=[]):
            return self.write_report(path)

    def test_it_says_how_to_reproduce_and_what_was_run(self):
        text = self.write_text(self.make())
        self.assertIn("kmemlab replay workloads/recorded/redis-page.kmt --frames buddy", text)
        self.assertIn("A CPU Of Some Kind", text)
        self.assertRegex(text, r"[0-9a-f]{64}")

    def test_every_kind_has_a_chapter_and_what_is_impossible_is_a_note(self):
        path = join_experiments(self.folder / "joined", [
            self.make("f", allocators=("buddy",)),
            turn_into_heaps(self.make("h", traces=("slabs",), allocators=("slab", "tlsf"))),
            turn_into_spaces(self.make("s", traces=("storm",), allocators=("direct",)))])
        document = path / "experiment.json"
        content = json.loads(document.read_text(encoding="utf-8"))
        for machine in ("a", "b"):
            content["cells"].append(dict(content["cells"][-1], run=f"never.{machine}",
                                         machine=machine, status="skipped",
                                         message="no paging <here>"))
        document.write_text(json.dumps(content), encoding="utf-8")
        text = self.write_text(path)
        places = [text.index(f'id="{name}"') for name in (
            "frames", "findings", "heaps", "heaps-findings", "table-call-sites", "spaces",
            "spaces-findings")]
        self.assertEqual(places, sorted(places))
        ids = re.findall(r' id="([^"]+)"', text)
        self.assertEqual(len(ids), len(set(ids)))
        self.assertIn("1 allocator, 2 heaps, 1 system, 3 traces", text)
        self.assertIn("No violations", text)
        self.assertIn("2 combinations: no paging &lt;here&gt;", text)
        self.assertIn("inode_cache", text)

    def test_text_from_files_is_escaped(self):
        path = self.make(allocators=("buddy",))
        document = path / "experiment.json"
        document.write_text(document.read_text().replace("Synthetic allocators",
                                                         "<script>alert(1)</script>"))
        self.assertNotIn("<script>", self.write_text(path))


class BadInput(Case):
    def refused(self, path: Path, *words: str) -> None:
        for module, more in ((plot, []), (report, ["-o", str(self.folder / "r.html")])):
            code, out, err = run_main(module, str(path), *more)
            self.assertEqual((code, out), (3, ""), err)
            for word in words:
                self.assertIn(word, err)
        self.assertFalse((self.folder / "r.html").exists())

    def damage(self, name: str, change) -> tuple[Path, Path]:
        """An experiment of one run in which change() was applied to the bytes of one file."""
        path = self.make(allocators=("buddy",))
        file = path / "redis-page.buddy.s1" / name
        file.write_bytes(change(file.read_bytes()))
        return path, file

    def test_a_folder_that_is_no_experiment(self):
        self.refused(self.folder, "not an experiment")

    def test_a_folder_that_does_not_exist(self):
        self.refused(self.folder / "nowhere", "not an experiment")

    def test_json_is_named_with_its_line(self):
        path, file = self.damage("run.json", lambda data: data[:200])
        self.refused(path, f"{file}:")

    def test_a_missing_key_is_named(self):
        path, file = self.damage("run.json", lambda d: d.replace(b'"digest"', b'"digets"'))
        self.refused(path, f"{file}:1: result.digest is missing")

    def test_a_run_that_should_be_there(self):
        path = self.make(allocators=("buddy",))
        (path / "redis-page.buddy.s1" / "run.json").unlink()
        self.refused(path, "run.json:1: missing")

    def test_a_schema_of_the_future(self):
        path = self.make(allocators=("buddy",))
        document = path / "experiment.json"
        document.write_text(document.read_text().replace('"schema": 1', '"schema": 2'))
        self.refused(path, "schema 2")

    def test_a_word_among_numbers(self):
        path, file = self.damage("samples.csv", lambda d: d.replace(b"\n1000,", b"\n1o00,"))
        self.refused(path, f"{file}:4: event: '1o00' is not a number")

    def test_a_line_with_a_field_too_few(self):
        path, file = self.damage("latency.csv", lambda d: d.replace(b"\nframe_alloc,0,0,",
                                                                    b"\nframe_alloc,0,", 1))
        self.refused(path, f"{file}:2: 5 fields where the header has 6")

    def test_a_file_that_was_cut_off(self):
        path, file = self.damage("samples.csv", lambda d: d[:-3])
        self.refused(path, f"{file}:13: cut off")

    def test_an_empty_file(self):
        path, file = self.damage("events.csv", lambda d: b"")
        self.refused(path, f"{file}:1: empty")

    def test_a_column_that_is_missing(self):
        path, file = self.damage("samples.csv", lambda d: d.replace(b"unusable_o9", b"u9"))
        self.refused(path, f"{file}:1: no column unusable_o9")

    def test_time_that_runs_backwards(self):
        path, file = self.damage("samples.csv", lambda d: d.replace(b"\n1000,7500", b"\n1000,1"))
        self.refused(path, f"{file}:4: time_ns goes backwards")

    def test_bytes_that_are_no_text(self):
        path, file = self.damage("samples.csv", lambda d: d.replace(b"\n500,", b"\n5\xff0,"))
        self.refused(path, f"{file}:3: not UTF-8")

    def test_frame_maps_that_are_cut_off_or_of_another_kind(self):
        for change, words in ((lambda d: d[:-1], "need"), (lambda d: d[:10], "header"),
                              (lambda d: b"X" + d[1:], "KMFRAMES"),
                              (lambda d: d[:8] + b"\2" + d[9:], "version 2"),
                              (lambda d: d[:-1] + b"\xfd", "reserved")):
            with self.subTest(words):
                path, file = self.damage("frames.bin", change)
                self.refused(path, f"{file}: byte", words)
                self._folder.cleanup()
                self.folder.mkdir()


if __name__ == "__main__":
    unittest.main(verbosity=2)
