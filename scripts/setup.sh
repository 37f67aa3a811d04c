#!/usr/bin/env bash
# Installs what kmemlab needs to be built, tested and run. Does nothing where all of it is there.
#
#   scripts/setup.sh            what building, tests and plots need
#   scripts/setup.sh --guest    also QEMU, busybox and cpio, for record-guest.sh
#   scripts/setup.sh --oracle   also QEMU, Bochs, nasm and valgrind, for tests of the slow suite
set -euo pipefail

packages=(
  gcc binutils libc6-dev pkg-config meson ninja-build git ca-certificates
  libglib2.0-dev libjson-glib-dev          # containers, options, INI; JSON
  libzstd-dev libxxhash-dev libarchive-dev # traces; checksums; .gz/.xz/.zst/.tar input
  libtracefs-dev libtraceevent-dev zlib1g-dev # trace.dat, recording
  libdw-dev libelf-dev                     # source lines of reports; plugins
  check zstd                               # unit tests
  python3 python3-matplotlib python3-numpy # plots, report, lint
)
# Without these a test is skipped, a row of `kmemlab bench heaps` says that they are missing, or CTF is not
# imported.
optional=(clang-format libmimalloc2.0 libjemalloc2 libbabeltrace2-dev)
oracle=(qemu-system-x86 bochs bochsbios vgabios nasm valgrind)
guest=(qemu-system-x86 busybox-static cpio)

if [ "${1:-}" = --oracle ]; then
  packages+=("${oracle[@]}")
elif [ "${1:-}" = --guest ]; then
  packages+=("${guest[@]}")
elif [ $# -gt 0 ]; then
  echo "usage: scripts/setup.sh [--oracle | --guest]" >&2
  exit 2
fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  cat >&2 <<'TEXT'
setup.sh installs Debian packages (12 or later, or a derivative). Elsewhere install the equivalents:
  Fedora: sudo dnf install gcc binutils pkgconf meson ninja-build git glib2-devel json-glib-devel libzstd-devel \
          xxhash-devel libarchive-devel libtracefs-devel libtraceevent-devel zlib-devel elfutils-devel \
          check-devel python3-matplotlib python3-numpy
  Arch:   sudo pacman -S --needed base-devel meson git glib2-devel json-glib zstd zlib xxhash libarchive libtracefs \
          libtraceevent elfutils check python-matplotlib python-numpy
TEXT
  exit 2
fi

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  if ! command -v sudo >/dev/null; then
    echo "setup.sh: as root, install: ${missing[*]}" >&2
    exit 2
  fi
  as_root=(sudo)
fi
for package in "${optional[@]}"; do
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || ! apt-cache show "$package" >/dev/null 2>&1 || missing+=("$package")
done
echo "installing: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
