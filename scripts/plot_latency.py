"""How long allocations and frees take, up to the rarest: percentile curves.

plot_latency.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MultipleLocator, NullFormatter

from kmemlab_plots import command, figures, ranking, style, wording
from kmemlab_plots.experiment import FRAMES, HEAPS, Experiment
from kmemlab_plots.run import Run
from kmemlab_plots.series import marker_places, ranking_notes, source_line, without_figures
from kmemlab_plots.statistics import Band, band, histogram

HEADING = "Latency"
SCENARIOS_A_PAGE = 1
OPERATIONS = {FRAMES: (("frame_alloc", "allocate"), ("frame_free", "free")),
              HEAPS: (("heap_alloc", "allocate"), ("heap_free", "free"))}
# Orders of blocks, and of two of an object's bytes, rounded up.
CLASSES = {FRAMES: ((range(0, 1), "order 0"), (range(1, 4), "orders 1 to 3"),
                    (range(4, 9), "orders 4 to 8"), (range(9, 64), "order 9 and above")),
           HEAPS: ((range(0, 8), "up to 128 bytes"), (range(8, 12), "129 bytes to 2 KiB"),
                   (range(12, 64), "above 2 KiB"))}
FEWEST_OPERATIONS = 20
CAPTION = (
    "Each curve gives the latency that a share of the operations does not exceed: 90 % is where "
    "one in ten is slower, 99.9 % where one in a thousand is. The share is on a logarithmic "
    "axis towards 100 %, because the rare slow ones decide; a curve ends where one single "
    "operation is left. Times are of the native pass on the host named above, net of the lab and "
    "of the timer's own cost; inside the grey area (below the timer's cost) differences mean "
    "little. Who refuses most of the requests of a panel has no curve there. "
    "From latency.csv, all CPUs together.")


@dataclass(frozen=True)
class Panel:
    """A panel's curves by allocator; None where it has no such operation."""
    title: str
    curves: dict[str, Optional[Band]]
    refusing: list[str]  # who refuses most of these requests: quick, but no allocation

    def bands(self) -> list[Band]:
        return [found for found in self.curves.values() if found is not None]


def finding(experiment: Experiment) -> str:
    clauses = []
    heaps = experiment.kind == HEAPS
    what = "allocation" if heaps else "order-0 allocation"
    for key, share, verbs, rest in (
            ("p50_ns", 0.5, ("needs", "need"), f"for the median {what}"),
            ("p999_ns", 0.999, ("exceeds", "exceed"), "in one of 1,000 such")):
        measure = (figures.all_orders("heap_alloc", share) if heaps
                   else figures.latency_percentile("frame_alloc", key))
        quantity = figures.Quantity(key, "", "", "low", measure, wording.nanoseconds,
                                    measured=True, floor=figures.timer_cost_ns)
        if any(ranking.places(experiment, scenario, quantity)
               for scenario in experiment.scenarios):
            clauses.append(ranking.headline(experiment, quantity, verbs, rest,
                                            where=not clauses))
    if not clauses:
        return "No latency was measured: the native pass was skipped, or nothing to rank"
    return ". ".join(clauses)


def _curve(runs: list[Run], operation: str, orders: range) -> tuple[Optional[Band], bool]:
    """The curve over all seeds, if there is one, and whether refusals stand in its way."""
    found = []
    refused = False
    for run in runs:
        one = histogram(run.latency, operation, orders) if run.latency is not None else None
        if one is None or not one.count:
            continue
        if operation in figures.ALLOCATIONS and run.mostly_refused(orders, one.count):
            refused = True
        else:
            found.append(one)
    if not found or refused:
        return None, refused
    end = np.log10(min(one.count for one in found))
    nines = np.linspace(0, end, 300) if end > 0 else np.zeros(1)
    return band(nines, [one.curve(nines) for one in found]), False


def _panel(experiment: Experiment, scenario: str, operation: str, orders: range,
           title: str) -> Panel:
    curves, refusing = {}, []
    for allocator in experiment.allocators:
        curves[allocator], refused = _curve(experiment.runs(scenario, allocator), operation,
                                            orders)
        if refused:
            refusing.append(allocator)
    return Panel(title, curves, refusing)


def _classes(experiment: Experiment) -> tuple[list[tuple[range, str]], list[str]]:
    """Order classes with enough operations for a curve; the names of those with a few."""
    used, left_out = [], []
    for orders, name in CLASSES[experiment.kind]:
        counts = [histogram(run.latency, operation, orders).count
                  for run in experiment.all_runs() if run.latency is not None
                  for operation, _ in OPERATIONS[experiment.kind]]
        most = max(counts, default=0)
        if most >= FEWEST_OPERATIONS:
            used.append((orders, name))
        elif most:
            left_out.append(name)
    return used, left_out


