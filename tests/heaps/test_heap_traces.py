"""Recorded and generated heap traces against every heap: no violation, both passes and two runs
alike, all frames back where that is promised, and no two heaps that place alike.

    test_heap_traces.py KMEMLAB SOURCE_ROOT [FOLDER_OF_RECORDINGS]

Without a folder: what is committed, a recorded piece of a kernel's slab traffic and a user program's
malloc in two formats, guarded too. With one: every recording of it with slab events, and generated
loads; some minutes.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

KMEMLAB, SOURCE = sys.argv[1:3]
FOLDER = sys.argv[3] if len(sys.argv) > 3 else None
if FOLDER and not os.path.isdir(FOLDER):
    print("no recordings: skipped")
    sys.exit(77)

RECORDINGS = {"redis-slab": "trace.v6.dat.zst", "compile-slab": "trace.v6.dat.zst",
              "compile-all": "trace.dat"}
GENERATED = ("larson", "generational", "power-law", "sawtooth", "fifo", "lifo", "kernel-boot")
SMALL = ("--ram", "48M")  # RAM is touched before it is used: less of it is quicker
# Rows that do not serve everything, by design: docs/heaps.md. The lab's machine is the recorded one.
REFUSES = {"page-only": "larger than a page"}
# A program this small fits one segment of both, and their lists choose alike there: docs/heaps.md.
ALIKE_WHEN_SMALL = ["pools", "kmalloc-vmalloc"]


def guard(heap):
    """All that the heap's objects can have."""
    return "misuse" if "maps" in heap["capabilities"] else "all"


def kmemlab(*arguments):
    done = subprocess.run([KMEMLAB, *map(str, arguments)], capture_output=True, text=True,
                          check=False)
    if done.returncode not in (0, 1):
        raise AssertionError(f"{arguments}: exit {done.returncode}: {done.stderr}")
    return done.stdout


class HeapTraces(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.folder.cleanup)
        cls.heaps = json.loads(kmemlab("list", "heaps", "--json"))

    def path(self, name):
        return os.path.join(self.folder.name, name + ".kmt")

    def replay(self, trace, heap, *more):
        result = json.loads(kmemlab("replay", trace, "--frames", "buddy", "--heap", heap["name"],
                                    "--json", *more))
        where = f"{os.path.basename(trace)}, {heap['name']} {' '.join(more)}"
        self.assertEqual((result["violations"], result["violation_list"]), (0, []), where)
        digests = {one["digest"] for one in result["passes"].values()}
        self.assertEqual(digests, {result["digest"]}, where)
        if heap["name"] not in REFUSES:
            self.assertEqual(result["failures"], 0, where)
        if "gives-back" in heap["capabilities"]:
            self.assertEqual(result["heap"]["held_after_all_frames"], 0, where)
        return result

    def compare(self, trace, runs, *more, but=None):
        """Digests of all heaps, by name. BUT: names that may place alike."""
        digests = {}
        for heap in self.heaps:
            digest = self.replay(trace, heap, *more)["digest"]
            for _ in range(runs - 1):
                self.assertEqual(self.replay(trace, heap, *more)["digest"], digest)
            digests[heap["name"]] = digest
        by_digest = {}
        for name, digest in digests.items():
            by_digest.setdefault(digest, []).append(name)
        alike = [names for names in by_digest.values() if len(names) > 1 and names != but]
        self.assertEqual(alike, [], f"{trace}: heaps that place alike")
        self.assertGreaterEqual(len(digests), 9)
        return digests

    @unittest.skipIf(FOLDER, "the committed ones run by themselves")
    def test_the_committed_piece_of_slab_traffic(self):
        trace = os.path.join(SOURCE, "workloads", "recorded", "redis-slab.kmt")
        self.compare(trace, 1, *SMALL)
        for heap in self.heaps:
            if heap["name"] not in ("null", "page-only"):
                self.replay(trace, heap, "--guard", guard(heap), "--until", "20000", *SMALL)

    @unittest.skipIf(FOLDER, "the committed ones run by themselves")
    def test_a_user_programs_malloc(self):
        digests = []
        for name in ("mtrace.txt.zst", "wordcount.rep.zst"):
            source, trace = os.path.join(SOURCE, "tests", "data", "import", name), self.path(name)
            kmemlab("import", source, "-o", trace)
            digests.append(self.compare(trace, 2, "--machine", "pc-512m", *SMALL,
                                        but=ALIKE_WHEN_SMALL))
            for heap in self.heaps:
                if heap["name"] != "page-only":
                    self.replay(trace, heap, "--machine", "pc-512m", *SMALL, "--guard",
                                guard(heap), "--check-events", "50")
        # The same program, by two tools.
        self.assertEqual(digests[0].keys(), digests[1].keys())

    @unittest.skipUnless(FOLDER, "needs the recordings")
    def test_recorded(self):
        for name, file in RECORDINGS.items():
            with self.subTest(trace=name):
                source = os.path.join(FOLDER, name)
                kmemlab("import", os.path.join(source, file), "--state",
                        os.path.join(source, "ground-truth.tar.zst"), "-o", self.path(name))
                self.compare(self.path(name), 2)

    @unittest.skipUnless(FOLDER, "with the recordings, as both take long")
    def test_generated(self):
        for name in GENERATED:
            with self.subTest(trace=name):
                kmemlab("generate", name, "--seed", 1, "-o", self.path(name))
                self.compare(self.path(name), 2)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
