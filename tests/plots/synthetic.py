"""Makes experiment folders as results/README.md says, without running anything.

A few frames of RAM are really allocated and freed, by a caricature of each allocator's placement,
so that all figures of a sample agree with each other. Same arguments, same bytes.
"""

import hashlib
import json
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Iterable

import numpy as np

ORDERS = range(11)
LEVELS = range(10)
RUN_BINS = range(21)
STEP_NS = 250_000_000
METADATA = {"null": 0.001, "bitmap": 0.125, "stack": 8.0, "buddy": 2.4}
SPEED = {"null": 12, "bitmap": 420, "stack": 18, "buddy": 55}


@dataclass
class Spec:
    """What the experiment is made of."""
    traces: tuple[str, ...] = ("redis-page", "thp-page")
    allocators: tuple[str, ...] = ("bitmap", "stack", "buddy")
    seeds: tuple[int, ...] = (1,)
    ram_mib: int = 64
    samples: int = 60
    recorded: bool = True
    frame_map: bool = True
    native: bool = True
    probed: bool = True
    refusing: tuple[str, ...] = ("stack",)
    failed: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    pending: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    violating: tuple[str, ...] = ()


class Ram:
    """Who owns each frame: 0 free, 1 live, 2 reserved, 3 no RAM."""

    def __init__(self, frames: int, place: str, rng: np.random.Generator):
        self.owner = np.zeros(frames, dtype=np.uint8)
        self.owner[:frames // 64] = 2
        self.owner[160:256] = 3
        self.owner[frames * 3 // 4:frames * 3 // 4 + frames // 16] = 3
        self.place = place
        self.rng = rng

    def take(self, count: int) -> int:
        free = np.flatnonzero(self.owner == 0)
        count = min(count, len(free))
        if self.place == "stack":
            chosen = self.rng.choice(free, count, replace=False)
        elif self.place == "buddy":
            at = int(self.rng.integers(0, max(1, min(len(free) - count, count * 4)) or 1))
            chosen = free[at:at + count]
        else:
            chosen = free[:count]
        self.owner[chosen] = 1
        return count

    def give_back(self, count: int) -> None:
        live = np.flatnonzero(self.owner == 1)
        count = min(count, len(live))
        if self.place == "null" or not count:
            return
        block = 1 if self.place == "stack" else 16
        starts = self.rng.choice(live, max(1, count // block), replace=False)
        for offset in range(block):
            index = np.minimum(starts + offset, len(self.owner) - 1)
            index = index[self.owner[index] == 1]
            self.owner[index] = 0


def _free_blocks(free: np.ndarray) -> list[int]:
    """k_i of every order."""
    full = [int(free[:len(free) >> k << k].reshape(-1, 1 << k).all(axis=1).sum())
            for k in ORDERS]
    return [full[k] - 2 * full[k + 1] for k in ORDERS[:-1]] + [full[-1]]


def _run_lengths(free: np.ndarray) -> np.ndarray:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], free.astype(np.int8), [0]])))
    return edges[1::2] - edges[::2]


def _sample(ram: Ram, event: int, time_ns: int, metadata: float, failures: int) -> dict:
    free = ram.owner == 0
    blocks = _free_blocks(free)
    total = int(free.sum())
    lengths = _run_lengths(free)
    row = {"event": event, "time_ns": time_ns, "free_frames": total,
           "live_frames": int((ram.owner == 1).sum()),
           "reserved_frames": int((ram.owner == 2).sum()),
           "live_handles": int((ram.owner == 1).sum()),
           "requested_frames": int((ram.owner == 1).sum()), "internal_percent": 0.0}
    at_least = [sum(blocks[k] << k for k in ORDERS if k >= j) for j in ORDERS]
    row.update({f"free_blocks_o{k}": blocks[k] for k in ORDERS})
    row.update({f"unusable_o{k}": (total - at_least[k]) / total if total else 1.0
                for k in ORDERS})
    row.update({f"frag_index_o{k}": -1.0 for k in ORDERS})
    row.update({f"frag_index_milli_o{k}": -1000 for k in ORDERS})
    row.update({f"extfrag_percent_o{k}": 100 * (total - at_least[k]) // total if total else 0
                for k in ORDERS})
    huge = at_least[9] >> 9
    row["free_huge_percent"] = 100.0 * huge / (total >> 9) if total >> 9 else 0.0
    row["free_huge_of_total_percent"] = 100.0 * huge / (len(free) >> 9)
    row["largest50_mean_frames"] = float(np.sort(lengths)[-50:].mean()) if len(lengths) else 0.0
    row.update(_regions(ram))
    row["mixed_regions_percent"] = row["unmovable_regions_percent"] = 0.0
    largest = int(lengths.max()) if len(lengths) else 0
    row.update({"largest_run_frames": largest, "free_runs": len(lengths),
                "run_scatter": 1 - largest / total if total else 0.0})
    bins = np.bincount(np.log2(np.maximum(lengths, 1)).astype(int), minlength=21)
    row.update({f"free_runs_p{k}": int(bins[k]) for k in RUN_BINS})
    row.update({"metadata_bytes_per_frame": metadata, "kept_frames": 4, "failures": failures})
    return row


