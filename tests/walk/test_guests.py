"""Real Linux guests: every line that QEMU's monitor gave, every hole, and listings in its format."""

from support import DATA, Case, main, unpacked, walk

GUESTS = {"i386-nopae": (6340, 32), "i386-pae": (5348, 32), "x86_64-4level": (75834, 64)}
HOLE_PROBES = 64


class Guest:
    def __init__(self, name: str):
        self.memory = DATA / "linux-guest" / name / "pt-pages.bin.zst"
        text = unpacked(DATA / "linux-guest" / name / "expect.txt.zst")
        rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
        # va, pa, log2 of the size, rights, leaf entry
        self.rows = [(int(r[0], 16), int(r[1], 16), int(r[2]), r[3], int(r[4], 16)) for r in rows]
        self.bits = GUESTS[name][1]

    def holes(self):
        """[first, end) of canonical addresses between the lines."""
        end = 0
        for va, _, shift, _, _ in self.rows + [(1 << self.bits, 0, 0, "", 0)]:
            if self.bits == 64 and end < 1 << 47 <= va:
                yield end, 1 << 47
                end = (1 << 64) - (1 << 47)
            if va > end:
                yield end, va
            end = va + (1 << shift)


def leaf_flags(leaf: int, shift: int) -> str:
    bits = ((63, "X"), (8, "G"), (7, "P"), (6, "D"), (5, "A"), (4, "C"), (3, "T"), (2, "U"), (1, "W"))
    if shift == 12:
        leaf &= ~0x80  # PAT of a PTE
    return "".join(letter if leaf >> bit & 1 else "-" for bit, letter in bits)


class Guests(Case):
    def each(self):
        for name, (lines, _) in GUESTS.items():
            with self.subTest(name):
                guest = Guest(name)
                self.assertEqual(len(guest.rows), lines)
                yield guest

    def test_every_line_translates(self):
        for guest in self.each():
            wanted, asked = [], []
            for va, pa, shift, rights, _ in guest.rows:
                offset = va * 31 & ((1 << shift) - 1)
                asked.append(f"{va + offset:#x}\n")
                wanted.append([f"{va + offset:x}", f"{pa + offset:x}", str(shift), rights, "-"])
            got = self.tsv("--memory", guest.memory, "--vaddrs", self.file("".join(asked), "list"))
            self.assertEqual(got, wanted)

    def test_every_hole_is_not_present(self):
        for guest in self.each():
            asked = []
            for first, end in guest.holes():
                step = max(0x1000, (end - first) // HOLE_PROBES & ~0xfff)
                asked += range(first, end, step)
                asked.append(end - 1)
            path = self.file("".join(f"{va:x}\n" for va in asked), "list")
            got = self.tsv("--memory", guest.memory, "--vaddrs", path)
            self.assertEqual(got, [[f"{va:x}", "-", "-", "-", "0"] for va in asked])
            got = self.tsv("--memory", guest.memory, "--vaddrs", path, "--access", "w", "--user")
            self.assertEqual(got, [[f"{va:x}", "-", "-", "-", "6"] for va in asked])

    def test_accesses_are_judged_by_the_combined_rights(self):
        for guest in self.each():
            path = self.file("".join(f"{row[0]:x}\n" for row in guest.rows), "list")
            for access, needs in (("r", "U"), ("w", "WU"), ("x", "UX")):
                got = self.tsv("--memory", guest.memory, "--vaddrs", path, "--access", access,
                               "--user")
                self.assertEqual([line[4] == "-" for line in got],
                                 [all(letter in row[3] for letter in needs) for row in guest.rows])

    def test_entries_are_what_info_tlb_prints(self):
        for guest in self.each():
            wanted = []
            for va, pa, shift, _, leaf in guest.rows:
                # In PAE mode QEMU's mask leaves bit 63 in the address.
                high = leaf & 1 << 63 if guest.memory.parent.name == "i386-pae" else 0
                wanted.append(f"{va:016x}: {pa | high:016x} {leaf_flags(leaf, shift)}")
            code, out, err = walk("--memory", guest.memory, "--entries")
            self.assertEqual((code, err), (0, ""))
            self.assertEqual(out.splitlines(), wanted)

    def test_ranges_are_what_info_mem_prints(self):
        for guest in self.each():
            ranges = []
            for va, _, shift, rights, _ in guest.rows:
                end, seen = va + (1 << shift), ("u" if "U" in rights else "-") + "r" + (
                    "w" if "W" in rights else "-")
                if ranges and ranges[-1][1] == va and ranges[-1][2] == seen:
                    ranges[-1][1] = end
                else:
                    ranges.append([va, end, seen])
            code, out, err = walk("--memory", guest.memory, "--ranges")
            self.assertEqual((code, err), (0, ""))
            self.assertEqual(out.splitlines(), [
                f"{first:016x}-{end & (1 << 64) - 1:016x} {end - first:016x} {seen}"
                for first, end, seen in ranges])


if __name__ == "__main__":
    main()
