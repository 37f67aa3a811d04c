#!/usr/bin/env python3
"""Kernel libraries keep no state of their own and ask nobody but the port.

    symbols.py --nm NM --ld LD [--readelf READELF] LIBRARY.a...
    symbols.py --nm NM --ld LD --self-test SOURCE.c --compiler CC [--cflag FLAG...]

All members are linked into one relocatable object. Its undefined symbols must be port_*, or one of
the four functions that a compiler calls on its own; it must have no variables: .data, .bss,
thread-local storage and common symbols are empty. Tables of constants are allowed.

The self-test compiles SOURCE.c, which breaks each rule, and demands that each is reported.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

ALLOWED = re.compile(r"^(port_\w+|memcpy|memmove|memset|memcmp)$")
STATE = re.compile(r"^\.(data|bss|tdata|tbss|init_array|fini_array|ctors|dtors)(\..*)?$")
CONSTANT = re.compile(r"^\.data\.rel\.ro(\..*)?$")


def run(command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def sections(readelf, path):
    """Pairs of a section's name and size."""
    for line in run([readelf, "-SW", path]).splitlines():
        match = re.match(r"\s*\[\s*\d+\]\s+(\S+)\s+\S+\s+[0-9a-f]+\s+[0-9a-f]+\s+([0-9a-f]+)", line)
        if match:
            yield match.group(1), int(match.group(2), 16)


def findings(args, inputs):
    """Everything that is wrong with the relocatable link of the inputs."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        whole = os.path.join(folder, "whole.o")
        run([args.ld, "-r", "-o", whole, "--whole-archive", *inputs])
        for line in run([args.nm, whole]).splitlines():
            *_, kind, name = line.split()
            if kind in "Uwv" and not ALLOWED.match(name):
                found.append(f"undefined: {name}")
            if kind in "bBC":
                found.append(f"state: {'common' if kind == 'C' else 'variable'} {name}")
        for name, size in sections(args.readelf, whole):
            if size and STATE.match(name) and not CONSTANT.match(name):
                found.append(f"state: section {name} has {size} bytes")
    return found


def self_test(args):
    with tempfile.TemporaryDirectory() as folder:
        planted = os.path.join(folder, "planted.o")
        run([args.compiler, *args.cflag, "-fcommon", "-c", args.self_test, "-o", planted])
        found = findings(args, [planted])
    missed = [
        what
        for what in ("undefined: malloc", "section .bss", "section .data", "section .tbss", "common")
        if not any(what in f for f in found)
    ]
    for what in missed:
        print(f"lint error: {args.self_test}: the planted violation '{what}' was not found")
    wrong = [f for f in found if "constant_table" in f or "port_panic" in f or ".rel.ro" in f]
    for what in wrong:
        print(f"lint error: {args.self_test}: reported though legal: {what}")
    return 1 if missed or wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--ld", default="ld")
    parser.add_argument("--readelf", default="readelf")
    parser.add_argument("--compiler")
    parser.add_argument("--cflag", action="append", default=[])
    parser.add_argument("--self-test")
    parser.add_argument("libraries", nargs="*")
    args = parser.parse_args()
    if args.self_test:
        return self_test(args)
    failed = False
    for library in args.libraries:
        for finding in findings(args, [library]):
            print(f"{library}: {finding}")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
