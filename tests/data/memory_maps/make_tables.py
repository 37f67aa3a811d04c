#!/usr/bin/env python3
"""Makes the maps here that no machine was at hand for: the layouts of their specifications around the
ranges of qemu-guest.dmesg.

    make_tables.py FOLDER
"""
import os
import re
import struct
import sys

TYPES = {"usable": 1, "reserved": 2, "ACPI data": 3, "ACPI NVS": 4}
PAGE = 4096


def ranges(folder):
    with open(os.path.join(folder, "qemu-guest.dmesg"), encoding="ascii") as file:
        for line in file:
            found = re.search(r"BIOS-e820: \[mem 0x(\w+)-0x(\w+)\] (.*)", line)
            if found:
                first, last = int(found[1], 16), int(found[2], 16)
                yield first, last - first + 1, TYPES[found[3]]


def e820_24(entries):
    return b"".join(struct.pack("<QQII", *entry, 1) for entry in entries)


def multiboot2(entries):
    """Boot information: a command line, the map, a screen, the end."""
    memory_map = struct.pack("<IIII", 6, 16 + 24 * len(entries), 24, 0) + b"".join(
        struct.pack("<QQII", *entry, 0) for entry in entries)
    command = struct.pack("<II", 1, 13) + b"test\0" + b"\0\0\0"
    end = struct.pack("<II", 0, 8)
    tags = command + memory_map + end
    return struct.pack("<II", 8 + len(tags), 0) + tags


def limine(entries):
    """Types count from 0; the first usable range is half the loader's."""
    out = []
    for base, size, kind in entries:
        half = size // 2 // PAGE * PAGE
        if kind == 1 and not out and half:
            out.append((base, half, 0))
            base, size, kind = base + half, size - half, 6
        # Limine promises whole pages.
        if kind in (1, 6):
            size -= (base + size) % PAGE
        out.append((base, size, kind - 1))
    return out


def efi(entries):
    """Whole pages; boot services, loader and runtime have some of what is usable."""
    kinds = [7, 4, 2, 3, 7, 6]
    for number, (base, size, kind) in enumerate(entries):
        first, end = -(-base // PAGE), (base + size) // PAGE
        if kind == 1:
            step = max(1, (end - first) // len(kinds))
            for i, one in enumerate(kinds):
                stop = end if i == len(kinds) - 1 else min(end, first + step)
                if stop > first:
                    yield one, first * PAGE, stop - first, 0x8000000000000000 * (one == 6) + 0xf
                first = stop
        elif end > first:
            yield {2: 0, 3: 9, 4: 10}[kind], first * PAGE, end - first, 0xf if number % 2 else 1


def efi_table(descriptors, size):
    return b"".join(struct.pack("<IIQQQQ", kind, 0, base, 0, pages, attributes).ljust(size, b"\0")
                    for kind, base, pages, attributes in descriptors)


NAMES = {0: "Reserved", 2: "Loader Data", 3: "Boot Code", 4: "Boot Data", 6: "Runtime Data",
         7: "Conventional Memory", 9: "ACPI Reclaim Memory", 10: "ACPI Memory NVS"}


def efi_dmesg(descriptors):
    """As efi_md_typeattr_format() and efi_print_memmap() of Linux 6.1 lay it out."""
    lines = []
    for number, (kind, base, pages, attributes) in enumerate(descriptors):
        bits = [("RUN", 63), ("MR", 16), ("SP", 18), ("NV", 15), ("XP", 14), ("RP", 13),
                ("WP", 12), ("RO", 17), ("UCE", 4), ("WB", 3), ("WT", 2), ("WC", 1), ("UC", 0)]
        words = "|".join(name if attributes >> bit & 1 else " " * len(name) for name, bit in bits)
        lines.append(f"[    0.000000] efi: mem{number:02}: [{NAMES[kind]:<19}|{words}] "
                     f"range=[0x{base:016x}-0x{base + pages * PAGE - 1:016x}] "
                     f"({pages * PAGE >> 20}MB)\n")
    return "".join(lines).encode()


def main(folder):
    entries = list(ranges(folder))
    descriptors = list(efi(entries))
    files = {
        "made.e820-24": e820_24(entries),
        "made.multiboot2": multiboot2(entries),
        "made.limine": b"".join(struct.pack("<QQQ", *entry) for entry in limine(entries)),
        "made.efi-40": efi_table(descriptors, 40),
        "made.efi-48": efi_table(descriptors, 48),
        "made.efi-dmesg": efi_dmesg(descriptors),
    }
    for name, content in files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)


if __name__ == "__main__":
    main(sys.argv[1])
