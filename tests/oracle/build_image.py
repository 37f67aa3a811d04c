#!/usr/bin/env python3
"""Builds the bare-metal disk image: build_image.py 32|64 SOURCE_ROOT OUTPUT NASM COMPILER..."""

import subprocess
import sys
import tempfile
from pathlib import Path

# Two cylinders of 16 heads and 63 sectors, which is what Bochs is told.
IMAGE_BYTES = 2 * 16 * 63 * 512
SECTOR = 512
PAYLOAD_MAX = 128 * SECTOR
FLAGS = ("-std=gnu11 -O2 -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fno-builtin "
         "-fno-asynchronous-unwind-tables -mgeneral-regs-only -mno-red-zone "
         "-Wall -Wextra -Werror -Wno-array-bounds").split()


def main() -> None:
    bits, root, output, nasm, *compiler = sys.argv[1:]
    here, wide = Path(root) / "tests" / "oracle" / "image", bits == "64"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def run(*command):
            subprocess.run([str(word) for word in command], check=True)

        run(nasm, "-f", "bin", here / "boot.asm", "-o", folder / "boot.bin")
        run(nasm, "-f", "elf" + bits, *(["-DWIDE"] if wide else []), here / "entry.asm", "-o",
            folder / "entry.o")
        for source in ("machine", "oracle", "segments"):
            run(*compiler, "-m" + bits, *FLAGS, "-I", root, "-c", here / (source + ".c"), "-o",
                folder / (source + ".o"))
        run("ld", "-m", "elf_x86_64" if wide else "elf_i386", "-static", "-nostdlib",
            "--no-warn-rwx-segments", "-z", "noexecstack", "-T", here / "image.ld", "-o", folder / "image.elf",
            *(folder / (part + ".o") for part in ("entry", "machine", "oracle", "segments")))
        run("objcopy", "-O", "binary", folder / "image.elf", folder / "image.bin")
        boot, code = ((folder / part).read_bytes() for part in ("boot.bin", "image.bin"))
    if len(boot) != SECTOR or len(code) > PAYLOAD_MAX - SECTOR:
        sys.exit(f"the image is too large: {len(code)} bytes")
    image = boot + bytes(SECTOR) + code
    Path(output).write_bytes(image + bytes(IMAGE_BYTES - len(image)))


if __name__ == "__main__":
    main()
