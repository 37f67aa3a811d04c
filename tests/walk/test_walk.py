"""`kmemlab walk` on tables written by hand: verdicts, words, every kind of file, and files that are
no good."""

import os
import subprocess
import unittest

from support import (DATA, MODES, KMEMLAB, A, D, G, P, PS, PWU, U, W, XD, Case, elf_core, entry_bytes,
                     frames, main, pt_pages, registers, walk)

# One 4 KiB page at 0x401000 in each mode: tables at 0x1000.., the frame is 0x9000.
TABLES = {
    "32bit": [(0x1004, 0x2000 | PWU), (0x2004, 0x9000)],
    "pae": [(0x1000, 0x2000 | P), (0x2010, 0x3000 | PWU), (0x3008, 0x9000)],
    "4level": [(0x1000, 0x2000 | PWU), (0x2000, 0x3000 | PWU), (0x3010, 0x4000 | PWU),
               (0x4008, 0x9000)],
    "5level": [(0x1000, 0x2000 | PWU), (0x2000, 0x3000 | PWU), (0x3000, 0x4000 | PWU),
               (0x4010, 0x5000 | PWU), (0x5008, 0x9000)],
}
VA = 0x401000


def tables(mode: str, leaf: int, **upper: int) -> bytes:
    """The page at VA with these bits in its leaf; more entries as (address, value)."""
    entries = TABLES[mode][:-1] + [(TABLES[mode][-1][0], 0x9000 | leaf)]
    return frames(*entries, *upper.get("more", []), size=entry_bytes(mode))


class Verdicts(Case):
    def ask(self, mode: str, memory: bytes, *arguments: object, **changes: int) -> list[str]:
        path = self.file(memory)
        return self.tsv("--memory", path, *registers(mode, **changes), "--vaddr", f"{VA + 0x123:x}",
                        *arguments)[0][1:]

    def test_each_mode_translates(self):
        for mode in MODES:
            with self.subTest(mode):
                self.assertEqual(self.ask(mode, tables(mode, PWU)), ["9123", "12", "WUX", "-"])
                self.assertEqual(self.ask(mode, tables(mode, 0)), ["-", "-", "-", "0"])

    def test_error_codes_describe_the_access(self):
        cases = [
            (0, ("--access", "r"), "0"), (0, ("--access", "w"), "2"),
            (0, ("--access", "w", "--user"), "6"), (0, ("--access", "x", "--user"), "14"),
            (P | U, ("--access", "w", "--user"), "7"), (P | U, ("--access", "w"), "3"),
            (P, ("--access", "r", "--user"), "5"), (P | U | XD, ("--access", "x", "--user"), "15"),
            (P | XD, ("--access", "x"), "11"), (P | 1 << 51, ("--access", "r"), "9"),
            (P | 1 << 51, ("--access", "w", "--user"), "f"), (P | 1 << 51, (), "9"),
        ]
        for leaf, arguments, code in cases:
            with self.subTest(leaf=leaf, arguments=arguments):
                self.assertEqual(self.ask("4level", tables("4level", leaf), *arguments),
                                 ["-", "-", "-", code])

    def test_registers_decide(self):
        read_only = tables("4level", P | U)
        self.assertEqual(self.ask("4level", read_only, "--access", "w", cr0=0x80000001)[3], "-")
        smap = dict(cr4=0x200020)
        self.assertEqual(self.ask("4level", read_only, "--access", "r", **smap)[3], "1")
        self.assertEqual(self.ask("4level", read_only, "--access", "r", "--ac", **smap)[3], "-")
        self.assertEqual(self.ask("4level", read_only, "--access", "x", cr4=0x100020)[3], "11")
        keyed = tables("4level", PWU | 3 << 59)
        keys = ("--access", "r", "--user", "--pkru", "40")
        self.assertEqual(self.ask("4level", keyed, *keys, cr4=0x400020)[3], "25")
        self.assertEqual(self.ask("4level", keyed, *keys)[3], "-")

    def test_physical_address_bits(self):
        memory = tables("4level", P | 1 << 45)
        self.assertEqual(self.ask("4level", memory)[3], "9")
        self.assertEqual(self.ask("4level", memory, "--maxphyaddr", 46)[0], "200000009123")

    def test_addresses_that_do_not_exist(self):
        path = self.file(tables("4level", PWU))
        self.assertEqual(self.tsv("--memory", path, *registers("4level"), "--vaddr", "800000000000"),
                         [["800000000000", "-", "-", "-", "gp"]])
        path = self.file(tables("5level", PWU))
        self.assertEqual(self.tsv("--memory", path, *registers("5level"), "--vaddr", "800000000000"),
                         [["800000000000", "-", "-", "-", "0"]])

    def test_without_paging(self):
        path = self.file(bytes(4096))
        self.assertEqual(self.tsv("--memory", path, *registers("32bit", cr0=0x11), "--vaddr", "1234"),
                         [["1234", "1234", "12", "WUX", "-"]])

    def test_a_batch_of_addresses(self):
        path, listed = self.file(tables("4level", PWU)), self.file("0x401fff\n\n 402000\n", "list")
        code, out, err = walk("--memory", path, *registers("4level"), "--vaddrs", listed)
        self.assertEqual((code, err), (0, ""))
        self.assertEqual(out, "401fff\t9fff\t12\tWUX\t-\n402000\t-\t-\t-\t0\n")

    def test_a_page_directory_pointer_with_a_set_bit_of_qemus(self):
        memory = tables("pae", PWU, more=[(0x1000, 0x2000 | P | A)])
        self.assertEqual(self.ask("pae", memory)[0], "9123")
        memory = tables("pae", PWU, more=[(0x1008, 0x2000 | P | W)])
        self.refused(3, "PDPTE 1", "--memory", self.file(memory), *registers("pae"), "--vaddr", "0")


