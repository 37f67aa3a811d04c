"""How much of the free memory is unusable for a block of a given order, over time.

plot_fragmentation.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path

from matplotlib.axes import Axes

from kmemlab_plots import command, figures, ranking, style, wording
from kmemlab_plots.experiment import FRAMES, Experiment
from kmemlab_plots.series import (draw_band, origin_ns, ranking_notes, sampled, source_line,
                                  without_figures)

HEADING = "Fragmentation over time"
SCENARIOS_A_PAGE = 3
ORDERS = (3, 5, 9, 10)
CAPTION = (
    "One column a trace, one line an allocator. The upper rows show the unusable free space index "
    "of one order each: the share of free memory that lies in blocks too small for a request of "
    "that size (0: all of it is usable, 1: none). The last row shows the free aligned huge pages "
    "as a share of those that the free memory would make if it lay together. Both come from the "
    "lab's own ledger of frames (samples.csv), never from the allocator's counters.")


def _quantity(experiment: Experiment) -> figures.Quantity:
    return figures.Quantity("usable", "", "", "high", figures.usable_huge_percent,
                            wording.percent, placement=True)


def _huge_size(experiment: Experiment) -> str:
    orders = {experiment.huge_order(scenario) for scenario in experiment.scenarios}
    return " or ".join(wording.order_size(order) for order in sorted(orders or {9}))


def finding(experiment: Experiment) -> str:
    return ranking.headline(experiment, _quantity(experiment), ("keeps", "keep"),
                            f"of free memory usable at {_huge_size(experiment)}")


def _draw(axes: Axes, experiment: Experiment, scenario: str, column: str) -> None:
    origin = origin_ns(experiment, scenario)
    count = len(experiment.allocators)
    drawn = False
    for index, allocator in enumerate(experiment.allocators):
        found = sampled(experiment.runs(scenario, allocator), lambda run: run.samples[column])
        if found is not None:
            draw_band(axes, allocator, found, origin, index / count)
            drawn = True
    if not drawn:
        style.say(axes, "no samples")


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    rows = len(ORDERS) + 1
    head = style.Head(
        finding(experiment),
        "Unusable free space index by order, and free huge pages, over the trace's time. "
        "The title gives means over time." + ranking_notes(experiment),
        style.allocator_handles(experiment.allocators, without_figures(experiment)),
        experiment.problems(), source_line(experiment, "samples.csv"))
    grid = style.Grid(rows, max(1, len(experiment.scenarios)), 1.25, left=0.85, gap_x=0.25,
                      gap_y=0.16, share_x="col", share_y="row")
    fig, axes = style.sheet(head, grid)
    for column, scenario in enumerate(experiment.scenarios):
        axes[0][column].set_title(scenario)
        for row, order in enumerate(ORDERS):
            _draw(axes[row][column], experiment, scenario, f"unusable_o{order}")
            axes[row][column].set_ylim(-0.03, 1.03)
        _draw(axes[-1][column], experiment, scenario, "free_huge_percent")
        axes[-1][column].set_ylim(-3, 103)
        axes[-1][column].set_xlabel("time in the trace (s)")
        axes[-1][column].margins(x=0.01)
    for row, order in enumerate(ORDERS):
        axes[row][0].set_ylabel(f"order {order} ({wording.order_size(order)})\nunusable (index)")
    axes[-1][0].set_ylabel("free huge pages\n(% of possible)")
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (FRAMES,)))
