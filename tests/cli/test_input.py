"""Damaged, foreign and missing files: a message that names the file, exit 3, nothing left behind."""

import os
import random
import time

from program import BAD_INPUT, CHECK_FAILED, Case, INTERNAL, OK, USAGE, ftrace_text, main, run

QUICK_SECONDS = 20  # generous: a damaged file must not be worked on for ever


class Traces(Case):
    def assert_refused(self, path, name):
        """By info, its three forms, and replay, with no folder made."""
        for arguments in (("info", path), ("info", path, "--json"), ("info", path, "--dump"),
                          ("replay", path, "--frames", "buddy", "-o", self.path("out"))):
            with self.subTest(name=name, arguments=arguments[0::2]):
                begin = time.monotonic()
                done = run(*arguments)
                self.assertLess(time.monotonic() - begin, QUICK_SECONDS)
                self.assertEqual(done.returncode, BAD_INPUT, (done.stderr, done.stdout[:200]))
                self.assertIn(path, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1)
                self.assertFalse(os.path.exists(self.path("out")))
                self.assertEqual([one for one in os.listdir(self.folder) if "partial" in one], [])

    def test_what_is_no_trace_is_refused(self):
        good = self.trace()
        content = self.read("small.kmt")
        for name, bad in (("empty", b""), ("garbage", b"garbage\n" * 100),
                          ("zeroes", bytes(5000)), ("text", ftrace_text().encode()),
                          ("head", content[:16]), ("no head", content[16:]),
                          ("twice", content + content), ("backwards", content[::-1])):
            self.assert_refused(self.write("bad.kmt", bad), name)
        self.assert_exit(OK, "info", good)

    def test_a_missing_file_and_a_folder_are_refused(self):
        self.assert_refused(self.path("nothing.kmt"), "missing")
        self.assert_refused(self.folder, "folder")

    def test_a_truncated_trace_is_refused_wherever_it_ends(self):
        self.trace()
        content = self.read("small.kmt")
        path = self.path("cut.kmt")
        for keep in sorted({*range(0, len(content), max(1, len(content) // 40)),
                            len(content) - 1, len(content) - 8}):
            self.write("cut.kmt", content[:keep])
            done = run("info", path)
            self.assertEqual(done.returncode, BAD_INPUT, f"{keep} bytes: {done.stderr}")
            self.assertIn("cut.kmt", done.stderr)
        self.assert_refused(path, "cut")

    def test_a_flipped_bit_never_goes_unseen(self):
        self.trace()
        content = self.read("small.kmt")
        chance = random.Random(5)
        path = self.path("flipped.kmt")
        for _ in range(150):
            bit = chance.randrange(8 * len(content))
            bad = bytearray(content)
            bad[bit // 8] ^= 1 << bit % 8
            self.write("flipped.kmt", bytes(bad))
            # A replay reads what it needs: header, meta, events; a dump reads all.
            done = run("info", path, "--dump")
            self.assertEqual(done.returncode, BAD_INPUT, f"bit {bit}: {done.stderr}")
            self.assertIn("flipped.kmt", done.stderr)

    def test_a_damaged_trace_leaves_no_folder(self):
        self.trace(events=3000)
        content = bytearray(self.read("small.kmt"))
        content[len(content) // 2] ^= 0x10
        path = self.write("damaged.kmt", bytes(content))
        self.assert_complains(BAD_INPUT, "damaged.kmt", "replay", path, "--frames", "buddy", "-o",
                              self.path("out"))
        self.assertFalse(os.path.exists(self.path("out")))


class Imports(Case):
    def refused(self, words, *arguments):
        out = self.path("out.kmt")
        before = sorted(os.listdir(self.folder))
        self.assert_complains(BAD_INPUT, words, "import", *arguments, "-o", out)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def test_garbage_is_refused_with_file_and_line(self):
        good = ftrace_text(events=50)
        for name, content, line in (
                ("garbage.txt", "garbage\n", 1),
                ("empty.txt", "", None),
                ("binary.txt", bytes(range(256)) * 20, None),
                ("broken.txt", good.replace("pfn=", "pfm=", 1), 2),
                ("number.txt", good.replace("order=", "order=x", 1), 2)):
            with self.subTest(name=name):
                path = self.write(name, content)
                self.refused(f"{name}:{line}:" if line else name, path)

    def test_a_bad_line_may_be_skipped(self):
        path = self.write("broken.txt", ftrace_text(events=50).replace("pfn=", "pfm=", 1))
        self.assert_exit(OK, "import", path, "--lenient", "-o", self.path("out.kmt"))
        self.assert_exit(OK, "info", self.path("out.kmt"))

    def test_a_damaged_trace_dat_is_refused(self):
        magic = b"\x17\x08\x44tracing6\0"
        for name, content in (("magic.dat", magic), ("short.dat", magic + bytes(40)),
                              ("noise.dat", magic + random.Random(3).randbytes(5000))):
            with self.subTest(name=name):
                self.refused(name, self.write(name, content))

    def test_missing_and_unsuitable_files_are_named(self):
        text = self.write("good.txt", ftrace_text())
        self.refused("nothing.txt", self.path("nothing.txt"))
        self.refused("nothing.tar", text, "--state", self.path("nothing.tar"))
        self.refused("nothing.e820", text, "--memmap", self.path("nothing.e820"))
        self.refused("bad.e820:1:", text, "--memmap",
                     self.write("bad.e820", "BIOS-e820: [mem 0x0-0x] usable\n"))

    def test_an_unknown_format_is_a_wrong_command(self):
        text = self.write("good.txt", ftrace_text())
        self.assert_complains(USAGE, "frobnicate", "import", text, "--format", "frobnicate", "-o",
                              self.path("out.kmt"))
        self.assertFalse(os.path.exists(self.path("out.kmt")))

    def test_what_cannot_be_written_is_named(self):
        text = self.write("good.txt", ftrace_text())
        for out in (self.path("no", "folder", "out.kmt"), self.folder, "/proc/out.kmt"):
            with self.subTest(out=out):
                done = run("import", text, "-o", out)
                self.assertIn(done.returncode, (BAD_INPUT, INTERNAL))
                self.assertIn(out, done.stderr)
        self.assertEqual(os.listdir(self.folder), ["good.txt"])

    def test_an_import_replaces_its_old_output_whole_or_not_at_all(self):
        path = self.trace()
        content = self.read("small.kmt")
        bad = self.write("bad.txt", "garbage\n")
        self.assert_complains(BAD_INPUT, "bad.txt", "import", bad, "-o", path)
        self.assertEqual(self.read("small.kmt"), content)
        self.assert_exit(OK, "import", self.write("good.txt", ftrace_text(seed=9)), "-o", path)
        self.assertNotEqual(self.read("small.kmt"), content)


class Machines(Case):
    def test_a_bad_memory_map_is_refused_with_file_and_line(self):
        trace = self.trace()
        for name, text, words in (
                ("bad.e820", "BIOS-e820: [mem 0x0-0x] usable\n", "bad.e820:1:"),
                ("line3.e820", "\n\nBIOS-e820: [mem 0x9-0x1] usable\n", "line3.e820:3:"),
                ("empty.e820", "", "empty.e820"), ("prose.e820", "a machine\n", "prose.e820")):
            with self.subTest(name=name):
                self.assert_complains(BAD_INPUT, words, "replay", trace, "--frames", "buddy",
                                      "--machine", self.write(name, text))

    def test_a_machine_without_usable_ram_cannot_boot(self):
        trace = self.trace()
        file = self.write("none.e820", "BIOS-e820: [mem 0x0-0xffffff] reserved\n")
        self.assert_complains(USAGE, "no usable RAM", "replay", trace, "--frames", "buddy",
                              "--machine", file)

    def test_a_memory_map_file_is_a_machine(self):
        trace = self.trace()
        file = self.write("some.e820", "BIOS-e820: [mem 0x100000-0x4ffffff] usable\n")
        done = self.json("replay", trace, "--frames", "buddy", "--machine", file, "--json")
        self.assertEqual((done["violations"], done["failures"]), (0, 0))

    def test_a_machine_file_is_a_machine(self):
        trace = self.trace()
        file = self.write("board.ini", "[machine]\narch = i386\nram = 64M\n[mmu]\nl1d_4k.ways = 8\n")
        done = self.json("replay", trace, "--frames", "buddy", "--machine", file, "--json")
        self.assertEqual((done["violations"], done["failures"]), (0, 0))
        file = self.write("board.ini", "[machine]\nram = 64M\n\nspeed = 3\n")
        self.assert_complains(USAGE, "board.ini:4: speed", "replay", trace, "--frames", "buddy",
                              "--machine", file)

    def test_a_value_that_is_no_text_is_named(self):
        trace = self.trace()
        for key, value in (("name", b"\xffx"), ("stale-check", b"\xffn")):
            with self.subTest(key=key):
                file = self.write("board.ini", b"[machine]\nram = 64M\n\n%s = %s\n" %
                                  (key.encode(), value))
                self.assert_complains(USAGE, f"board.ini:4: {key}", "replay", trace, "--frames",
                                      "buddy", "--machine", file)
        file = self.write("board.ini", b"[memory]\ne820 = \xff[mem 0x0-0xffffff] usable\n")
        self.assert_complains(USAGE, "board.ini:2: e820", "replay", trace, "--frames", "buddy",
                              "--machine", file)

    def test_a_file_without_an_end_is_not_read_for_ever(self):
        if not os.path.exists("/dev/zero"):
            self.skipTest("no /dev/zero")
        trace = self.trace()
        for arguments in (("run", "/dev/zero"), ("distance", "/dev/zero", "/dev/zero"),
                          ("replay", trace, "--frames", "buddy", "--machine", "/dev/zero")):
            self.assert_complains(BAD_INPUT, ["/dev/zero: has more than", "MiB"], *arguments)


class Outputs(Case):
    def test_an_existing_folder_is_kept_without_force(self):
        trace = self.trace()
        replay = ("replay", trace, "--frames", "buddy", "-o", self.path("run"))
        self.assert_exit(OK, *replay)
        first = self.read("run", "samples.csv")
        self.write("run/timing.json", "{}")
        self.assert_complains(USAGE, self.path("run"), *replay)
        self.assertEqual(self.read("run", "timing.json"), b"{}")
        self.assert_exit(OK, *replay, "--force")
        self.assertNotEqual(self.read("run", "timing.json"), b"{}")
        self.assertEqual(self.read("run", "samples.csv"), first)

    def test_force_never_removes_what_no_run_wrote(self):
        trace = self.trace()
        os.mkdir(self.path("run"))
        self.write("run/thesis.tex", "years of work")
        done = run("replay", trace, "--frames", "buddy", "-o", self.path("run"), "--force")
        self.assertEqual(done.returncode, USAGE, done.stderr)
        self.assertEqual(self.read("run", "thesis.tex"), b"years of work")

    def test_an_unwritable_output_is_named_before_the_work(self):
        trace = self.trace()
        file = self.write("file", "")
        for out in (os.path.join(file, "run"), "/proc/run", "/dev/null/run"):
            with self.subTest(out=out):
                done = run("replay", trace, "--frames", "buddy", "-o", out)
                self.assertEqual(done.returncode, INTERNAL, done.stderr)
                self.assertIn(os.path.dirname(out), done.stderr)
                self.assertEqual(done.stdout, "")

    def test_a_run_that_fails_leaves_no_folder(self):
        trace = self.trace()
        for options, code in ((("--ram", "4K"), USAGE), (("--frames", "frobnicate"), USAGE),
                              (("--machine", "vax"), USAGE)):
            with self.subTest(options=options):
                done = run("replay", trace, "--frames", "buddy", "-o", self.path("run"), *options)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertEqual([one for one in os.listdir(self.folder) if "run" in one], [])

    def test_an_experiment_into_a_file_is_refused(self):
        self.trace()
        spec = self.write("one.ini", "[cells]\ntrace = small.kmt\nframes = buddy\n")
        file = self.write("file", "")
        done = run("run", spec, "-o", file)
        self.assertNotIn(done.returncode, (OK, CHECK_FAILED))
        self.assertIn(file, done.stderr)


if __name__ == "__main__":
    main()
