#!/usr/bin/env python3
"""How replaying a program's memory references compares with recording them.

bench_lackey.py [--kmemlab PROGRAM] [--references N] [--tables NAME] [--keep DIR] [-- COMMAND ...]

Records COMMAND with `valgrind --tool=lackey --trace-mem=yes` (default: the start of python3, 25 to 30
million references), imports the recording, replays it through demand paging (--space process) with
TLB statistics, and prints the CPU seconds of each step and what replay takes of the recording's. CPU
time, because other work on the machine stretches the rest; wall clock time stands beside it. What is
judged is the native pass, which has the statistics; both passes together are shown too. Needs 15
bytes of disk a reference. Exit codes: 0 replay takes a tenth at most; 1 it takes more, or the replay found
something wrong; 2 usage; 3 the recording is too short; 77 there is no valgrind.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time

GOAL = 0.1
MACHINE = ["--machine", "pc-512m", "--ram", "64M"]


def timed(command, **more):
    """CPU and wall clock seconds, and what it printed."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, check=False, text=True, stdout=subprocess.PIPE, **more)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        print(f"bench_lackey.py: {' '.join(command)} ends with {done.returncode}", file=sys.stderr)
        sys.exit(1)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, wall, done.stdout


def program(asked):
    here = os.path.dirname(os.path.abspath(__file__))
    built = os.path.join(here, "..", "build", "kmemlab")
    found = asked or (built if os.path.exists(built) else shutil.which("kmemlab"))
    if not found:
        print("bench_lackey.py: no kmemlab: build it, or --kmemlab PROGRAM", file=sys.stderr)
        sys.exit(2)
    return found


def options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--kmemlab", metavar="PROGRAM")
    parser.add_argument("--references", type=int, default=20_000_000, metavar="N",
                        help="at least so many (default 20000000)")
    parser.add_argument("--tables", default="direct", metavar="NAME")
    parser.add_argument("--keep", metavar="DIR", help="leaves recording and trace there")
    parser.add_argument("command", nargs="*", help="the program to record")
    return parser.parse_args()


def row(step, cpu, wall):
    print(f"{step:<28}{cpu:10.2f} s CPU{wall:10.2f} s")


def measure(kmemlab, asked, folder):
    recording, trace = os.path.join(folder, "lackey.txt"), os.path.join(folder, "lackey.kmt")
    command = asked.command or ["/usr/bin/python3", "-I", "-S", "-c", "pass"]
    recorded, wall, _ = timed(["valgrind", "--tool=lackey", "--trace-mem=yes",
                               f"--log-file={recording}", *command])
    row("valgrind records", recorded, wall)
    row("kmemlab imports", *timed([kmemlab, "import", recording, "--format", "lackey",
                                   "-o", trace])[:2])
    info = json.loads(timed([kmemlab, "info", trace, "--json"])[2])
    touches = info["events"]["touch"]
    if touches < asked.references:
        print(f"bench_lackey.py: {touches} references, fewer than {asked.references}",
              file=sys.stderr)
        return 3
    verdict = 0
    for passes in ("native", "both"):
        replayed, wall, text = timed(
            [kmemlab, "replay", trace, "--frames", "buddy", "--tables", asked.tables, "--space",
             "process", *MACHINE, "--pass", passes, "--json"])
        row(f"kmemlab replays, {passes}", replayed, wall)
        done = json.loads(text)
        mmu = done["passes"]["native"]["mmu"]
        good = done["spaces"]["touches"] == touches and done["spaces"]["killed"] == 0
        if not good or done["violations"] or mmu["lookups"] < touches:
            print("bench_lackey.py: not every reference was replayed", file=sys.stderr)
            return 1
        print(f"  {touches} references, {replayed / touches * 1e9:.1f} ns each; "
              f"{mmu['l1_misses']} L1 misses, {mmu['walks']} walks; "
              f"ratio {replayed / recorded:.4f}, goal {GOAL}")
        if passes == "native":
            verdict = int(replayed > GOAL * recorded)
    return verdict


def main():
    asked = options()
    kmemlab = program(asked.kmemlab)
    if not shutil.which("valgrind"):
        print("bench_lackey.py: skipped: there is no valgrind")
        return 77
    if asked.keep:
        os.makedirs(asked.keep, exist_ok=True)
        return measure(kmemlab, asked, asked.keep)
    with tempfile.TemporaryDirectory(prefix="kmemlab-lackey-") as folder:
        return measure(kmemlab, asked, folder)


if __name__ == "__main__":
    sys.exit(main())
