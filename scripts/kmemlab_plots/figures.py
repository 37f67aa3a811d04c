"""The figures by which allocators are compared: one number a run, a spread over the seeds."""

from dataclasses import dataclass
from typing import Any, Callable, Optional

import numpy as np

from kmemlab_plots import wording
from kmemlab_plots.experiment import Experiment
from kmemlab_plots.run import Run
from kmemlab_plots.statistics import Spread, histogram, spread, time_mean

# One host, shared and unpinned: nearer than this, two measured times are called equal.
MEASURED_TOLERANCE = 0.10
# The slowest that share of the operations are taken for interruptions by the host.
STALLS = 1e-4

# Rows of events.csv and latency.csv: those that are requests, and those that no event asked for.
ALLOCATIONS = ("frame_alloc", "heap_alloc")
STARTING = ("boot", "spaces_start")

Measure = Callable[[Run], Optional[float]]


@dataclass(frozen=True)
class Quantity:
    """A column of the summary. `better` is "low" or "high"; values up to `floor` are one."""
    key: str
    label: str
    unit: str
    better: str
    of: Measure
    show: Callable[[float], str]
    measured: bool = False  # on a host, not counted
    placement: bool = False  # says where frames lie, which who serves little has easy
    floor: Optional[Measure] = None

    @property
    def tolerance(self) -> float:
        return MEASURED_TOLERANCE if self.measured else 0.0


def _requested(run: Run, frames: bool) -> Optional[float]:
    """Allocations that were asked for, or their frames."""
    for table, column in ((run.events, "operations"), (run.latency, "count")):
        if table is not None:
            allocations = np.array([name in ALLOCATIONS for name in table.text("operation")],
                                   dtype=bool)
            if not allocations.any():
                return None
            weights = 2.0 ** table["order"][allocations] if frames else 1.0
            return float(np.sum(table[column][allocations] * weights))
    return None


def failed_percent(run: Run) -> Optional[float]:
    """The share of requests that were not served."""
    asked = _requested(run, frames=False)
    return _percent_of(float(run.result["failures"]), asked or float(run.result["operations"]))


def unserved_memory_percent(run: Run) -> Optional[float]:
    """The share of the frames asked for that were not handed out."""
    if not run.result["failures"]:
        return 0.0
    asked = _requested(run, frames=True)
    if run.failures is None or asked is None:
        return None
    return _percent_of(float(run.failures["frames"].sum()), asked)


def _percent_of(part: float, whole: float) -> Optional[float]:
    if not whole:
        return None if part else 0.0
    return min(100.0, 100.0 * part / whole)


def timer_cost_ns(run: Run) -> Optional[float]:
    cost = run.host.get("timer_cost_ns")
    return float(cost) if isinstance(cost, (int, float)) else None


def _mean(column: str, scale: float = 1.0, offset: float = 0.0) -> Measure:
    def value(run: Run) -> Optional[float]:
        mean = time_mean(run.samples["time_ns"], run.samples[column])
        return None if mean is None else offset + scale * mean
    return value


def _end(column: str) -> Measure:
    def value(run: Run) -> Optional[float]:
        return float(run.samples[column][-1]) if len(run.samples) else None
    return value


def usable_percent(order: int) -> Measure:
    """The share of free memory that could be handed out in blocks of that order: 1 - U."""
    return _mean(f"unusable_o{order}", -100.0, 100.0)


def usable_huge_percent(run: Run) -> Optional[float]:
    return usable_percent(run.huge_order)(run)


def latency_percentile(operation: str, key: str, order: int = 0) -> Measure:
    def value(run: Run) -> Optional[float]:
        row = (run.timing.get("latency") or {}).get(f"{operation}/{order}") or {}
        found = row.get(key)
        return float(found) if isinstance(found, (int, float)) and row.get("count") else None
    return value


def throughput(run: Run) -> Optional[float]:
    value = run.timing.get("operations_per_second")
    return float(value) if isinstance(value, (int, float)) and value > 0 else None


def steady_throughput(run: Run) -> Optional[float]:
    """Without the slowest operations: one interruption by the host outweighs a whole trace."""
    if run.latency is None:
        return None
    mean_ns = histogram(run.latency).trimmed_mean(1 - STALLS)
    return 1e9 / mean_ns if mean_ns else None


