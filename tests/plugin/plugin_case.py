"""What tests of plugins share: kmemlab installed aside, an example built against it, and variants of its text."""

import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))
BUILD, MESON, SANITIZED = sys.argv[2], sys.argv[3].split(), sys.argv[4] == "true"
del sys.argv[2:5]

from program import Case, SOURCE  # noqa: E402


class PluginCase(Case):
    EXAMPLE = None  # a file of examples/plugin

    @classmethod
    def setUpClass(cls):
        cls.source = os.path.join(SOURCE, "examples", "plugin", cls.EXAMPLE)
        cls.root = tempfile.mkdtemp(prefix="kmemlab-plugin-")
        cls.addClassCleanup(shutil.rmtree, cls.root)
        subprocess.run([*MESON, "install", "-C", BUILD, "--no-rebuild", "--destdir", cls.root],
                       check=True, capture_output=True)
        for where, _, files in os.walk(cls.root):
            for name in files:
                if name == "kmemlab-plugin-build":
                    cls.builder = os.path.join(where, name)
                if name == "kmemlab.pc":
                    cls.pc = os.path.join(where, name)
        with open(cls.source, encoding="utf-8") as file:
            cls.example = file.read()
        shutil.copy(cls.source, cls.root)
        cls.good = os.path.join(cls.root, cls.EXAMPLE.replace(".c", ".so"))
        cls.build_it("-o", cls.good, os.path.join(cls.root, cls.EXAMPLE))

    @classmethod
    def build_it(cls, *arguments, cwd=None):
        done = subprocess.run([cls.builder, *arguments], capture_output=True, text=True,
                              check=False, cwd=cwd or cls.root)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done
        return arguments

    def variant(self, name, *changes, options=()):
        """The example with some text changed, built."""
        text = self.example
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, new)
        self.build_it("-o", self.path(name + ".so"), self.write(name + ".c", text), *options)
        return self.path(name + ".so")
