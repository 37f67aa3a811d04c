"""One finished cell of an experiment: its files, read when first asked for."""

from functools import cached_property
from pathlib import Path
from typing import Any, Optional

import numpy as np

from kmemlab_plots.framemap import FrameMap, read_frame_map
from kmemlab_plots.table import BadInput, Table, need, read_csv, read_json

ORDERS = range(11)
LEVELS = range(10)

SAMPLE_COLUMNS = (
    ["event", "time_ns", "free_frames", "live_frames", "reserved_frames", "internal_percent",
     "free_huge_percent", "largest_run_frames", "metadata_bytes_per_frame", "failures"]
    + [f"free_blocks_o{order}" for order in ORDERS]
    + [f"unusable_o{order}" for order in ORDERS]
    + [f"regions_free_l{level}" for level in LEVELS])
RECORDED_COUNTS = ([f"free_blocks_o{order}" for order in ORDERS]
                   + ["free_frames", "mem_free_frames", "ledger_free_frames"])
EVENT_COUNTS = ("operations", "loads", "stores", "atomics", "cache_lines", "tlb_lookups",
                "tlb_misses", "walk_reads", "faults")


class Run:
    """The folder of one run."""

    def __init__(self, path: Path, seed: int):
        self.path = path
        self.seed = seed
        document = path / "run.json"
        if not document.is_file():
            raise BadInput(f"{document}:1: missing, though experiment.json calls the run done")
        content = read_json(document)
        self.config: dict[str, Any] = need(document, content, "config", dict)
        self.result: dict[str, Any] = need(document, content, "result", dict)
        self.host: dict[str, Any] = content.get("host") or {}
        for key in ("operations", "failures", "violations"):
            need(document, self.result, key, int, "result.")
        need(document, self.result, "digest", str, "result.")

    def _file(self, name: str) -> Optional[Path]:
        path = self.path / name
        return path if path.is_file() else None

    @cached_property
    def samples(self) -> Table:
        path = self.path / "samples.csv"
        if not path.is_file():
            raise BadInput(f"{path}:1: missing")
        table = read_csv(path, SAMPLE_COLUMNS)
        table.require_sorted("time_ns")
        return table

    @cached_property
    def recorded(self) -> Optional[Table]:
        """What the recorded kernel said of itself; None without such a trace."""
        path = self._file("recorded.csv")
        if path is None:
            return None
        table = read_csv(path, ["snapshot", "event", "time_ns", *RECORDED_COUNTS],
                         optional=RECORDED_COUNTS)
        table.require_sorted("time_ns")
        return table

    @cached_property
    def failures(self) -> Optional[Table]:
        path = self._file("failures.csv")
        if path is None:
            return None
        return read_csv(path, ["event", "time_ns", "frames", "free_frames"],
                        texts=["zone", "mobility", "task"])

    @cached_property
    def events(self) -> Optional[Table]:
        """Machine events of the probed pass; None where it was skipped."""
        path = self._file("events.csv")
        if path is None:
            return None
        table = read_csv(path, ["operation", "order", *EVENT_COUNTS], texts=["operation"],
                         optional=["order"])
        return table if len(table) else None

    @cached_property
    def latency(self) -> Optional[Table]:
        """Histograms of the native pass; None where it was skipped."""
        path = self._file("latency.csv")
        if path is None:
            return None
        table = read_csv(path, ["operation", "order", "cpu", "low_ns", "high_ns", "count"],
                         texts=["operation"])
        wrong = (table["high_ns"] <= table["low_ns"]).nonzero()[0]
        if len(wrong):
            raise BadInput(f"{path}:{wrong[0] + 2}: high_ns is not above low_ns")
        return table if len(table) else None

    @cached_property
    def heap(self) -> Optional[Table]:
        """What the heap held over time; None without one."""
        path = self._file("heap.csv")
        if path is None:
            return None
        table = read_csv(path, ["event", "time_ns", "live_bytes", "usable_bytes", "held_frames"])
        table.require_sorted("time_ns")
        return table

    @cached_property
    def heap_sites(self) -> Optional[Table]:
        """A heap's objects by call site, the most requested bytes first; None without one."""
        path = self._file("heap_sites.csv")
        if path is None:
            return None
        return read_csv(path, ["allocs", "frees", "requested_bytes", "usable_bytes",
                               "live_objects", "live_bytes", "peak_bytes", "internal_percent"],
                        texts=["site", "cache"])

    @cached_property
    def heap_sizes(self) -> Optional[Table]:
        """A heap's objects by size; None without one."""
        path = self._file("heap_sizes.csv")
        return read_csv(path, ["order", "allocs", "failures", "requested_bytes"]) if path else None

    @cached_property
    def timing(self) -> dict[str, Any]:
        """Throughput and percentiles of the native pass; empty where it was skipped."""
        path = self._file("timing.json")
        return read_json(path) if path else {}

    @cached_property
    def frame_map(self) -> Optional[FrameMap]:
        path = self._file("frames.bin")
        return read_frame_map(path) if path else None

    @cached_property
    def refused_by_order(self) -> dict[int, int]:
        """How many requests of each order (of an object: of its size) were not served."""
        if self.heap_sizes is not None:
            return {int(order): int(count) for order, count in
                    zip(self.heap_sizes["order"], self.heap_sizes["failures"]) if count}
        if self.failures is None:
            return {}
        orders = np.ceil(np.log2(np.maximum(self.failures["frames"], 1))).astype(int)
        return dict(zip(*(part.tolist() for part in np.unique(orders, return_counts=True))))

    def mostly_refused(self, orders: range, operations: float) -> bool:
        """Whether half or more of these allocations were refusals, which cost next to nothing."""
        refused = sum(count for order, count in self.refused_by_order.items() if order in orders)
        return refused >= operations / 2 > 0

    @property
    def huge_order(self) -> int:
        """The order of the huge page: 4 MiB with two-level tables, else 2 MiB."""
        return 10 if self.config.get("arch") == "i386" else 9

    def load_all(self) -> None:
        """Reads every file, so that a damaged one is met before anything is drawn."""
        for name in ("samples", "recorded", "failures", "events", "latency", "timing",
                     "frame_map", "heap", "heap_sites", "heap_sizes"):
            getattr(self, name)
