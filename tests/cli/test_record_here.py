"""`kmemlab record` of the machine that runs the test, where it may be traced: tracefs is mounted in a
name space of its own, the recording has a buffer of its own. A busy machine makes many events."""

import json
import os
import subprocess

import program
from program import Case, OK, main


class RecordHere(Case):
    def test_this_machine_with_its_heap_and_faults(self):
        mounted = self.path("tracefs-here")
        os.mkdir(mounted)
        script = f"mount -t tracefs none {mounted} && mkdir {mounted}/instances/$0 && rmdir " \
                 f"{mounted}/instances/$0 || exit 77\nexec \"$@\""
        command = [program.KMEMLAB, "record", "-o", self.path("here.kmt"), "--tracefs", mounted,
                   "--buffer", "16M", "--heap", "--faults", "--", "ls", "/"]
        done = subprocess.run(["unshare", "-m", "sh", "-c", script,
                               f"kmemlab-probe-{os.getpid()}", *command],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                              check=False, timeout=300)
        if not os.path.exists(self.path("here.kmt")) and done.returncode in (1, 77):
            self.skipTest("this machine may not be traced")
        self.assertEqual(done.returncode, OK, done.stderr)
        self.assert_exit(OK, "trace", "validate", self.path("here.kmt"))
        told = json.loads(self.assert_exit(OK, "info", self.path("here.kmt"), "--json").stdout)
        for kind in ("frame_alloc", "heap_alloc", "touch", "exec"):
            self.assertGreater(told["events"][kind], 0, kind)
        self.assertEqual(told["machine"], "recorded")
        self.assertIn("ls /", told["command"])


if __name__ == "__main__":
    main()
