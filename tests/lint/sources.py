#!/usr/bin/env python3
"""Rules that the text of the sources must keep.

    sources.py ROOT            looks at every .c and .h under the project's folders
    sources.py --self-test     plants a violation of each rule and demands that it is found

Kernel code (alloc/, mmu/): no inline assembly, no __builtin_mem*, no floating point, no __int128:
the probes could not see them, or the machine has none. Includes run one way: alloc/ sees alloc/ and
mmu/x86.h; mmu/ sees mmu/; workloads/ sees workloads/; sim/ sees all but tests/. Kernel code includes
the compiler's own headers and no others; GLib only in sim/, workloads/ and tests/.
"""
import os
import re
import sys
import tempfile

FREESTANDING = {"float.h", "limits.h", "stdalign.h", "stdarg.h", "stdatomic.h", "stdbool.h",
                "stddef.h", "stdint.h", "stdnoreturn.h", "iso646.h"}
FOLDERS = ("alloc", "mmu", "workloads", "sim", "tests", "examples")
KERNEL = ("alloc", "mmu", "examples")
MAY_INCLUDE = {
    "alloc": re.compile(r"^(alloc/|mmu/x86\.h$)"),
    "mmu": re.compile(r"^mmu/"),
    "workloads": re.compile(r"^workloads/"),
    "sim": re.compile(r"^(sim|workloads|alloc|mmu)/"),
    "examples": re.compile(r"^(alloc/|mmu/x86\.h$)"),
    # A test's own header may stand beside it.
    "tests": re.compile(r"^((tests|sim|workloads|alloc|mmu)/|[^/]+$)"),
}
FORBIDDEN = (
    ("inline assembly", re.compile(r"\b(asm|__asm__|__asm)\b")),
    ("__builtin_mem*", re.compile(r"\b__builtin_(mem|str)\w+")),
    ("floating point", re.compile(r"\b(float|double|_Float\w+)\b")),
    ("128-bit integers", re.compile(r"\b__u?int128(_t)?\b")),
)
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def without_comments(text, strings=True):
    """Comments (and strings) become blanks; line numbers stay."""
    def blank(match):
        token = match.group(0)
        if token[0] in "\"'" and not strings:
            return token
        return re.sub(r"[^\n]", " ", token)

    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text,
                  flags=re.S)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def check_file(folder, path, text):
    found = []
    if folder in KERNEL:
        code = without_comments(text)
        for what, pattern in FORBIDDEN:
            for match in pattern.finditer(code):
                found.append((line_of(code, match.start()), f"{what} in kernel code"))
    code = without_comments(text, strings=False)
    for match in INCLUDE.finditer(code):
        kind, name = match.groups()
        line = line_of(code, match.start(2))
        if kind == '"' and not MAY_INCLUDE[folder].match(name):
            found.append((line, f"{folder}/ may not include {name}"))
        if kind == "<" and folder in KERNEL and name not in FREESTANDING:
            found.append((line, f"kernel code may not include <{name}>"))
    return [f"{path}:{line}: {what}" for line, what in sorted(found)]


def check_tree(root):
    found = []
    for folder in FOLDERS:
        for where, folders, files in os.walk(os.path.join(root, folder)):
            folders.sort()
            for name in sorted(files):
                path = os.path.join(where, name)
                if name.endswith((".c", ".h")):
                    with open(path, encoding="utf-8") as f:
                        text = f.read()
                    found += check_file(folder, os.path.relpath(path, root), text)
    return found


PLANTED = (
    ("alloc/a.c", 'void f(void)\n{\n\t__asm__("nop");\n}\n', "alloc/a.c:3: inline assembly"),
    ("alloc/b.c", "void f(char *p) { __builtin_memset(p, 0, 9); }\n", "alloc/b.c:1: __builtin_mem"),
    ("mmu/c.c", "static double half;\n", "mmu/c.c:1: floating point"),
    ("mmu/d.c", "__int128 wide;\n", "mmu/d.c:1: 128-bit"),
    ("alloc/e.c", '#include "sim/ram.h"\n', "alloc/e.c:1: alloc/ may not include sim/ram.h"),
    ("alloc/f.c", '#include "mmu/walk.h"\n', "alloc/f.c:1: alloc/ may not include mmu/walk.h"),
    ("mmu/g.h", "#include <glib.h>\n", "mmu/g.h:1: kernel code may not include <glib.h>"),
    ("workloads/h.c", '\n#include "sim/run.h"\n', "workloads/h.c:2: workloads/ may not"),
    ("sim/i.c", '#include "tests/support/x.h"\n', "sim/i.c:1: sim/ may not"),
    ("alloc/fine.c", '#include <stdint.h>\n#include "mmu/x86.h"\n/* asm double */\n'
                     'const char *const s = "double asm";\n', None),
)


def self_test():
    failed = False
    with tempfile.TemporaryDirectory() as root:
        for path, text, _ in PLANTED:
            os.makedirs(os.path.join(root, os.path.dirname(path)), exist_ok=True)
            with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                f.write(text)
        found = check_tree(root)
    for path, _, want in PLANTED:
        mine = [f for f in found if f.startswith(path + ":")]
        if want is None and mine:
            print(f"lint error: legal text was reported: {mine}")
            failed = True
        if want is not None and not any(f.startswith(want) for f in mine):
            print(f"lint error: planted violation was not found: {want}")
            failed = True
    return 1 if failed else 0


def main():
    if sys.argv[1:] == ["--self-test"]:
        return self_test()
    found = check_tree(sys.argv[1])
    for finding in found:
        print(finding)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