def per_operation(*columns: str, only: tuple[str, ...] = ()) -> Measure:
    """Sum of these machine events over all operations (or those), per operation."""
    def value(run: Run) -> Optional[float]:
        if run.events is None:
            return None
        chosen = np.array([name in only if only else name not in STARTING
                           for name in run.events.text("operation")], dtype=bool)
        operations = float(run.events["operations"][chosen].sum())
        total = sum(float(run.events[column][chosen].sum()) for column in columns)
        return total / operations if operations else None
    return value


def dearest(run: Run, operation: str) -> Optional[float]:
    """Loads and stores of its most expensive single call; None where that was not counted."""
    if run.events is None or "most_accesses" not in run.events:
        return None
    chosen = np.array([name == operation for name in run.events.text("operation")], dtype=bool)
    return float(run.events["most_accesses"][chosen].max()) if chosen.any() else None


def _share(value: float) -> str:
    return f"{value:.2f}"


PLACEMENT = [
    Quantity("failures", "failures", "requests", "low",
             lambda run: float(run.result["failures"]), wording.count),
    Quantity("failed_percent", "not served", "% of requests", "low", failed_percent,
             wording.percent),
    Quantity("unserved_memory", "not served", "% of memory", "low", unserved_memory_percent,
             wording.percent),
    Quantity("unusable_o9_mean", "unusable at 2 MiB, mean", "index, 0 to 1", "low",
             _mean("unusable_o9"), _share, placement=True),
    Quantity("unusable_o9_end", "unusable at 2 MiB, end", "index, 0 to 1", "low",
             _end("unusable_o9"), _share, placement=True),
    Quantity("free_huge_percent", "free huge ratio, mean", "%", "high",
             _mean("free_huge_percent"), wording.percent, placement=True),
    Quantity("largest_run_frames", "largest free run, end", "memory", "high",
             _end("largest_run_frames"), wording.size, placement=True),
    Quantity("internal_percent", "internal, mean", "% of live", "low",
             _mean("internal_percent"), wording.percent),
]
SPEED = [
    Quantity(f"{operation}_{key}", f"{name} {label}", "ns", "low",
             latency_percentile(operation, f"{key}_ns"), wording.nanoseconds, measured=True,
             floor=timer_cost_ns)
    for operation, name in (("frame_alloc", "alloc"), ("frame_free", "free"))
    for key, label in (("p50", "p50"), ("p99", "p99"), ("p999", "p99.9"))
] + [
    Quantity("throughput", "throughput", "operations/s", "high", throughput, wording.rate,
             measured=True),
    Quantity("steady", "without stalls", "operations/s", "high", steady_throughput,
             wording.rate, measured=True),
]
def of_result(*path: str, per: Optional[Measure] = None, scale: float = 1.0) -> Measure:
    """A number in run.json's `result`, by the keys that lead there; `per`: divided by that."""
    def value(run: Run) -> Optional[float]:
        found: Any = run.result
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, (int, float)):
            return None
        whole = per(run) if per else 1.0
        return scale * float(found) / whole if whole else None
    return value


HEAP = [
    Quantity("peak_ratio", "most held by most live", "times", "low",
             of_result("heap", "peak_held_to_peak_live"), wording.significant),
    Quantity("mean_ratio", "held by live, mean", "times", "low",
             of_result("heap", "held_to_live_mean"), wording.significant),
    Quantity("heap_internal", "internal, of all handed out", "%", "low",
             of_result("heap", "internal_of_all_percent"), wording.percent),
    Quantity("heap_metadata", "metadata, end", "bytes per object", "low",
             of_result("heap", "metadata_bytes_per_object"), wording.significant),
    Quantity("heap_failures", "requests not served", "", "low",
             lambda run: float(run.result["failures"]), wording.significant),
]


def all_orders(operation: str, share: float) -> Measure:
    """A percentile over all sizes of an operation."""
    def value(run: Run) -> Optional[float]:
        found = histogram(run.latency, operation) if run.latency is not None else None
        return float(found.percentile(share)) if found and found.count else None
    return value


