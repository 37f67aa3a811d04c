"""In blocks of which order the free memory lies, over time, beside what the kernel said.

plot_free_blocks.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path
from typing import Optional

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from kmemlab_plots import command, figures, ranking, style, wording
from kmemlab_plots.experiment import FRAMES, Experiment
from kmemlab_plots.panels import panel_grid, panels
from kmemlab_plots.run import ORDERS, Run
from kmemlab_plots.series import draw_areas, origin_ns, ranking_notes, seconds, source_line
from kmemlab_plots.statistics import time_mean
from kmemlab_plots.table import Table

HEADING = "Free blocks by order"
SCENARIOS_A_PAGE = 1
FRAMES_A_MIB = 256
CAPTION = (
    "Below, each panel divides the free memory by the order of the naturally aligned free block "
    "that it lies in: dark at the bottom for single frames, bright at the top for 4 MiB blocks. "
    "Much bright is memory that can still be had in large pieces. The strip above says how much "
    "free memory there is to divide. The last panel, where the recording holds snapshots, is "
    "what /proc/buddyinfo of the recorded kernel said (a sum over its zones); the dashed line "
    "there is MemFree of /proc/meminfo, which also counts frames on per-CPU lists. The "
    "allocators' panels are of the lowest seed (samples.csv, recorded.csv).")
STRIP = 0.2  # of a panel's height


def colors() -> list:
    return [matplotlib.colormaps["cividis"](order / ORDERS[-1]) for order in ORDERS]


def _large_percent(table: Table, order: int) -> np.ndarray:
    """The share of free memory in blocks of that order or more."""
    free = sum(table[f"free_blocks_o{k}"] * 2 ** k for k in ORDERS)
    large = sum(table[f"free_blocks_o{k}"] * 2 ** k for k in ORDERS if k >= order)
    return 100 * np.divide(large, free, out=np.zeros_like(free), where=free > 0)


def _mean_large(run: Run) -> Optional[float]:
    return time_mean(run.samples["time_ns"], _large_percent(run.samples, run.huge_order))


def _recorded(experiment: Experiment, scenario: str) -> Optional[Table]:
    """The kernel's own account: the same in every run of the trace."""
    tables = [run.recorded for run in experiment.all_runs(scenario) if run.recorded is not None]
    return tables[0] if tables else None


def _with_buddyinfo(table: Table) -> np.ndarray:
    return ~np.isnan(table["free_frames"])


def _kernel_clause(experiment: Experiment, scenario: str) -> str:
    table = _recorded(experiment, scenario)
    if table is None or not _with_buddyinfo(table).any():
        return ""
    known = _with_buddyinfo(table)
    large = _large_percent(table, experiment.huge_order(scenario))[known]
    mean = time_mean(table["time_ns"][known], large)
    return f"; the recorded kernel had {wording.percent(mean)}" if mean is not None else ""


def finding(experiment: Experiment) -> str:
    quantity = figures.Quantity("large", "", "", "high", _mean_large, wording.percent,
                                placement=True)
    clauses = []
    for scenario in experiment.scenarios:
        size = wording.order_size(experiment.huge_order(scenario))
        clauses.append(ranking.headline(
            experiment.only([scenario]), quantity, ("has", "have"),
            f"of free memory in blocks of {size} or more") + _kernel_clause(experiment, scenario))
    return ". ".join(clauses)


