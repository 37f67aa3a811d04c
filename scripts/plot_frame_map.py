"""Which parts of RAM are in use, over time: x = time, y = frame number.

plot_frame_map.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path
from typing import Optional

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Patch

from kmemlab_plots import command, figures, ranking, style, wording
from kmemlab_plots.experiment import Experiment
from kmemlab_plots.framelayout import Layout, lay_out
from kmemlab_plots.framemap import FrameMap
from kmemlab_plots.panels import Panel, panel_grid, panels
from kmemlab_plots.run import Run
from kmemlab_plots.series import origin_ns, ranking_notes, seconds, source_line
from kmemlab_plots.statistics import time_mean

HEADING = "Frame map over time"
SCENARIOS_A_PAGE = 1
CAPTION = (
    "Every panel is the whole RAM of the machine: frame numbers upwards, the trace's time to the "
    "right. White is free; colour is the share of frames that live handles own, from bright (a "
    "few) to dark (all). Grey is held by the kernel itself, or by owners that the recording never "
    "shows; a mixed cell fades towards grey. Hatched is no RAM; long holes are drawn short. White "
    "bands that stay white are memory that can be had in large pieces; bright speckles are "
    "single live frames that spoil it. From frames.bin, lowest seed.")

COLORS = "viridis_r"
FREE, RESERVED = "#ffffff", "#9b9ea3"
HATCH = {"facecolor": "#f1f2f3", "edgecolor": "#b9bcc0", "hatch": "////", "linewidth": 0}
ROW_HEIGHT_IN = 2.25


def _whole_percent(run: Run) -> Optional[float]:
    """The share of free memory that lies in wholly free cells, mean over time."""
    found = run.frame_map
    if found is None or not len(found.time_ns):
        return None
    free = np.where(found.hole, 0, np.clip(1 - found.live - found.reserved, 0, 1))
    whole = np.where((found.live == 0) & (found.reserved == 0), free, 0)
    total = free.sum(axis=1)
    shares = np.divide(whole.sum(axis=1), total, out=np.zeros_like(total), where=total > 0)
    return time_mean(found.time_ns, 100 * shares)


def _cell_size(experiment: Experiment) -> str:
    sizes = {run.frame_map.frames_per_cell for run in experiment.all_runs() if run.frame_map}
    return " or ".join(wording.size(frames) for frames in sorted(sizes))


def finding(experiment: Experiment) -> str:
    if not _cell_size(experiment):
        return "No frame maps were recorded"
    quantity = figures.Quantity("whole", "", "", "high", _whole_percent, wording.percent,
                                placement=True)
    return ranking.headline(experiment, quantity, ("keeps", "keep"), "of its free memory in "
                            f"cells of {_cell_size(experiment)} that are wholly free")


def _reduce(found: FrameMap, cells: slice, rows: int) -> tuple[np.ndarray, ...]:
    """live, reserved (0 ... 1) and hole of these cells, at most that many of them."""
    group = max(1, -(-(cells.stop - cells.start) // rows))
    edges = np.arange(0, cells.stop - cells.start, group)
    hole = found.hole[:, cells]
    usable = np.add.reduceat(~hole, edges, axis=1)
    divisor = np.maximum(usable, 1)
    live = np.add.reduceat(np.where(hole, 0, found.live[:, cells]), edges, axis=1)
    reserved = np.add.reduceat(np.where(hole, 0, found.reserved[:, cells]), edges, axis=1)
    return live / divisor, reserved / divisor, usable == 0


def _picture(found: FrameMap, cells: slice, rows: int, grid_ns: np.ndarray) -> np.ndarray:
    """RGBA, one row a cell from the lowest frame up; holes are transparent."""
    live, reserved, hole = _reduce(found, cells, rows)
    # No more than a rounded byte may be missing: shares of what is left beside the reserved part.
    share = np.clip(live / np.maximum(1 - reserved, 1e-3), 0, 1)
    used = matplotlib.colormaps[COLORS](share)[..., :3]
    color = np.where((live > 0)[..., None], used, to_rgb(FREE))
    grey = reserved[..., None]
    color = color * (1 - grey) + np.array(to_rgb(RESERVED)) * grey
    picture = np.concatenate([color, np.where(hole, 0.0, 1.0)[..., None]], axis=2)
    moment = np.searchsorted(found.time_ns, grid_ns, side="right") - 1
    return picture[np.clip(moment, 0, None)].transpose(1, 0, 2)


def _draw(axes: Axes, found: FrameMap, origin: float, width_px: int) -> Layout:
    layout = lay_out(found)
    first, last = found.time_ns[0], found.time_ns[-1]
    last = last if last > first else first + 1e9
    grid = np.linspace(first, last, width_px)
    x = seconds(np.array([first, last]), origin)
    axes.set_facecolor(HATCH["facecolor"])
    axes.axhspan(0, layout.height, zorder=0, **HATCH)
    for part in layout.parts:
        if part.shortened:
            axes.text(0.5, part.bottom + part.height / 2, f"no RAM, {wording.size(part.frames)}",
                      transform=axes.get_yaxis_transform(), ha="center", va="center", fontsize=7,
                      color=style.MUTED, bbox={"facecolor": "white", "edgecolor": "none",
                                               "pad": 1.2})
            continue
        rows = max(1, int(ROW_HEIGHT_IN * style.DPI * part.height / layout.height))
        axes.imshow(_picture(found, part.cells, rows, grid), origin="lower", aspect="auto",
                    interpolation="nearest", zorder=2,
                    extent=(x[0], x[1], part.bottom, part.bottom + part.height))
    axes.set_xlim(x[0], x[1])
    axes.set_ylim(0, layout.height)
    return layout


def _frame_axes(panel: Axes, layout: Layout) -> None:
    """Frame numbers at the sheet's left edge, addresses at its right one."""
    panel.grid(False)
    ticks = layout.ticks()
    panel.set_yticks([place for place, _ in ticks])
    panel.set_yticklabels([f"{frame // 1024:,} Ki" if frame else "0" for _, frame in ticks])
    place = panel.get_subplotspec()
    if place.is_first_col():
        panel.set_ylabel("frame number")
    else:
        panel.tick_params(labelleft=False)
    if place.is_last_col():
        address = panel.secondary_yaxis("right")
        address.set_yticks([place for place, _ in ticks])
        address.set_yticklabels([f"{frame // 256:,}" for _, frame in ticks])
        address.set_ylabel("address (MiB)")
        panel.spines["right"].set_visible(False)