class Words(Case):
    def explain(self, mode: str, memory: bytes, *arguments: object, **changes: int) -> str:
        code, out, err = walk("--memory", self.file(memory), *registers(mode, **changes), *arguments)
        self.assertEqual((code, err), (0, ""))
        return out

    def expect(self, text: str, *words: str):
        flat = " ".join(text.split())
        for word in words:
            self.assertIn(word, flat)

    def at(self, memory: bytes, *arguments: object, **changes: int) -> str:
        return self.explain("4level", memory, "--vaddr", f"{VA:x}", *arguments, **changes)

    def test_not_present(self):
        text = self.at(tables("4level", 0), "--access", "r", "--user")
        self.expect(text, "error code 0x4", "PTE has P=0", "an entry with P=1 at physical 0x4008",
                    "No INVLPG")
        text = self.at(frames((0x1000, 0x2000 | PWU)), "--access", "r")
        self.expect(text, "PDPTE has P=0", "a table whose entry 2")

    def test_a_write_to_read_only(self):
        text = self.at(tables("4level", P | U), "--access", "w", "--user")
        self.expect(text, "error code 0x7", "R/W is 0 in the PTE at 0x4008",
                    "with R/W set in the PTE at 0x4008", "as a read")
        self.assertNotIn("CR0.WP=0", text)
        text = self.at(tables("4level", P | U), "--access", "w")
        self.expect(text, "CR0.WP=1 makes that hold for the kernel too", "with CR0.WP=0",
                    "only gains rights needs no INVLPG")
        text = self.at(tables("4level", P | U), "--access", "w", cr4=0x200020)
        self.expect(text, "CR0.WP=1 makes", "CR4.SMAP=1", "No single change allows it")

    def test_rights_that_two_levels_withhold(self):
        memory = tables("4level", P, more=[(0x2000, 0x3000 | P | W)])
        text = self.at(memory, "--access", "w", "--user")
        self.expect(text, "U/S is 0 in the PDPTE at 0x2000 and the PTE at 0x4008",
                    "with R/W set in the PTE at 0x4008 and U/S set in the PDPTE at 0x2000 and the "
                    "PTE at 0x4008")

    def test_a_fetch_of_a_page_that_is_not_executable(self):
        text = self.at(tables("4level", PWU | XD), "--access", "x", "--user")
        self.expect(text, "error code 0x15", "XD is 1 in the PTE", "with XD cleared in the PTE",
                    "XD = 1 no instruction fetches A")
        self.assertNotIn("below here", text)

    def test_reserved_bits(self):
        text = self.at(tables("4level", P | XD | 1 << 45), "--access", "r", efer=0x500)
        self.expect(text, "error code 0x9", "0x8000000000000000: bit 63 is XD only where EFER.NXE=1",
                    "0x200000000000: an address beyond the 40 bits", "0x9001 in place of",
                    "corrupted table")
        text = self.at(tables("4level", P, more=[(0x1000, 0x2000 | PWU | PS)]), "--access", "r")
        self.expect(text, "0x80: bit 7 (PS): a PML4E cannot map a page")
        text = self.at(tables("4level", P, more=[(0x3010, 0x2000 | PWU | PS)]))
        self.expect(text, "0x2000: a page of this size begins at a multiple of it: bits 20:13")
        text = self.explain("pae", tables("pae", P | 1 << 54), "--vaddr", f"{VA:x}")
        self.expect(text, "bits 62:52 are reserved in PAE paging")
        text = self.explain("32bit", tables("32bit", P, more=[(0x1004, 0x200000 | PWU | PS)]),
                            "--vaddr", f"{VA:x}")
        self.expect(text, "0x200000: a 4 MiB page begins")

    def test_user_page_protection(self):
        text = self.at(tables("4level", PWU), "--access", "r", cr4=0x200020)
        self.expect(text, "CR4.SMAP=1 and EFLAGS.AC=0", "with EFLAGS.AC=1", "with CR4.SMAP=0",
                    "from user code")
        text = self.at(tables("4level", PWU), "--access", "x", cr4=0x100020)
        self.expect(text, "CR4.SMEP=1: the kernel must not execute user pages", "with CR4.SMEP=0")

    def test_what_would_make_it_fault(self):
        text = self.at(tables("4level", PWU), "--access", "w", "--user")
        self.expect(text, "Verdict: allowed. Physical address: 0x9000", "It also sets A and D in the "
                    "PTE", "with R/W cleared in the PTE", "with U/S cleared in the PTE")
        self.assertNotIn("with XD set", text)

    def test_a_query_says_what_may_be_done(self):
        text = self.at(tables("4level", P | U | XD))
        self.expect(text, "together: read-only, user, not executable",
                    "write by user code (CPL 3) page fault, error code 0x7")

    def test_large_pages(self):
        text = self.at(tables("4level", 0, more=[(0x3010, 0x200000 | PWU | PS | G | D | A)]))
        self.expect(text, "maps a 2 MiB page: physical 0x200000, plus offset 0x1000",
                    "physical address 0x201000")

    def test_an_address_that_is_not_canonical(self):
        text = self.explain("4level", tables("4level", PWU), "--vaddr", "8000000000000000")
        self.expect(text, "not canonical", "bits 63:47 must all be equal")


