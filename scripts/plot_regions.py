"""How full the 2 MiB regions are over time: few nearly full ones, or many half empty?

plot_regions.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path
from typing import Optional

import matplotlib
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from kmemlab_plots import command, figures, ranking, style, wording
from kmemlab_plots.experiment import FRAMES, Experiment
from kmemlab_plots.panels import panel_grid, panels
from kmemlab_plots.run import LEVELS, Run
from kmemlab_plots.series import draw_areas, origin_ns, ranking_notes, seconds, source_line
from kmemlab_plots.statistics import time_mean

HEADING = "How full the 2 MiB regions are"
SCENARIOS_A_PAGE = 1
CAPTION = (
    "Each panel counts the 2 MiB regions of RAM by how much of them is free: dark at the bottom "
    "are full ones (under 10 % free), bright at the top empty ones (90 % free and more). Much "
    "dark and much bright with little between means that the allocator packs; broad middle bands "
    "mean that every region holds a few live frames and none can be had whole. Metric 6, from "
    "the ledger (samples.csv), lowest seed.")


def _regions(run: Run):
    return sum(run.samples[f"regions_free_l{level}"] for level in LEVELS)


def _half_empty(run: Run) -> Optional[float]:
    """Share of regions that are neither nearly full nor nearly empty, mean over time."""
    if not len(run.samples):
        return None
    middle = _regions(run) - run.samples["regions_free_l0"] - run.samples["regions_free_l9"]
    total = _regions(run)
    total[total == 0] = 1
    return time_mean(run.samples["time_ns"], 100 * middle / total)


def finding(experiment: Experiment) -> str:
    quantity = figures.Quantity("middle", "", "", "low", _half_empty, wording.percent,
                                placement=True)
    return ranking.headline(experiment, quantity, ("leaves", "leave"),
                            "of the 2 MiB regions between 10 % and 90 % free")


def colors() -> list:
    return [matplotlib.colormaps["viridis"](level / LEVELS[-1]) for level in LEVELS]


def _label(level: int) -> str:
    if level == 0:
        return "under 10 % free"
    return "90 % and more" if level == LEVELS[-1] else f"{10 * level} to {10 * level + 10} %"


def _draw(axes: Axes, run: Run, origin: float) -> None:
    if not len(run.samples):
        style.say(axes, "no samples")
        return
    areas = [run.samples[f"regions_free_l{level}"] for level in LEVELS]
    draw_areas(axes, seconds(run.samples["time_ns"], origin), areas, colors())


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    cells = panels(experiment)
    head = style.Head(
        finding(experiment),
        "2 MiB regions by the share of their frames that is free, over the trace's time. The "
        "title gives means over time." + ranking_notes(experiment),
        [Patch(color=color, label=_label(level)) for level, color in zip(LEVELS, colors())],
        experiment.problems(), source_line(experiment, "samples.csv", one_seed=True))
    fig, axes = panel_grid(head, len(cells), 1.75, share_y=True)
    for panel, cell in zip(axes, cells):
        panel.set_title(cell.title)
        if cell.run is None:
            style.say(panel, cell.problem, alarm=True)
        else:
            _draw(panel, cell.run, origin_ns(experiment, cell.scenario))
        panel.set_ylim(bottom=0)
        panel.margins(x=0.01)
        if panel.get_subplotspec().is_first_col():
            panel.set_ylabel("2 MiB regions (count)")
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (FRAMES,)))
