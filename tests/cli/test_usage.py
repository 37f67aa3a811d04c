"""Exit codes and messages of wrong command lines; help, version and a full disk."""

import json
import os
import re

from program import Case, INTERNAL, OK, USAGE, main, run

COMMANDS = ("list", "import", "generate", "info", "replay", "run", "plot", "report", "bench")


class Usage(Case):
    def test_no_command_explains_and_fails(self):
        done = self.assert_exit(USAGE)
        self.assertEqual(done.stdout, "")
        for command in COMMANDS:
            self.assertRegex(done.stderr, rf"(?m)^  {command} ")

    def test_wrong_command_lines_are_named(self):
        cases = (
            (("frobnicate",), "unknown command 'frobnicate'"),
            (("--frobnicate",), "unknown command '--frobnicate'"),
            (("list", "allocators"), "there is no list 'allocators'"),
            (("list", "frames", "heaps"), "list takes"),
            (("list", "--frobnicate"), "--frobnicate"),
            (("info",), "info takes TRACE.kmt"),
            (("info", "a", "b"), "info takes TRACE.kmt"),
            (("import", "a"), "import needs -o"),
            (("import", "-o", "b"), "import takes"),
            (("generate",), "generate needs a WORKLOAD"),
            (("generate", "frobnicate", "-o", "a"), "unknown workload 'frobnicate'"),
            (("generate", "larson"), "generate needs -o"),
            (("generate", "larson", "-o", "a", "--seed", "x"), "'x'"),
            (("generate", "larson", "-o", "a", "colour=red"), "no parameter 'colour'"),
            (("generate", "larson", "-o", "a", "slots=0"), "slots (1 to"),
            (("generate", "larson", "-o", "a", "slots"), "key=value"),
            (("generate", "larson", "-o", "a", "min-bytes=1M"), "min-bytes is above max-bytes"),
            (("replay", "a"), "replay needs --frames"),
            (("replay", "--frames", "buddy"), "replay takes"),
            (("replay", "a", "--frames"), "--frames"),
            (("run",), "run takes"),
            (("run", "a.ini", "--jobs", "-1"), "--jobs"),
            (("run", "a.ini", "--cells", "3..1"), "3..1"),
            (("run", "a.ini", "--cells", "x"), "'x'"),
            (("plot",), "plot takes"),
            (("report",), "report takes"),
            (("bench", "nothing"), "no benchmark 'nothing'"),
            (("bench", "--scale", "0"), "--scale"),
            (("bench", "a", "b"), "bench takes"),
        )
        for arguments, words in cases:
            with self.subTest(arguments=arguments):
                self.assert_complains(USAGE, words, *arguments)

    def test_wrong_options_of_a_replay_are_named(self):
        trace = self.trace()
        cases = (
            (("--frames", "frobnicate"), "unknown page-frame allocator 'frobnicate'"),
            (("--frames", ""), "unknown page-frame allocator ''"),
            (("--frames", "buddy", "--machine", "vax"), "unknown machine 'vax'"),
            (("--frames", "buddy", "--tables", "inverted"), "unknown tables 'inverted'"),
            (("--frames", "buddy", "--start", "sideways"), "start state 'sideways'"),
            (("--frames", "buddy", "--place", "nowhere"), "'nowhere'"),
            (("--frames", "buddy", "--pass", "third"), "'third'"),
            (("--frames", "buddy", "--set", "frames"), "SLOT.KEY=VALUE"),
            (("--frames", "buddy", "--set", "disk.size=1"), "the slots are"),
            (("--frames", "buddy", "--set", "frames.colour=red"), "frames.colour"),
            (("--frames", "bitmap", "--set", "frames.policy=worst-fit"), "worst-fit"),
            (("--frames", "buddy", "--set", "machine.colour=red"), "machine.colour"),
            (("--frames", "buddy", "--set", "machine.leaf=3M"), "'3M'"),
            (("--frames", "buddy", "--set", "machine.arch=vax"), "'vax'"),
            (("--frames", "buddy", "--set", "machine.paging=off"), "paging"),
            (("--frames", "buddy", "--tables", "none"), "paging"),
            (("--frames", "buddy", "--cpus", "-1"), "--cpus"),
            (("--frames", "buddy", "--cpus", "100000"), "--cpus"),
            (("--frames", "buddy", "--cpus", "x"), "x"),
            (("--frames", "buddy", "--seed", "x"), "x"),
            (("--frames", "buddy", "--until", "x"), "x"),
            (("--frames", "buddy", "--check-events", "-1"), "negative"),
            (("--frames", "buddy", "--host-memory", "much"), "'much'"),
            (("--frames", "stack", "--host-memory", "4M"), ("--host-memory is 4M", "7804K")),
        )
        for options, words in cases:
            with self.subTest(options=options):
                self.assert_complains(USAGE, words, "replay", trace, *options)

    def test_absurd_sizes_of_ram_are_refused(self):
        trace = self.trace()
        for size in ("0", "1", "4095", "3T", "16777216T", "99999999999999999999", "-1M", "1.5G",
                     "12Q", "M", "", "x", "0x", "-1x", "nanx", "1e300x", "1Mx"):
            with self.subTest(size=size):
                said = self.assert_complains(USAGE, "", "replay", trace, "--frames", "buddy",
                                             "--ram=" + size)
                self.assertRegex(said, f"RAM size out of range|--ram: '{re.escape(size)}' is no")

    def test_ram_that_cannot_boot_names_the_smallest_that_does(self):
        trace = self.trace(memmap=None)
        for frames in (one["name"] for one in self.json("list", "frames", "--json")):
            for more in ((), ("--machine", "pc-512m-i386"), ("--machine", "pc-4g")):
                with self.subTest(frames=frames, more=more):
                    replay = ("replay", trace, "--frames", frames, "--pass", "native", *more)
                    said = self.assert_complains(USAGE, "the smallest RAM that works is", *replay,
                                                 "--ram", "4K")
                    size = re.search(r"works is (\d+)K?", said)
                    smallest = int(size[1]) * (1024 if "K" in said.split("works is")[1] else 1)
                    self.assertEqual(smallest % 4096, 0)
                    self.assert_exit(OK, *replay, "--ram", smallest)
                    self.assert_complains(USAGE, f"works is {size[1]}", *replay, "--ram",
                                          smallest - 4096)

    def test_any_other_size_runs_and_failures_are_data(self):
        trace = self.trace(memmap=None)
        for size in ("64K", "1M", "3M", "0.01x", "2x", "5000K"):
            with self.subTest(size=size):
                done = self.json("replay", trace, "--frames", "buddy", "--ram", size, "--json")
                self.assertEqual(done["violations"], 0)
        self.assertGreater(self.json("replay", trace, "--frames", "buddy", "--ram", "64K",
                                     "--json")["failures"], 0)