def speed_of(*operations: tuple[str, str]) -> list[Quantity]:
    """Percentiles of (operation, what it is called), and throughput."""
    return [Quantity(f"{operation}_{label}", f"{name} {label}", "ns", "low",
                     all_orders(operation, share), wording.nanoseconds, measured=True,
                     floor=timer_cost_ns)
            for operation, name in operations
            for label, share in (("p50", 0.5), ("p99.9", 0.999))] + SPEED[-2:]


HEAP_SPEED = speed_of(("heap_alloc", "alloc"), ("heap_free", "free"))
SPACE_SPEED = speed_of(("fault_fresh", "fresh page"), ("fault_copy", "copy"), ("fork", "fork"),
                       ("exit", "exit"))

def thousands(run: Run) -> Optional[float]:
    """Of operations of the kernel on page tables and spaces."""
    for table, column in ((run.events, "operations"), (run.latency, "count")):
        if table is not None:
            chosen = np.array([name not in STARTING for name in table.text("operation")],
                              dtype=bool)
            return float(table[column][chosen].sum()) / 1000
    return None


def invalidations(run: Run) -> Optional[float]:
    """INVLPGs, and loads of CR3 that are not for a switch of processes, per thousand operations."""
    parts = [of_result("spaces", "tables", key, per=thousands)(run)
             for key in ("invlpg", "flushes", "visits")]
    return None if None in parts else sum(part or 0.0 for part in parts)


def superfluous(run: Run) -> Optional[float]:
    """Invalidations that dropped nothing stale; known with the stale checker alone."""
    parts = [of_result("passes", "probed", "invalidations", f"{key}_superfluous")(run)
             for key in ("invlpg", "flushes")]
    return None if None in parts else sum(part or 0.0 for part in parts)


def cycles_per_touch(run: Run) -> Optional[float]:
    """Simulated cycles of translation, kernel and users, for each touch of a user."""
    return of_result("passes", "probed", "mmu", "cycles",
                     per=of_result("spaces", "touches"))(run)


SPACE = [
    Quantity("table_frames", "page tables, most", "frames", "low",
             of_result("spaces", "tables", "frames_peak"), wording.count),
    Quantity("user_frames", "users' frames, most", "frames", "low",
             of_result("spaces", "user_frames_peak"), wording.count),
    Quantity("copies", "pages copied", "", "low", of_result("spaces", "copies"), wording.count),
    Quantity("invlpg", "INVLPG", "", "low", of_result("spaces", "tables", "invlpg"),
             wording.count),
    Quantity("flushes", "flushes", "loads of CR3", "low",
             of_result("spaces", "tables", "flushes"), wording.count),
    Quantity("visits", "visits", "loads of CR3", "low",
             of_result("spaces", "tables", "visits"), wording.count),
    Quantity("slot_moves", "slots moved", "", "low",
             of_result("spaces", "tables", "slot_moves"), wording.count),
    Quantity("superfluous", "superfluous", "invalidations", "low", superfluous, wording.count),
    Quantity("shootdowns", "shootdowns", "", "low", of_result("spaces", "tables", "shootdowns"),
             wording.count),
    Quantity("killed", "killed", "processes", "low", of_result("spaces", "killed"),
             wording.count),
    Quantity("unserved", "not served", "events", "low", of_result("spaces", "unserved"),
             wording.count),
]
COST = [
    Quantity("metadata", "metadata", "bytes per frame", "low",
             _end("metadata_bytes_per_frame"), wording.significant),
    Quantity("loads", "loads", "per operation", "low", per_operation("loads"),
             wording.significant),
    Quantity("stores", "stores", "per operation", "low", per_operation("stores"),
             wording.significant),
    Quantity("cache_lines", "cache lines", "per operation", "low",
             per_operation("cache_lines"), wording.significant),
]
TLB_MISSES = Quantity("tlb_misses", "TLB misses", "per operation", "low",
                      per_operation("tlb_misses"), wording.significant)
CYCLES = Quantity("cycles", "translation", "cycles per touch", "low", cycles_per_touch,
                  wording.significant)


def measure(experiment: Experiment, scenario: str, allocator: str,
            quantity: Quantity) -> Optional[Spread]:
    return spread([quantity.of(run) for run in experiment.runs(scenario, allocator)])
