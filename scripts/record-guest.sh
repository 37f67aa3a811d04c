#!/usr/bin/env bash
# Records a workload inside a Debian guest in QEMU into a .kmt trace. Needs no root and no KVM, and changes nothing on this machine but the cache folder and the trace.
#
#   scripts/record-guest.sh -o TRACE.kmt [OPTIONS] [-- SHELL COMMAND IN THE GUEST]
#
#   -o, --output FILE    the trace to write
#   -m, --memory MIB     RAM of the guest (768); it holds the RAM disk (60) and the raw recording too
#   -c, --cpus N         CPUs of the guest (2)
#   -f, --files DIR      a folder that the guest finds as /files
#   -r, --record "..."   options for `kmemlab record` in the guest ("--snapshots 1")
#   -k, --kernel DEB     a Debian kernel package to boot (default: linux-image-cloud-amd64's)
#   -t, --timeout S      give up after so many seconds (900)
#       --kvm            use KVM (default: emulation, which works everywhere)
#       --keep-raw DIR   also copy the raw recording there, as `kmemlab import` reads it
#
# The guest is a kernel and an initial RAM disk of busybox, kmemlab and the libraries that it needs.
# Its command runs in busybox' shell; without one, a mixture of file, pipe and process work does.
#
# What is downloaded (once, into ${XDG_CACHE_HOME:-~/.cache}/kmemlab/guest): the package
# linux-image-*-cloud-amd64 (about 30 MB) with apt-get; it is unpacked there, never installed. Programs
# that are missing are named with the packages that hold them.
#
# KMEMLAB: the program to use (build/kmemlab beside this script, or the one in PATH).
# Exit codes: 0 done; 2 usage, or something is missing; 3 the guest failed.
set -euo pipefail

output='' memory=768 cpus=2 files='' record='--snapshots 1' deb='' timeout=900 raw='' command=''
accel=tcg,thread=multi
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  echo "record-guest.sh: $1 (record-guest.sh --help)" >&2
  exit 2
}

while [ $# -gt 0 ]; do
  case $1 in
  -o | --output | -m | --memory | -c | --cpus | -f | --files | -r | --record | -k | --kernel | -t | --timeout | --keep-raw)
    [ $# -ge 2 ] || usage "$1 needs a value"
    ;;&
  -o | --output) output=$2; shift 2 ;;
  -m | --memory) memory=$2; shift 2 ;;
  -c | --cpus) cpus=$2; shift 2 ;;
  -f | --files) files=$2; shift 2 ;;
  -r | --record) record=$2; shift 2 ;;
  -k | --kernel) deb=$2; shift 2 ;;
  -t | --timeout) timeout=$2; shift 2 ;;
  --kvm) accel=kvm; shift ;;
  --keep-raw) raw=$2; shift 2 ;;
  -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
  --) shift; command=$*; break ;;
  *) usage "what is '$1'?" ;;
  esac
done
[ -n "$output" ] || usage "-o TRACE.kmt is missing"
for number in "$memory" "$cpus" "$timeout"; do
  case $number in '' | *[!0-9]*) usage "'$number' is no number" ;; esac
done
[ "$memory" -ge 192 ] || usage "the guest needs 192 MiB or more"
[ -z "$files" ] || [ -d "$files" ] || usage "$files is no folder"
[ -z "$deb" ] || [ -r "$deb" ] || usage "$deb cannot be read"

program=${KMEMLAB:-$here/../build/kmemlab}
[ -x "$program" ] || program=$(command -v kmemlab || true)
[ -n "$program" ] || usage "no kmemlab: build it, or name one in KMEMLAB"

