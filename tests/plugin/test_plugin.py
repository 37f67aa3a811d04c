"""An allocator of one's own: built outside of the tree against what is installed, loaded by every
command, and ended with a report where it misbehaves.

    test_plugin.py KMEMLAB BUILD_DIR MESON SANITIZED
"""

import json
import os
import re
import shutil
import subprocess
import unittest

from plugin_case import BUILD, PluginCase, SANITIZED
from program import BAD_INPUT, CHECK_FAILED, OK, USAGE, main, run

ALLOC = "	struct one_bit *b = state;\n\n	for (; b->hint"
DECLARE = "KMEMLAB_FRAMES_PLUGIN(one_bit);"
BY_HAND = ("__attribute__((visibility(\"default\"))) const struct kmemlab_plugin kmemlab_plugin = "
           "{{ .abi = {abi}, .ops_bytes = sizeof(struct frame_ops){more}, .config_bytes = "
           "sizeof(struct frame_config), .request_bytes = sizeof(struct frame_request), "
           ".stats_bytes = sizeof(struct frame_stats), .map_bytes = sizeof(struct memmap), "
           ".frames = {frames} }};")


def strike(code):
    """In an allocation of the example, with ten frames in use."""
    return (ALLOC, "	struct one_bit *b = state;\n	if (b->map.frames - b->free_frames == 10) {"
            + code + "}\n	for (; b->hint")


