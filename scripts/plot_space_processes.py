"""Which processes hold the memory, over time.

plot_space_processes.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path
from typing import Optional

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from kmemlab_plots import command, ranking, style
from kmemlab_plots.experiment import SPACES, Experiment
from kmemlab_plots.figures import Quantity
from kmemlab_plots.panels import panel_grid, panels
from kmemlab_plots.run import Run
from kmemlab_plots.series import draw_areas, origin_ns, seconds, source_line

HEADING = "Processes over time"
SCENARIOS_A_PAGE = 1
MOST = 10  # bands
REST = "#c9cbcf"
CAPTION = (
    "One panel a system, all of one height. Stacked are the pages that processes map, shared "
    "ones in each that maps them: a band is a process that was among the eight largest at some "
    "time and peaked highest, grey is all others. The line is the memory that they really hold, "
    "each frame once; what lies above it is shared by copy-on-write. From run.json, lowest seed.")


def _series(run: Run) -> Optional[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Times (ns), mapped pages and users' frames; None where they are not there."""
    found = (run.result.get("spaces") or {}).get("over_time") or {}
    columns = [np.array(found.get(key) or [], dtype=float)
               for key in ("time_ns", "mapped_pages", "user_frames")]
    if not len(columns[0]) or len({len(column) for column in columns}) > 1:
        return None
    return columns[0], columns[1], columns[2]


def _pages(run: Run) -> dict[int, np.ndarray]:
    """Resident pages of each process that was among the largest, 0 where it was not."""
    points = (run.result.get("spaces") or {}).get("largest_processes") or []
    found: dict[int, np.ndarray] = {}
    for index, point in enumerate(points):
        for process, pages in zip(point.get("process") or [], point.get("pages") or []):
            found.setdefault(process, np.zeros(len(points)))[index] = pages
    return found


def _applicable(run: Run) -> bool:
    series = _series(run)
    return series is not None and all(len(one) == len(series[0]) for one in _pages(run).values())


def applies(experiment: Experiment) -> bool:
    return any(_applicable(run) for run in experiment.all_runs())


def _sharing(run: Run) -> Optional[float]:
    """How many processes map a frame, in the mean."""
    series = _series(run)
    return float(series[1].sum() / series[2].sum()) if series and series[2].sum() else None


SHARING = Quantity("sharing", "", "", "high", _sharing, lambda value: f"{value:.2f}")


def finding(experiment: Experiment) -> str:
    if not any(ranking.places(experiment, scenario, SHARING)
               for scenario in experiment.scenarios):
        return "No series of processes was recorded"
    return ranking.headline(experiment, SHARING, ("has", "have"),
                            "processes to a frame in the mean")


def _draw(axes: Axes, run: Run, origin: float) -> None:
    series = _series(run)
    if series is None or not _applicable(run):
        style.say(axes, "no series of processes was recorded")
        return
    time_ns, mapped, held = series
    pages = _pages(run)
    largest = sorted(pages, key=lambda one: (-pages[one].max(), one))[:MOST]
    # In the order of their appearance: neighbours in time are neighbours in the stack.
    largest.sort(key=lambda one: int(np.argmax(pages[one] > 0)))
    layers = [pages[one] / 256 for one in largest]
    rest = np.maximum(mapped / 256 - np.sum(layers, axis=0), 0) if layers else mapped / 256
    colors = matplotlib.colormaps["cividis"](np.linspace(0.08, 0.98, max(len(layers), 1)))
    x = seconds(time_ns, origin)
    draw_areas(axes, x, [*layers, rest], [*colors[:len(layers)], REST])
    axes.plot(x, held / 256, color=style.VERMILLION, linewidth=1.5, drawstyle="steps-post",
              zorder=4)
    axes.margins(x=0)
    axes.xaxis.set_major_locator(MaxNLocator(4, prune="upper"))


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    cells = panels(experiment)
    bands = matplotlib.colormaps["cividis"]
    head = style.Head(
        finding(experiment), "Memory that processes map, stacked, and what they hold, over the "
        "trace's time.",
        [Patch(facecolor=bands(0.1), label="the largest processes, one band each"),
         Patch(facecolor=bands(0.9), label="(earliest darkest)"),
         Patch(facecolor=REST, label="all others"),
         Line2D([], [], color=style.VERMILLION, label="held, each frame once")],
        experiment.problems(), source_line(experiment, "run.json", one_seed=True))
    fig, axes = panel_grid(head, len(cells), 1.7, share_y=True)
    for index, (panel, cell) in enumerate(zip(axes, cells)):
        panel.set_title(cell.title)
        if cell.run is None:
            style.say(panel, cell.problem, alarm=True)
        else:
            _draw(panel, cell.run, origin_ns(experiment, cell.scenario))
        place = panel.get_subplotspec()
        if place.is_first_col():
            panel.set_ylabel("mapped (MiB)")
    if axes:
        axes[0].set_ylim(bottom=0)
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (SPACES,)))
