"""Time means, medians over seeds, percentiles of histograms. No drawing here."""

from dataclasses import dataclass
from typing import Optional, Sequence

import numpy as np

from kmemlab_plots.table import Table


def time_mean(time_ns: np.ndarray, values: np.ndarray) -> Optional[float]:
    """Mean over time: a sample holds until the next one. None without samples."""
    if len(values) == 0:
        return None
    span = time_ns[-1] - time_ns[0]
    if span <= 0:
        return float(values.mean())
    return float(np.sum(values[:-1] * np.diff(time_ns)) / span)


def hold(time_ns: np.ndarray, values: np.ndarray, grid_ns: np.ndarray) -> np.ndarray:
    """The samples' values at other times: each holds until the next one."""
    index = np.searchsorted(time_ns, grid_ns, side="right") - 1
    return values[np.clip(index, 0, len(values) - 1)]


@dataclass(frozen=True)
class Band:
    """Median over seeds with the whole range."""
    x: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


def band_over_time(series: Sequence[tuple[np.ndarray, np.ndarray]]) -> Optional[Band]:
    """(time_ns, values) of each seed, joined on the union of their times."""
    series = [pair for pair in series if len(pair[0])]
    if not series:
        return None
    grid = np.unique(np.concatenate([time for time, _ in series]))
    return band(grid, [hold(time, values, grid) for time, values in series])


def band(x: np.ndarray, curves: Sequence[np.ndarray]) -> Band:
    stack = np.array(curves)
    return Band(x, np.median(stack, axis=0), stack.min(axis=0), stack.max(axis=0), len(stack))


@dataclass(frozen=True)
class Spread:
    """A figure over the seeds of one cell of the experiment."""
    median: float
    low: float
    high: float
    seeds: int


def spread(values: Sequence[Optional[float]]) -> Optional[Spread]:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(float(np.median(known)), min(known), max(known), len(known))


class Histogram:
    """Merged buckets of latency.csv, ascending."""

    def __init__(self, values: np.ndarray, counts: np.ndarray):
        order = np.argsort(values, kind="stable")
        self._values = values[order]
        self._ranks = np.cumsum(counts[order])

    @property
    def count(self) -> int:
        return int(self._ranks[-1]) if len(self._ranks) else 0

    def percentile(self, share: np.ndarray | float) -> np.ndarray:
        """The smallest value that at least this share of the operations does not exceed."""
        # The tiny subtraction keeps 0.999 * 1000, which is 999.0000000001, at rank 999.
        rank = np.maximum(np.ceil(np.asarray(share) * self.count - 1e-6), 1)
        return self._values[np.searchsorted(self._ranks, rank)]

    def trimmed_mean(self, share: float) -> Optional[float]:
        """Mean of the fastest that share of the operations; None without operations."""
        kept = np.minimum(self._ranks, np.floor(share * self.count + 1e-6))
        counts = np.diff(kept, prepend=0)
        return float(np.sum(counts * self._values) / counts.sum()) if counts.sum() else None

    def curve(self, nines: np.ndarray) -> np.ndarray:
        """Latency at the shares 1 - 10^-nines."""
        return self.percentile(1 - 10.0 ** -nines)


ALL_ORDERS = range(64)


def histogram(latency: Table, operation: str = "", orders: range = ALL_ORDERS) -> Histogram:
    """All CPUs and the given orders of one operation ("": of all); a bucket counts as its
    middle."""
    chosen = np.array([operation in ("", name) for name in latency.text("operation")], dtype=bool)
    order = latency["order"]
    chosen &= (order >= orders.start) & (order < orders.stop)
    low, high = latency["low_ns"][chosen], latency["high_ns"][chosen]
    return Histogram((low + np.maximum(high - 1, low)) / 2, latency["count"][chosen])
