"""`kmemlab record` against a tracefs made of files, with the raw pages of a real recording in it."""

import os
import shutil
import tarfile
import unittest

from program import BAD_INPUT, Case, OK, SOURCE, USAGE, main, run

PAGES = os.path.join(SOURCE, "tests", "data", "import", "tracefs.tar.xz")


class Record(Case):
    def setUp(self):
        super().setUp()
        with tarfile.open(PAGES) as tar:
            tar.extractall(self.folder)
        self.recorded = self.path("tracefs")
        self.root = self.path("root")
        self.buffer = os.path.join(self.root, "instances", "lab")
        for name in ("tracing_on", "trace_clock", "buffer_size_kb", "trace", "trace_marker"):
            self.place(os.path.join(self.buffer, name), "")
        for name in os.listdir(os.path.join(self.recorded, "formats")):
            event = name.replace(".", "/", 1)
            self.copy(os.path.join("formats", name), os.path.join("events", event, "format"))
            self.place(os.path.join(self.buffer, "events", event, "enable"), "0")
        self.copy("header_page", "events/header_page")
        self.copy("saved_cmdlines", "saved_cmdlines")
        for cpu in range(2):
            self.copy(f"cpu{cpu}", f"instances/lab/per_cpu/cpu{cpu}/trace_pipe_raw")
            self.place(os.path.join(self.buffer, f"per_cpu/cpu{cpu}/stats"),
                       "entries: 5\noverrun: 3\ncommit overrun: 0\nbytes: 9\ndropped events: 1\n")
        self.place(os.path.join(self.root, "kprobe_events"), "")
        self.place(self.path("proc", "version"), "Linux version 6.1.0-lab (x@y) #1\n")
        self.place(self.path("proc", "buddyinfo"), "Node 0, zone   Normal      1      2\n")

    def place(self, path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def copy(self, name, target):
        path = os.path.join(self.root, target)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy(os.path.join(self.recorded, name), path)

    def said(self, *names):
        with open(os.path.join(self.buffer, *names), encoding="utf-8") as file:
            return file.read()

    def record(self, code, *arguments):
        return self.assert_exit(code, "record", "-o", self.path("out.kmt"), "--tracefs", self.root,
                                "--proc", self.path("proc"), *arguments)

    def dump(self, path):
        text = self.assert_exit(OK, "info", path, "--dump").stdout
        return [line for line in text.splitlines() if not line.startswith("# meta")]

    def test_a_recording_holds_the_pages_and_the_snapshots(self):
        done = self.record(OK, "--instance", "lab", "--buffer", "2M", "--keep", "--", "sh", "-c",
                           "exit 3")
        self.assertIn("exit code 3", done.stderr)
        self.assertIn("no room for 8 events", done.stderr)
        self.assert_exit(OK, "trace", "validate", self.path("out.kmt"))
        kept = self.path("out.kmt.recording")
        for cpu in range(2):
            with open(os.path.join(kept, f"cpu{cpu}"), "rb") as ours, \
                    open(os.path.join(self.recorded, f"cpu{cpu}"), "rb") as theirs:
                self.assertEqual(ours.read(), theirs.read())
        told = self.json("info", self.path("out.kmt"), "--json")
        self.assertEqual(told["system"], "6.1.0-lab")
        self.assertEqual(told["format"], "tracefs")
        self.assertEqual(told["command"], "kmemlab record -- sh -c exit 3")
        # The real recording's events, whatever its ground truth was.
        self.assert_exit(OK, "import", self.recorded, "-o", self.path("real.kmt"), "--state",
                         os.path.join(kept, "ground-truth"))
        self.assertEqual(self.dump(self.path("out.kmt")), self.dump(self.path("real.kmt")))
        self.assertGreater(told["events"]["frame_alloc"], 1000)

    def test_the_buffer_is_set_up_and_left_off(self):
        self.record(OK, "--instance", "lab", "--buffer", "2M", "--seconds", "0.1")
        self.assertEqual(self.said("trace_clock"), "mono")
        self.assertEqual(self.said("buffer_size_kb"), "2048")
        self.assertEqual(self.said("tracing_on"), "0")
        self.assertEqual(self.said("events", "kmem", "mm_page_alloc", "enable"), "0")
        self.assertTrue(self.said("trace_marker").endswith("SNAP 1 buddyinfo end"))
        with open(os.path.join(self.root, "kprobe_events"), encoding="utf-8") as file:
            text = file.read()
        self.assertIn("p:kmemlab/isolate_free_page", text)
        self.assertTrue(text.endswith("-:kmemlab/isolate_free_page_ret\n"))
        self.assertEqual(sorted(os.listdir(self.folder)), ["out.kmt", "proc", "root", "tracefs"])

    def test_no_tracefs_is_named_and_nothing_is_left(self):
        done = self.assert_exit(BAD_INPUT, "record", "-o", self.path("out.kmt"), "--tracefs",
                                self.path("proc"), "--seconds", "1")
        self.assertIn("events/kmem/mm_page_alloc", done.stderr)
        done = self.record(BAD_INPUT, "--instance", "missing", "--seconds", "1")
        self.assertIn("missing", done.stderr)
        self.assertFalse([name for name in os.listdir(self.folder) if name.startswith("out")])

    def test_a_command_that_cannot_run_leaves_nothing(self):
        done = self.record(USAGE, "--instance", "lab", "--", "/nonexistent/program")
        self.assertIn("/nonexistent/program", done.stderr)
        self.assertEqual(self.said("tracing_on"), "0")
        self.assertFalse([name for name in os.listdir(self.folder) if name.startswith("out")])

    @unittest.skipIf(os.geteuid() == 0 and not shutil.which("setpriv"), "no setpriv")
    def test_without_permission_it_says_so(self):
        os.chmod(self.folder, 0o755)
        os.chmod(os.path.join(self.root, "instances"), 0o700)
        import program
        command = [program.KMEMLAB, "record", "-o", "/tmp/kmemlab-no-permission.kmt", "--tracefs",
                   self.root, "--seconds", "1"]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
        done = program.subprocess.run(command, stderr=program.subprocess.PIPE, text=True,
                                      check=False, timeout=300)
        if os.geteuid() == 0:
            self.assertEqual(done.returncode, USAGE, done.stderr)
            self.assertIn("root", done.stderr)

    def test_wrong_use_is_named(self):
        for arguments in (("--seconds", "1"), ("-o", "x"), ("-o", "x", "--seconds", "-1"),
                          ("-o", "x", "--seconds", "1", "--buffer", "1K"),
                          ("-o", "x", "--seconds", "1", "--buffer", "many")):
            with self.subTest(arguments=arguments):
                self.assertEqual(run("record", *arguments).returncode, USAGE)

    def test_damaged_pages_are_named_and_may_be_skipped(self):
        path = os.path.join(self.recorded, "cpu0")
        with open(path, "rb") as file:
            content = file.read()
        with open(path, "wb") as file:
            file.write(content[:-100])
        done = self.assert_exit(BAD_INPUT, "import", self.recorded, "-o", self.path("out.kmt"))
        self.assertIn("the last page of cpu0 has 3996 of 4096 bytes", done.stderr)
        self.assertFalse(os.path.exists(self.path("out.kmt")))
        self.assert_exit(OK, "import", self.recorded, "--lenient", "-o", self.path("out.kmt"))
        os.remove(os.path.join(self.recorded, "header_page"))
        done = self.assert_exit(BAD_INPUT, "import", self.recorded, "--format", "tracefs", "-o",
                                self.path("no.kmt"))
        self.assertIn("header_page", done.stderr)


if __name__ == "__main__":
    main()
