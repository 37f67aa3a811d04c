#!/usr/bin/env python3
"""Runs the bare-metal image under an emulator and holds mmu/ against what it did.

    oracle.py COMPARE IMAGE32 IMAGE64 [--emulator qemu|bochs] [--modes MODE,...] [--accesses N]
              [--seed N] [--strict] [--keep FILE]

N accesses in each mode. Exit 77 where the emulator or the images are missing (scripts/setup.sh
--oracle installs what they need), 1 when an access differs without a known excuse; --strict excuses
nothing.
"""

import argparse
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

SKIP = 77
SECTOR = 512
MAGIC = 0x4B4D4C4F
RECORD_BYTES = 352
RECORDS_AT = 0x4000000
MEMORY_MIB = 128
PER_RUN = 150000  # what fits behind RECORDS_AT
TO_MEMORY, TO_PORT = 0, 1
MODES = {"4level": 0, "5level": 1, "32bit": 2, "pae": 3, "segments": 4}
# Meson has malloc fill memory with a random byte; Bochs hangs at start with most of them.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "MALLOC_PERTURB_"}
# accesses a second, at the very least, on a busy machine; seconds to start up
SLOWEST, START = 200, 30
BOCHS_ROM = ("/usr/share/bochs/BIOS-bochs-latest", "/usr/share/vgabios/vgabios.bin")

BOCHSRC = """\
display_library: rfb, options="timeout=0"
romimage: file={rom}
vgaromimage: file={vga}
megs: 64
cpu: model=broadwell_ult, count=1, ips=50000000, reset_on_triple_fault=0
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, path={image}, mode=flat, cylinders=2, heads=16, spt=63
boot: disk
port_e9_hack: enabled=1
plugin_ctrl: unmapped=1, biosdev=1, e1000=0, es1370=0, gameport=0, iodebug=0, ne2k=0, parallel=0, serial=0, speaker=0, usb_uhci=0, extfpuirq=0
clock: sync=none
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
log: {log}
"""


def configured(image: str, folder: Path, mode: int, seed: int, accesses: int, output: int) -> Path:
    """A copy of the image that knows what to do."""
    data = bytearray(Path(image).read_bytes())
    struct.pack_into("<5I", data, SECTOR, MAGIC, mode, seed, accesses, output)
    path = folder / "disk.img"
    path.write_bytes(data)
    return path


def run_qemu(image: Path, folder: Path, accesses: int) -> bytes:
    memory = folder / "memory"
    command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", f"{MEMORY_MIB}M",
               "-object", f"memory-backend-file,id=ram,size={MEMORY_MIB}M,mem-path={memory},share=on",
               "-machine", "pc,memory-backend=ram", "-drive", f"file={image},format=raw,if=ide",
               "-display", "none", "-no-reboot", "-nic", "none", "-monitor", "none", "-serial", "none",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=0x4"]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT,
                   timeout=START + accesses / SLOWEST)
    with memory.open("rb") as file:
        file.seek(RECORDS_AT)
        return file.read(accesses * RECORD_BYTES)


def run_bochs(image: Path, folder: Path, accesses: int) -> bytes:
    rc, commands = folder / "bochsrc", folder / "commands"
    rc.write_text(BOCHSRC.format(rom=BOCHS_ROM[0], vga=BOCHS_ROM[1], image=image, log=folder / "log"))
    commands.write_text("c\nquit\n")
    done = subprocess.run(["unshare", "-n", "-r", "bochs", "-q", "-f", str(rc), "-rc", str(commands)],
                          check=False, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, cwd=folder, env=ENVIRONMENT,
                          timeout=START + accesses / SLOWEST)
    first = done.stdout.find(struct.pack("<I", 0x31434552))
    return done.stdout[first:first + accesses * RECORD_BYTES] if first >= 0 else b""


EMULATORS = {"qemu": (run_qemu, TO_MEMORY, ("qemu-system-x86_64",)),
             "bochs": (run_bochs, TO_PORT, ("bochs", "unshare"))}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("compare")
    parser.add_argument("image32")
    parser.add_argument("image64")
    parser.add_argument("--emulator", choices=EMULATORS, default="qemu")
    parser.add_argument("--modes", default="32bit,pae,4level,5level")
    parser.add_argument("--accesses", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--keep", help="append the records to this file")
    args = parser.parse_args()
    run, output, programs = EMULATORS[args.emulator]
    if not all(map(shutil.which, programs)) or not args.image32.endswith(".img") or (
            args.emulator == "bochs" and not all(Path(rom).exists() for rom in BOCHS_ROM)):
        print("no emulator or no image: skipped; scripts/setup.sh --oracle installs what is needed")
        return SKIP
    failed = False
    for mode in args.modes.split(","):
        for first in range(0, args.accesses, PER_RUN):
            accesses = min(PER_RUN, args.accesses - first)
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                image = args.image32 if mode in ("32bit", "pae", "segments") else args.image64
                disk = configured(image, folder, MODES[mode], args.seed + first, accesses, output)
                records = folder / "records"
                records.write_bytes(run(disk, folder, accesses))
                if args.keep:
                    with open(args.keep, "ab") as kept:
                        kept.write(records.read_bytes())
                print(f"{args.emulator}, {mode}, seed {args.seed + first}:", flush=True)
                strict = ["--strict"] if args.strict else []
                done = subprocess.run([args.compare, *strict, "--accesses", str(accesses),
                                       str(records)], check=False)
                failed |= done.returncode != 0
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.TimeoutExpired as hang:
        sys.exit(f"the emulator hangs: {hang}")
