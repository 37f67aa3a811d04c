"""A recording of any length imports in constant memory: test_import_stream.py KMEMLAB [MIB ...]

A text is generated into a pipe, so that it needs no room on the disk; each size (256 and 1024 MiB
unless given) is imported in a process of its own, whose peak of resident memory is measured.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1 << 20
# What may differ between sizes: the index of blocks (72 bytes for 65,536 events), the allocator.
SLACK_KIB = 8 << 10
PAIRS = 4000


def block():
    """Allocations and their frees, all at one time: it may follow itself."""
    head = "            work-100   [000] .....     1.000000: "
    lines = []
    for number in range(PAIRS):
        lines.append(f"{head}mm_page_alloc: page=0x1 pfn={0x1000 + number:#x} order=0 "
                     "migratetype=1 gfp_flags=GFP_HIGHUSER_MOVABLE|__GFP_ZERO")
    for number in range(PAIRS):
        lines.append(f"{head}mm_page_free: page=0x1 pfn={0x1000 + number:#x} order=0")
    return ("\n".join(lines) + "\n").encode()


def feed(path, content, times):
    with open(path, "wb", buffering=0) as pipe:
        for _ in range(times):
            pipe.write(content)


def import_stream(kmemlab, folder, mib):
    """(events, peak KiB, seconds)"""
    content, pipe, trace = block(), os.path.join(folder, "pipe"), os.path.join(folder, "out.kmt")
    times = mib * MIB // len(content)
    os.mkfifo(pipe)
    writer = threading.Thread(target=feed, args=(pipe, content, times), daemon=True)
    writer.start()
    begin = time.monotonic()
    process = subprocess.Popen([kmemlab, "import", pipe, "-o", trace])
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, status
    writer.join()
    os.unlink(pipe)
    os.unlink(trace)
    return times * 2 * PAIRS, usage.ru_maxrss, time.monotonic() - begin


def main():
    kmemlab = os.path.abspath(sys.argv[1])
    sizes = [int(size) for size in sys.argv[2:]] or [256, 1024]
    peaks = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("KMEMLAB_BIG_TMP")) as folder:
        for mib in sizes:
            events, peak, seconds = import_stream(kmemlab, folder, mib)
            peaks.append(peak)
            print(f"{mib} MiB, {events} events: {peak / 1024:.1f} MiB resident at most, "
                  f"{seconds:.1f} s", flush=True)
    if max(peaks) - min(peaks) > SLACK_KIB:
        sys.exit(f"memory grows with the length of the recording: {peaks} KiB")


if __name__ == "__main__":
    main()
