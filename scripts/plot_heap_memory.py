"""How much memory each heap holds for what is live, over time.

plot_heap_memory.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path
from typing import Callable, Optional

import numpy as np
from matplotlib.axes import Axes

from kmemlab_plots import command, figures, ranking, style, wording
from kmemlab_plots.experiment import HEAPS, Experiment
from kmemlab_plots.run import Run
from kmemlab_plots.series import draw_band, seconds, source_line, without_figures
from kmemlab_plots.statistics import Band, band_over_time

HEADING = "Memory of heaps over time"
SCENARIOS_A_PAGE = 3
FAR = 8  # times what is live
CAPTION = (
    "One column a trace, one line a heap. Upper row: memory that the heap has got from the frame "
    "allocator and not given back; the black line is what is live, in bytes asked for, the same "
    "for all; who holds more than eight times that is beyond the panel and named. Lower row: the share of what lives in objects that was handed out beyond what was "
    "asked for. Held memory comes from the lab's ledger of frames, live bytes from its ledger of "
    "objects (heap.csv). The title gives the most that was held, by the most that was live "
    "(Wilson and Johnstone's fourth measure).")


def _peak_ratio(run: Run) -> Optional[float]:
    value = (run.result.get("heap") or {}).get("peak_held_to_peak_live")
    return None if value is None else float(value)


def _times(value: float) -> str:
    return f"{value:,.2f} times" if value < 100 else f"{value:,.0f} times"


def finding(experiment: Experiment) -> str:
    quantity = figures.Quantity("held", "", "", "low", _peak_ratio, _times)
    if not any(ranking.places(experiment, scenario, quantity)
               for scenario in experiment.scenarios):
        return "No heap was replayed to the end"
    return ranking.headline(experiment, quantity, ("holds", "hold"), "what is live, at most")


def _band(runs: list[Run], of: Callable[[Run], np.ndarray]) -> Optional[Band]:
    return band_over_time([(run.heap["time_ns"], of(run)) for run in runs
                           if run.heap is not None])


def _held_mib(run: Run) -> np.ndarray:
    assert run.heap is not None
    return run.heap["held_frames"] / 256


def _internal(run: Run) -> np.ndarray:
    assert run.heap is not None
    usable = run.heap["usable_bytes"]
    return np.where(usable > 0, 100 * (1 - run.heap["live_bytes"] / np.maximum(usable, 1)), 0)


def _clip(axes: Axes, experiment: Experiment, scenario: str) -> None:
    """Leaves out of sight who holds very much more than is live, and says so."""
    runs = [run for run in experiment.all_runs(scenario) if run.heap is not None]
    live = max((run.heap["live_bytes"].max(initial=0) for run in runs), default=0) / 2**20
    most = {heap: float(found.high.max()) for heap in experiment.allocators
            if (found := _band(experiment.runs(scenario, heap), _held_mib)) is not None}
    seen = [value for value in most.values() if value <= FAR * live]
    if not seen or len(seen) == len(most):
        return
    axes.set_ylim(0, 1.25 * max(seen))
    beyond = [f"{heap} {wording.significant(value)}" for heap, value in most.items()
              if value > FAR * live]
    axes.text(0.98, 0.96, "beyond: " + ", ".join(beyond), transform=axes.transAxes, ha="right",
              va="top", fontsize=7.5, color=style.MUTED, zorder=6,
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})


def _draw(axes: Axes, experiment: Experiment, scenario: str,
          of: Callable[[Run], np.ndarray]) -> None:
    drawn = False
    for index, heap in enumerate(experiment.allocators):
        found = _band(experiment.runs(scenario, heap), of)
        if found is not None:
            draw_band(axes, heap, found, 0.0, index / len(experiment.allocators))
            drawn = True
    if not drawn:
        style.say(axes, "no samples")


def _draw_live(axes: Axes, experiment: Experiment, scenario: str) -> None:
    for run in experiment.all_runs(scenario):
        if run.heap is not None and not run.result["failures"]:
            axes.plot(seconds(run.heap["time_ns"], 0.0), run.heap["live_bytes"] / 2**20,
                      color="black", linewidth=1.2, drawstyle="steps-post", zorder=5)
            return


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    head = style.Head(
        finding(experiment), "Memory held and live, and internal fragmentation, over the trace's "
        "time. Black: live.",
        style.allocator_handles(experiment.allocators, without_figures(experiment)),
        experiment.problems(), source_line(experiment, "heap.csv"))
    grid = style.Grid(2, max(1, len(experiment.scenarios)), 2.2, left=0.85, gap_x=0.45,
                      gap_y=0.2, share_x="col", share_y="none")
    fig, axes = style.sheet(head, grid)
    for column, scenario in enumerate(experiment.scenarios):
        axes[0][column].set_title(scenario)
        _draw(axes[0][column], experiment, scenario, _held_mib)
        _draw_live(axes[0][column], experiment, scenario)
        _draw(axes[1][column], experiment, scenario, _internal)
        for row in range(2):
            axes[row][column].set_ylim(bottom=0)
            axes[row][column].margins(x=0.01)
        _clip(axes[0][column], experiment, scenario)
        axes[1][column].set_xlabel("time in the trace (s)")
    axes[0][0].set_ylabel("held (MiB)")
    axes[1][0].set_ylabel("internal fragmentation\n(% of handed out)")
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (HEAPS,)))
