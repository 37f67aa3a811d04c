"""Totals of whole runs side by side: a row a trace, a column a figure, a bar an allocator.

A column whose bars are very different in length is drawn linear up to its shortest one and
logarithmic above.
"""

import math
from pathlib import Path
from typing import Optional, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from kmemlab_plots import figures, ranking, style, wording
from kmemlab_plots.experiment import Experiment
from kmemlab_plots.figures import Quantity
from kmemlab_plots.series import ranking_notes, source_line
from kmemlab_plots.statistics import Spread

# A figure, its scale on the axis, and whether who does not compete is drawn as strongly.
Column = tuple[Quantity, float, bool]

CLEAR_OF_ZERO = 0.2  # of an axis: a label nearer than that touches the one of zero
WIDE = 300  # longest bar by the shortest
LABEL = 0.08  # of the longest bar, a column: room for the value behind it


def draw(head: style.Head, experiment: Experiment, columns: Sequence[Column]):
    """The sheet."""
    allocators = experiment.allocators
    left = 0.35 + 0.075 * max((len(name) for name in allocators), default=4)
    grid = style.Grid(max(1, len(experiment.scenarios)), len(columns),
                      0.26 * max(len(allocators), 2) + 0.15, left=left, gap_x=0.22, gap_y=0.42,
                      bottom=0.65, share_x="col", share_y=True)
    fig, axes = style.sheet(head, grid)
    for row, scenario in zip(axes, experiment.scenarios):
        row[0].set_title(scenario)
        for panel, column in zip(row, columns):
            _draw(panel, experiment, scenario, column)
    for panel, column in zip(axes[0], columns):
        _scale(panel, *_ends(experiment, column), LABEL * len(columns))
    axes[0][0].set_yticks(range(len(allocators)), labels=allocators)
    axes[0][0].set_ylim(len(allocators) - 0.4, -0.6)
    for panel, (quantity, _, _) in zip(axes[-1], columns):
        panel.set_xlabel(quantity.label)
    return fig


def totals(finding: str, experiment: Experiment, columns: Sequence[Column], output: Path) -> None:
    """A page of nothing but bars."""
    style.setup()
    head = style.Head(
        finding, "Totals of whole runs. Shorter is better, but for throughput."
        + ranking_notes(experiment, placement=False), (), experiment.problems(),
        source_line(experiment, "run.json", "latency.csv", "events.csv"))
    style.save(draw(head, experiment, columns), output)


def _draw(axes: Axes, experiment: Experiment, scenario: str, column: Column) -> None:
    quantity, scale, always_strong = column
    for row, allocator in enumerate(experiment.allocators):
        found = figures.measure(experiment, scenario, allocator, quantity)
        if found is None:
            _say_why(axes, experiment, scenario, allocator, row)
            continue
        pale = not always_strong and not ranking.ranked(experiment, scenario, allocator,
                                                        quantity.placement)
        _bar(axes, allocator, row, found, scale, pale)
        axes.annotate(quantity.show(found.median), (found.high * scale, row), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize=8)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _bar(axes: Axes, allocator: str, row: int, found: Spread, scale: float, pale: bool) -> None:
    variant = " (" in allocator
    axes.barh(row, found.median * scale, color=style.look(allocator).color, height=0.62,
              edgecolor="#00000055", linewidth=0.5, alpha=0.3 if pale else 1,
              hatch="////" if variant else None)
    if found.seeds > 1 and found.high > found.low:
        axes.plot([found.low * scale, found.high * scale], [row, row], color=style.INK,
                  linewidth=1, marker="|", markersize=5)


def _say_why(axes: Axes, experiment: Experiment, scenario: str, allocator: str,
             row: int) -> None:
    if experiment.runs(scenario, allocator):
        text, color = "not measured", style.MUTED
    elif not experiment.cells_of(scenario, allocator):
        text, color = "not asked for", style.MUTED
    else:
        text = experiment.problem(scenario, allocator)
        text, color = ("not run yet", style.MUTED) if text == "not run yet" else (
            "failed", style.ALARM)
    axes.annotate(text, (0, row), xytext=(4, 0), textcoords="offset points", va="center",
                  fontsize=8, color=color)


def _ends(experiment: Experiment, column: Column) -> tuple[float, float]:
    """The shortest bar that is one, and the longest."""
    found: list[Optional[Spread]] = [
        figures.measure(experiment, scenario, allocator, column[0])
        for scenario in experiment.scenarios for allocator in experiment.allocators]
    lows = [one.low * column[1] for one in found if one and one.low > 0]
    return min(lows, default=0.0), max([one.high * column[1] for one in found if one],
                                       default=0.0)


def _scale(axes: Axes, shortest: float, longest: float, room: float) -> None:
    """Panels of a column share it."""
    if longest <= 0:
        axes.set_xlim(0, 1)
        axes.set_xticks([0])
        return
    if longest <= WIDE * shortest:
        axes.set_xlim(0, longest * (1 + room))
        axes.locator_params(axis="x", nbins=4)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: wording.short(x)))
        return
    decades = math.log10(longest / shortest) + 1
    axes.set_xscale("symlog", linthresh=shortest, linscale=1)
    axes.set_xlim(0, longest * 10 ** (room * decades))
    step = -(-decades // 3)
    powers = [10 ** power for power in range(math.ceil(math.log10(shortest)),
                                             math.floor(math.log10(longest)) + 1, int(step))]
    # The axis begins with a decade's room for what is less than the shortest bar.
    clear = [power for power in powers
             if 1 + math.log10(power / shortest) > CLEAR_OF_ZERO * (1 + decades)]
    axes.set_xticks([0, *clear], labels=["0", *map(wording.short, clear)])
    axes.minorticks_off()
