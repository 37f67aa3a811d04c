"""What the tests of plots and report share."""

import io
import struct
import sys
import tempfile
import unittest
import zlib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

try:
    import matplotlib  # noqa: F401
except ImportError:
    print("no matplotlib in this Python: skipped")
    sys.exit(77)

import plot  # noqa: E402
import report  # noqa: E402
from synthetic import Spec, write_experiment  # noqa: E402

SMALL = dict(traces=("redis-page",), allocators=("stack", "buddy"), ram_mib=8, samples=12)


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG whose chunks are all whole."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        raise ValueError("no PNG")
    at, kinds = 8, []
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 4:at + 8 + length]
        if zlib.crc32(body) != struct.unpack_from(">I", data, at + 8 + length)[0]:
            raise ValueError(f"chunk {kind!r} is damaged")
        kinds.append(kind)
        at += 12 + length
    if kinds[0] != b"IHDR" or kinds[-1] != b"IEND":
        raise ValueError("chunks are missing")
    return struct.unpack_from(">II", data, 16)


def run_main(module, *arguments: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a script's main(), in this process."""
    out, err = io.StringIO(), io.StringIO()
    with mock.patch.object(sys, "argv", [module.__name__ + ".py", *arguments]), \
            redirect_stdout(out), redirect_stderr(err):
        code = module.main()
    return code, out.getvalue(), err.getvalue()


class Case(unittest.TestCase):
    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.folder = Path(self._folder.name)

    def make(self, name: str = "e", **changes) -> Path:
        return write_experiment(self.folder / name, Spec(**{**SMALL, **changes}))

    def draw(self, path: Path) -> list[Path]:
        code, out, err = run_main(plot, str(path))
        self.assertEqual((code, err), (0, ""))
        return [Path(line) for line in out.splitlines()]

    def write_report(self, path: Path) -> str:
        output = path / "report.html"
        code, out, err = run_main(report, str(path), "-o", str(output))
        self.assertEqual((code, out, err), (0, "", ""))
        return output.read_text(encoding="utf-8")