def _rows(experiment: Experiment, classes: list[tuple[range, str]]) -> list[list[Panel]]:
    """Rows: operations of each scenario; columns: order classes."""
    rows = []
    for scenario in experiment.scenarios:
        suffix = f", {scenario}" if len(experiment.scenarios) > 1 else ""
        for operation, verb in OPERATIONS[experiment.kind]:
            rows.append([_panel(experiment, scenario, operation, orders,
                                f"{verb}, {name}{suffix}") for orders, name in classes])
    return rows


def _timer_ns(experiment: Experiment) -> Optional[float]:
    costs = [float(run.host["timer_cost_ns"]) for run in experiment.all_runs()
             if isinstance(run.host.get("timer_cost_ns"), (int, float))]
    return float(np.median(costs)) if costs else None


def _share_label(nines: float, _position: int = 0) -> str:
    digits = max(0, int(round(nines)) - 2)
    return f"{100 * (1 - 10.0 ** -nines):.{digits}f}"


def _draw(axes: Axes, panel: Panel, timer_ns: Optional[float]) -> None:
    axes.set_title(panel.title)
    for index, (allocator, found) in enumerate(panel.curves.items()):
        if found is None:
            continue
        own = style.look(allocator)
        phase = index / len(panel.curves)
        axes.plot(found.x, np.maximum(found.median, 1), color=own.color, linestyle=own.line,
                  marker=own.marker, markevery=marker_places(found.x, 0.9, phase),
                  drawstyle="steps-post")
        if found.seeds > 1:
            axes.fill_between(found.x, np.maximum(found.low, 1), np.maximum(found.high, 1),
                              color=own.color, alpha=0.18, linewidth=0, step="post")
    if panel.refusing:
        axes.text(0.98, 0.03, f"mostly refused by {wording.joined(panel.refusing)}",
                  transform=axes.transAxes, ha="right", fontsize=7.5, color=style.MUTED)
    elif not panel.bands():
        style.say(axes, "no such operation")
    if timer_ns:
        axes.axhspan(0.1, timer_ns, color="#eceded", zorder=0)


def _scales(axes: Axes, bands: list[Band], timer_ns: Optional[float]) -> None:
    """The same on all panels."""
    # The fastest tenth may leave the panel below: a few lucky ones would take half of its height.
    lows = [max(1.0, float([*found.low[found.x >= 0.05], found.low[-1]][0])) for found in bands]
    highs = [float(found.high.max()) for found in bands]
    lows += [max(1.0, timer_ns / 2)] if timer_ns else []
    axes.set_yscale("log")
    axes.set_ylim(0.7 * min(lows, default=1), 1.5 * max(highs, default=1000))
    axes.yaxis.set_major_locator(LogLocator(numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: wording.nanoseconds(y)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    last = max([float(found.x[-1]) for found in bands], default=1) or 1
    axes.set_xlim(0, last * 1.02)
    axes.xaxis.set_major_locator(MultipleLocator(1))
    axes.xaxis.set_major_formatter(FuncFormatter(_share_label))
    axes.tick_params(axis="x", labelsize=7.5)


def _few(left_out: list[str]) -> str:
    return (f" Fewer than {FEWEST_OPERATIONS} operations, not drawn: "
            f"{wording.joined(left_out)}." if left_out else "")


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    classes, left_out = _classes(experiment)
    rows = _rows(experiment, classes)
    timer_ns = _timer_ns(experiment)
    handles: list = style.allocator_handles(experiment.allocators, without_figures(experiment))
    if timer_ns:
        handles.append(Patch(color="#dfe0e1", label="below the timer's own cost "
                             f"({wording.nanoseconds(timer_ns)})"))
    head = style.Head(
        finding(experiment), "Latency that the given share of operations does not exceed; both "
        "axes logarithmic. Native pass, net of the lab and the timer." + _few(left_out)
        + ranking_notes(experiment, placement=False),
        handles, experiment.problems(), source_line(experiment, "latency.csv"))
    cols = max([len(row) for row in rows], default=1) or 1
    fig, axes = style.sheet(head, style.Grid(max(1, len(rows)), cols, 2.3, left=0.85, gap_x=0.2,
                                             gap_y=0.55, share_x=True, share_y=True))
    if not any(rows):
        for row_of_axes in axes:
            style.say(row_of_axes[0], "the native pass was skipped: no latencies")
    bands = [found for row in rows for panel in row for found in panel.bands()]
    for row_of_axes, row in zip(axes, rows):
        for one, panel in zip(row_of_axes, row):
            _draw(one, panel, timer_ns)
            _scales(one, bands, timer_ns)
        row_of_axes[0].set_ylabel("latency")
    for one in axes[-1]:
        one.set_xlabel("share of operations (%)")
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, tuple(OPERATIONS)))
