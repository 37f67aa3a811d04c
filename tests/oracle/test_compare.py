"""compare finds what is wrong: recorded accesses pass, and no planted difference does.

    test_compare.py COMPARE DATA
"""

import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

COMPARE, DATA = sys.argv[1], Path(sys.argv[2])
RECORD = 352
COUNT = 2000
# offsets in a record
VECTOR, ERROR_CODE, VA, CR2, VALUE, CR3, PLACE, PATH = 12, 16, 32, 40, 48, 72, 96, 112
READ, WRITE, NO_VECTOR, PF = 0, 1, 32, 14


def recorded(name: str) -> bytearray:
    done = subprocess.run(["zstd", "-dcq", str(DATA / "vectors" / (name + ".rec.zst"))],
                          capture_output=True, check=True)
    return bytearray(done.stdout[:COUNT * RECORD])


def compare(data: bytes, *options: str) -> tuple[int, str]:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        done = subprocess.run([COMPARE, *options, file.name], capture_output=True, text=True,
                              check=False)
    return done.returncode, done.stdout


class Compare(unittest.TestCase):
    def find(self, data: bytearray, kind: int, vector: int) -> int:
        """Offset of the first record that begins a case, of this type and outcome."""
        for at in range(0, len(data), RECORD):
            mode, what, _, _, _, _, cross, seq = data[at + 4:at + 12]
            if (what, struct.unpack_from("<I", data, at + VECTOR)[0]) == (kind, vector) and not (
                    cross or seq):
                return at
        self.fail("no such record")

    def test_recorded_accesses_pass_and_strictness_counts_deviations(self):
        data = recorded("qemu72-4level")
        self.assertEqual(compare(data, "--accesses", str(COUNT))[0], 0)
        self.assertEqual(compare(data, "--strict")[0], 1)
        self.assertEqual(compare(recorded("bochs27-segments"), "--strict")[0], 0)

    def test_planted_differences_are_found(self):
        clean = recorded("qemu72-4level")
        read, write = (self.find(clean, kind, NO_VECTOR) for kind in (READ, WRITE))
        fault = self.find(clean, READ, PF)
        for name, at in (("vector", read + VECTOR), ("error code", fault + ERROR_CODE),
                         ("cr2", fault + CR2), ("data read", read + VALUE),
                         ("data written", write + VALUE), ("place", read + PLACE),
                         ("entry after", read + PATH + 16)):
            with self.subTest(name):
                data = bytearray(clean)
                data[at] ^= 2
                code, out = compare(data)
                self.assertEqual(code, 1, out)
                self.assertIn("1 DIFFER", out)

    def test_planted_differences_of_segments_are_found(self):
        data = recorded("bochs27-segments")
        data[CR3] ^= 1  # the descriptor afterwards
        self.assertEqual(compare(data)[0], 1)

    def test_an_emulator_that_stopped_early_is_a_failure(self):
        data = recorded("qemu72-4level")
        code, out = compare(data[:-RECORD], "--accesses", str(COUNT))
        self.assertEqual(code, 1)
        self.assertIn("stopped after 1999", out)
        self.assertEqual(compare(b"")[0], 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
