#!/usr/bin/env bash
# From a fresh clone to pictures: installs what is missing, builds, replays two recorded Linux traces against several
# allocators, and small ones against heaps and page tables, draws the plots and writes results/demo/report.html.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh
[ -f build/build.ninja ] || meson setup build >/dev/null
meson compile -C build kmemlab
build/kmemlab run workloads/specs/demo.ini -o results/demo
build/kmemlab boot -o results/demo/boot.csv --ram 64M --ram 256M --ram 1G --ram 4G --ram 16G --ram 64G --ram 256G \
  --host-memory 4G
build/kmemlab plot results/demo >/dev/null
build/kmemlab report results/demo -o results/demo/report.html
echo "open results/demo/report.html"
