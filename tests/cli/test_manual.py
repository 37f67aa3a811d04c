"""Help, registry and man page say the same: every command, option, list and allocator stands in
both, and nothing else does."""

import os
import re
import shutil
import subprocess
import unittest

from program import Case, OK, SOURCE, main

PAGE = os.path.join(SOURCE, "docs", "kmemlab.1")


def text_of(source):
    """Roff without what is only for the typesetter: escapes, macros of words, punctuation."""
    source = source.replace("\\-", "-").replace("\\e", "\\")
    return re.sub(r"(?m)^\.(Cm|Fl|Ar|Pa|Ev|Op|Pq|Ql|Dq|Nm|Sx|Ns|Xr|It|Bq)\b ?", "", source)


class Manual(Case):
    @classmethod
    def setUpClass(cls):
        with open(PAGE, encoding="utf-8") as file:
            cls.page = file.read()
        parts = re.split(r"(?m)^\.(Sh|Ss) (.+)\n", cls.page)
        cls.sections = dict(zip(parts[2::3], parts[3::3]))

    def commands(self):
        """From `kmemlab --help`: names and summaries."""
        done = self.assert_exit(OK, "--help").stdout
        block = done.split("Commands:\n")[1].split("\n\n")[0]
        return dict(re.match(r"  (\S+) +(.*)", line).groups() for line in block.splitlines())

    def options_of_help(self, command):
        """{"--output": "-o", "--force": None, ...}, and which of them take a value."""
        text = self.assert_exit(OK, command, "--help").stdout
        found = re.findall(r"(?m)^  (?:(-\w), )?(--[\w-]+)(=\S+)?  ", text)
        return {long: (short or None, bool(value)) for short, long, value in found
                if long != "--help"}

    def options_of_page(self, command):
        found = {}
        for line in re.findall(r"(?m)^\.It (Fl .*)$", self.sections[command]):
            names = re.match(r"Fl (?:(\w) , Fl )?\\-([\w-]+)( Ar .+)?$", line.replace("\\--", "\\-"))
            self.assertIsNotNone(names, line)
            short, long, value = names.groups()
            found["--" + long] = ("-" + short if short else None, bool(value))
        return found

    def test_every_command_has_a_part_of_the_page_and_a_synopsis(self):
        described = re.findall(r"(?m)^\.Ss (\S+)$", self.page)
        self.assertEqual(described, list(self.commands()))
        synopsis = re.findall(r"(?m)^\.Nm\n\.Cm (\w+)", self.sections["SYNOPSIS"])
        self.assertEqual(synopsis, list(self.commands()) + ["help"])

    def test_options_of_help_and_page_are_the_same(self):
        for command in self.commands():
            with self.subTest(command=command):
                self.assertEqual(self.options_of_page(command), self.options_of_help(command))

    def test_examples_of_the_page_use_what_there_is(self):
        text = text_of(self.sections["EXAMPLES"]).replace("\\\n", " ")
        lines = re.findall(r"(?m)^kmemlab (.*)$", text)
        self.assertGreater(len(lines), 4)
        for line in lines:
            command, *words = line.split()
            known = self.options_of_help(command)
            for word in words:
                if word.startswith("-"):
                    self.assertTrue(word in known or any(word == short for short, _ in
                                                         known.values()), line)

    def test_allocators_of_registry_and_page_are_the_same(self):
        names = [one["name"] for one in self.json("list", "frames", "--json")]
        self.assertEqual(re.findall(r"(?m)^\.It Cm (\S+)$", self.sections["ALLOCATORS"]), names)

    def test_workloads_of_registry_and_page_are_the_same(self):
        names = [one["name"] for one in self.json("list", "workloads", "--json")]
        self.assertEqual(re.findall(r"(?m)^\.It Cm (\S+)$", self.sections["WORKLOADS"]), names)

    def test_heaps_of_registry_and_page_are_the_same(self):
        listed = self.json("list", "heaps", "--json")
        settings = {one["name"]: {setting["key"] for setting in one["settings"]} for one in listed}
        self.assertEqual(self.settings_of_page("HEAPS"), settings)
        self.assertEqual(re.findall(r"(?m)^\.It Cm (\S+)$", self.sections["HEAPS"]),
                         [one["name"] for one in listed])

    def settings_of_page(self, section="ALLOCATORS"):
        """{allocator: keys}"""
        items = re.split(r"(?m)^\.It Cm (\S+)\n", self.sections[section])
        return {name: set(re.findall(r"(?m)^\.Cm (\S+)\nis\b", text))
                for name, text in zip(items[1::2], items[2::2])}

    def test_settings_of_the_page_exist_and_no_others(self):
        """A key is known where an impossible value is what is complained of."""
        trace = self.trace()
        of_page, of_source = self.settings_of_page(), set()
        for name, keys in of_page.items():
            for key in keys:
                self.assert_complains(2, "is not possible for", "replay", trace, "--frames", name,
                                      "--set", f"frames.{key}=frobnicate")
        folder = os.path.join(SOURCE, "alloc", "frame")
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                of_source |= set(re.findall(r'\.key = "([^"]+)"', file.read()))
        self.assertEqual(set().union(*of_page.values()), of_source)
        for key in ("arch", "leaf", "paging", "cpu"):
            self.assertRegex(self.sections["replay"], rf"(?m)^\.Cm {key}\b")
            self.assert_complains(2, "is not", "replay", trace, "--frames", "buddy", "--set",
                                  f"machine.{key}=frobnicate")

    def test_lists_and_benchmarks_of_the_page_exist(self):
        text = re.sub(r"(?m)^\.Cm |[ ,\n]+", " ", self.sections["list"])
        help_text = self.assert_exit(OK, "list", "--help").stdout
        kinds = re.search(r"\[([a-z|]+)\]", help_text)[1].split("|")
        for kind in kinds:
            self.assertIn(f" {kind} ", text)
            self.assert_exit(OK, "list", kind)
        for name in ("frames", "replay"):
            self.assertIn(name, self.sections["bench"])

    def test_exit_codes_and_environment_are_documented(self):
        codes = re.findall(r"(?m)^\.It (\d)$", self.sections["EXIT STATUS"])
        self.assertEqual(codes, list("01234"))
        for one in re.findall(r"\d [a-z]", self.assert_exit(OK, "--help").stdout.split(
                "Exit codes:")[1]):
            self.assertIn(one[0], codes)
        names = set()
        for folder, _, files in os.walk(os.path.join(SOURCE, "sim")):
            for name in files:
                with open(os.path.join(folder, name), encoding="utf-8") as file:
                    names |= set(re.findall(r'g_getenv\("(KMEMLAB_\w+)"\)', file.read()))
        self.assertTrue(names)
        self.assertEqual(set(re.findall(r"(?m)^\.It Ev (\S+)$", self.sections["ENVIRONMENT"])),
                         names)

    def test_the_files_of_a_run_are_documented(self):
        trace = self.trace()
        self.assert_exit(OK, "replay", trace, "--frames", "buddy", "-o", self.path("run"))
        for name in (*os.listdir(self.path("run")), "experiment.json", "report.html"):
            self.assertRegex(self.sections["FILES"], rf"(?m)^\.Pa {re.escape(name)}\b")

    def test_the_page_formats_without_a_warning(self):
        if shutil.which("groff") is None:
            raise unittest.SkipTest("no groff")
        done = subprocess.run(["groff", "-mdoc", "-Tascii", "-ww", PAGE], capture_output=True,
                              text=True, check=False)
        if "groff_mdoc" in done.stderr or "can't open" in done.stderr:
            raise unittest.SkipTest("groff without its macros")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("KMEMLAB(1)", done.stdout)


if __name__ == "__main__":
    main()
