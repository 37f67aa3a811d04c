#!/usr/bin/env python3
"""Reads .kmt files by FORMAT.md alone (its tables are the program) and compares with the text twin.

usage: test_trace_format.py FORMAT.md SEEDS   (SEEDS: the program that writes example traces)
"""
import json
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

M64 = (1 << 64) - 1
FLAGS = ["prologue", "compaction", "untraced", "inferred", "refill", "implied"]
RIGHTS = ["r", "w", "x"]
WORDS = {
    "zone": ["any", "dma", "dma32", "normal", "highmem", "movable"],
    "mobility": ["unmovable", "movable", "reclaimable", "highatomic", "isolate"],
    "path": ["zone_locked", "pcpu_drain", "free_one", "free_pages_ok"],
}
WORDS["fallback_mobility"] = WORDS["mobility"]
KEYS = {"align_frames": "align", "align_bytes": "align", "first_part": "first",
        "bytes_recorded": "recorded", "change_ownership": "claimed"}


def u(data, at, size):
    return int.from_bytes(data[at:at + size], "little")


def tables(text):
    """The kinds, the fields' places by kind name, and the columns, as FORMAT.md lists them."""
    kinds = {int(n): name for n, name in re.findall(r"^\| (\d+) \| (\w+) \| [^|]+ \|[^|]*\|$", text, re.M)}
    columns = {}
    for row in re.findall(r"^\| (\d+) \| (\w+) \| (\d+) \| (\d+) \| ([\d ]+|all) \| \w* ?\|$", text, re.M):
        members = set(kinds) if row[4] == "all" else set(map(int, row[4].split()))
        columns[int(row[0])] = (int(row[2]), int(row[3]), members)
    places = {}
    for names, fields in re.findall(r"^\| ([a-z_*, ]+) \| (\w+ \d+ \(\d\).*) \|$", text, re.M):
        for name in names.split(", "):
            for kind in kinds.values():
                if kind == name or (name.endswith("*") and kind.startswith(name[:-1])):
                    places[kind] = field_places(fields)
    return kinds, columns, places


def field_places(fields):
    found = {}
    for name, at, size in re.findall(r"(\w+) (\d+) \((\d)\)", fields):
        found[name] = (int(at), int(size))
    if "value[i]" in fields:
        found["values"] = found.pop("count")
        found.update({f"v{i}": (24 + 8 * i, 8) for i in range(4)})
    return found


def planes(data, count, width):
    return [sum(data[byte * count + i] << 8 * byte for byte in range(width)) for i in range(count)]


def stored(part, data):
    _, _, coding, width, count, _, low, _, _ = part
    if coding == 0:
        return [(x + low) & M64 for x in planes(data, count, width)]
    if coding == 1:
        out, at = [], count
        for length in data[:count]:
            out.append((u(data, at, length) + low) & M64)
            at += length
        assert at == len(data)
        return out
    values = [u(data, 8 * i, 8) for i in range(low)]
    return [values[n] for n in planes(data[8 * low:], count, width)]


def images(part, data, events, start):
    low, used, count, width = part[6], part[8], part[4], part[3]
    image = [bytearray(64) for _ in range(low)]
    at = 0
    for byte in range(64):
        if used >> byte & 1:
            for i in range(low):
                image[i][byte] = data[at]
                at += 1
    for i, number in enumerate(planes(data[at:], count, width)):
        for byte in range(64):
            events[start + i][byte] |= image[number][byte]


def decode(raw, count, columns):
    """The events of a decompressed block, as images."""
    events = [bytearray(64) for _ in range(count)]
    number = u(raw, 0, 4)
    at = 4 + 40 * number
    for p in range(number):
        part = struct.unpack_from("<4B4xIIQQQ", raw, 4 + 40 * p)
        column, predictor, scale, first = part[0], part[1], part[7], part[8]
        data = raw[at:at + part[5]]
        at += part[5]
        if column < 2:
            images(part, data, events, 0)
            continue
        offset, size, members = columns[column]
        last, slots, newest = first, {}, first
        values = iter(stored(part, data))
        for event in events:
            kind = event[8]
            if kind in members:
                x = next(values)
                z = ((x >> 1) ^ -(x & 1)) * scale
                slot = u(event, 10, 2) % 256 if predictor == 2 else u(event, 12, 4) % 256
                if predictor == 0:
                    v = x * scale
                elif predictor == 1:
                    v = last = last + z
                elif predictor in (2, 3):
                    v = slots[slot] = slots.get(slot, first) + z
                else:
                    v = newest + z
                event[offset:offset + size] = (v & M64).to_bytes(8, "little")[:size]
            if kind in (1, 4):
                newest = u(event, 16, 8)
        assert next(values, None) is None
    assert at == len(raw)
    return events