class Recursive(Case):
    def seen(self, mode: str, memory: bytes, *arguments: object) -> dict[str, str]:
        """Entry name -> address, of the text below the recursive slot."""
        code, out, err = walk("--memory", self.file(memory), *registers(mode), "--vaddr", f"{VA:x}",
                              *arguments)
        self.assertEqual((code, err), (0, ""))
        lines = out.split("recursive slot", 1)[1].splitlines()[1:]
        return dict(line.split() for line in lines if line.startswith("   "))

    def test_each_mode(self):
        self.assertEqual(self.seen("32bit", tables("32bit", PWU, more=[(0x1ffc, 0x1000 | P | W)])),
                         {"PDE": "0xfffff004", "PTE": "0xffc01004"})
        slot = [(0x1000 + 8 * 510, 0x1000 | P | W)]
        self.assertEqual(self.seen("4level", tables("4level", PWU, more=slot)),
                         {"PML4E": "0xffffff7fbfdfe000", "PDPTE": "0xffffff7fbfc00000",
                          "PDE": "0xffffff7f80000010", "PTE": "0xffffff0000002008"})
        self.assertEqual(set(self.seen("5level", tables("5level", PWU, more=slot))),
                         {"PML5E", "PML4E", "PDPTE", "PDE", "PTE"})

    def test_pae_has_four_entries_for_it(self):
        more = [(0x1018, 0x5000 | P), (0x5fe0, 0x2000 | P | W), (0x5ff8, 0x5000 | P | W)]
        self.assertEqual(self.seen("pae", tables("pae", PWU, more=more)),
                         {"PDE": "0xffffc010", "PTE": "0xff802008"})

    def test_a_slot_that_was_named(self):
        memory = self.file(tables("4level", PWU, more=[(0x1ff8, 0x1000 | P | W)]))
        arguments = ("--memory", memory, *registers("4level"), "--vaddr", f"{VA:x}")
        self.assertIn("Slot 5 is not recursive", walk(*arguments, "--recursive", 5)[1])
        self.assertIn("recursive slot 511", walk(*arguments, "--recursive", 511)[1])

    def test_the_addresses_lead_to_the_entries(self):
        memory = tables("5level", PWU, more=[(0x1ff8, 0x1000 | P | W)])
        for name, seen in self.seen("5level", memory).items():
            line = self.tsv("--memory", self.file(memory), *registers("5level"), "--vaddr", seen)[0]
            at = {"PML5E": 0x1000, "PML4E": 0x2000, "PDPTE": 0x3000, "PDE": 0x4010, "PTE": 0x5008}
            self.assertEqual(int(line[1], 16), at[name])


