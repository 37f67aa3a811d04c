"""What each operation on page tables and spaces costs, by system.

plot_space_operations.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path
from typing import Callable, Optional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from kmemlab_plots import command, figures, style, wording
from kmemlab_plots.experiment import SPACES, Experiment
from kmemlab_plots.run import Run
from kmemlab_plots.series import source_line, without_figures
from kmemlab_plots.statistics import spread

HEADING = "Cost by operation"
SCENARIOS_A_PAGE = 1
ORDER = ("spawn", "fork", "exit", "mmap", "munmap", "mprotect", "brk", "switch", "fault_fresh",
         "fault_zero", "fault_zero-table", "fault_from-zero", "fault_copy", "fault_reuse",
         "fault_spurious", "fault_bad", "fault_no-memory")
CAPTION = (
    "One row an operation, one mark a system; to the left is cheaper, and every axis is "
    "logarithmic. Operations that only map memory at first touch do their work in the page "
    "faults, which stand by what they came to: a fresh frame, the zero frame or a table of zero "
    "pages, a copy, the last user's page taken over (reuse). Accesses, cache lines and misses of "
    "the simulated TLB are means of the probed pass, the same on every host; times are medians of "
    "the native pass. From events.csv and latency.csv.")

COLUMNS: tuple[tuple[str, Callable[[str], figures.Measure]], ...] = (
    ("loads + stores", lambda name: figures.per_operation("loads", "stores", only=(name,))),
    ("cache lines", lambda name: figures.per_operation("cache_lines", only=(name,))),
    ("TLB misses", lambda name: figures.per_operation("tlb_misses", only=(name,))),
    ("time, median (ns)", lambda name: figures.all_orders(name, 0.5)),
)
HEIGHT = 0.36  # of a row, inches


def _names(runs: list[Run]) -> list[str]:
    """Operations of these runs, known ones first, in their order."""
    found = {name for run in runs for table in (run.events, run.latency) if table is not None
             for name in table.text("operation")}
    known = [name for name in ORDER if name in found]
    return known + sorted(found - set(known) - set(figures.STARTING))


def _label(name: str) -> str:
    return f"page fault: {name.removeprefix('fault_')}" if name.startswith("fault_") else name


def _ratio(experiment: Experiment, scenario: str, name: str) -> Optional[tuple[float, str, str]]:
    """How many times as many accesses the dearest system needs as the cheapest, and who."""
    found = {}
    for system in experiment.allocators:
        one = spread([figures.per_operation("loads", "stores", only=(name,))(run)
                      for run in experiment.runs(scenario, system)])
        if one and one.median > 0:
            found[system] = one.median
    if len(found) < 2:
        return None
    low, high = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
    return found[high] / found[low], low, high


def finding(experiment: Experiment) -> str:
    clauses = []
    for scenario in experiment.scenarios:
        ratios = {name: ratio for name in _names(experiment.all_runs(scenario))
                  if (ratio := _ratio(experiment, scenario, name))}
        if not ratios:
            continue
        name = max(ratios, key=lambda one: ratios[one][0])
        times, low, high = ratios[name]
        clauses.append(
            f"on {scenario}, systems differ most in “{_label(name)}”, where {high} "
            f"needs {wording.significant(times)} times the loads and stores of {low}" if times >= 1.005
            else f"on {scenario}, all systems need the same loads and stores")
    if not clauses:
        return "There is nothing to compare: one system, or no probed pass"
    text = "; ".join(clauses)
    return text[:1].upper() + text[1:]


def _draw(axes: Axes, experiment: Experiment, scenario: str, names: list[str],
          measure: Callable[[str], figures.Measure]) -> None:
    systems = experiment.allocators
    drawn = False
    for index, system in enumerate(systems):
        own = style.look(system)
        shift = 0.0 if len(systems) == 1 else 0.66 * (index / (len(systems) - 1) - 0.5)
        for row, name in enumerate(names):
            found = spread([measure(name)(run) for run in experiment.runs(scenario, system)])
            if found is None or found.median <= 0:
                continue
            axes.plot([found.median], [row + shift], color=own.color, marker=own.marker,
                      markersize=4.2, linestyle="none")
            if found.seeds > 1 and found.high > found.low > 0:
                axes.plot([found.low, found.high], [row + shift] * 2, color=own.color,
                          linewidth=1)
            drawn = True
    if not drawn:
        style.say(axes, "not measured")
        return
    _scale(axes)
    for row in range(1, len(names)):
        axes.axhline(row - 0.5, color=style.FAINT, linewidth=0.6)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _scale(axes: Axes) -> None:
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high / low < 12:  # a decade at least, so that there are ticks
        middle = np.sqrt(low * high)
        low, high = min(low, middle / 3.5), max(high, middle * 3.5)
    axes.set_xlim(low / 1.15, high * 1.15)
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: wording.short(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    names = {scenario: _names(experiment.all_runs(scenario))
             for scenario in experiment.scenarios}
    rows = max([len(found) for found in names.values()] or [1]) or 1
    head = style.Head(
        finding(experiment), "Machine events: means per operation, probed pass. Time: median of "
        "the native pass. Logarithmic axes.",
        _handles(experiment), experiment.problems(),
        source_line(experiment, "events.csv", "latency.csv"))
    height = max(HEIGHT, 0.075 * len(experiment.allocators)) * rows
    grid = style.Grid(max(1, len(experiment.scenarios)), len(COLUMNS), height, left=1.55,
                      gap_x=0.16, gap_y=0.6, share_y="row")
    fig, axes = style.sheet(head, grid)
    for row, scenario in zip(axes, experiment.scenarios):
        for panel, (title, measure) in zip(row, COLUMNS):
            _draw(panel, experiment, scenario, names[scenario], measure)
            panel.set_title(title)
        row[0].set_yticks(range(len(names[scenario])),
                          labels=[_label(name) for name in names[scenario]])
        row[0].set_ylim(len(names[scenario]) - 0.5, -0.5)
        if len(experiment.scenarios) > 1:
            row[0].set_ylabel(scenario)
    for panel, (title, _) in zip(axes[-1], COLUMNS):
        panel.set_xlabel("ns" if "time" in title else "per operation")
    style.save(fig, output)


def _handles(experiment: Experiment) -> list:
    handles = style.allocator_handles(experiment.allocators, without_figures(experiment))
    for handle in handles:
        handle.set_linestyle("none")
    return handles


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (SPACES,)))