def _regions(ram: Ram) -> dict:
    owner = ram.owner.reshape(-1, 512)
    usable = (owner != 3).sum(axis=1)
    free = (owner == 0).sum(axis=1)[usable > 0]
    level = np.minimum(10 * free // usable[usable > 0], 9)
    counts = np.bincount(level, minlength=10)
    return {f"regions_free_l{k}": int(counts[k]) for k in LEVELS}


def _frame_map_row(ram: Ram, per_cell: int) -> bytes:
    owner = ram.owner.reshape(-1, per_cell)
    usable = (owner != 3).sum(axis=1)
    parts = []
    for kind in (1, 2):
        share = 250 * (owner == kind).sum(axis=1) // np.maximum(usable, 1)
        parts.append(np.where(usable == 0, 255, share).astype(np.uint8).tobytes())
    return b"".join(parts)


def write_csv(path: Path, header: Iterable[str], rows: Iterable[Iterable]) -> None:
    def field_text(value) -> str:
        return f"{value:.6f}" if isinstance(value, float) else str(value)

    lines = [",".join(header)] + [",".join(map(field_text, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _latency_rows(spec: Spec, allocator: str, rng: np.random.Generator) -> list[tuple]:
    base = SPEED.get(allocator, 80)
    rows = []
    for operation, factor in (("frame_alloc", 1.0), ("frame_free", 0.7)):
        for order, count in ((0, 40_000), (1, 1_500), (3, 700), (9, 60)):
            if allocator in spec.refusing and order:
                continue
            values = base * factor * (1 + order / 4) * rng.lognormal(0, 0.35, count)
            slow = rng.random(count) < 0.002
            values[slow] *= rng.lognormal(3, 0.8, int(slow.sum()))
            low = np.floor(np.maximum(values, 1)).astype(int)
            low = np.where(low < 128, low, (low // 8) * 8)
            for cpu in range(2):
                for value, number in zip(*np.unique(low[cpu::2], return_counts=True)):
                    rows.append((operation, order, cpu, int(value),
                                 int(value) + (1 if value < 128 else 8), int(number)))
    return rows


def _timing(rows: list[tuple], allocator: str) -> dict:
    latency = {}
    for operation, order in dict.fromkeys((row[0], row[1]) for row in rows):
        chosen = sorted((row[3], row[5]) for row in rows if row[:2] == (operation, order))
        values = np.repeat([one for one, _ in chosen], [number for _, number in chosen])
        keys = {"p50_ns": 50, "p90_ns": 90, "p99_ns": 99, "p999_ns": 99.9, "p9999_ns": 99.99}
        latency[f"{operation}/{order}"] = {
            "count": len(values), "mean_ns": float(values.mean()), "max_ns": int(values.max()),
            **{key: int(np.percentile(values, share, method="inverted_cdf"))
               for key, share in keys.items()}}
    return {"latency": latency, "operations_per_second": 8e8 / SPEED.get(allocator, 80),
            "native_seconds": 1.5, "probed_seconds": 7.25}


def _events_rows(spec: Spec, allocator: str) -> list[tuple]:
    rows = [("boot", 0, 1, 9000, 8000, 0, 500, 100, 20, 60, 0)]
    scale = 1 + SPEED.get(allocator, 80) / 40
    for operation in ("frame_alloc", "frame_free"):
        for order, count in ((0, 40_000), (1, 1_500), (3, 700), (9, 60)):
            if allocator in spec.refusing and order:
                continue
            loads = int(count * scale * (3 + order))
            rows.append((operation, order, count, loads, loads // 2, 0, loads // 3, loads // 4,
                         loads // 90, loads // 40, 0))
    return rows


def _json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _recorded_row(index: int, sample: dict, ram: Ram) -> list:
    """Snapshot INDEX; every fifth one lacks buddyinfo."""
    head = [index, sample["event"], sample["time_ns"]]
    free = sample["free_frames"]
    if index % 5 == 4:
        return head + [""] * len(ORDERS) + ["", free + 40, free]
    return head + [sample[f"free_blocks_o{k}"] for k in ORDERS] + [free, free + 40, free]


def _replay(folder: Path, spec: Spec, allocator: str, rng: np.random.Generator) -> dict:
    """Writes what comes from placement; returns the last sample, empty if there is none."""
    ram = Ram(spec.ram_mib * 256, allocator, rng)
    samples, maps, recorded = [], [], []
    refused = 0
    for index in range(spec.samples):
        swing = 0.5 + 0.4 * np.sin(index / 9)
        ram.take(int(len(ram.owner) * 0.03 * swing) + 1)
        ram.give_back(int(len(ram.owner) * 0.03 * (1 - swing)) + 1)
        refused += 20 if allocator in spec.refusing else 0
        # Event times start where the recording did, not at 0.
        time_ns = 7_000_000_000 + index * STEP_NS
        samples.append(_sample(ram, index * 500, time_ns, METADATA.get(allocator, 1.0), refused))
        maps.append(struct.pack("<QQ", index * 500, time_ns) + _frame_map_row(ram, 64))
        if index % 4 == 0:
            recorded.append(_recorded_row(index // 4, samples[-1], ram))
    header = list(_sample(ram, 0, 0, 0.0, 0))
    write_csv(folder / "samples.csv", header, [row.values() for row in samples])
    if spec.recorded:
        write_csv(folder / "recorded.csv",
                  ["snapshot", "event", "time_ns", *[f"free_blocks_o{k}" for k in ORDERS],
                   "free_frames", "mem_free_frames", "ledger_free_frames"], recorded)
    if spec.frame_map:
        frames = len(ram.owner)
        (folder / "frames.bin").write_bytes(
            struct.pack("<8sIIQQQ", b"KMFRAMES", 1, frames // 64, 64, frames, len(maps))
            + b"".join(maps))
    write_csv(folder / "failures.csv",
              ["event", "time_ns", "frames", "align_frames", "zone", "mobility", "cpu", "task",
               "free_frames", "largest_free_order"],
              [(k * 25, 7_000_000_000 + k * STEP_NS // 20, 2, 1, "any", "movable", 0, 1, 900, 3)
               for k in range(refused)])
    return samples[-1] if samples else {}


def _write_run(folder: Path, name: str, spec: Spec, trace: str, allocator: str,
               seed: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(zlib.crc32(f"{trace}/{allocator}/{seed}".encode()))
    last = _replay(folder, spec, allocator, rng)
    header = "operation,order,operations,loads,stores,atomics,cache_lines,tlb_lookups," \
             "tlb_misses,walk_reads,faults".split(",")
    write_csv(folder / "events.csv", header, _events_rows(spec, allocator) if spec.probed else [])
    passes = {}
    digest = hashlib.sha256(f"{trace}{allocator}{seed}".encode()).hexdigest()[:16]
    if spec.native:
        rows = _latency_rows(spec, allocator, rng)
        write_csv(folder / "latency.csv",
                  ["operation", "order", "cpu", "low_ns", "high_ns", "count"], rows)
        write_csv(folder / "slow.csv", ["event", "operation", "order", "cpu", "latency_ns"], [])
        _json(folder / "timing.json", _timing(rows, allocator))
        passes["native"] = {"digest": digest}
    if spec.probed:
        passes["probed"] = {"digest": digest, "counters": {"loads": 900, "stores": 500}}
    violations = [{"event": 1234, "kind": "overlap", "frame": 42,
                   "message": "allocator error: frame 42 handed out twice",
                   "command": f"kmemlab replay {trace}.kmt --frames {allocator} --until 1234"}]
    _json(folder / "run.json", {
        "schema": 1,
        "config": {"experiment": name, "run": folder.name, "trace": trace,
                   "trace_sha256": hashlib.sha256(trace.encode()).hexdigest(),
                   "frames": allocator, "tables": "walked", "options": {},
                   "machine": "recorded", "machine_known": True, "arch": "x86_64",
                   "ram_bytes": spec.ram_mib << 20, "usable_frames": spec.ram_mib * 240,
                   "direct_leaf_bytes": 2 << 20, "cpus": 2, "seed": seed, "start": "ascending",
                   "place": "own", "pass": "both", "until": 0, "sample_events": 500,
                   "command": f"kmemlab replay workloads/recorded/{trace}.kmt --frames "
                              f"{allocator} --seed {seed}"},
        "result": {"digest": digest, "events": spec.samples * 500, "operations": 80_000,
                   "failures": int(last.get("failures", 0)), "skipped": 0,
                   "deferred_frees": 0, "prologue": 100, "prologue_frames": 120,
                   "displaced": 0, "untouched_frames": 10,
                   "violations": 1 if allocator in spec.violating else 0,
                   "violation_list": violations if allocator in spec.violating else [],
                   "passes": passes,
                   "boot": {"state_bytes": 4096, "table_frames": 20, "managed_frames": 15000,
                            "loads": 9000, "stores": 8000},
                   "metrics": {key: value for key, value in last.items()
                               if key not in ("event", "time_ns")}},
        "host": {"program": "kmemlab 0.1.0", "compiler": "gcc 12.2.0", "flags": "-O2",
                 "cpu": "A CPU Of Some Kind", "timer_cost_ns": 21.5, "slow_threshold_ns": 10000,
                 "sample_rate": 1, "host_minor_faults": 3, "native_seconds": 1.5,
                 "probed_seconds": 7.25}})


def write_experiment(path: Path, spec: Spec = Spec(), name: str = "synthetic") -> Path:
    """Makes the folder PATH, which must not exist."""
    path.mkdir(parents=True)
    cells = []
    for trace in spec.traces:
        for allocator in spec.allocators:
            for seed in spec.seeds:
                run = f"{trace}.{allocator}.s{seed}"
                cell = {"run": run, "trace": trace, "frames": allocator, "machine": "recorded",
                        "ram_bytes": 0, "seed": seed, "status": "done", "exit": 0, "message": ""}
                if (trace, allocator) in spec.failed:
                    cell.update(status="failed", exit=2,
                                message="lab error: boot needs at least 96 MiB of RAM")
                elif (trace, allocator) in spec.pending:
                    cell.update(status="pending")
                else:
                    _write_run(path / run, name, spec, trace, allocator, seed)
                cells.append(cell)
    _json(path / "experiment.json",
          {"schema": 1, "name": name, "title": "Synthetic allocators under synthetic traces",
           "cells": cells})
    return path


HEAP_SITES = (("0xffff1000", "inode_cache", 300, 100, 45_000, 60_000, 200, 30_000, 40_000, 25.0),
              ("0xffff2000", "", 200, 200, 10_000, 10_000, 0, 0, 900, 0.0))


def _edit_json(path: Path, change) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    _json(path, content)


def _replace(path: Path, *pairs: tuple[str, str]) -> None:
    if path.is_file():
        text = path.read_text(encoding="utf-8")
        for old, new in pairs:
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")


def _folders(path: Path) -> list[Path]:
    return [folder for folder in sorted(path.iterdir()) if (folder / "run.json").is_file()]


def turn_into_heaps(path: Path) -> Path:
    """Makes of an experiment's allocators heaps of the same names, on one frame allocator."""
    def cells(content: dict) -> None:
        for cell in content["cells"]:
            cell.update(heap=cell["frames"], frames="buddy")
    _edit_json(path / "experiment.json", cells)
    for index, folder in enumerate(_folders(path)):
        def result(content: dict, factor: float = 1.5 + index) -> None:
            content["config"].update(heap=content["config"]["frames"], frames="buddy")
            content["result"]["heap"] = {
                "peak_live_bytes": 1000, "robson_bound_bytes": 5000.0,
                "peak_held_to_peak_live": factor, "held_to_live_mean": factor + 0.5,
                "internal_of_all_percent": 12.5, "metadata_bytes_per_object": 16.0}
        _edit_json(folder / "run.json", result)
        names = (("frame_alloc", "heap_alloc"), ("frame_free", "heap_free"))
        for name in ("latency.csv", "timing.json"):
            _replace(folder / name, *names)
        lines = (folder / "events.csv").read_text(encoding="utf-8").splitlines()
        (folder / "events.csv").write_text("".join(
            line + (",most_accesses" if number == 0 else f",{2000 + index}") + "\n"
            for number, line in enumerate(lines)), encoding="utf-8")
        _replace(folder / "events.csv", *names)
        write_csv(folder / "heap.csv",
                  ["event", "time_ns", "live_objects", "live_bytes", "usable_bytes",
                   "held_frames", "kept_bytes", "failures", "internal_percent"],
                  [(k * 500, k * STEP_NS, k, k * 30_000, k * 40_000, k * (10 + 90 * index), 64,
                    0, 25.0) for k in range(12)])
        write_csv(folder / "heap_sites.csv",
                  ["site", "cache", "allocs", "frees", "requested_bytes", "usable_bytes",
                   "live_objects", "live_bytes", "peak_bytes", "internal_percent"], HEAP_SITES)
        write_csv(folder / "heap_sizes.csv", ["order", "allocs", "failures", "requested_bytes"],
                  [(7, 300, 0, 30_000), (12, 200, 0, 25_000)])
    return path


def turn_into_spaces(path: Path, space: str = "process") -> Path:
    """Makes of an experiment's allocators page tables of the same names, under one policy."""
    def cells(content: dict) -> None:
        for cell in content["cells"]:
            cell.update(tables=cell["frames"], space=space, frames="buddy")
    _edit_json(path / "experiment.json", cells)
    for index, folder in enumerate(_folders(path)):
        def result(content: dict, factor: int = 1 + index) -> None:
            content["config"].update(tables=content["config"]["frames"], frames="buddy",
                                     space=space)
            content["result"]["spaces"] = {
                "touches": 1000, "user_frames_peak": 256, "copies": 10, "killed": 0,
                "unserved": 0, "tables": {"frames_peak": 40, "invlpg": 100 * factor,
                                          "flushes": 0, "visits": 5, "slot_moves": 0,
                                          "shootdowns": 2},
                "contiguity": {"share_in_runs_of_2n": [1.0 / (k + factor) for k in range(10)],
                               "tlb_reach": {size: {"reach_bytes": factor << 20}
                                             for size in ("4k", "64k", "2m", "1g")}},
                "over_time": {"time_ns": [7_000_000_000 + k * STEP_NS for k in range(6)],
                              "mapped_pages": [100 * k for k in range(6)],
                              "user_frames": [80 * k for k in range(6)]},
                "largest_processes": [{"process": [1, 10 + k], "pages": [10 * k, 3]}
                                      for k in range(6)]}
            for one in content["result"]["passes"].values():
                one["mmu"] = {"cycles": 50_000 * factor}
        _edit_json(folder / "run.json", result)
        _replace(folder / "latency.csv", ("frame_alloc", "fault_fresh"), ("frame_free", "mmap"))
        _replace(folder / "events.csv", ("frame_alloc", "fault_fresh"), ("frame_free", "mmap"))
        lines = (folder / "samples.csv").read_text(encoding="utf-8").splitlines()
        (folder / "samples.csv").write_text("".join(
            line + (",processes,mapped_pages,user_frames,page_table_frames" if number == 0
                    else f",{number},{400 * number},{256 * number},{4 * number}") + "\n"
            for number, line in enumerate(lines)), encoding="utf-8")
    return path


def join_experiments(path: Path, parts: Iterable[Path]) -> Path:
    """One experiment of the cells of several."""
    path.mkdir()
    cells = []
    for part in parts:
        cells += json.loads((part / "experiment.json").read_text(encoding="utf-8"))["cells"]
        for folder in _folders(part):
            folder.rename(path / folder.name)
    _json(path / "experiment.json",
          {"schema": 1, "name": "joined", "title": "All kinds", "cells": cells})
    return path
