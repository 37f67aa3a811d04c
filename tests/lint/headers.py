#!/usr/bin/env python3
"""Every header compiles alone, with the flags of its folder.

    headers.py ROOT CC FOLDER [FLAG...]      headers under ROOT/FOLDER
    headers.py --self-test CC                a header that needs another one is reported
"""
import os
import subprocess
import sys
import tempfile


def broken(root, compiler, path, flags):
    """The compiler's words where the header at PATH (relative to ROOT) does not compile, else ''."""
    program = f'#include "{path}"\n#include "{path}"\nextern int nothing_else;\n'
    done = subprocess.run(
        [compiler, "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Werror", "-I" + root, *flags,
         "-fsyntax-only", "-x", "c", "-"],
        input=program, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr


def check_folder(root, compiler, folder, flags):
    failed = False
    for where, folders, files in os.walk(os.path.join(root, folder)):
        folders.sort()
        for name in sorted(files):
            path = os.path.relpath(os.path.join(where, name), root)
            if name.endswith(".h"):
                said = broken(root, compiler, path, flags)
                if said:
                    print(f"{path}: does not compile alone\n{said}")
                    failed = True
    return failed


def self_test(compiler):
    with tempfile.TemporaryDirectory() as root:
        for name, text in (("needy.h", "static inline uint8_t f(void) { return 1; }\n"),
                           ("twice.h", "struct twice { int a; };\n"),
                           ("fine.h", "#pragma once\n#include <stdint.h>\nextern uint8_t f;\n")):
            with open(os.path.join(root, name), "w", encoding="utf-8") as f:
                f.write(text)
        verdicts = {n: bool(broken(root, compiler, n, [])) for n in ("needy.h", "twice.h", "fine.h")}
    if verdicts != {"needy.h": True, "twice.h": True, "fine.h": False}:
        print(f"lint error: headers.py misjudges: {verdicts}")
        return 1
    return 0


def main():
    if sys.argv[1] == "--self-test":
        return self_test(sys.argv[2])
    root, compiler, folder, *flags = sys.argv[1:]
    return 1 if check_folder(root, compiler, folder, flags) else 0


if __name__ == "__main__":
    sys.exit(main())