missing=()
need() { command -v "$1" >/dev/null || missing+=("$1 ($2)"); }
need qemu-system-x86_64 qemu-system-x86
need busybox busybox-static
need cpio cpio
need dpkg-deb dpkg
[ -n "$deb" ] || need apt-get apt
if [ ${#missing[@]} -gt 0 ]; then
  printf 'record-guest.sh: missing: %s\n' "${missing[*]}" >&2
  exit 2
fi
if ldd "$(command -v busybox)" >/dev/null 2>&1; then
  usage "busybox must be a static one (package busybox-static)"
fi

# ---- the kernel ----

cache=${XDG_CACHE_HOME:-$HOME/.cache}/kmemlab/guest
mkdir -p "$cache"
if [ -z "$deb" ]; then
  package=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null |
    sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -1)
  [ -n "$package" ] || usage "apt knows no linux-image-cloud-amd64; name a kernel package with --kernel"
  deb=$(find "$cache" -maxdepth 1 -name "${package}_*.deb" | sort | tail -1)
  if [ -z "$deb" ]; then
    echo "record-guest.sh: downloading $package into $cache" >&2
    (cd "$cache" && apt-get download "$package" >/dev/null 2>&1) ||
      usage "apt-get cannot download $package"
    deb=$(find "$cache" -maxdepth 1 -name "${package}_*.deb" | sort | tail -1)
  fi
fi
unpacked=$cache/$(basename "$deb" .deb)
if [ ! -e "$unpacked/.done" ]; then
  rm -rf "$unpacked"
  mkdir -p "$unpacked"
  dpkg-deb -x "$deb" "$unpacked"
  touch "$unpacked/.done"
fi
kernel=$(find "$unpacked/boot" -name 'vmlinuz-*' | head -1)
[ -n "$kernel" ] || usage "$deb holds no kernel"

# ---- the RAM disk ----

work=$(mktemp -d "${TMPDIR:-/tmp}/kmemlab-guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{bin,proc,sys,dev,tmp,etc,files,usr/lib}
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$program" "$root/bin/kmemlab"
ldd "$program" | sed -n 's/^[^/]*\(\/[^ ]*\) (.*$/\1/p' | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done
[ -z "$files" ] || cp -a "$files/." "$root/files/"
if [ -z "$command" ]; then
  command='
    for i in 1 2 3 4; do
      dd if=/dev/urandom of=/tmp/a bs=64k count=$((12 * i)) 2>/dev/null
      od -x /tmp/a | sort | uniq -c | gzip > /tmp/b.gz
      (gunzip -c /tmp/b.gz | sort -rn | head -n 2000 > /tmp/c) &
      for j in 1 2 3 4 5 6 7 8; do grep -c "$j$i" /tmp/b.gz; sh -c "true | cat"; done
      tar cf - /bin /etc 2>/dev/null | gzip -1 > /tmp/d.gz
      wait
      rm -f /tmp/a /tmp/b.gz /tmp/c /tmp/d.gz
    done'
fi
printf '%s\n' "$command" >"$root/etc/workload"
cat >"$root/init" <<INIT
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs -o size=80% tmp /tmp
mount -t tracefs tracing /sys/kernel/tracing
export HOME=/ PATH=/bin TMPDIR=/tmp
stty -F /dev/ttyS1 raw -echo 2>/dev/null
cd /tmp
kmemlab record -o /tmp/out.kmt $record ${raw:+--keep} -- sh /etc/workload > /tmp/said 2>&1
code=\$?
sed 's/^/guest: /' /tmp/said
mkdir -p /tmp/out
[ \$code != 0 ] || mv /tmp/out.kmt* /tmp/out/
tar cf - -C /tmp/out . > /dev/ttyS1
echo "guest: done \$code"
poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet --owner 0:0) >"$work/initrd"

# ---- the guest ----

echo "record-guest.sh: booting $(basename "$kernel") with $memory MiB and $cpus CPUs" >&2
status=0
timeout "$timeout" qemu-system-x86_64 -machine pc -accel "$accel" -cpu max \
  -smp "$cpus" -m "$memory" -display none -monitor none -no-reboot -nodefaults \
  -serial "file:$work/console" -serial "file:$work/out.tar" \
  -kernel "$kernel" -initrd "$work/initrd" \
  -append "console=ttyS0 panic=-1 quiet mitigations=off rdinit=/init" </dev/null >"$work/qemu" 2>&1 ||
  status=$?
sed -n 's/\r$//;s/^guest: /guest: /p' "$work/console" >&2 || true
if [ "$status" != 0 ] || ! grep -q '^guest: done 0' "$work/console"; then
  echo "record-guest.sh: the guest failed (QEMU's exit code $status; 124 is the timeout)" >&2
  grep -m 3 -iE "panic|BUG|Out of memory" "$work/console" >&2 || true
  tail -n 20 "$work/qemu" "$work/console" >&2
  exit 3
fi
mkdir "$work/out"
if ! tar xf "$work/out.tar" -C "$work/out" || ! "$program" trace validate "$work/out/out.kmt"; then
  echo "record-guest.sh: the trace did not come over whole" >&2
  exit 3
fi
if [ -n "$raw" ]; then
  mkdir -p "$raw"
  cp -a "$work/out/out.kmt.recording/." "$raw/"
fi
mv "$work/out/out.kmt" "$output"
echo "record-guest.sh: $output: $("$program" info "$output" | sed -n '/ events over /p')" >&2
