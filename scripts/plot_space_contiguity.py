"""How contiguous mapped memory is in RAM, and how much of it a TLB could hold.

plot_space_contiguity.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path
from typing import Optional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from kmemlab_plots import command, figures, ranking, style, wording
from kmemlab_plots.experiment import SPACES, Experiment
from kmemlab_plots.figures import Quantity
from kmemlab_plots.run import Run
from kmemlab_plots.series import ranking_notes, source_line, without_figures
from kmemlab_plots.statistics import Band, band, spread

HEADING = "Contiguity of mapped memory"
SCENARIOS_A_PAGE = 6
RUNS = "share_in_runs_of_2n"
REACH = ("4k", "64k", "2m", "1g")
LABELS = ("4 KiB", "64 KiB", "2 MiB", "1 GiB")
CAPTION = (
    "Metric 11, when about the most was mapped. Left: the share of mapped pages that lie in "
    "physically contiguous runs of at least so many pages. Right: the mapped memory that as many "
    "entries as the machine's second-level TLB has would hold at best, if contiguous, naturally "
    "aligned pieces up to a size took one entry. Who places neighbours side by side gains there; "
    "how page tables are reached changes little. From run.json.")

SHARE = Quantity("share", "", "", "high",
                 lambda run: _at(_curve(run), 4, 100.0), wording.percent)


def _curve(run: Run) -> Optional[np.ndarray]:
    found = ((run.result.get("spaces") or {}).get("contiguity") or {}).get(RUNS)
    return np.array(found, dtype=float) if found else None


def _at(curve: Optional[np.ndarray], index: int, scale: float) -> Optional[float]:
    return None if curve is None or len(curve) <= index else scale * float(curve[index])


def _reach(size: str) -> figures.Measure:
    return figures.of_result("spaces", "contiguity", "tlb_reach", size, "reach_bytes",
                             scale=2.0 ** -20)


def applies(experiment: Experiment) -> bool:
    return any(_curve(run) is not None for run in experiment.all_runs())


def finding(experiment: Experiment) -> str:
    if not any(ranking.places(experiment, scenario, SHARE)
               for scenario in experiment.scenarios):
        return "There is nothing to rank"
    return ranking.headline(experiment, SHARE, ("has", "have"),
                            "of mapped pages in runs of 16 and more")


def _draw_runs(axes: Axes, experiment: Experiment, scenario: str) -> None:
    drawn = False
    for system in experiment.allocators:
        curves = [curve for run in experiment.runs(scenario, system)
                  if (curve := _curve(run)) is not None]
        if not curves:
            continue
        length = min(map(len, curves))
        found: Band = band(2.0 ** np.arange(length), [100 * curve[:length] for curve in curves])
        own = style.look(system)
        axes.plot(found.x, found.median, color=own.color, linestyle=own.line, marker=own.marker)
        if found.seeds > 1:
            axes.fill_between(found.x, found.low, found.high, color=own.color, alpha=0.18,
                              linewidth=0)
        drawn = True
    if not drawn:
        style.say(axes, "nothing was mapped")
    axes.set_xscale("log", base=2)
    axes.set_xticks([4 ** power for power in range(6)])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: wording.count(x)))
    axes.set_ylim(-3, 103)


def _draw_reach(axes: Axes, experiment: Experiment, scenario: str) -> None:
    drawn = False
    most = 0.0
    count = len(experiment.allocators)
    for index, system in enumerate(experiment.allocators):
        shift = 0.0 if count == 1 else 0.6 * (index / (count - 1) - 0.5)
        for place, size in enumerate(REACH):
            found = spread([_reach(size)(run) for run in experiment.runs(scenario, system)])
            if found is None:
                continue
            own = style.look(system)
            axes.plot([place + shift], [found.median], color=own.color, marker=own.marker,
                      linestyle="none")
            drawn, most = True, max(most, found.median)
    if not drawn:
        style.say(axes, "not measured")
    axes.set_xticks(range(len(REACH)), labels=LABELS)
    axes.set_xlim(-0.5, len(REACH) - 0.5)
    axes.set_ylim(0, 1.15 * most or 1)
    axes.grid(axis="x", visible=False)


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    head = style.Head(
        finding(experiment), "When about the most was mapped." + ranking_notes(
            experiment, placement=False),
        style.allocator_handles(experiment.allocators, without_figures(experiment)),
        experiment.problems(), source_line(experiment, "run.json"))
    grid = style.Grid(max(1, len(experiment.scenarios)), 2, 1.7, left=0.85, gap_x=0.75,
                      gap_y=0.5, share_x="col")
    fig, axes = style.sheet(head, grid)
    for row, scenario in zip(axes, experiment.scenarios):
        row[0].set_title(scenario)
        _draw_runs(row[0], experiment, scenario)
        _draw_reach(row[1], experiment, scenario)
        row[0].set_ylabel("mapped pages (%)")
        row[1].set_ylabel("TLB reach (MiB)")
    axes[-1][0].set_xlabel("in contiguous runs of at least (pages)")
    axes[-1][1].set_xlabel("largest piece that an entry may hold")
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (SPACES,)))
