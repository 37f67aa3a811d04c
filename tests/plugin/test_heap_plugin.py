"""A kernel heap of one's own: built outside of the tree, loaded by every command, and found out where it misbehaves.

    test_heap_plugin.py KMEMLAB BUILD_DIR MESON SANITIZED
"""

import json
import os
import re
import shutil

from plugin_case import PluginCase
from program import BAD_INPUT, CHECK_FAILED, OK, USAGE, main

DECLARE = "KMEMLAB_HEAP_PLUGIN(powers);"
FREE = "	struct powers *h = state;\n	struct span *s = span_of(&h->pool, object);\n"
NATIVE = ("--native-only", "--", "-Wno-unused-function")


class HeapPlugins(PluginCase):
    EXAMPLE = "powers.c"

    def larson(self, events=3000):
        path = self.path("larson.kmt")
        if not os.path.exists(path):
            self.assert_exit(OK, "generate", "larson", "threads=2", "slots=50", "ram=32M",
                             f"events={events}", "-o", path)
        return path

    # ---- what works ----

    def test_it_is_listed(self):
        listed = self.json("list", "heaps", "--heap", self.good, "--json")
        self.assertEqual((listed[0]["name"], listed[-1]["name"]), ("null", self.good))
        self.assertEqual(listed[-1]["passes"], ["native", "probed"])
        self.assertIn("finds-misuse", listed[-1]["capabilities"])

    def test_it_keeps_its_contract(self):
        done = self.assert_exit(OK, "check", "--heap", self.good, "--operations", "60")
        self.assertIn(" ok ", done.stdout)
        self.assertNotIn("native pass only", done.stdout)

    def test_it_replays_in_both_passes_alike(self):
        done = self.json("replay", self.larson(), "--frames", "buddy", "--heap", self.good,
                         "--json")
        self.assertEqual((done["heap_name"], done["violations"]), ("powers.so", 0))
        self.assertEqual(done["passes"]["native"]["digest"], done["passes"]["probed"]["digest"])
        self.assertEqual(done["heap"]["held_after_all_frames"], 0)

    def test_it_is_one_heap_of_an_experiment_among_others(self):
        self.larson()
        shutil.copy(self.good, self.path("mine.so"))
        spec = self.write("own.ini", "[cells]\ntrace = larson.kmt\nframes = buddy\n"
                          "heap = tlsf; mine.so\n")

        def cells():
            self.assert_exit(OK, "run", spec, "-o", self.path("out"))
            runs = {}
            for name in ("tlsf", "mine.so"):
                path = self.path("out", f"larson.buddy.{name}.s1", "run.json")
                with open(path, encoding="utf-8") as file:
                    runs[name] = (json.load(file)["config"], os.stat(path).st_mtime_ns)
            return runs
        first = cells()
        self.assertEqual(first["mine.so"][0]["heap"], "mine.so")
        self.assertRegex(first["mine.so"][0]["heap_sha256"], "^[0-9a-f]{64}$")
        self.assertNotIn("heap_sha256", first["tlsf"][0])
        self.assertEqual(cells(), first)
        with open(self.path("mine.so"), "ab") as file:
            file.write(b"\0")
        second = cells()
        self.assertEqual(second["tlsf"], first["tlsf"])
        self.assertGreater(second["mine.so"][1], first["mine.so"][1])

    def test_without_a_probed_half_the_native_pass_alone_runs(self):
        half = self.variant("half", options=["--native-only"])
        replay = ("replay", self.larson(), "--frames", "buddy", "--heap", half)
        done = self.assert_exit(OK, *replay)
        self.assertIn("half.so has no probed half: native pass only", done.stderr)
        self.assert_complains(USAGE, "half.so has no probed half", *replay, "--pass", "probed")
        done = self.assert_exit(OK, "check", "--heap", half, "--operations", "20")
        self.assertIn("native pass only", done.stdout)

    # ---- what is refused ----

    def refused(self, path, *words):
        self.assert_complains(BAD_INPUT, [os.path.basename(path), *words], "list", "--heap", path)

    def test_what_is_no_heap_is_refused(self):
        self.refused(self.path("missing.so"), "No such file")
        self.refused(self.write("text.so", "int x;\n"), "is no ELF")
        self.assert_complains(BAD_INPUT, ["no symbol kmemlab_plugin", "KMEMLAB_FRAMES_PLUGIN"],
                              "list", "--frames", self.good)
        self.assert_complains(USAGE, "unknown heap", "replay", self.larson(), "--frames", "buddy",
                              "--heap", "mine")
        self.assert_complains(BAD_INPUT, "No such file", "check", "--heap", "./missing.so")

    def test_another_abi_is_refused(self):
        by_hand = ("__attribute__((visibility(\"default\"))) const struct kmemlab_heap_plugin "
                   "kmemlab_heap_plugin = {{ .abi = {}, .ops_bytes = sizeof(struct heap_ops){}, "
                   ".heap = &powers }};")
        self.refused(self.variant("newer", (DECLARE, by_hand.format("99", ""))), "plugin ABI 99")
        self.refused(self.variant("other", (DECLARE, by_hand.format("KMEMLAB_PLUGIN_ABI", " + 8"))),
                     "other headers")

    def test_ops_that_lack_something_are_refused(self):
        for name in ("state_bytes", "init", "alloc", "free", "usable", "stats", "walk", "check"):
            gone = re.search(rf"\t\.{name} = \w+,\n", self.example)[0]
            self.refused(self.variant("no_" + name, (gone, ""), options=NATIVE),
                         f"no function '{name}'")
        for cap, name in (("TAGS", "tag"), ("RESIZE", "resize"), ("CACHES", "cache_new"),
                          ("COLLECTS", "collect")):
            self.refused(self.variant("claims_" + name, (
                "HEAP_CAP_FREE |", f"HEAP_CAP_FREE | HEAP_CAP_{cap} |"), options=NATIVE),
                f"no function '{name}'")

    # ---- what misbehaves ----

    def test_a_crash_ends_its_own_pass_with_a_report(self):
        path = self.variant("writes", (FREE, FREE + "	volatile uint64_t none = 0;\n"
                                       "	*(volatile uint64_t *)(none + 240) = 1;\n"))
        done = self.assert_exit(CHECK_FAILED, "replay", self.larson(), "--frames", "buddy",
                                "--heap", path)
        self.assertRegex(done.stdout, r"Segmentation fault .* at .*writes\.c:\d+ \(powers_free\)")

    def test_a_store_outside_of_its_frames_names_its_line(self):
        path = self.variant("strays", (FREE, FREE + "	((volatile char *)h->pool.pages.reach.base)"
                                       "[8 << 12] = 1;\n"))
        done = self.assert_exit(CHECK_FAILED, "replay", self.larson(), "--frames", "buddy",
                                "--heap", path)
        self.assertRegex(done.stdout, r"not the heap's, at .*strays\.c:\d+ \(powers_free\)")

    def test_check_finds_and_shrinks_a_defect(self):
        path = self.variant("twice", ("	span_give(&h->pool, s, (unsigned)slot);\n",
                                      "	span_give(&h->pool, s, (unsigned)slot);\n"
                                      "	if (s->free == 3) s->vacant[0] |= 1;\n"))
        done = self.assert_exit(CHECK_FAILED, "check", "--heap", path, "-o",
                                self.path("failure.kmt"))
        again = re.search(r"again: kmemlab (.*)", done.stdout)[1].split()
        self.assert_exit(CHECK_FAILED, *again)


if __name__ == "__main__":
    main()
