"""Every heap in RAM of four times the most that lives: who refuses a request must have a reason, and the document
says what is measured."""

import sys
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(SOURCE / "scripts"))
import heap_room  # noqa: E402

PROGRAM = sys.argv.pop(1)

# Pages that hold objects of one size only: what Robson's adversary leaves in each keeps all of them (docs/heaps.md).
SEGREGATED = {"size-classes", "slab", "collector"}


class Room(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rows = heap_room.measure(PROGRAM)
        # One that frees nothing, has one size for all, or gives every object pages of its own, is for comparison.
        cls.general = {entry["name"] for entry in heap_room.listed(PROGRAM, "heaps")
                       if {"free", "any-size"} <= set(entry["capabilities"])} - {"guarded"}

    def test_all_workloads_are_there(self):
        self.assertGreaterEqual(len(self.rows), 8)
        self.assertGreaterEqual(len(self.general), 7)

    def test_nothing_is_refused_in_four_times_what_lives(self):
        for workload, _, found in self.rows:
            for heap in sorted(self.general):
                with self.subTest(workload=workload, heap=heap):
                    if workload == "robson" and heap in SEGREGATED:
                        self.assertGreater(found[heap][0], 0, "the document says that it must")
                    else:
                        self.assertEqual(found[heap][0], 0)

    def test_the_document_is_current(self):
        text = (SOURCE / "docs" / "heap-room.md").read_text(encoding="utf-8")
        self.assertEqual(text, heap_room.text_of(self.rows))


if __name__ == "__main__":
    unittest.main()
