"""The committed recordings against every page-frame allocator: what issue and guide demand of a
replay of a real Linux.

    test_recorded.py KMEMLAB FOLDER_OF_RECORDINGS [--all]

The systems of BASE under both recordings; each other one under one of them, its first events.
--all: every system under both, all events, which takes minutes where an allocator walks lists.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import unittest

KMEMLAB, FOLDER = sys.argv[1:3]
ALL = "--all" in sys.argv
BASE = ("null", "bitmap", "stack", "buddy")
FIRST_EVENTS = 60000
RECORDINGS = [os.path.join(FOLDER, name) for name in ("redis-page.kmt", "thp-page.kmt")]
if not all(os.path.exists(path) for path in RECORDINGS):
    print("no recordings: skipped")
    sys.exit(77)


def kmemlab(*arguments):
    done = subprocess.run([KMEMLAB, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise AssertionError(f"{arguments}: exit {done.returncode}: {done.stderr}")
    return done.returncode, done.stdout


def replay(trace, frames, *options):
    code, out = kmemlab("replay", trace, "--frames", frames, "--json", *options)
    result = json.loads(out)
    assert code == (1 if result["violations"] else 0), (code, result["violation_list"])
    return result


def info(trace):
    return json.loads(kmemlab("info", trace, "--json")[1])


def systems():
    return {one["name"]: one for one in json.loads(kmemlab("list", "frames", "--json")[1])}


def rows(folder, name):
    with open(os.path.join(folder, name), newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


NAMES = list(systems())
PAIRS = [(trace, name, ALL or name in BASE)
         for number, trace in enumerate(RECORDINGS) for name in NAMES
         if ALL or name in BASE or NAMES.index(name) % 2 == number]

# Bump pointers: null, and the placement allocator, which takes back only what it gave last.
NEVER_FREE = ("null", "placement")


ORDERS = range(11)


def shares(row):
    """Of the free frames, by the order of the block that they lie in."""
    frames = [int(row[f"free_blocks_o{order}"]) << order for order in ORDERS]
    return [one / max(sum(frames), 1) for one in frames]


def mean_distance(trace, frames):
    """Over the snapshots of the recorded kernel's buddyinfo, each against the sample before it."""
    with tempfile.TemporaryDirectory() as folder:
        run = os.path.join(folder, "run")
        replay(trace, frames, "--start", "recorded", "--pass", "native", "-o", run,
               "--sample-events", "200")
        samples, recorded = rows(run, "samples.csv"), rows(run, "recorded.csv")
    distances, at = [], 0
    for snapshot in recorded:
        while at + 1 < len(samples) and int(samples[at + 1]["event"]) <= int(snapshot["event"]):
            at += 1
        pairs = zip(shares(snapshot), shares(samples[at]))
        distances.append(sum(abs(a - b) for a, b in pairs) / 2)
    return sum(distances) / len(distances)


class Recorded(unittest.TestCase):
    def test_no_system_breaks_an_invariant_and_both_passes_agree(self):
        for trace, name, whole in PAIRS:
            with self.subTest(trace=os.path.basename(trace), frames=name):
                result = replay(trace, name, *(() if whole else ("--until", FIRST_EVENTS - 1)))
                self.assertEqual(result["violation_list"], [])
                self.assertEqual(result["passes"]["native"]["digest"],
                                 result["passes"]["probed"]["digest"])
                self.assertEqual(result["events"],
                                 info(trace)["total_events"] if whole else FIRST_EVENTS)
                self.assertGreater(result["passes"]["probed"]["counters"]["loads"], 0)
                self.assertEqual(result["passes"]["probed"]["counters"]["faults"], 0)

    def test_at_twice_the_ram_no_single_frame_is_refused_but_by_those_that_never_free(self):
        refused_otherwise = 0
        for trace, name in ((trace, name) for trace, name, whole in PAIRS if whole):
            with self.subTest(trace=os.path.basename(trace), frames=name), \
                    tempfile.TemporaryDirectory() as folder:
                run = os.path.join(folder, "run")
                result = replay(trace, name, "--ram", "2x", "--pass", "native", "-o", run)
                self.assertEqual(result["violations"], 0)
                single = [row for row in rows(run, "failures.csv") if row["frames"] == "1"]
                self.assertEqual(len(rows(run, "failures.csv")), result["failures"])
                if name in NEVER_FREE:
                    refused_otherwise += len(single)
                else:
                    self.assertEqual(len(single), 0)
        self.assertGreater(refused_otherwise, 0)

    def test_at_the_recorded_frames_the_ledger_follows_the_kernel(self):
        for trace in RECORDINGS:
            with self.subTest(trace=os.path.basename(trace)), \
                    tempfile.TemporaryDirectory() as folder:
                run = os.path.join(folder, "run")
                result = replay(trace, "bitmap", "--start", "recorded", "--place", "recorded",
                                "--pass", "native", "-o", run)
                self.assertEqual(result["violations"], 0)
                managed = info(trace)["managed_frames"]
                snapshots = [row for row in rows(run, "recorded.csv") if row["mem_free_frames"]]
                self.assertGreater(len(snapshots), 20)
                worst = max(abs(int(row["mem_free_frames"]) - int(row["ledger_free_frames"]))
                            for row in snapshots)
                self.assertLess(100 * worst / managed, 5)
                # And not because nothing moves.
                frees = [int(row["ledger_free_frames"]) for row in snapshots]
                self.assertGreater(100 * (max(frees) - min(frees)) / managed, 10)

    def test_the_zoned_buddy_follows_the_free_blocks_of_the_kernel(self):
        """Metric 23 between the recorded buddyinfo and the ledger, from the recorded free set on."""
        for trace in RECORDINGS:
            with self.subTest(trace=os.path.basename(trace)):
                apart = {name: mean_distance(trace, name) for name in ("zoned-buddy", "buddy")}
                print(f"# {os.path.basename(trace)}: distance to the kernel's free blocks, mean: "
                      + ", ".join(f"{name} {value:.3f}" for name, value in apart.items()))
                self.assertLess(apart["zoned-buddy"], 0.25)
                self.assertLess(apart["zoned-buddy"], 0.75 * apart["buddy"])

    def test_event_0_finds_as_many_free_frames_as_the_recorded_kernel_had(self):
        for trace in RECORDINGS:
            for start in ("ascending", "recorded"):
                with self.subTest(trace=os.path.basename(trace), start=start), \
                        tempfile.TemporaryDirectory() as folder:
                    run = os.path.join(folder, "run")
                    replay(trace, "bitmap", "--start", start, "--until", "0", "--pass", "native",
                           "-o", run)
                    self.assertEqual(int(rows(run, "samples.csv")[0]["free_frames"]),
                                     info(trace)["free_frames"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
