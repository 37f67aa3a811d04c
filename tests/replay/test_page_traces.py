"""Every page trace of the shared data folder against every page-frame allocator, at the recorded RAM
and at twice that: no violation, two runs and both passes alike, and with twice the RAM no single
frame is refused but by those that never free.

    test_page_traces.py KMEMLAB FOLDER_OF_TRACES
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import unittest

KMEMLAB, FOLDER = sys.argv[1:3]
# name of the recording, and its file that has all page events
RECORDINGS = {"redis-page": "trace.dat", "thp-page": "trace.dat", "compile-all": "trace.dat",
              "compile-page": "trace.v6.dat.zst", "files-page": "trace.v6.dat.zst",
              "swap-page": "trace.v6.dat.zst"}
if not os.path.isdir(FOLDER):
    print("no recordings: skipped")
    sys.exit(77)

# Bump pointers: null, and the placement allocator, which takes back only what it gave last.
NEVER_FREE = ("null", "placement")
VARIANTS = {"bitmap": ["policy=next-fit", "policy=best-fit"], "memblock": ["order=bottom-up"],
            "zoned-buddy": ["cpu-lists=off", "mobility=off", "watermarks=off", "zones=i386"]}
# Two rows that place alike; settings of one row may, where a trace does not tell them apart. memblock takes the lowest free frames too, as bitmap does first-fit;
# stack and stack-lazy are one order with two ways to start.
ALIKE = [{"bitmap", "memblock order=bottom-up"}, {"stack", "stack-lazy"}]


def kmemlab(*arguments):
    done = subprocess.run([KMEMLAB, *map(str, arguments)], capture_output=True, text=True,
                          check=False)
    if done.returncode not in (0, 1):
        raise AssertionError(f"{arguments}: exit {done.returncode}: {done.stderr}")
    return done.stdout


def systems():
    for one in json.loads(kmemlab("list", "frames", "--json")):
        yield one["name"], []
        for setting in VARIANTS.get(one["name"], []):
            yield f"{one['name']} {setting}", ["--set", f"frames.{setting}"]


class PageTraces(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.traces = {}
        for name, file in RECORDINGS.items():
            cls.traces[name] = os.path.join(cls.folder.name, name + ".kmt")
            recording = os.path.join(FOLDER, name)
            kmemlab("import", os.path.join(recording, file), "--state",
                    os.path.join(recording, "ground-truth.tar.zst"), "-o", cls.traces[name])

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def replay(self, trace, system, settings, *options):
        return json.loads(kmemlab("replay", self.traces[trace], "--frames", system.split()[0],
                                  *settings, *options, "--json"))

    def test_every_system_runs_every_trace(self):
        for trace in RECORDINGS:
            digests = {}
            for system, settings in systems():
                with self.subTest(trace=trace, frames=system):
                    result = self.replay(trace, system, settings)
                    again = self.replay(trace, system, settings, "--pass", "native")
                    self.assertEqual(result["violation_list"], [])
                    self.assertFalse(result["digests_differ"])
                    self.assertEqual(result["digest"], again["digest"])
                    digests.setdefault(result["digest"], set()).add(system)
            for alike in digests.values():
                rows = {system.split()[0] for system in alike}
                with self.subTest(trace=trace, alike=alike):
                    self.assertTrue(len(rows) == 1 or alike in ALIKE, alike)

    def test_at_twice_the_ram_no_single_frame_is_refused(self):
        for trace in RECORDINGS:
            for system, settings in systems():
                with self.subTest(trace=trace, frames=system), \
                        tempfile.TemporaryDirectory() as folder:
                    run = os.path.join(folder, "run")
                    result = self.replay(trace, system, settings, "--ram", "2x", "-o", run)
                    self.assertEqual(result["violation_list"], [])
                    self.assertFalse(result["digests_differ"])
                    with open(os.path.join(run, "failures.csv"), newline="",
                              encoding="utf-8") as file:
                        rows = list(csv.DictReader(file))
                    self.assertEqual(len(rows), result["failures"])
                    if system not in NEVER_FREE:
                        self.assertEqual([row for row in rows if row["frames"] == "1"], [])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
