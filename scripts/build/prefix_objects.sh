#!/bin/sh
# prefix_objects.sh OBJCOPY OUTPUT OBJECT...
# Links the objects into one relocatable object and gives every symbol the prefix "probed_", so that
# the second build of the kernel stands beside the first in one program.
set -eu
objcopy=$1 output=$2
shift 2
ld -r -o "$output.tmp" "$@"
"$objcopy" --prefix-symbols=probed_ "$output.tmp" "$output"
rm -f "$output.tmp"
