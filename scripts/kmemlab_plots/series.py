"""Drawing over time: what the plots that have time on their x axis share."""

from typing import Callable, Optional, Sequence

import numpy as np
from matplotlib.axes import Axes

from kmemlab_plots.experiment import Experiment
from kmemlab_plots.ranking import unranked_notes
from kmemlab_plots.run import Run
from kmemlab_plots.statistics import Band, band_over_time
from kmemlab_plots.style import look


def origin_ns(experiment: Experiment, scenario: str) -> float:
    """The first sample's time of a scenario: second 0 of its plots."""
    starts = [run.samples["time_ns"][0] for run in experiment.all_runs(scenario)
              if len(run.samples)]
    return float(min(starts, default=0.0))


def seconds(time_ns: np.ndarray, origin: float) -> np.ndarray:
    return (time_ns - origin) / 1e9


def sampled(runs: list[Run], of: Callable[[Run], np.ndarray]) -> Optional[Band]:
    """A column of samples.csv over all seeds."""
    return band_over_time([(run.samples["time_ns"], of(run)) for run in runs])


def marker_places(x: np.ndarray, gap: float, phase: float) -> list[int]:
    """Indices of points about that far apart; `phase` (0 to 1) sets off one line's from others'."""
    if gap <= 0 or len(x) < 2:
        return [0]
    wanted = np.arange(x[0] + phase * gap, x[-1] + gap / 1000, gap)
    return sorted(set(np.searchsorted(x, wanted).clip(0, len(x) - 1).tolist()))


def draw_band(axes: Axes, allocator: str, found: Band, origin: float, phase: float) -> None:
    """A line with its markers set sparsely; `phase` (0 to 1) shifts them off the others'."""
    own = look(allocator)
    x = seconds(found.x, origin)
    axes.plot(x, found.median, color=own.color, linestyle=own.line, marker=own.marker,
              markevery=marker_places(x, (x[-1] - x[0]) / 6, phase), drawstyle="steps-post",
              label=allocator)
    if found.seeds > 1:
        axes.fill_between(x, found.low, found.high, color=own.color, alpha=0.18, linewidth=0,
                          step="post")


def draw_areas(axes: Axes, x: np.ndarray, layers: Sequence[np.ndarray], colors: Sequence) -> None:
    """Stacked areas, the first layer lowest."""
    tops = np.cumsum(layers, axis=0)
    # Each area reaches down to zero behind the next one: no seams between neighbours.
    for index in reversed(range(len(layers))):
        axes.fill_between(x, tops[index], color=colors[index], linewidth=0, zorder=2,
                          step="post")


def without_figures(experiment: Experiment) -> list[str]:
    """Allocators that have no finished run in any of these scenarios."""
    return [allocator for allocator in experiment.allocators
            if not any(experiment.runs(scenario, allocator)
                       for scenario in experiment.scenarios)]


def source_line(experiment: Experiment, *files: str, one_seed: bool = False) -> str:
    """The foot of a sheet: whose numbers these are, and over how many seeds.

    `one_seed`: the panels show the lowest seed only.
    """
    seeds = experiment.seeds()
    if seeds < 2:
        over = "one seed, one repetition"
    elif one_seed:
        over = f"panels: the lowest of {seeds} seeds; title: their median"
    else:
        over = f"median of {seeds} seeds; band or whisker: lowest to highest seed"
    return f"{experiment.name} · {', '.join(files)} · {over}"


def ranking_notes(experiment: Experiment, placement: bool = True) -> str:
    """Who is not ranked, as a sentence for the subtitle; empty if nobody."""
    notes = unranked_notes(experiment, placement)
    return f" Not ranked: {'; '.join(notes)}." if notes else ""
