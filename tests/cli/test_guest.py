"""From nothing to a report: a Debian guest is recorded in QEMU, replayed and reported on.

test_guest.py KMEMLAB. Skipped (exit 77) where QEMU, busybox or the kernel's package cannot be had.
"""

import os
import shutil
import subprocess
import sys
import tempfile

SKIPPED = 77
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WORKLOAD = "for i in 1 2; do cat /bin/busybox | gzip > /tmp/z; ls -l /proc | sort | wc -l; done"
SPEC = """[experiment]
name = guest
[cells]
trace = guest.kmt
frames = bitmap; buddy
machine = recorded
seed = 0
"""


def step(command, folder, **more):
    print("+", " ".join(command), flush=True)
    return subprocess.run(command, cwd=folder, check=False, **more).returncode


def main():
    kmemlab = os.path.abspath(sys.argv[1])
    if not all(map(shutil.which, ("qemu-system-x86_64", "busybox", "cpio", "apt-get"))):
        sys.exit(SKIPPED)
    with tempfile.TemporaryDirectory() as folder:
        script = os.path.join(SOURCE, "scripts", "record-guest.sh")
        code = step([script, "-o", "guest.kmt", "-t", "500", "--", WORKLOAD], folder,
                    env=dict(os.environ, KMEMLAB=kmemlab))
        if code == 2:
            sys.exit(SKIPPED)
        with open(os.path.join(folder, "guest.ini"), "w", encoding="utf-8") as spec:
            spec.write(SPEC)
        for command in ([kmemlab, "trace", "validate", "guest.kmt"],
                        [kmemlab, "info", "guest.kmt", "--distributions", "--plot", "guest.svg"],
                        [kmemlab, "run", "guest.ini", "-o", "results"],
                        [kmemlab, "report", "results", "-o", "report.html"]):
            code = code or step(command, folder)
        if code or os.path.getsize(os.path.join(folder, "report.html")) < 10000:
            sys.exit(f"exit code {code}, {sorted(os.listdir(folder))}")


if __name__ == "__main__":
    main()