def _draw_panel(panel: Axes, cell: Panel, experiment: Experiment, width_px: int) -> None:
    panel.set_title(cell.title)
    found = cell.run.frame_map if cell.run else None
    if found is not None and len(found.time_ns) and found.live.shape[1]:
        _frame_axes(panel, _draw(panel, found, origin_ns(experiment, cell.scenario), width_px))
        return
    why = "no frame map was recorded" if found is None else "the frame map is empty"
    style.say(panel, cell.problem or why, alarm=bool(cell.problem))
    panel.set_yticks([])


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    cells = panels(experiment)
    head = style.Head(
        finding(experiment),
        "Who holds RAM, over the trace's time. The title gives means over time."
        + ranking_notes(experiment),
        [Patch(facecolor=FREE, edgecolor="#8a8d91", linewidth=0.6, label="free"),
         Patch(facecolor=RESERVED, label="kernel's own or untouched"),
         Patch(facecolor=HATCH["facecolor"], edgecolor=HATCH["edgecolor"], hatch=HATCH["hatch"],
               label="no RAM")],
        experiment.problems(), source_line(experiment, "frames.bin", one_seed=True),
        style.Scale("live share of a cell's frames", COLORS,
                    {0.004: "> 0", 0.5: "50 %", 1.0: "100 %"}))
    count = len(cells)
    cols = 1 if count <= 3 else 2 if count <= 6 else 3
    fig, axes = panel_grid(head, count, ROW_HEIGHT_IN, cols=cols, right=0.75)
    for panel, cell in zip(axes, cells):
        width_px = int(panel.get_position().width * style.WIDTH_IN * style.DPI)
        _draw_panel(panel, cell, experiment, width_px)
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot))
