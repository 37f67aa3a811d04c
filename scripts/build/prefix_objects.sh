#!/bin/sh
# prefix_objects.sh OBJCOPY OUTPUT OBJECT...
# Links the objects into one relocatable object and gives every symbol the prefix "probed_", so that
# the second build of the kernel stands beside the first in one program. The instrumentation's constructors,
# which would only call an empty __tsan_init, go.
set -eu
objcopy=$1 output=$2
shift 2
ld -r -o "$output.tmp" "$@"
"$objcopy" --remove-section='.init_array*' --remove-section='.rela.init_array*' \
  --prefix-symbols=probed_ "$output.tmp" "$output"
rm -f "$output.tmp"
