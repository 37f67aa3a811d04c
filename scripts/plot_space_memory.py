"""What processes and their page tables hold, over time.

plot_space_memory.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path

from matplotlib.axes import Axes

from kmemlab_plots import command, figures, ranking, style, wording
from kmemlab_plots.experiment import SPACES, Experiment
from kmemlab_plots.figures import Quantity
from kmemlab_plots.series import (draw_band, origin_ns, ranking_notes, sampled, source_line,
                                  without_figures)

HEADING = "Memory of processes over time"
SCENARIOS_A_PAGE = 3
CAPTION = (
    "One column a trace on a machine, one line a system. Mapped is what all processes map, a "
    "shared page counted once for each; held are the frames behind it, each counted once: what "
    "lies between the two is shared by copy-on-write or is the zero frame. Page tables are "
    "frames of tables of all spaces, without the kernel's direct map. Lines that coincide are of "
    "systems that do the same: how page tables are reached has no part in what processes hold. "
    "From samples.csv.")

ROWS = (("processes", "processes", 1.0), ("mapped_pages", "mapped\n(MiB)", 1 / 256),
        ("user_frames", "held by users\n(MiB)", 1 / 256),
        ("page_table_frames", "page tables\n(frames)", 1.0))
TABLES = Quantity("tables", "", "", "low", figures.of_result("spaces", "tables", "frames_peak"),
                  wording.count)
USERS = Quantity("users", "", "", "low", figures.of_result("spaces", "user_frames_peak"),
                 wording.size)


def finding(experiment: Experiment) -> str:
    if not any(ranking.places(experiment, scenario, USERS) for scenario in experiment.scenarios):
        return "There is nothing to rank"
    return (ranking.headline(experiment, USERS, ("holds", "hold"), "for users at most") + ". "
            + ranking.headline(experiment, TABLES, ("needs", "need"),
                               "frames of page tables at most"))


def _draw(axes: Axes, experiment: Experiment, scenario: str, column: str, scale: float) -> None:
    origin = origin_ns(experiment, scenario)
    drawn = False
    for index, system in enumerate(experiment.allocators):
        runs = [run for run in experiment.runs(scenario, system) if column in run.samples]
        found = sampled(runs, lambda run: run.samples[column] * scale)
        if found is not None:
            draw_band(axes, system, found, origin, index / len(experiment.allocators))
            drawn = True
    if not drawn:
        style.say(axes, "no samples")
    axes.margins(x=0.01)


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    head = style.Head(
        finding(experiment), "Processes alive, what they map, the frames behind it, and frames of "
        "page tables." + ranking_notes(experiment, placement=False),
        style.allocator_handles(experiment.allocators, without_figures(experiment)),
        experiment.problems(), source_line(experiment, "samples.csv"))
    grid = style.Grid(len(ROWS), max(1, len(experiment.scenarios)), 1.35, left=0.85, gap_x=0.45,
                      gap_y=0.16, share_x="col", share_y="row")
    fig, axes = style.sheet(head, grid)
    for column, scenario in enumerate(experiment.scenarios):
        axes[0][column].set_title(scenario)
        for row, (name, _, scale) in enumerate(ROWS):
            _draw(axes[row][column], experiment, scenario, name, scale)
        axes[-1][column].set_xlabel("time in the trace (s)")
    for row, (_, label, _) in enumerate(ROWS):
        axes[row][0].set_ylabel(label)
        axes[row][0].set_ylim(bottom=0)
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (SPACES,)))
