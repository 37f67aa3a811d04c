#!/usr/bin/env python3
"""The table of systems in docs/systems.md, from the registry, the theory blocks and measurement.

systems_table.py KMEMLAB [-o docs/systems.md]
systems_table.py KMEMLAB --check docs/systems.md    exit 1, and what differs, when it is not current (words
                                                    exactly, counts within a tenth)

What each allocator can do comes from `kmemlab list frames`, what it costs in words from the theory block
of its source file ("Cost:"), and the figures from `kmemlab boot` (probed build) and `kmemlab replay`:
all of them are counts, the same on every machine.
"""

import argparse
import difflib
import json
import re
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
TRACE = SOURCE / "workloads" / "recorded" / "redis-page.kmt"
SIZES = ("64M", "1G", "16G")
# What somebody may miss, by the capability that is not there.
MISSING = (
    ("free", "free"), ("runs", "contiguous runs"), ("any-count", "runs of any length"),
    ("align", "alignment beyond a block's own"), ("at", "a frame by number"),
    ("partial-free", "freeing part of a block"), ("zones", "zones"), ("mobility", "mobility"),
)
HEADER = """# The page-frame allocators, compared

Written by `scripts/systems_table.py` from the registry, the theory blocks of `alloc/frame/` and measurement; a test holds it
current. Do not edit it: run `python3 scripts/systems_table.py build/kmemlab -o docs/systems.md`.

"""
NOTES = """
- **Metadata** is state and frames kept, a managed frame, at the end of `redis-page.kmt` on the recorded machine (512 MiB).
- **To start** is what a boot costs from the firmware's memory map to the first frame handed out, in {sizes} of RAM: accesses
  (loads, stores and atomics of the probed build) and distinct frames touched. The page tables of the direct map are in it and are
  the same for all; `null` shows little else. "refused": it writes every free frame, and 4 GiB of host memory are the limit here.
- **An operation** is the mean over the frame events of `redis-page.kmt`: loads and stores, cache lines touched.
- A request that a system cannot serve is counted as a failure in a run, never hidden.
"""


def ask(program, *arguments):
    done = subprocess.run([program, *arguments, "--json"], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise SystemExit(f"systems_table.py: kmemlab {' '.join(arguments)}: {done.stderr}")
    return json.loads(done.stdout)


def theory(name):
    """The "Cost:" paragraph of the source file that has the system of that name."""
    for path in sorted((SOURCE / "alloc" / "frame").glob("*.c")):
        text = path.read_text(encoding="utf-8")
        if not re.search(rf'\.name = "{re.escape(name)}"', text):
            continue
        block = text[:text.index("*/")]
        found = re.search(r"^ \* Cost: (.*?)(?=^ \*\s*$|\Z)", block, re.S | re.M)
        if found:
            return re.sub(r"\s+\*?\s*", " ", found[1].replace("\n *", "\n")).strip()
    return ""


def cannot(system):
    has = set(system["capabilities"])
    words = [text for key, text in MISSING if key not in has]
    if "free" not in has:
        words = [word for word in words if word != "freeing part of a block"]
    if "runs" not in has:
        words = [word for word in words if word != "runs of any length"]
    return ", ".join(words) or "-"


def settings(system):
    def one(setting):
        if "choices" in setting:
            return f"`{setting['key']}` ({', '.join(setting['choices'])})"
        return f"`{setting['key']}` ({setting['default']})"
    return ", ".join(one(setting) for setting in system["settings"]) or "-"


def count(number):
    for limit, divisor, unit in ((10_000, 1, ""), (10_000_000, 1000, " k"),
                                 (float("inf"), 1_000_000, " M")):
        if number < limit:
            return f"{number / divisor:.0f}{unit}"
    return ""


def start_cell(rows):
    def one(row):
        if row["refused"]:
            return "refused"
        accesses = row["loads"] + row["stores"] + row["atomics"]
        return f"{count(accesses)} / {count(row['touched_frames'])}"
    return " | ".join(one(row) for row in rows)


def operation_cell(run):
    counters = run["passes"]["probed"]["counters"]
    calls = run["operations"]
    return (f"{(counters['loads'] + counters['stores'] + counters['atomics']) / calls:.1f} | "
            f"{counters['cache_lines'] / calls:.2f}")


def what_it_is(systems):
    lines = ["| system | row | what it is | cannot | settings |", "|---|---|---|---|---|"]
    for system in systems:
        lines.append(f"| `{system['name']}` | {system['id']} | {system['summary']} | "
                     f"{cannot(system)} | {settings(system)} |")
    return lines


def what_it_costs(systems):
    lines = ["| system | time and metadata, by its theory block |", "|---|---|"]
    for system in systems:
        cost = theory(system["name"]).replace("|", "\\|")
        lines.append(f"| `{system['name']}` | {cost or 'see its source file'} |")
    return lines


def what_was_measured(program, systems):
    sizes = [argument for size in SIZES for argument in ("--ram", size)]
    boots = ask(program, "boot", "--host-memory", "4G", *sizes)
    lines = ["| system | metadata, bytes a frame | accesses an operation | cache lines | "
             + " | ".join(f"to start in {size}: accesses / frames" for size in SIZES) + " |",
             "|---|" + "---|" * (3 + len(SIZES))]
    for system in systems:
        name = system["name"]
        run = ask(program, "replay", str(TRACE), "--frames", name, "--pass", "probed")
        rows = [row for row in boots if row["frames"] == name]
        lines.append(f"| `{name}` | {run['metrics']['metadata_bytes_per_frame']:.4f} | "
                     f"{operation_cell(run)} | {start_cell(rows)} |")
    return lines


def document(program):
    systems = ask(program, "list", "frames")
    parts = [HEADER, "## What they are\n\n", "\n".join(what_it_is(systems)),
             "\n\n## What they cost, in words\n\n", "\n".join(what_it_costs(systems)),
             "\n\n## What they cost, counted\n\n", "\n".join(what_was_measured(program, systems)),
             "\n", NOTES.format(sizes=", ".join(SIZES))]
    return "".join(parts)


NUMBER = re.compile(r"\d+(?:\.\d+)?")
# Compilers differ a little in how many accesses they make of the same source.
TOLERANCE = 0.1


def current(old, new):
    """The same words, and numbers that are near."""
    if NUMBER.sub("#", old) != NUMBER.sub("#", new):
        return False
    pairs = zip(map(float, NUMBER.findall(old)), map(float, NUMBER.findall(new)))
    return all(abs(a - b) <= TOLERANCE * max(a, b) for a, b in pairs)


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("program", metavar="KMEMLAB")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--check", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    text = document(arguments.program)
    if arguments.check:
        old = arguments.check.read_text(encoding="utf-8")
        if current(old, text):
            return 0
        sys.stdout.writelines(difflib.unified_diff(
            old.splitlines(True), text.splitlines(True), str(arguments.check), "as it is now"))
        return 1
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
