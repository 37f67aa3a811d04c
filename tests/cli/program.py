"""What the tests of the command line share: running the program, small traces, JSON shapes.

A test is called as `test_NAME.py KMEMLAB [unittest's arguments]`.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

KMEMLAB = os.path.abspath(sys.argv.pop(1))
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

OK, CHECK_FAILED, USAGE, BAD_INPUT, INTERNAL = range(5)

# 8 MiB with the hole under 1 MiB.
SMALL_PC = """BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
BIOS-e820: [mem 0x000000000009fc00-0x000000000009ffff] reserved
BIOS-e820: [mem 0x0000000000100000-0x00000000007fffff] usable
"""


def run(*arguments, env=None, timeout=300, **more):
    """Runs the program: exit code, stdout and stderr of the result are what a test looks at."""
    environment = dict(os.environ, LC_ALL="C", **(env or {}))
    more.setdefault("stdout", subprocess.PIPE)
    return subprocess.run([KMEMLAB, *map(str, arguments)], stderr=subprocess.PIPE, text=True,
                          check=False, env=environment, timeout=timeout, **more)


def ftrace_text(seed=1, events=400, largest_order=3, live=600):
    """A recording in the form of `cat trace`: allocations and frees at random in 8 MiB."""
    chance = random.Random(seed)
    free_at = {order: list(range(0x100 + 0x100 * order, 0x200 + 0x100 * order, 1 << order))
               for order in range(largest_order + 1)}
    lines, held = ["# tracer: nop"], []
    for number in range(events):
        cpu = chance.randrange(2)
        head = f"            work-{100 + cpu}   [00{cpu}] .....     1.{number:06}: "
        order = chance.randrange(largest_order + 1)
        if free_at[order] and chance.random() < 0.6 and len(held) < live:
            frame = free_at[order].pop(chance.randrange(len(free_at[order])))
            held.append((frame, order))
            lines.append(f"{head}mm_page_alloc: page=0x1 pfn={frame:#x} order={order} "
                         f"migratetype={number % 3} gfp_flags=GFP_KERNEL")
        elif held:
            frame, order = held.pop(chance.randrange(len(held)))
            free_at[order].append(frame)
            lines.append(f"{head}mm_page_free: page=0x1 pfn={frame:#x} order={order}")
        else:
            # Allocated before the recording began.
            lines.append(f"{head}mm_page_free: page=0x1 pfn={0x700 + number:#x} order=0")
    return "\n".join(lines) + "\n"


class Case(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="kmemlab-cli-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def write(self, name, content):
        path = self.path(name)
        mode = "wb" if isinstance(content, bytes) else "w"
        with open(path, mode, **({} if "b" in mode else {"encoding": "utf-8"})) as file:
            file.write(content)
        return path

    def read(self, *parts):
        with open(self.path(*parts), "rb") as file:
            return file.read()

    def trace(self, name="small.kmt", memmap=SMALL_PC, **shape):
        """A small trace, imported from synthetic text."""
        text = self.write(name + ".txt", ftrace_text(**shape))
        path = self.path(name)
        options = ["--memmap", self.write(name + ".e820", memmap)] if memmap else []
        self.assert_exit(OK, "import", text, "-o", path, *options)
        return path

    def assert_exit(self, code, *arguments, **more):
        done = run(*arguments, **more)
        self.assertEqual(done.returncode, code,
                         f"kmemlab {' '.join(map(str, arguments))}\n{done.stderr}{done.stdout}")
        return done

    def assert_complains(self, code, words, *arguments, **more):
        """Fails with that code, one message on stderr that holds the words, nothing on stdout."""
        done = self.assert_exit(code, *arguments, **more)
        self.assertTrue(done.stderr.startswith("kmemlab: "), done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertFalse(done.stdout, done.stdout)
        for word in [words] if isinstance(words, str) else words:
            self.assertIn(word, done.stderr)
        return done.stderr

    def json(self, *arguments, code=OK):
        done = self.assert_exit(code, *arguments)
        self.assertEqual(done.stderr, "")
        return json.loads(done.stdout)

    def assert_shape(self, value, shape, where="$"):
        """SHAPE: a type, a tuple of types, a predicate, [shape of every item], or {key: shape}; a
        value may have more keys."""
        if isinstance(shape, dict):
            self.assertIsInstance(value, dict, where)
            for key, inner in shape.items():
                self.assertIn(key, value, where)
                self.assert_shape(value[key], inner, f"{where}.{key}")
        elif isinstance(shape, list):
            self.assertIsInstance(value, list, where)
            for index, item in enumerate(value):
                self.assert_shape(item, shape[0], f"{where}[{index}]")
        elif shape in (int, float) or isinstance(shape, tuple):
            self.assertIsInstance(value, shape, where)
            if bool not in (shape if isinstance(shape, tuple) else (shape,)):
                self.assertNotIsInstance(value, bool, where)
        elif isinstance(shape, type):
            self.assertIsInstance(value, shape, where)
        else:
            self.assertTrue(shape(value), f"{where}: {value!r}")


def main():
    unittest.main()
