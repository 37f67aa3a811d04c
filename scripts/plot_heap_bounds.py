"""The worst that was seen of each heap: memory held against Robson's bound, and its dearest operation.

plot_heap_bounds.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path
from typing import Optional

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from kmemlab_plots import command, figures, ranking, style, wording
from kmemlab_plots.experiment import HEAPS, Experiment
from kmemlab_plots.run import Run
from kmemlab_plots.series import ranking_notes, source_line
from kmemlab_plots.statistics import Spread, spread

HEADING = "Worst cases and bounds"
SCENARIOS_A_PAGE = 4
OPERATIONS = (("heap_alloc", "allocate"), ("heap_free", "free"))
CAPTION = (
    "Left: the most memory that a heap held, by the most that was live, all requests served or "
    "not. The dashed line is Robson's bound for the sizes of the trace: an adversary that knows "
    "the allocator can force any one that never moves objects to hold about log2(n) / 2 + 1 times "
    "what is live, n being the largest object by the smallest one asked for, and the best can do "
    "with that (Robson 1971, 1974). Who stands to its right holds more than such a best one ever "
    "needs; no trace is the worst for every heap, so standing to its left promises nothing. "
    "Right: loads and stores of an operation, from the mean (hollow) to the dearest single one "
    "(full), of all sizes: a design with a bound, such as TLSF, has a short line whatever the "
    "trace; what goes beyond are frames got from the frame allocator. Exact, the same on every "
    "host. From run.json, events.csv.")

def bound(run: Run) -> Optional[float]:
    """Robson's, by what was live at most."""
    return figures.of_result("heap", "robson_bound_bytes",
                             per=figures.of_result("heap", "peak_live_bytes"))(run) or None


def finding(experiment: Experiment) -> str:
    clauses = []
    for scenario in experiment.scenarios:
        bounds = [found for run in experiment.all_runs(scenario)
                  if (found := bound(run)) is not None]
        held = {heap: found.median for heap in experiment.allocators
                if ranking.ranked(experiment, scenario, heap, placement=False)
                and (found := _held(experiment, scenario, heap))}
        if not bounds or not held:
            continue
        limit = max(bounds)
        beyond = {heap: value for heap, value in held.items() if value > limit}
        inside = {heap: value for heap, value in held.items() if value <= limit}
        worst = max(inside, key=inside.__getitem__, default=None)
        words = [f"{worst} with {wording.significant(inside[worst])} times is the worst that "
                 "stays below it"] if worst else []
        if beyond:
            names = sorted(beyond, key=lambda heap: -beyond[heap])
            several = len(names) > 1
            words.append(f"{wording.named(names)} {'lie' if several else 'lies'} beyond it, with "
                         f"{'up to ' if several else ''}"
                         f"{wording.significant(beyond[names[0]])} times")
        clauses.append(f"on {scenario} Robson's bound is {wording.significant(limit)}: "
                       + ", ".join(words))
    if not clauses:
        return "There is nothing to hold against a bound"
    text = "; ".join(clauses)
    return text[:1].upper() + text[1:]


def _held(experiment: Experiment, scenario: str, heap: str) -> Optional[Spread]:
    measure = figures.of_result("heap", "peak_held_to_peak_live")
    return spread([measure(run) for run in experiment.runs(scenario, heap)])


def _draw_held(axes: Axes, experiment: Experiment, scenario: str) -> None:
    bounds = [found for run in experiment.all_runs(scenario)
              if (found := bound(run)) is not None]
    for row, heap in enumerate(experiment.allocators):
        found = _held(experiment, scenario, heap)
        if found is None:
            _missing(axes, experiment, scenario, heap, row)
            continue
        own = style.look(heap)
        ranked = ranking.ranked(experiment, scenario, heap, placement=False)
        axes.plot([found.median], [row], color=own.color, marker=own.marker, markersize=6,
                  alpha=1 if ranked else 0.35)
        axes.annotate(wording.significant(found.median), (found.median, row), xytext=(6, 0),
                      textcoords="offset points", va="center", fontsize=8, zorder=6,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6})
    if bounds:
        axes.axvline(max(bounds), color=style.INK, linestyle=style.DASHED, linewidth=1)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(0.9, low), max(high, 2 * max(bounds, default=1)) * 2)
    _log_ticks(axes)


def _draw_dearest(axes: Axes, experiment: Experiment, scenario: str, operation: str) -> None:
    mean = figures.per_operation("loads", "stores", "atomics", only=(operation,))
    drawn = False
    for row, heap in enumerate(experiment.allocators):
        runs = experiment.runs(scenario, heap)
        means = spread([mean(run) for run in runs])
        worst = spread([figures.dearest(run, operation) for run in runs])
        if means is None or worst is None or means.median <= 0:
            continue
        own = style.look(heap)
        axes.plot([means.median, worst.high], [row, row], color=own.color, linewidth=1.2)
        axes.plot([means.median], [row], color=own.color, marker=own.marker, markersize=5.5,
                  markerfacecolor="white")
        axes.plot([worst.high], [row], color=own.color, marker=own.marker, markersize=5.5)
        axes.annotate(wording.count(worst.high), (worst.high, row), xytext=(6, 0),
                      textcoords="offset points", va="center", fontsize=8)
        drawn = True
    if not drawn:
        style.say(axes, "not counted: no probed pass")
        return
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 6)
    _log_ticks(axes)


def _missing(axes: Axes, experiment: Experiment, scenario: str, heap: str, row: int) -> None:
    if experiment.runs(scenario, heap) or not experiment.cells_of(scenario, heap):
        return
    axes.annotate("no figures", (0.01, row), xycoords=("axes fraction", "data"), va="center",
                  fontsize=8, color=style.ALARM)


def _log_ticks(axes: Axes) -> None:
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: wording.short(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    heaps = experiment.allocators
    legend = [Line2D([], [], color=style.INK, linestyle=style.DASHED, linewidth=1,
                     label="Robson's bound"),
              Line2D([], [], color=style.MUTED, marker="o", markerfacecolor="white",
                     label="mean of operations"),
              Line2D([], [], color=style.MUTED, marker="o", label="the dearest one")]
    head = style.Head(
        finding(experiment), "Most held by most live, and the dearest operations in loads and "
        "stores. Logarithmic axes." + ranking_notes(experiment, placement=False), legend,
        experiment.problems(), source_line(experiment, "run.json", "events.csv"))
    left = 0.35 + 0.075 * max((len(name) for name in heaps), default=4)
    grid = style.Grid(max(1, len(experiment.scenarios)), 3, 0.26 * max(len(heaps), 2) + 0.15,
                      left=left, gap_x=0.25, gap_y=0.42, bottom=0.55, share_y=True,
                      share_x="col")
    fig, axes = style.sheet(head, grid)
    for row, scenario in zip(axes, experiment.scenarios):
        row[0].set_title(scenario)
        _draw_held(row[0], experiment, scenario)
        for panel, (operation, verb) in zip(row[1:], OPERATIONS):
            panel.set_title(verb)
            _draw_dearest(panel, experiment, scenario, operation)
    axes[0][0].set_yticks(range(len(heaps)), labels=heaps)
    axes[0][0].set_ylim(len(heaps) - 0.4, -0.6)
    axes[-1][0].set_xlabel("most held by most live (times)")
    for panel in axes[-1][1:]:
        panel.set_xlabel("loads and stores of an operation")
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (HEAPS,)))