class Files(Case):
    def page_is_found(self, path, *arguments: object, mode: str = "4level"):
        self.assertEqual(self.tsv("--memory", path, *registers(mode), *arguments, "--vaddr", VA_HEX),
                         [[VA_HEX, "9000", "12", "WUX", "-"]])

    def test_every_format(self):
        memory = tables("4level", PWU)
        self.page_is_found(self.file(memory))
        self.page_is_found(self.file(memory[0x1000:]), "--base", "1000")
        self.page_is_found(self.file(memory[0x801:]), "--base", "801")
        self.page_is_found(self.file(elf_core([(0x1000, memory[0x1000:0x2800]),
                                               (0x2800, memory[0x2800:])])))
        self.page_is_found(self.file(elf_core([(0, tables("32bit", PWU))], wide=False)), mode="32bit")
        state = MODES["4level"]
        pages = {n: memory[n << 12:(n + 1) << 12] for n in range(1, 5)}
        path = self.file(pt_pages(state, pages))
        self.assertEqual(self.tsv("--memory", path, "--vaddr", VA_HEX)[0][1], "9000")
        self.refused(3, "frame 0,", "--memory", path, "--vaddr", VA_HEX, "--cr3", "0")

    def test_compressed(self):
        path = self.file(tables("4level", PWU))
        subprocess.run(["zstd", "-q", str(path)], check=True)
        self.page_is_found(path.with_suffix(".zst"))

    def test_segments_that_repeat_memory(self):
        memory = tables("4level", PWU)
        self.page_is_found(self.file(elf_core([(0, memory), (0x2000, memory[0x2000:0x4000]),
                                               (0x1000, memory[0x1000:])])))

    def test_sparse_memory_at_high_addresses(self):
        base, memory = 0x1230000000, frames((0x2000, 0x9000 | PWU))
        core = elf_core([(0, tables("4level", PWU)[:0x4000]), (base, memory)])
        # the PDE names a table far above
        at = core.index((0x4000 | PWU).to_bytes(8, "little"))
        core = core[:at] + (base + 0x1ff8 - 0xff8 | PWU).to_bytes(8, "little") + core[at + 8:]
        line = self.tsv("--memory", self.file(core), *registers("4level"), "--vaddr", VA_HEX)[0]
        self.assertEqual(line[4], "0")

    def test_a_huge_sparse_file(self):
        path = self.file(tables("4level", PWU))
        os.truncate(path, 64 << 30)
        self.page_is_found(path)

    def test_frames_that_the_file_lacks(self):
        memory = tables("4level", PWU)
        path, listed = self.file(memory[:0x4000]), self.file("401000\n8000000000\n401000\n", "list")
        out = self.refused(3, "frame 0x4,", "--memory", path, *registers("4level"), "--vaddrs", listed)
        self.assertEqual(out.splitlines(), ["401000\t?\t?\t?\t?", "8000000000\t-\t-\t-\t0",
                                            "401000\t?\t?\t?\t?"])
        out = self.refused(3, "frame 0x4,", "--memory", path, *registers("4level"), "--vaddr", VA_HEX)
        self.assertIn("the file lacks frame 0x4", out)
        self.refused(3, "frame 0x4,", "--memory", path, *registers("4level"), "--ranges")
        self.refused(3, "frame 0x1,", "--memory", self.file(bytes(4096)), *registers("4level"),
                     "--entries")
        self.refused(3, "frame 0x1,", "--memory", self.file(bytes(4096)), *registers("pae"),
                     "--vaddr", "0")

    def test_damaged_files(self):
        memory = tables("4level", PWU)
        pages, core = pt_pages(MODES["4level"], {1: memory[0x1000:0x2000]}), elf_core([(0, memory)])
        subprocess.run(["zstd", "-q", str(self.file(memory, "raw"))], check=True)
        packed = (self.folder / "raw.zst").read_bytes()
        damage = [
            (b"", "is empty"), (pages[:40], "truncated in its header"), (pages[:-1], "truncated: 1"),
            (core[:30], "truncated"), (core[:100], "truncated"), (core[:-1], "truncated: segment 1"),
            (elf_core([(0, memory)], kind=2), "but no core"), (elf_core([]), "holds no memory"),
            (core[:5] + b"\2" + core[6:], "big-endian"), (core[:4] + b"\7" + core[5:], "no known"),
            (elf_core([(1 << 50, memory)]), "beyond 64 TiB"),
            (pt_pages(MODES["4level"], {1 << 50: bytes(4096)}), "beyond 64 TiB"),
            (pt_pages(MODES["4level"], {}), "holds no memory"),
            (packed[:-4], "truncated zstd"), (packed[:20] + b"\xff" * 40, "zstd data"),
            (b"KDUMP   " + bytes(99), "kdump-compressed"),
        ]
        for number, (data, words) in enumerate(damage):
            with self.subTest(number=number, words=words):
                self.refused(3, words, "--memory", self.file(data), *registers("4level"), "--vaddr",
                             VA_HEX)
        self.refused(3, "No such file", "--memory", self.folder / "none", "--vaddr", "0")
        self.refused(3, "not a regular file", "--memory", self.folder, "--vaddr", "0")

    def test_garbage_is_read_without_harm(self):
        noise = b"".join((n * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "little") for n in range(8192))
        path = self.file(noise)
        for mode in ("32bit", "4level", "5level"):
            for what in (("--vaddr", "12345678"), ("--ranges",), ("--entries",)):
                code, _, _ = walk("--memory", path, *registers(mode), *what)
                self.assertIn(code, (0, 3))

    def test_tables_that_loop(self):
        loop = frames(*((0x1000 + 8 * i, 0x1000 | PWU) for i in range(512)))
        path = self.file(loop)
        self.assertEqual(self.tsv("--memory", path, *registers("4level"), "--vaddr", VA_HEX)[0][1],
                         "1000")
        self.refused(3, "given up", "--memory", path, *registers("5level"), "--ranges")


