"""How long page faults take, by what they came to, up to the rarest.

plot_space_faults.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path
from typing import Optional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from kmemlab_plots import command, figures, ranking, style, wording
from kmemlab_plots.experiment import SPACES, Experiment
from kmemlab_plots.run import Run
from kmemlab_plots.series import marker_places, ranking_notes, source_line, without_figures
from kmemlab_plots.statistics import Band, band, histogram

HEADING = "Latency of page faults"
SCENARIOS_A_PAGE = 1
FEWEST = 20
PREFIX = "fault_"
MEANING = {"fresh": "a fresh frame", "zero": "the zero frame", "zero-table": "a table of zeroes",
           "from-zero": "written: off the zero frame", "copy": "written: a copy",
           "reuse": "written: the last user's", "bad": "a bad touch", "spurious": "nothing to do",
           "no-memory": "no memory"}
CAPTION = (
    "Each curve gives the share of the page faults of one kind that took longer than a time: both "
    "axes are logarithmic, so that the rare slow ones are seen; a curve ends where one single "
    "fault is left. Kinds are by what the fault came to. Times are of the kernel's handler in the "
    "native pass on the host named above, net of the timer's own cost; what kernel windows cost "
    "the lab is taken off as far as it is calibrated (lab_ns in timing.json). From latency.csv, "
    "all CPUs together.")


def _kinds(runs: list[Run]) -> tuple[list[str], list[str]]:
    """Kinds of faults with enough of them for a curve, most first; and the others."""
    counts: dict[str, float] = {}
    for run in runs:
        if run.latency is None:
            continue
        for name in sorted(set(run.latency.text("operation"))):
            if name.startswith(PREFIX):
                count = histogram(run.latency, name).count
                counts[name] = max(counts.get(name, 0), count)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return ([name for name in names if counts[name] >= FEWEST],
            [name for name in names if counts[name] < FEWEST])


def finding(experiment: Experiment) -> str:
    kinds, _ = _kinds(experiment.all_runs())
    if not kinds:
        return "No page faults were timed: the native pass was skipped, or there were too few"
    quantity = figures.Quantity("p99", "", "", "low", figures.all_orders(kinds[0], 0.99),
                                wording.nanoseconds, measured=True, floor=figures.timer_cost_ns)
    if not any(ranking.places(experiment, scenario, quantity)
               for scenario in experiment.scenarios):
        return "There is nothing to rank"
    what = kinds[0].removeprefix(PREFIX)
    return ranking.headline(experiment, quantity, ("exceeds", "exceed"),
                            f"in one of 100 page faults for {MEANING.get(what, what)}")


def _curve(runs: list[Run], operation: str) -> Optional[Band]:
    """Time over nines (minus the logarithm of the share that took longer)."""
    found = [one for run in runs if run.latency is not None
             and (one := histogram(run.latency, operation)).count]
    if not found:
        return None
    end = np.log10(min(one.count for one in found))
    nines = np.linspace(0, end, 300) if end > 0 else np.zeros(1)
    return band(nines, [np.maximum(one.curve(nines), 1) for one in found])


def _draw(axes: Axes, experiment: Experiment, scenario: str, operation: str) -> None:
    what = operation.removeprefix(PREFIX)
    axes.set_title(MEANING.get(what, what))
    drawn = False
    for index, system in enumerate(experiment.allocators):
        found = _curve(experiment.runs(scenario, system), operation)
        if found is None:
            continue
        own = style.look(system)
        share = 10.0 ** -found.x
        axes.plot(found.median, share, color=own.color, linestyle=own.line, marker=own.marker,
                  markevery=marker_places(found.x, 0.8, index / len(experiment.allocators)),
                  drawstyle="steps-pre")
        if found.seeds > 1:
            axes.fill_betweenx(share, found.low, found.high, color=own.color, alpha=0.18,
                               linewidth=0, step="pre")
        drawn = True
    if not drawn:
        style.say(axes, "no such fault")
    axes.set_yscale("log")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=8))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: wording.nanoseconds(x)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{100 * y:g}"))


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    kinds, few = _kinds(experiment.all_runs())
    note = (f" Fewer than {FEWEST}, not drawn: "
            f"{wording.joined([name.removeprefix(PREFIX) for name in few])}." if few else "")
    head = style.Head(
        finding(experiment), "Share of page faults that took longer, by what they came to. "
        "Native pass; both axes logarithmic." + note + ranking_notes(experiment, placement=False),
        style.allocator_handles(experiment.allocators, without_figures(experiment)),
        experiment.problems(), source_line(experiment, "latency.csv"))
    cols = min(3, max(1, len(kinds)))
    rows = max(1, -(-len(kinds) // cols)) * max(1, len(experiment.scenarios))
    grid = style.Grid(rows, cols, 2.5, left=0.85, gap_x=0.2, gap_y=0.55, share_x=True,
                      share_y=True)
    fig, axes = style.sheet(head, grid)
    flat = [panel for row in axes for panel in row]
    used = 0
    for scenario in experiment.scenarios:
        used = -(-used // cols) * cols  # a scenario begins a row
        for kind in kinds:
            _draw(flat[used], experiment, scenario, kind)
            if len(experiment.scenarios) > 1:
                flat[used].set_title(f"{flat[used].get_title(loc='left')}, {scenario}")
            used += 1
    if not used or not kinds:
        style.say(flat[0], "no page faults were timed")
    for panel in flat[max(used, 1):]:
        panel.set_visible(False)
    for index, panel in enumerate(flat[:used]):
        if index + cols >= used:
            panel.tick_params(labelbottom=True)
            panel.set_xlabel("latency")
        if index % cols == 0:
            panel.set_ylabel("took longer (% of faults)")
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (SPACES,)))
