#!/usr/bin/env python3
"""Sources are as clang-format leaves them. Skipped (exit 77) without clang-format of version 14:
other versions format differently.

    format.py ROOT
    format.py --self-test ROOT      an ill-formatted file is reported
"""
import os
import re
import subprocess
import sys
import tempfile

FOLDERS = ("alloc", "mmu", "workloads", "sim", "tests", "examples")
VERSION = "14"
SKIP = 77


def clang_format():
    for name in ("clang-format-" + VERSION, "clang-format"):
        try:
            said = subprocess.run([name, "--version"], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        match = re.search(r"version (\d+)\.", said.stdout)
        if match and match.group(1) == VERSION:
            return name
    return None


def check(program, style, paths):
    done = subprocess.run([program, "--style=file:" + style, "--dry-run", "-Werror", *paths],
                          capture_output=True, text=True, check=False)
    lines = [l for l in done.stderr.splitlines() if "error:" in l]
    return done.returncode, lines


def sources(root):
    for folder in FOLDERS:
        for where, folders, files in os.walk(os.path.join(root, folder)):
            folders.sort()
            for name in sorted(files):
                if name.endswith((".c", ".h")):
                    yield os.path.join(where, name)


def self_test(program, style):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "ugly.c")
        with open(path, "w", encoding="utf-8") as f:
            f.write("int   main( void ){return 0 ;}\n")
        code, _ = check(program, style, [path])
    if code == 0:
        print("lint error: ill-formatted text was not reported")
        return 1
    return 0


def main():
    program = clang_format()
    root = sys.argv[-1]
    if not program:
        print(f"no clang-format {VERSION}: skipped")
        return SKIP
    style = os.path.join(root, ".clang-format")
    if sys.argv[1] == "--self-test":
        return self_test(program, style)
    code, lines = check(program, style, list(sources(root)))
    for line in lines:
        print(line)
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