def unpack(payload):
    return subprocess.run(["zstd", "-dc"], input=payload, capture_output=True, check=True).stdout


def read(path, columns):
    data = path.read_bytes()
    assert data[:8] == b"\x89KMT\r\n\x1a\n" and u(data, 8, 4) == 1
    assert data[-32:-24] == b"KMT end\n" and u(data, len(data) - 16, 8) == len(data)
    sections, streams, at = {1: [], 2: []}, {3: b"", 4: b"", 5: b"", 6: b""}, 32
    while at < u(data, len(data) - 24, 8):
        kind, raw_size, size = data[at + 4], u(data, at + 36, 4), u(data, at + 40, 4)
        raw = unpack(data[at + 64:at + 64 + size])
        assert len(raw) == raw_size and data[at:at + 4] == b"KMTB"
        if kind in sections:
            assert u(data, at + 8, 8) == len(sections[kind])
            sections[kind] += decode(raw, u(data, at + 32, 4), columns)
        else:
            streams[kind] += raw
        at += 64 + size
    strings, at = [None], 0
    while at < len(streams[4]):
        size = u(streams[4], at, 4)
        strings.append(streams[4][at + 4:at + 4 + size])
        at += 4 + size
    return sections, strings, json.loads(streams[6])


def value_of(key, word, strings):
    """A number again, out of the text twin's spelling."""
    if word.startswith('"'):
        return strings.index(word[1:-1].encode().decode("unicode_escape").encode("latin-1"))
    if key == "frame" and word == "none":
        return M64
    if word[0].isdigit():
        return int(word, 0)
    if key in ("flags", "rights", "access"):
        names = FLAGS if key == "flags" else RIGHTS
        return sum(1 << names.index(part) for part in word.split("+"))
    return WORDS[key].index(word)


def compare(path, text, kinds, columns, places):
    sections, strings, meta = read(path, columns)
    assert meta["events"] == len(sections[2]) and meta["prologue"] == len(sections[1])
    seen = {1: 0, 2: 0}
    common = {"time": (0, 8), "flags": (9, 1), "cpu": (10, 2), "task": (12, 4)}
    for line in text.read_text().splitlines():
        match = re.match(r"(start|event) (\d+) (\w+) (.*)", line)
        if not match:
            continue
        section = 1 if match[1] == "start" else 2
        want = bytearray(64)
        want[8] = next(n for n, name in kinds.items() if name == match[3])
        spelled = {KEYS.get(name, name): place for name, place in places.get(match[3], {}).items()}
        for key, word in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S+)', match[4]):
            offset, size = {**spelled, **common}[key]
            want[offset:offset + size] = value_of(key, word, strings).to_bytes(size, "little")
        got = sections[section][int(match[2])]
        assert got == want, f"{line}\n{got.hex()}\n{want.hex()}"
        seen[section] += 1
    assert seen == {1: len(sections[1]), 2: len(sections[2])}
    return sum(seen.values())


def main():
    text, seeds = pathlib.Path(sys.argv[1]).read_text(), sys.argv[2]
    if not shutil.which("zstd"):
        print("1..0 # SKIP no zstd program")
        return
    kinds, columns, places = tables(text)
    assert len(kinds) == 22 and len(columns) == 47 and len(places) == 22, (len(kinds), len(columns), len(places))
    print("1..2")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([seeds, folder], check=True)
        for number, name in enumerate(("small", "pages"), 1):
            path = pathlib.Path(folder, name)
            events = compare(path.with_suffix(".kmt"), path.with_suffix(".txt"), kinds, columns, places)
            print(f"ok {number} - {name}: {events} events read by FORMAT.md")


main()
