#!/usr/bin/env python3
"""The tests that failed in the last `meson test` of a build folder: name, result and the end of what each printed.

    failed_tests.py BUILD_DIR
"""

import argparse
import json
from pathlib import Path

GOOD = {"OK", "SKIP", "EXPECTEDFAIL"}
LINES = 40
# TAP: what passed says nothing about what failed.
PASSED = "ok "


def tail(text):
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(PASSED)]
    return lines[-LINES:]


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("build", type=Path)
    build = parser.parse_args().build
    try:
        text = (build / "meson-logs" / "testlog.json").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        print(f"{build}: no test ran: {error.strerror}")
        return
    for line in text.splitlines():
        test = json.loads(line)
        if test["result"] in GOOD:
            continue
        print(f"{build}: {test['name']}: {test['result']} after {test['duration']:.1f} s")
        for part in ("stdout", "stderr"):
            for said in tail(test.get(part) or ""):
                print(f"  {said}")


if __name__ == "__main__":
    main()
