"""What the tests of `kmemlab walk` share: running it, and memory files written by hand."""

import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

KMEMLAB, DATA = sys.argv[1], Path(sys.argv[2])

P, W, U, A, D, PS, G, XD = 1, 2, 4, 0x20, 0x40, 0x80, 0x100, 1 << 63
PWU = P | W | U

# cr0, cr3, cr4, efer; the top table is at 0x1000 and WP is on
MODES = {
    "32bit": (0x80010001, 0x1000, 0x10, 0),
    "pae": (0x80010001, 0x1000, 0x20, 0x800),
    "4level": (0x80010001, 0x1000, 0x20, 0xd00),
    "5level": (0x80010001, 0x1000, 0x1020, 0xd00),
}


def registers(mode: str, **changes: int) -> list[str]:
    values = dict(zip(("cr0", "cr3", "cr4", "efer"), MODES[mode])) | changes
    return [word for name, value in values.items() for word in ("--" + name, f"{value:x}")]


def entry_bytes(mode: str) -> int:
    return 4 if mode == "32bit" else 8


def frames(*entries: tuple[int, int], size: int = 8, length: int = 0x10000) -> bytes:
    """Physical memory from 0 with (address, entry) written into it."""
    memory = bytearray(length)
    for at, entry in entries:
        memory[at:at + size] = entry.to_bytes(size, "little")
    return bytes(memory)


def pt_pages(state: tuple[int, int, int, int], pages: dict[int, bytes]) -> bytes:
    head = b"PTPAGES1" + struct.pack("<5Q", *state, len(pages))
    return head + b"".join(struct.pack("<Q", pfn) + page for pfn, page in pages.items())


def elf_core(segments: list[tuple[int, bytes]], wide: bool = True, kind: int = 4) -> bytes:
    """A core of (physical address, bytes) after a note, as dump-guest-memory writes it."""
    note = struct.pack("<3I", 5, 4, 1) + b"CORE\0\0\0\0note"
    header_bytes, entry = (64, 56) if wide else (52, 32)
    offset = header_bytes + entry * (len(segments) + 1)
    table, body = b"", note
    for number, (paddr, data) in enumerate([(0, note)] + segments):
        at = offset if number == 0 else offset + len(body)
        what = 4 if number == 0 else 1
        if wide:
            table += struct.pack("<2I6Q", what, 0, at, 0, paddr, len(data), len(data), 0)
        else:
            table += struct.pack("<8I", what, at, 0, paddr, len(data), len(data), 0, 0)
        body += data if number else b""
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(9)
    if wide:
        head = struct.pack("<2HI3QI6H", kind, 62, 1, 0, 64, 0, 0, 64, 56, len(segments) + 1, 0, 0, 0)
    else:
        head = struct.pack("<2HI3II6H", kind, 3, 1, 0, 52, 0, 0, 52, 32, len(segments) + 1, 0, 0, 0)
    return ident + head + table + body


def walk(*arguments: object) -> tuple[int, str, str]:
    """(exit code, stdout, stderr)"""
    done = subprocess.run([KMEMLAB, "walk", *map(str, arguments)], capture_output=True, text=True,
                          timeout=250)
    return done.returncode, done.stdout, done.stderr


def unpacked(path: Path) -> str:
    return subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, text=True,
                          check=True).stdout


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def file(self, data: bytes | str, name: str = "memory") -> Path:
        path = self.folder / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def tsv(self, *arguments: object) -> list[list[str]]:
        code, out, err = walk(*arguments, "--format", "tsv")
        self.assertEqual((code, err), (0, ""))
        return [line.split("\t") for line in out.splitlines()]

    def refused(self, code: int, words: str, *arguments: object) -> str:
        """It fails with that code and a message of one line with those words. Returns stdout."""
        got, out, err = walk(*arguments)
        self.assertEqual(got, code, err)
        self.assertIn(words, err)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("kmemlab: "), err)
        return out


def main():
    unittest.main(argv=sys.argv[:1])
