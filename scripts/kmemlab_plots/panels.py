"""One panel a run: the plots in which lines of several allocators would hide each other."""

from dataclasses import dataclass
from typing import Optional

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kmemlab_plots import style
from kmemlab_plots.experiment import Experiment
from kmemlab_plots.run import Run


@dataclass(frozen=True)
class Panel:
    """An allocator in a scenario: its run of the lowest seed, or why there is none."""
    scenario: str
    allocator: str
    title: str
    run: Optional[Run]
    problem: str


def panels(experiment: Experiment) -> list[Panel]:
    found = []
    for scenario in experiment.scenarios:
        for allocator in experiment.allocators:
            if not experiment.cells_of(scenario, allocator):
                continue
            runs = experiment.runs(scenario, allocator)
            title = allocator if len(experiment.scenarios) == 1 else f"{allocator}, {scenario}"
            found.append(Panel(scenario, allocator, title, runs[0] if runs else None,
                               "" if runs else experiment.problem(scenario, allocator)))
    return found


def columns(count: int) -> int:
    return 2 if count == 4 else min(max(count, 1), 3)


def panel_grid(head: style.Head, count: int, row_height: float, share_y: bool = False,
               time_axis: bool = True, cols: Optional[int] = None,
               right: float = 0.2) -> tuple[Figure, list[Axes]]:
    """A sheet with that many panels in reading order; spare places stay blank."""
    cols = cols or columns(count)
    rows = max(1, -(-count // cols))
    grid = style.Grid(rows, cols, row_height, share_x=True, share_y=share_y, gap_y=0.42,
                      gap_x=0.3, right=right)
    fig, axes = style.sheet(head, grid)
    flat = [panel for row in axes for panel in row]
    for spare in flat[max(count, 1):]:
        spare.set_visible(False)
    for index, panel in enumerate(flat[:max(count, 1)]):
        if index + cols >= count:  # the lowest of its column
            panel.tick_params(labelbottom=True)
            if time_axis:
                panel.set_xlabel("time in the trace (s)")
    if count == 0:
        style.say(flat[0], "nothing to show")
    return fig, flat[:count]