def _divided(panel: Axes, x: np.ndarray, table: Table, rows: np.ndarray) -> Axes:
    """Shares by order in the panel, and the total in a strip that is cut off its upper end."""
    frames = np.array([table[f"free_blocks_o{order}"][rows] * 2 ** order for order in ORDERS])
    total = frames.sum(axis=0)
    shares = 100 * np.divide(frames, total, out=np.zeros_like(frames), where=total > 0)
    draw_areas(panel, x, shares, colors())
    box = panel.get_position()
    panel.set_position([box.x0, box.y0, box.width, box.height * (1 - STRIP - 0.05)])
    strip = panel.figure.add_axes([box.x0, box.y1 - box.height * STRIP, box.width,
                                   box.height * STRIP], sharex=panel)
    strip.fill_between(x, total / FRAMES_A_MIB, step="post", color="#8f949b", linewidth=0,
                       zorder=2)
    strip.tick_params(labelbottom=False, bottom=False)
    strip.set_title(panel.get_title(loc="left"))
    panel.set_title("", loc="left")
    return strip


def _draw_run(panel: Axes, run: Run, origin: float) -> Optional[Axes]:
    samples = run.samples
    if not len(samples):
        style.say(panel, "no samples")
        return None
    x = seconds(samples["time_ns"], origin)
    return _divided(panel, x, samples, np.arange(len(samples)))


def _draw_recorded(panel: Axes, table: Table, origin: float) -> Optional[Axes]:
    known = _with_buddyinfo(table)
    if not known.any():
        style.say(panel, "no snapshot holds buddyinfo")
        return None
    x = seconds(table["time_ns"], origin)
    strip = _divided(panel, x[known], table, known)
    with_total = ~np.isnan(table["mem_free_frames"])
    strip.plot(x[with_total], table["mem_free_frames"][with_total] / FRAMES_A_MIB,
               color=style.VERMILLION, linestyle=style.DASHED, linewidth=1.2, zorder=3,
               drawstyle="steps-post")
    return strip


def _legend() -> list:
    handles: list = [Patch(color=color, label=f"{order} ({wording.order_size(order)})")
                     for order, color in zip(ORDERS, colors())]
    handles[0].set_label("order 0 (4 KiB)")
    handles.append(Line2D([], [], color=style.VERMILLION, linestyle=style.DASHED, linewidth=1.2,
                          label="MemFree"))
    return handles


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    cells = panels(experiment)
    recorded = {scenario: table for scenario in experiment.scenarios
                if (table := _recorded(experiment, scenario)) is not None}
    count = len(cells) + len(recorded)
    head = style.Head(
        finding(experiment),
        "Free memory by the order of its free blocks, over the trace's time. The title gives "
        "means over time." + ranking_notes(experiment),
        _legend(), experiment.problems(),
        source_line(experiment, "samples.csv", "recorded.csv", one_seed=True))
    fig, axes = panel_grid(head, count, 2.2, share_y=True)
    strips: list[Optional[Axes]] = []
    for panel, cell in zip(axes, cells):
        panel.set_title(cell.title)
        if cell.run is None:
            style.say(panel, cell.problem, alarm=True)
        else:
            strips.append(_draw_run(panel, cell.run, origin_ns(experiment, cell.scenario)))
    for panel, (scenario, table) in zip(axes[len(cells):], recorded.items()):
        panel.set_title("recorded kernel: /proc/buddyinfo"
                        + (f", {scenario}" if len(recorded) > 1 else ""))
        strips.append(_draw_recorded(panel, table, origin_ns(experiment, scenario)))
    for panel in axes:
        panel.set_ylim(0, 100)
        panel.margins(x=0.01)
        if panel.get_subplotspec().is_first_col():
            panel.set_ylabel("share of free\nmemory (%)")
    _align([strip for strip in strips if strip is not None])
    style.save(fig, output)


def _align(strips: list[Axes]) -> None:
    """One scale for all strips, written at the left ones."""
    top = max((strip.get_ylim()[1] for strip in strips), default=1.0)
    left = min((strip.get_position().x0 for strip in strips), default=0.0)
    for strip in strips:
        strip.set_ylim(0, top)
        strip.locator_params(axis="y", nbins=2)
        if strip.get_position().x0 - left < 0.01:
            strip.set_ylabel("free\n(MiB)")
        else:
            strip.tick_params(labelleft=False)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (FRAMES,)))
