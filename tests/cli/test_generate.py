"""`kmemlab generate` from outside: files, interruptions, replays, and the page that describes it."""

import os
import re
import signal
import subprocess
import time

from program import BAD_INPUT, Case, KMEMLAB, OK, SOURCE, main

PAGE = os.path.join(SOURCE, "docs", "workloads.md")
FRAMES = (("frame-churn", "events=20000"), ("frame-ramp", "ram=32M"), ("checkerboard", "ram=16M"))


INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def default_signals():
    """A job in the background starts with some of them ignored, and so would its children."""
    for number in INTERRUPTIONS:
        signal.signal(number, signal.SIG_DFL)


class Generate(Case):
    def workloads(self, family=None):
        return [one for one in self.json("list", "workloads", "--json")
                if family in (None, one["id"])]

    def generate(self, name, *settings, seed=1):
        path = self.path(f"{name}.kmt")
        done = self.assert_exit(OK, "generate", name, *settings, "--seed", seed, "-o", path)
        self.assertEqual((done.stdout, done.stderr), ("", ""))
        return path

    def test_every_family_has_its_workloads(self):
        names = {family: [one["name"] for one in self.workloads(family)]
                 for family in ("frames", "heap", "process")}
        self.assertEqual(names, {
            "frames": ["frame-churn", "frame-ramp", "checkerboard"],
            "heap": ["larson", "generational", "power-law", "sawtooth", "fifo", "lifo", "robson",
                     "kernel-boot"],
            "process": ["fork-storm", "server", "build-farm"]})

    def test_page_frame_workloads_replay_without_a_violation(self):
        for name, setting in FRAMES:
            with self.subTest(name=name):
                trace = self.generate(name, setting)
                done = self.json("replay", trace, "--frames", "buddy", "--json")
                self.assertEqual(done["violations"], 0)
                self.assertGreater(done["events"], 5000)

    def test_heap_operations_are_timed_under_their_own_names(self):
        trace = self.path("fifo.kmt")
        self.assert_exit(OK, "generate", "fifo", "--seed", "3", "-o", trace)
        events = self.json("info", trace, "--json")["events"]
        done = self.json("replay", trace, "--frames", "buddy", "--heap", "tlsf",
                         "--pass", "native", "--json")
        self.assertEqual({name.split("/")[0] for name in done["latency"]},
                         {"heap_alloc", "heap_free"})
        for operation in ("heap_alloc", "heap_free"):
            self.assertEqual(sum(row["count"] for name, row in done["latency"].items()
                                 if name.startswith(operation + "/")), events[operation])

    def test_adversaries_make_large_requests_fail_where_memory_is_free(self):
        trace = self.generate("checkerboard", "ram=16M", "fill=95", "probes=500")
        done = self.json("replay", trace, "--frames", "buddy", "--json")
        # Half of RAM is free then, enough for all 500 pairs of frames.
        self.assertGreater(done["failures"], 100)

    def test_the_command_in_the_header_gives_the_same_file(self):
        first = self.generate("larson", "events=5000", "slots=20", seed=9)
        command = self.json("info", first, "--json")["command"]
        self.assertTrue(command.startswith("kmemlab generate larson "), command)
        with open(first, "rb") as file:
            before = file.read()
        os.unlink(first)
        self.assert_exit(OK, *command.split()[1:], "-o", first)
        with open(first, "rb") as file:
            self.assertEqual(file.read(), before)

    def test_the_traces_that_come_along_are_what_their_commands_make(self):
        folder = os.path.join(SOURCE, "workloads", "generated")
        names = [name for name in os.listdir(folder) if name.endswith(".kmt")]
        self.assertGreaterEqual(len(names), 2)
        for name in names:
            with self.subTest(name):
                there = os.path.join(folder, name)
                command = self.json("info", there, "--json")["command"].split()
                self.assertEqual(command[:2], ["kmemlab", "generate"])
                again = self.path(name)
                self.assert_exit(OK, *command[1:], "-o", again)
                self.assert_exit(OK, "trace", "diff", there, again)

    def test_info_says_that_a_trace_was_generated(self):
        text = self.assert_exit(OK, "info", self.generate("fifo", "events=100")).stdout
        self.assertTrue(text.startswith("fifo, generated (generator, version "), text)

    def test_an_interrupted_one_leaves_no_file_and_an_old_one_alone(self):
        for number in INTERRUPTIONS:
            with self.subTest(signal=number):
                path = self.write("old.kmt", "old")
                with subprocess.Popen([KMEMLAB, "generate", "fifo", "events=1000000000", "-o", path],
                                      stderr=subprocess.PIPE, text=True,
                                      preexec_fn=default_signals) as child:
                    for _ in range(1000):
                        if os.path.exists(path + ".partial"):
                            break
                        time.sleep(0.01)
                    time.sleep(0.05)
                    child.send_signal(number)
                    message = child.communicate(timeout=300)[1]
                self.assertEqual(child.returncode, -number, message)
                self.assertIn("interrupted", message)
                self.assertEqual(os.listdir(self.folder), ["old.kmt"])
                self.assertEqual(self.read("old.kmt"), b"old")

    def test_a_place_where_nothing_can_be_written_is_named(self):
        self.assert_complains(BAD_INPUT, "/nowhere/x.kmt", "generate", "fifo", "-o",
                              self.path("nowhere/x.kmt"))
        if os.path.exists("/dev/full"):
            self.assert_complains(BAD_INPUT, "/dev/full", "generate", "fifo", "-o", "/dev/full")

    def test_the_page_describes_every_workload_and_parameter(self):
        with open(PAGE, encoding="utf-8") as file:
            parts = re.split(r"(?m)^### (\S+)\n", file.read())
        described = dict(zip(parts[1::2], parts[2::2]))
        self.assertEqual(list(described), [one["name"] for one in self.workloads()])
        for one in self.workloads():
            with self.subTest(name=one["name"]):
                rows = re.findall(r"(?m)^\| (\S+) \| (\S+) \| (\S+) to (\S+) \| *(\S*) *\| (.*) \|$",
                                  described[one["name"]])
                self.assertEqual(
                    [(*row[:4], row[4].strip(), row[5]) for row in rows],
                    [tuple(row[key] for key in ("key", "default", "min", "max", "unit", "help"))
                     for row in one["settings"]])
                text = self.assert_exit(OK, "generate", one["name"], "--parameters").stdout
                self.assertEqual([line.split()[:2] for line in text.splitlines()[1:]],
                                 [[f"{row[0]}={row[1]}", f"{row[2]}..{row[3]}"] for row in rows])


if __name__ == "__main__":
    main()
