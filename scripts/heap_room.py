#!/usr/bin/env python3
"""docs/heap-room.md: every kernel heap in RAM of four times the most that lives, on every heap workload.

heap_room.py KMEMLAB -o docs/heap-room.md
heap_room.py KMEMLAB --check docs/heap-room.md    exit 1, and what differs, when it is not current

Workloads are the recorded slab traces of workloads/recorded and the heap generators at their defaults (seed 1).
RAM is what the machine itself needs to boot, and four times the most bytes that were ever alive at once; the
heap's state is taken from that. Everything is a count: the same on every machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
FRAME = 4096
TIMES = 4
HEADER = """# Kernel heaps in four times what lives

Written by `scripts/heap_room.py`; a test holds it current. Do not edit it: run
`python3 scripts/heap_room.py build/kmemlab -o docs/heap-room.md`.

RAM is what the machine needs to boot (frame allocator `buddy`, page tables) and four times the most bytes that were ever
alive at once; the heap's own state is taken from that. A cell is the requests that were refused, or `-`, and then the most
that the heap held by the most that lived, state included; "refused": the heap does not start in that RAM. Why a design
refuses what it refuses: docs/heaps.md.

"""


def run(program, *arguments):
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


class Refused(Exception):
    """The heap does not start in this RAM, or on this machine."""


def replay(program, trace, heap, *more):
    done = run(program, "replay", str(trace), "--frames", "buddy", "--heap", heap, "--pass", "native", "--json", *more)
    if done.returncode == 2:
        raise Refused(done.stderr)
    if done.returncode != 0:
        raise SystemExit(f"heap_room.py: {heap} on {trace.name}: {done.stderr.strip() or done.stdout[:2000]}")
    return json.loads(done.stdout)


def listed(program, kind):
    return json.loads(run(program, "list", kind, "--json").stdout)


def workloads(program, folder):
    """(name, path) of every trace: recorded ones first."""
    found = [(path.stem, path) for path in sorted((SOURCE / "workloads" / "recorded").glob("*slab*.kmt"))]
    for entry in listed(program, "workloads"):
        if entry["id"] == "heap":
            path = Path(folder) / f"{entry['name']}.kmt"
            done = run(program, "generate", entry["name"], "--seed", "1", "-o", str(path))
            if done.returncode:
                raise SystemExit(f"heap_room.py: {entry['name']}: {done.stderr.strip()}")
            found.append((entry["name"], path))
    return found


def peak_live(program, trace):
    """Bytes; the same for every heap that serves all requests."""
    result = replay(program, trace, "tlsf")
    if result["failures"]:
        raise SystemExit(f"heap_room.py: {trace.name}: {result['failures']} requests fail in the machine's own RAM")
    return result["heap"]["peak_live_bytes"]


def in_room(program, trace, heap, peak_bytes):
    """A replay in that RAM. What booting keeps depends on the RAM: asked for until it fits."""
    kept = 0
    while True:
        result = replay(program, trace, heap, "--ram", str(TIMES * peak_bytes + kept * FRAME))
        reserved = result["metrics"]["reserved_frames"]
        if reserved <= kept:
            return result
        kept = reserved


def measure(program):
    """[(workload, peak bytes, {heap: (failures, held by live)})]; None in place of a pair: refused."""
    heaps = [entry["name"] for entry in listed(program, "heaps")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, path in workloads(program, folder):
            peak_bytes = peak_live(program, path)
            found = {}
            for heap in heaps:
                try:
                    result = in_room(program, path, heap, peak_bytes)
                except Refused:
                    found[heap] = None
                    continue
                held = result["heap"]["peak_held_bytes"] + result["heap"]["state_bytes"]
                found[heap] = result["failures"], held / peak_bytes
            rows.append((name, peak_bytes, found))
    return rows


def cell(found):
    return "refused" if found is None else f"{found[0] or '-'} ({found[1]:.2f})"


def text_of(rows):
    heaps = list(rows[0][2])
    lines = ["| | KiB alive | " + " | ".join(f"`{heap}`" for heap in heaps) + " |",
             "|---" * (len(heaps) + 2) + "|"]
    for name, peak_bytes, found in rows:
        cells = " | ".join(cell(found[heap]) for heap in heaps)
        lines.append(f"| {name} | {peak_bytes / 1024:.0f} | {cells} |")
    return HEADER + "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("-o", "--output")
    parser.add_argument("--check")
    options = parser.parse_args()
    text = text_of(measure(options.program))
    if options.output:
        Path(options.output).write_text(text, encoding="utf-8")
    elif options.check:
        if Path(options.check).read_text(encoding="utf-8") != text:
            print(text)
            sys.exit(f"heap_room.py: {options.check} is not what is measured now")
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
