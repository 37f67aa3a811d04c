"""One trace of processes under every way to reach page tables, in every mode that has it.

What users read must be the same everywhere (the digest of contents), both passes must take the
same frames, nothing may be violated, and no stale translation may be used.
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))

from program import CHECK_FAILED, Case, OK, USAGE, run, unittest  # pylint: disable=wrong-import-position

SLOW = "slow" in sys.argv
if SLOW:
    sys.argv.remove("slow")

SYSTEMS = ["direct", "recursive", "foreign", "window", "directories", "pool", "preallocated"]
MODES = {"32": "i386", "pae": "i386", "4level": "x86_64", "5level": "x86_64"}
POLICIES = ["watermark", "single"]
TRACE = (["forks=400", "live=24", "touches=40"] if SLOW else
         ["forks=16", "live=6", "touches=8"])


def cells():
    """(system, mode, more settings)."""
    for mode in MODES:
        for system in SYSTEMS:
            if mode != "5level" or system not in ("recursive", "foreign"):
                yield system, mode, []
        for policy in POLICIES:
            yield "window", mode, [f"tables.policy={policy}"]


def high_cells():
    """RAM beyond the direct map, where there is such a thing."""
    for mode in ("32", "pae"):
        for system in SYSTEMS:
            yield system, mode


class Storm(Case):
    def setUp(self):
        super().setUp()
        self.trace = self.path("storm.kmt")
        done = run("generate", "fork-storm", *TRACE, "--seed", 3, "-o", self.trace)
        self.assertEqual(done.returncode, OK, done.stderr)

    def replay(self, system, mode, settings, *more, code=OK, frames="buddy"):
        settings = [f"machine.arch={MODES[mode]}", f"machine.paging={mode}",
                    "machine.stale-check=on", *settings]
        done = run("replay", self.trace, "--frames", frames, "--tables", system, "--space",
                   "process", *[part for text in settings for part in ("--set", text)], *more,
                   "--json", timeout=600)
        self.assertEqual(done.returncode, code, f"{system}, {mode}: {done.stderr}")
        return json.loads(done.stdout) if code in (OK, CHECK_FAILED) else done.stderr

    def test_the_same_memory_under_every_system(self):
        contents = {}
        for system, mode, settings in cells():
            with self.subTest(system=system, mode=mode, settings=settings):
                got = self.replay(system, mode, settings)
                self.assertEqual(got["violations"], 0, got["violation_list"][:3])
                self.assertFalse(got["digests_differ"])
                self.assertEqual(got["spaces"]["unserved"], 0)
                self.assertEqual(got["passes"]["probed"]["mmu"]["stale_uses"], 0)
                self.assertGreater(got["spaces"]["faults"]["copy"], 0)
                contents[system, mode, *settings] = got["spaces"]["contents"]
        self.assertEqual(len(set(contents.values())), 1, contents)
        self.assertEqual(len(contents), 34)

    def test_the_same_memory_beyond_the_direct_map(self):
        contents = {self.replay("direct", "32", [])["spaces"]["contents"]}
        for system, mode in high_cells():
            with self.subTest(system=system, mode=mode):
                got = self.replay(system, mode, ["machine.highmem=on"], "--ram", "2G",
                                  frames="zoned-buddy")
                self.assertEqual(got["violations"], 0, got["violation_list"][:3])
                self.assertFalse(got["digests_differ"])
                self.assertEqual(got["spaces"]["unserved"], 0)
                self.assertEqual(got["passes"]["probed"]["mmu"]["stale_uses"], 0)
                # Each page that is cleared or copied is reached through a window.
                self.assertGreater(got["spaces"]["tables"]["slot_moves"],
                                   got["spaces"]["faults"]["fresh"])
                contents.add(got["spaces"]["contents"])
        self.assertEqual(len(contents), 1)

    def test_who_cannot_have_memory_beyond_the_direct_map_says_so(self):
        for frames, why in (("buddy", "no zone that ends where"), ("stack", "in free frames")):
            said = self.replay("direct", "32", ["machine.highmem=on"], "--ram", "2G",
                               frames=frames, code=USAGE)
            self.assertIn(why, said)
        said = self.replay("direct", "4level", ["machine.highmem=on"], code=USAGE)
        self.assertIn("is for i386", said)
        said = self.replay("direct", "32", ["machine.highmem=on", "frames.low-mib=896"], "--ram",
                           "2G", frames="zoned-buddy", code=USAGE)
        self.assertIn("low-mib", said)
        said = self.replay("direct", "32", ["machine.highmem=on"], "--heap", "slab",
                           frames="zoned-buddy", code=USAGE)
        self.assertIn("heaps keep to the direct map", said)

    def test_what_cannot_be_is_refused_with_the_reason(self):
        for system in ("recursive", "foreign"):
            said = self.replay(system, "5level", [], code=USAGE)
            self.assertIn("no room for", said)
        said = run("replay", self.trace, "--frames", "buddy", "--tables", "direct", "--space",
                   "process", "--set", "machine.arch=i386", "--set", "machine.paging=off")
        self.assertEqual(said.returncode, USAGE)
        self.assertIn("no address spaces", said.stderr)

    def test_without_address_spaces_a_machine_without_paging_replays(self):
        done = run("replay", self.trace, "--frames", "buddy", "--tables", "none", "--set",
                   "machine.arch=i386", "--set", "machine.paging=off", "--json")
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assertEqual(json.loads(done.stdout)["violations"], 0)


if __name__ == "__main__":
    unittest.main()