class Plugins(PluginCase):
    EXAMPLE = "one_bit.c"

    # ---- what works ----

    def test_the_example_is_what_its_readme_says(self):
        with open(os.path.join(os.path.dirname(self.source), "README.md"), encoding="utf-8") as file:
            readme = file.read()
        for command in ("kmemlab-plugin-build", "kmemlab check --frames", "kmemlab replay"):
            self.assertIn(command, readme)
        code = re.sub(r"/\*.*?\*/", "", self.example, flags=re.S)
        self.assertLess(len([line for line in code.splitlines() if line.strip()]), 150)

    def test_pkg_config_leads_to_the_headers(self):
        if shutil.which("pkg-config") is None:
            raise unittest.SkipTest("no pkg-config")

        def ask(*what):
            return subprocess.run(["pkg-config", "--define-prefix", *what, "kmemlab"], text=True,
                                  check=True, capture_output=True,
                                  env=dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(
                                      self.pc))).stdout.strip()
        header = os.path.join(ask("--cflags").removeprefix("-I"), "alloc", "frame", "plugin.h")
        self.assertTrue(os.path.isfile(header), header)
        with open(header, encoding="utf-8") as file:
            self.assertIn(f"#define KMEMLAB_PLUGIN_ABI {ask('--variable=plugin_abi')}u\n",
                          file.read())
        self.assertTrue(os.access(ask("--variable=plugin_build"), os.X_OK))

    def test_it_is_listed(self):
        listed = self.json("list", "frames", "--frames", self.good, "--json")
        self.assertEqual((listed[0]["name"], listed[-1]["name"]), ("null", self.good))
        self.assertEqual((listed[-1]["capabilities"], listed[-1]["settings"],
                          listed[-1]["passes"]), (["free"], [], ["native", "probed"]))

    def test_it_keeps_its_contract(self):
        done = self.assert_exit(OK, "check", "--frames", self.good, "--operations", "40")
        self.assertIn(" ok ", done.stdout)
        self.assertNotIn("native pass only", done.stdout)

    def test_it_replays_in_both_passes_alike(self):
        done = self.json("replay", self.trace(), "--frames", self.good, "--json")
        self.assertEqual((done["allocator"], done["violations"]), ("one_bit.so", 0))
        self.assertEqual(done["passes"]["native"]["digest"], done["passes"]["probed"]["digest"])
        self.assertGreater(done["passes"]["probed"]["counters"]["loads"], 500)
        first_fit = self.json("replay", self.trace(largest_order=0), "--frames", "bitmap", "--json")
        own = self.json("replay", self.trace(largest_order=0), "--frames", self.good, "--json")
        self.assertEqual(own["failures"], first_fit["failures"])

    def test_it_is_one_allocator_of_an_experiment_among_others(self):
        self.trace()
        shutil.copy(self.good, self.path("mine.so"))
        spec = self.write("own.ini", "[cells]\ntrace = small.kmt\nframes = buddy; mine.so\n")

        def cells():
            self.assert_exit(OK, "run", spec, "-o", self.path("out"))
            runs = {}
            for name in ("buddy", "mine.so"):
                path = self.path("out", f"small.{name}.s1", "run.json")
                with open(path, encoding="utf-8") as file:
                    runs[name] = (json.load(file)["config"], os.stat(path).st_mtime_ns)
            return runs
        first = cells()
        self.assertEqual(first["mine.so"][0]["frames"], "mine.so")
        self.assertRegex(first["mine.so"][0]["frames_sha256"], "^[0-9a-f]{64}$")
        self.assertNotIn("frames_sha256", first["buddy"][0])
        self.assertEqual(cells(), first)
        # Another file of the same name is another allocator.
        with open(self.path("mine.so"), "ab") as file:
            file.write(b"\0")
        second = cells()
        self.assertEqual(second["buddy"], first["buddy"])
        self.assertGreater(second["mine.so"][1], first["mine.so"][1])

    def test_without_a_probed_half_the_native_pass_alone_runs(self):
        half = self.variant("half", options=["--native-only"])
        done = self.assert_exit(OK, "replay", self.trace(), "--frames", half)
        self.assertIn("has no probed half: native pass only", done.stderr)
        self.assertNotIn("probed ", done.stdout)
        listed = self.json("list", "frames", "-f", half, "--json")
        self.assertEqual(listed[-1]["passes"], ["native"])
        self.assert_complains(USAGE, "no probed half", "replay", self.trace(), "--frames", half,
                              "--pass", "probed")
        done = self.assert_exit(OK, "check", "--frames", half, "--operations", "20")
        self.assertIn("native pass only", done.stdout)

    # ---- what is refused ----

    def refused(self, path, *words):
        self.assert_complains(BAD_INPUT, [os.path.basename(path), *words], "replay",
                              self.trace(), "--frames", path)
        self.unlisted(path, *words)

    def unlisted(self, path, *words):
        self.assert_complains(BAD_INPUT, words, "list", "--frames", path)

    def test_files_that_are_no_plugin_are_refused(self):
        with open(self.good, "rb") as file:
            whole = file.read()
        self.refused(self.path("missing.so"), "No such file")
        self.refused(self.write("empty.so", b""), "is no ELF")
        self.refused(self.write("text.so", "int x;\n"), "is no ELF")
        self.refused(self.write("half.so", whole[:len(whole) // 2]), "half.so")
        self.assert_complains(BAD_INPUT, "is no ELF", "check", "--frames", self.path("text.so"))
        self.refused(self.write("head.so", whole[:64]), "damaged")
        self.refused(self.write("i386.so", whole[:18] + b"\x03" + whole[19:]), "x86-64")
        os.mkdir(self.path("folder.so"))
        self.refused(self.path("folder.so"), "folder.so")
        self.assert_complains(USAGE, "unknown page-frame allocator", "replay", self.trace(),
                              "--frames", "mine")

    def test_damaged_bytes_never_end_the_program(self):
        with open(self.good, "rb") as file:
            whole = bytearray(file.read())
        for at in list(range(16, 120, 7)) + list(range(0x200, len(whole), len(whole) // 40)):
            broken = bytearray(whole)
            broken[at] ^= 0xff
            path = self.write("broken.so", bytes(broken))
            done = run("list", "frames", "--frames", path)
            self.assertIn(done.returncode, (OK, BAD_INPUT), f"{at:#x}: {done.stderr}")

    def test_another_abi_is_refused(self):
        self.refused(self.variant("newer", (DECLARE, BY_HAND.format(
            abi=99, more="", frames="&one_bit"))), "plugin ABI 99", "build it again")
        self.refused(self.variant("other", (DECLARE, BY_HAND.format(
            abi="KMEMLAB_PLUGIN_ABI", more=" + 8", frames="&one_bit"))), "other headers")

    def test_ops_that_lack_something_are_refused(self):
        self.refused(self.variant("none", (DECLARE, BY_HAND.format(
            abi="KMEMLAB_PLUGIN_ABI", more="", frames="0")),
            options=["--", "-Wno-unused-const-variable"]), "no ops")
        self.refused(self.variant("nameless", ('.name = "one-bit",', "")), "no name")
        self.refused(self.variant("capped", ("FRAME_CAP_FREE,", "1u << 30,")), "0x40000000")
        for name in ("state_bytes", "init", "alloc", "free", "stats", "walk", "check"):
            gone = re.search(rf"\t\.{name} = \w+,\n", self.example)[0]
            self.unlisted(self.variant("no_" + name, (gone, ""), options=[
                "--native-only", "--", "-Wno-unused-function"]), f"no function '{name}'")

    def test_it_may_not_reach_out_nor_keep_variables_nor_run_by_itself(self):
        declare = ("struct one_bit {", "extern void *malloc(size_t bytes);\nstruct one_bit {")
        self.refused(self.variant("reaches", declare, strike("(void)*(volatile char *)malloc(1);")),
                     "'malloc'", "alloc/port.h")
        self.refused(self.variant("keeps", strike("static uint64_t calls; b->hint += 0 * ++calls;"),
                                  options=["--", "-O0"]), "variables", ".bss")
        self.refused(self.variant("starts", (
            "struct one_bit {", "__attribute__((constructor)) static void begin(void) { port_cpu(); }\n"
            "struct one_bit {")), "runs when it is loaded")
        plain = self.write("plain.c", "int kmemlab_other;\n")
        subprocess.run(["gcc", "-shared", "-fPIC", "-nostdlib", plain, "-o",
                        self.path("plain.so")], check=True)
        self.refused(self.path("plain.so"), "plain.so")
        subprocess.run(["gcc", "-c", plain, "-o", self.path("object.so")], check=True)
        self.refused(self.path("object.so"), "no shared object")
        constant = self.write("constant.c", "const int kmemlab_other = 1;\n")
        subprocess.run(["gcc", "-shared", "-fPIC", "-nostdlib", constant, "-o",
                        self.path("nothing.so")], check=True)
        self.refused(self.path("nothing.so"), "no symbol kmemlab_plugin")
        subprocess.run(["gcc", "-shared", "-fPIC", "-nostdlib", constant, "-Wl,--no-as-needed",
                        "-lm", "-o", self.path("needs.so")], check=True)
        self.refused(self.path("needs.so"), "libm")

    def test_the_program_shows_the_port_and_nothing_else(self):
        if SANITIZED:
            raise unittest.SkipTest("sanitizers show symbols of their own")
        exports = subprocess.run(["nm", "-D", "--defined-only", os.path.join(BUILD, "kmemlab")],
                                 check=True, capture_output=True, text=True).stdout
        # Functions: the linker copies variables of libraries into the program.
        names = [line.split()[-1] for line in exports.splitlines() if line.split()[-2] == "T"]
        self.assertGreater(len(names), 50)
        allowed = re.compile(r"(probed_)?port_\w+|probed_mem(cpy|move|set|cmp)|probed___tsan_\w+")
        self.assertEqual([name for name in names if not allowed.fullmatch(name)], [])

    # ---- what misbehaves ----

    ENDS = {
        "writes": ("*(volatile uint64_t *)(none + 240) = 1;", "crash",
                   "Segmentation fault at host address 0xf0"),
        "jumps": ("((void (*)(void))none)();", "crash", "where there is no code"),
        "divides": ("b->hint /= none;", "crash", "Floating point exception"),
        "spins": ("for (volatile uint64_t *at = &b->map.frames; *at;) ;", "hang",
                  "does not come back within 300 ms"),
        "panics": ('port_panic("no more");', "panic", "no more"),
    }

    def ending(self, name):
        return self.variant(name, strike("volatile uint64_t none = 0; b->free_frames += none;" +
                                         self.ENDS[name][0]))

    def test_a_crash_or_a_hang_ends_its_own_cell_with_a_report(self):
        self.trace(events=200, largest_order=0)
        names = []
        for name in self.ENDS:
            self.ending(name)
            names.append(name + ".so")
        spec = self.write("ends.ini", "[cells]\ntrace = small.kmt\nframes = buddy; "
                          + "; ".join(names) + "\n[options]\ntime-limit = 0.3\n")
        done = self.assert_exit(CHECK_FAILED, "run", spec, "-o", self.path("out"))
        self.assertIn(f"{len(names)} of {len(names) + 1} cells broke an invariant", done.stderr)
        with open(self.path("out", "experiment.json"), encoding="utf-8") as file:
            cells = json.load(file)["cells"]
        self.assertEqual([cell["exit"] for cell in cells], [0] + [1] * len(names))
        for name, (_, kind, words) in self.ENDS.items():
            with open(self.path("out", f"small.{name}.so.s1", "run.json"),
                      encoding="utf-8") as file:
                result = json.load(file)["result"]
            found = [one for one in result["violation_list"] if one["kind"] == kind]
            self.assertEqual([one["pass"] for one in found], ["native", "probed"], name)
            for one in found:
                self.assertIn(words, one["message"])
                self.assertRegex(one["message"], r"^allocator error: one-bit: ")
                self.assertRegex(one["command"], r"--until \d+$")

    def test_replay_says_where_and_exits_1(self):
        path = self.ending("writes")
        done = self.assert_exit(CHECK_FAILED, "replay", self.trace(), "--frames", path)
        self.assertRegex(done.stdout, r"Segmentation fault .* at .*writes\.c:\d+ \(one_bit_alloc\)")
        self.assertIn("again: kmemlab replay", done.stdout)

    def test_death_in_boot_is_the_allocators_error(self):
        path = self.variant("dies", ("	b->map = *map;", "	b->map = *map;\n	port_panic(\"boot\");"))
        words = ["allocator error", "one-bit died while booting", "boot"]
        self.assert_complains(CHECK_FAILED, words, "replay", self.trace(), "--frames", path)
        spec = self.write("dies.ini", "[cells]\ntrace = small.kmt\nframes = dies.so; buddy\n")
        self.assert_exit(CHECK_FAILED, "run", spec, "-o", self.path("out"))
        with open(self.path("out", "experiment.json"), encoding="utf-8") as file:
            cells = json.load(file)["cells"]
        self.assertEqual([(cell["status"], cell["exit"]) for cell in cells],
                         [("failed", 1), ("done", 0)])
        self.assertIn("died while booting", cells[0]["message"])

    def test_check_finds_and_shrinks_a_defect(self):
        path = self.variant("twice", ("*word |= 1ull << bit;", "*word |= 1ull << bit; "
                                      "if (b->free_frames % 64 == 5) *word &= ~(1ull << bit);"))
        done = self.assert_exit(CHECK_FAILED, "check", "--frames", path, "-o",
                                self.path("failure.kmt"))
        self.assertIn("allocator error: one-bit:", done.stdout)
        again = re.search(r"again: kmemlab (.*)", done.stdout)[1].split()
        self.assert_exit(CHECK_FAILED, *again)

    # ---- the script ----

    def test_the_script_says_what_is_wrong_with_its_arguments(self):
        for arguments, words in (((), "Usage"), (("missing.c",), "no such file"),
                                 (("-x",), "unknown option"), (("README.md",), "is no .c file"),
                                 (("-o",), "needs a file name")):
            done = subprocess.run([self.builder, *arguments], capture_output=True, text=True,
                                  check=False, cwd=self.root)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(words, done.stderr)
        broken = self.write("broken.c", "int f(void) { return undeclared; }\n")
        done = subprocess.run([self.builder, broken], capture_output=True, text=True, check=False,
                              cwd=self.folder)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("undeclared", done.stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), ["broken.c"])

    def test_the_output_is_named_after_the_first_source(self):
        shutil.copy(self.source, self.folder)
        self.build_it("one_bit.c", cwd=self.folder)
        self.assertEqual(sorted(os.listdir(self.folder)), ["one_bit.c", "one_bit.so"])


if __name__ == "__main__":
    main()