class Help(Case):
    def test_help_of_every_command_has_an_example(self):
        for command in COMMANDS:
            for option in ("--help", "-h"):
                with self.subTest(command=command, option=option):
                    done = self.assert_exit(OK, command, option)
                    self.assertEqual(done.stderr, "")
                    self.assertRegex(done.stdout, rf"(?m)^  kmemlab {command}( |$)")
                    self.assertRegex(done.stdout.splitlines()[1], rf"kmemlab {command} ")

    def test_help_goes_to_stdout(self):
        for option in ("--help", "-h", "help"):
            done = self.assert_exit(OK, option)
            self.assertEqual(done.stderr, "")
            for command in COMMANDS:
                self.assertRegex(done.stdout, rf"(?m)^  {command} ")
            self.assertIn("Exit codes:", done.stdout)

    def test_version_is_one_line(self):
        done = self.assert_exit(OK, "--version")
        self.assertRegex(done.stdout, r"^kmemlab \d+\.\d+\.\d+\n$")

    def test_success_is_silent_on_stderr(self):
        trace = self.trace()
        for arguments in (("list",), ("info", trace), ("info", trace, "--dump"),
                          ("replay", trace, "--frames", "buddy")):
            with self.subTest(arguments=arguments):
                done = self.assert_exit(OK, *arguments)
                self.assertEqual(done.stderr, "")
                self.assertNotEqual(done.stdout, "")

    def test_a_full_disk_is_an_error(self):
        trace = self.trace()
        for arguments in (("--help",), ("--version",), ("list",), ("list", "metrics", "--json"),
                          ("info", trace), ("info", trace, "--dump"), ("info", trace, "--json"),
                          ("replay", trace, "--frames", "buddy"), ("replay", "--help"),
                          ("replay", trace, "--frames", "buddy", "--json")):
            with self.subTest(arguments=arguments), open("/dev/full", "w") as full:
                done = run(*arguments, stdout=full)
                self.assertEqual(done.returncode, INTERNAL, done.stderr)
                self.assertIn("cannot write", done.stderr)

    def test_a_closed_stdout_is_an_error(self):
        for arguments in (("--version",), ("list",)):
            with self.subTest(arguments=arguments):
                done = run(*arguments, preexec_fn=lambda: os.close(1), stdout=None)
                self.assertEqual(done.returncode, INTERNAL, done.stderr)

    def test_lists_are_what_their_json_says(self):
        for kind in ("frames", "machines", "metrics", "tables"):
            names = [one["name"] for one in json.loads(
                self.assert_exit(OK, "list", kind, "--json").stdout)]
            text = self.assert_exit(OK, "list", kind).stdout
            self.assertEqual(re.findall(r"(?m)^  ([a-z0-9_-]+) ", text), names)
            self.assertTrue(names)


if __name__ == "__main__":
    main()