class Listings(Case):
    def test_ranges_and_entries_of_large_pages(self):
        more = [(0x3018, 0x600000 | PWU | PS | G | XD), (0x2010, 0x40000000 | P | PS),
                (0x1800, 0x2000 | PWU)]
        path = self.file(tables("4level", P | W | D, more=more))
        self.assertEqual(walk("--memory", path, *registers("4level"), "--ranges"), (0, """\
0000000000401000-0000000000402000 0000000000001000 -rw
0000000000600000-0000000000800000 0000000000200000 urw
0000000080000000-00000000c0000000 0000000040000000 -r-
ffff800000401000-ffff800000402000 0000000000001000 -rw
ffff800000600000-ffff800000800000 0000000000200000 urw
ffff800080000000-ffff8000c0000000 0000000040000000 -r-
""", ""))
        code, out, _ = walk("--memory", path, *registers("4level"), "--entries")
        self.assertEqual((code, out.splitlines()[:3]), (0, [
            "0000000000401000: 0000000000009000 ---D----W",
            "0000000000600000: 0000000000600000 XGP----UW",
            "0000000080000000: 0000000040000000 --P------"]))

    def test_four_mebibytes_need_pse(self):
        more = [(0x1008, 0x400000 | PWU | PS)]
        path = self.file(tables("32bit", 0, more=more), "memory")
        line = "0000000000800000: 0000000000400000 --P----UW\n"
        self.assertEqual(walk("--memory", path, *registers("32bit"), "--entries"), (0, line, ""))
        self.refused(3, "frame 0x400", "--memory", path, *registers("32bit", cr4=0), "--entries")


