#!/usr/bin/env python3
"""Takes the kernel's symbol table out of a trace.dat of version 7: strip.py IN OUT"""
import struct, sys
data = open(sys.argv[1], 'rb').read()
at = data.index(b'\0', 10) + 1 + 6
for _ in range(2):
    at = data.index(b'\0', at) + 1
head, at = at, at + 8
sections, moved, out = [], {}, bytearray(data[:at])
while at < len(data):
    ident, flags, name, size = struct.unpack_from('<HHIQ', data, at)
    sections.append((ident, at, 16 + size))
    at += 16 + size
KALLSYMS = 19
for ident, start, size in sections:
    moved[start] = len(out)
    if ident != KALLSYMS:
        out += data[start:start + size]
    else:
        out += struct.pack('<HHIQ', ident, 0, struct.unpack_from('<I', data, start + 4)[0], 4) + struct.pack('<I', 0)
def patch(where):
    old = struct.unpack_from('<Q', out, where)[0]
    if old in moved:
        struct.pack_into('<Q', out, where, moved[old])
    return old
patch(head)
shift = {}
for ident, start, size in sections:
    if ident != 0:
        continue
    at, end = moved[start] + 16, moved[start] + size
    while at < end:
        option, length = struct.unpack_from('<HI', out, at)
        at += 6
        if length >= 8:
            old = patch(at)
            if option == 3:  # BUFFER: offsets of each CPU's data, too
                p = at + 8
                p = out.index(b'\0', p) + 1
                p = out.index(b'\0', p) + 1
                page, cpus = struct.unpack_from('<II', out, p)
                p += 8
                for _ in range(cpus):
                    cpu, offset, n = struct.unpack_from('<IQQ', out, p)
                    struct.pack_into('<Q', out, p + 4, offset - old + moved[old])
                    p += 20
        at += length
open(sys.argv[2], 'wb').write(out)
