"""What an operation of each order costs in machine events.

plot_cost.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path
from typing import Optional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kmemlab_plots import command, figures, ranking, style, wording
from kmemlab_plots.experiment import FRAMES, HEAPS, Experiment
from kmemlab_plots.run import Run
from kmemlab_plots.series import ranking_notes, source_line, without_figures
from kmemlab_plots.statistics import Band, band

HEADING = "Machine events by size"
SCENARIOS_A_PAGE = 1
OPERATIONS = {FRAMES: (("frame_alloc", "allocate"), ("frame_free", "free")),
              HEAPS: (("heap_alloc", "allocate"), ("heap_free", "free"))}
BY = {FRAMES: "order of the request", HEAPS: "size of the request (2^n bytes)"}
EVENTS = (("loads", "loads"), ("stores", "stores"), ("cache_lines", "cache lines"),
          ("tlb_misses", "TLB misses"))
LINEAR_UP_TO = 20
CAPTION = (
    "Every load and store of the allocator's code is counted in the probed pass, with the cache "
    "lines (64 bytes, each once an operation) and the misses of the simulated TLB. Means per "
    "operation, by the order asked for (of an object: of two, and its bytes); wide ranges are drawn linear up to 1 and logarithmic "
    "above. An order that an allocator mostly refuses is left out of its line, because refusing "
    "is cheap. These figures are exact and the same on every host, which latencies are not. From "
    "events.csv.")


def finding(experiment: Experiment) -> str:
    quantity = figures.Quantity("lines", "", "", "low", figures.per_operation("cache_lines"),
                                wording.significant)
    if not any(ranking.places(experiment, scenario, quantity)
               for scenario in experiment.scenarios):
        return "No machine events were counted: the probed pass was skipped, or nothing to rank"
    return ranking.headline(experiment, quantity, ("touches", "touch"),
                            "cache lines per operation")


def _by_order(run: Run, operation: str, event: str) -> dict[int, float]:
    table = run.events
    if table is None:
        return {}
    means: dict[int, float] = {}
    for name, order, operations, total in zip(table.text("operation"), table["order"],
                                              table["operations"], table[event]):
        if (name == operation and operations and not np.isnan(order)
                and not (operation in figures.ALLOCATIONS
                         and run.mostly_refused(range(int(order), int(order) + 1), operations))):
            means[int(order)] = total / operations
    return means


def _curve(runs: list[Run], operation: str, event: str) -> Optional[Band]:
    """Orders that every seed knows."""
    curves = [found for run in runs if (found := _by_order(run, operation, event))]
    if not curves:
        return None
    orders = sorted(set.intersection(*(set(curve) for curve in curves)))
    return band(np.array(orders, dtype=float),
                [np.array([curve[order] for order in orders]) for curve in curves])


def _draw(axes: Axes, experiment: Experiment, scenario: str, operation: str,
          event: str) -> None:
    drawn = False
    for allocator in experiment.allocators:
        found = _curve(experiment.runs(scenario, allocator), operation, event)
        if found is None or not len(found.x):
            continue
        own = style.look(allocator)
        axes.plot(found.x, found.median, color=own.color, linestyle=own.line, marker=own.marker)
        if found.seeds > 1:
            axes.fill_between(found.x, found.low, found.high, color=own.color, alpha=0.18,
                              linewidth=0)
        drawn = True
    if not drawn:
        style.say(axes, "the probed pass was skipped")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.margins(x=0.08)


def _scale(column: list[Axes]) -> None:
    """Linear where all values are near each other, else logarithmic above 1; panels share it."""
    top = column[0].get_ylim()[1]
    if top > LINEAR_UP_TO:
        column[0].set_yscale("symlog", linthresh=1, linscale=0.6)
        column[0].yaxis.set_major_formatter(FuncFormatter(lambda y, _: wording.significant(y)))
        top *= 1.5
    column[0].set_ylim(0, top)


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    head = style.Head(
        finding(experiment), f"Means per operation, by the {BY[experiment.kind]}. Probed pass. The "
        "title is over all operations of the trace."
        + ranking_notes(experiment, placement=False),
        style.allocator_handles(experiment.allocators, without_figures(experiment)),
        experiment.problems(), source_line(experiment, "events.csv"))
    rows = [(scenario, *operation) for scenario in experiment.scenarios
            for operation in OPERATIONS[experiment.kind]]
    grid = style.Grid(max(1, len(rows)), len(EVENTS), 1.9, left=0.75, gap_x=0.42, gap_y=0.5,
                      share_x=True, share_y="col")
    fig, axes = style.sheet(head, grid)
    for row, (scenario, operation, verb) in zip(axes, rows):
        suffix = f", {scenario}" if len(experiment.scenarios) > 1 else ""
        for panel, (event, name) in zip(row, EVENTS):
            _draw(panel, experiment, scenario, operation, event)
            panel.set_title(f"{verb}: {name}{suffix}")
        row[0].set_ylabel("events per operation")
    for column in zip(*axes):
        _scale(list(column))
    for panel in axes[-1]:
        panel.set_xlabel(BY[experiment.kind])
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, tuple(OPERATIONS)))