class Usage(Case):
    def test_options_that_make_no_sense(self):
        path = self.file(tables("4level", PWU))
        state = registers("4level")
        asked = ("--memory", path, *state, "--vaddr", "0")
        for words, arguments in (
                ("--memory is needed", ("--vaddr", "0")),
                ("one of --vaddr", ("--memory", path, *state)),
                ("one of --vaddr", (*asked, "--ranges")),
                ("--cr0 is needed", ("--memory", path, "--vaddr", "0")),
                ("--efer is needed", ("--memory", path, *state[:-2], "--vaddr", "0")),
                ("not a hexadecimal number", ("--memory", path, *state, "--vaddr", "zz")),
                ("not a hexadecimal number", ("--memory", path, *state, "--vaddr", "-1")),
                ("not a hexadecimal number", (*asked, "--cr3", "11112222333344445")),
                ("r, w or x", (*asked, "--access", "rw")),
                ("text or tsv", (*asked, "--format", "csv")),
                ("give --access too", (*asked, "--user")),
                ("not with --user", (*asked, "--access", "r", "--user", "--ac")),
                ("32 to 52", (*asked, "--maxphyaddr", "31")),
                ("the number of an entry", (*asked, "--recursive", "x")),
                ("takes", (*asked, "more")),
                ("have 32 bits", ("--memory", path, *registers("32bit"), "--vaddr", "100000000"))):
            with self.subTest(words=words, arguments=arguments):
                self.refused(2, words, *arguments)
        self.refused(2, "--base is for raw dumps", "--memory",
                     self.file(elf_core([(0, bytes(4096))]), "core"), "--base", "1000", *state,
                     "--vaddr", "0")

    def test_registers_that_no_processor_holds(self):
        path = self.file(tables("4level", PWU))
        for words, changes in (("CR0.PE", dict(cr0=0x80000000)), ("CR4.PAE", dict(cr4=0)),
                               ("has bits above bit 39", dict(cr3=1 << 41)),
                               ("CR4.PCIDE", dict(cr4=0x20020, efer=0))):
            with self.subTest(words):
                self.refused(3, words, "--memory", path, *registers("4level", **changes), "--vaddr",
                             "0")

    def test_a_list_with_a_bad_line(self):
        path, listed = self.file(tables("4level", PWU)), self.file("1\nzebra\n", "list")
        self.refused(3, "list:2: not a hexadecimal address", "--memory", path,
                     *registers("4level"), "--vaddrs", listed)

    def test_help_has_an_example(self):
        code, out, _ = walk("--help")
        self.assertEqual(code, 0)
        self.assertIn("kmemlab walk --memory ram.bin", out)
        said = subprocess.run([KMEMLAB, "--help"], capture_output=True, text=True, check=True)
        self.assertIn("walk", said.stdout)

    def test_the_guests_bring_their_registers(self):
        path = DATA / "linux-guest" / "x86_64-4level" / "pt-pages.bin.zst"
        self.assertEqual(self.tsv("--memory", path, "--vaddr", "401234")[0][1:],
                         ["cb0c234", "12", "-UX", "-"])


VA_HEX = f"{VA:x}"

if __name__ == "__main__":
    main()
