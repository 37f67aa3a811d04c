#!/usr/bin/env bash
# From a fresh clone to pictures: installs what is missing, builds, replays two recorded Linux traces against several
# allocators, draws the plots and writes results/demo/report.html.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
[ -f build/build.ninja ] || meson setup build >/dev/null
meson compile -C build kmemlab
build/kmemlab run workloads/specs/demo.ini -o results/demo
build/kmemlab plot results/demo >/dev/null
build/kmemlab report results/demo -o results/demo/report.html
echo "open results/demo/report.html"
