"""One perf.data through three routes, and damaged recordings: each fault with its place."""

import json
import lzma
import os
import random
import re
import subprocess
import tarfile
import unittest

from program import BAD_INPUT, Case, OK, SOURCE, USAGE, main, run

DATA = os.path.join(SOURCE, "tests", "data", "import")


class Routes(Case):
    def imported(self, path, *options):
        self.assert_exit(OK, "import", path, "-o", self.path("out.kmt"), *options)
        self.assert_exit(OK, "trace", "validate", self.path("out.kmt"))
        lines = self.assert_exit(OK, "info", self.path("out.kmt"), "--dump").stdout.splitlines()
        return [line for line in lines if not line.startswith("#")]

    @staticmethod
    def without_sites(lines):
        """perf script prints symbols where the others give addresses."""
        return [re.sub(r" site=\S+", "", line) for line in lines]

    def folder_of(self, name):
        with tarfile.open(os.path.join(DATA, name)) as tar:
            tar.extractall(self.folder)

    def test_perfs_text_and_json_give_the_same_events(self):
        text = self.imported(os.path.join(DATA, "perf.guest.txt.zst"))
        found = self.imported(os.path.join(DATA, "perf.json.xz"))
        self.assertGreater(len(text), 2500)
        self.assertEqual(self.without_sites(text), self.without_sites(found))
        told = self.json("info", self.path("out.kmt"), "--json")
        self.assertEqual(told["format"], "perf-json")
        self.assertEqual(told["source_events"]["kmem:mm_page_alloc"], 533)

    def test_ctf_gives_the_same_events(self):
        self.folder_of("perf.ctf.tar.xz")
        folder = self.path("guest-ctf")
        if "without libbabeltrace2" in run("import", folder, "-o", self.path("x.kmt")).stderr:
            self.skipTest("built without libbabeltrace2")
        ctf = self.imported(folder)
        text = self.imported(os.path.join(DATA, "perf.json.xz"))
        # Events of the same time on two CPUs may change places; handles and numbers follow.
        plain = [sorted(re.sub(r"^\w+ \d+ | handle=\d+", "", line) for line in lines)
                 for lines in (ctf, text)]
        self.assertEqual(*plain)

    def test_a_damaged_ctf_is_named(self):
        self.folder_of("perf.ctf.tar.xz")
        folder = self.path("guest-ctf")
        if "without libbabeltrace2" in run("import", folder, "-o", self.path("x.kmt")).stderr:
            self.skipTest("built without libbabeltrace2")
        chance = random.Random(4)
        for name in ("metadata", "perf_stream_0"):
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                content = file.read()
            for _ in range(6):
                bad = bytearray(content[:chance.randrange(20, len(content))])
                bad[chance.randrange(len(bad))] ^= 0x40
                with open(path, "wb") as file:
                    file.write(bad)
                done = run("import", folder, "-o", self.path("bad.kmt"))
                self.assertIn(done.returncode, (OK, BAD_INPUT), done.stderr)
                if done.returncode:
                    self.assertIn("guest-ctf", done.stderr)
                    self.assertFalse(os.path.exists(self.path("bad.kmt")))
            with open(path, "wb") as file:
                file.write(content)

    # ---- JSON ----

    def sample(self, **fields):
        sample = {"timestamp": 5, "pid": 1, "tid": 1, "cpu": 0, "comm": "x", "callchain": []}
        for key in list(sample):
            if key in fields:
                sample[key] = fields.pop(key)
        sample.update(fields)
        return sample

    def document(self, *samples):
        return json.dumps({"linux-perf-json-version": 1, "headers": {"os-release": "6.12.1"},
                           "samples": list(samples)}, indent=1)

    def test_faults_of_json_have_a_place(self):
        good = self.sample(pfn="0x10", order="0")
        for name, text, words in (
                ("not a number", self.document(good, self.sample(timestamp="soon", pfn="1")),
                 "timestamp is no number: 'soon'"),
                ("a million CPUs", self.document(self.sample(cpu=1000000, pfn="0x10", order="0")),
                 "CPU number above 65534"),
                ("backwards", self.document(good, self.sample(timestamp=1, pfn="1", order="0")),
                 "time goes back on CPU 0"),
                ("wrapped", self.document(self.sample(timestamp=2**64, pfn="1", order="0")),
                 "timestamp is no number"),
                ("impossible", self.document(self.sample(pfn="0x1", order="40")), "order 40"),
                ("clipped", self.document(good)[:-25], "the text ends"),
                ("no fields", self.document(self.sample()), "perf before 6.2"),
                ("nothing", self.document(), "no event in the whole file"),
                ("unquoted", self.document(good).replace('"pfn"', "pfn"), "'\"' should stand"),
                ("deep", self.document(good).replace("[]", "[" * 5000 + "]" * 5000), "less depth")):
            with self.subTest(name=name):
                path = self.write("bad.json", text)
                done = self.assert_exit(BAD_INPUT, "import", path, "-o", self.path("bad.kmt"))
                self.assertIn(words, done.stderr)
                self.assertIn("bad.json", done.stderr)
                if name not in ("no fields", "nothing"):
                    self.assertRegex(done.stderr, r"byte \d+")
                self.assertFalse(os.path.exists(self.path("bad.kmt")))

    def test_lenient_counts_bad_samples_and_keeps_the_rest(self):
        good = [self.sample(timestamp=10 * i, pfn=hex(16 + i), order="0", gfp_flags="0xcc0",
                            migratetype="0") for i in range(20)]
        good[7]["pfn"] = "nonsense"
        text = self.document(*good).replace('"timestamp": 120,', '"timestamp": 120 120,')
        done = self.assert_exit(OK, "import", self.write("some.json", text), "--lenient", "-o",
                                self.path("out.kmt"))
        self.assertIn("2 malformed", done.stderr + done.stdout)
        told = self.json("info", self.path("out.kmt"), "--json")
        self.assertEqual(told["events"]["frame_alloc"], 18)

    # ---- texts ----

    def test_faults_of_text_have_a_line(self):
        good = ("            work-100   [000] .....     1.000000: mm_page_alloc: page=0x1 pfn=0x10 "
                "order=0 migratetype=1 gfp_flags=GFP_KERNEL\n")
        late = good.replace("1.000000", "1.000002")
        for name, bad, words in (
                ("clipped", good[:60], "bad.txt:3"),
                ("mixed formats", "work 100 [000] 1.0: kmem:mm_page_free: pfn=0x10 order=0", ":3:"),
                ("absurd time", good.replace("1.000000", "99999999999999999999.0"), "time stamp"),
                ("a million CPUs", good.replace("[000]", "[1000000]"), "CPU number above 65534"),
                ("missing field", good.replace("pfn=0x10 ", ""), "mm_page_alloc without pfn"),
                ("beyond 64 bits", good.replace("0x10", "0x1" + "0" * 20), "not a value"),
                ("a frame beyond all", late.replace("0x10", "0x" + "f" * 15), "cannot be"),
                ("order", late.replace("order=0", "order=63"), "order 63 cannot be"),
                ("backwards", good, "time goes back on CPU 0, by 1000 ns")):
            with self.subTest(name=name):
                path = self.write("bad.txt", good + good.replace("1.000000", "1.000001") + bad)
                done = self.assert_exit(BAD_INPUT, "import", path, "-o", self.path("bad.kmt"))
                self.assertIn(words, done.stderr)
                self.assertIn("bad.txt:3", done.stderr)
                done = self.assert_exit(OK, "import", path, "--lenient", "-o",
                                        self.path("good.kmt"))
                self.assertIn("1 malformed", done.stderr + done.stdout)

    def test_every_compression_is_taken(self):
        with lzma.open(os.path.join(DATA, "perf.json.xz")) as file:
            plain = self.write("perf.json", file.read())
        want = self.imported(plain)
        for program, ending in (("gzip", ".gz"), ("xz", ".xz"), ("zstd", ".zst")):
            with self.subTest(program=program):
                subprocess.run([program, "-qk", plain], check=True)
                self.assertEqual(self.imported(plain + ending), want)

    def test_a_folder_that_is_no_recording_is_refused(self):
        done = self.assert_exit(BAD_INPUT, "import", self.folder, "-o", self.path("x.kmt"))
        self.assertIn(self.folder, done.stderr)
        done = run("import", self.folder, "--format", "trace-dat", "-o", self.path("x.kmt"))
        self.assertIn(done.returncode, (USAGE, BAD_INPUT))


if __name__ == "__main__":
    main()
