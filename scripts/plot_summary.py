"""The allocators side by side: failures, throughput, metadata, cost of an operation.

plot_summary.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path
from typing import Optional

from matplotlib.axes import Axes

from kmemlab_plots import command, figures, ranking, style, wording
from kmemlab_plots.experiment import Experiment
from kmemlab_plots.figures import Quantity
from kmemlab_plots.series import ranking_notes, source_line
from kmemlab_plots.statistics import Spread

HEADING = "Side by side"
SCENARIOS_A_PAGE = 6
CAPTION = (
    "One row a trace, one bar an allocator, the value written beside it; pale bars are of "
    "allocators that are not ranked. Not served are the refused requests and the frames that "
    "they asked for, as shares of all that was asked for. Throughput is of the native pass, net "
    "of the lab, without the slowest one in 10,000 operations, among which are those that the "
    "host interrupted (the table has it with them, too). Cache lines, loads and stores are "
    "counted, not estimated, in the probed pass. Metadata is the allocator's state and the "
    "frames it keeps, spread over the frames it manages. Whiskers reach from the lowest to the "
    "highest seed. From run.json, failures.csv, latency.csv, samples.csv, events.csv.")

COLUMNS = (
    (Quantity("failed", "requests not served\n(%)", "", "low", figures.failed_percent,
              wording.percent), 1.0),
    (Quantity("unserved", "memory not served\n(% of frames)", "", "low",
              figures.unserved_memory_percent, wording.percent), 1.0),
    (Quantity("throughput", "throughput\n(million op./s)", "", "high", figures.steady_throughput,
              lambda value: wording.significant(value / 1e6), measured=True), 1e-6),
    (Quantity("metadata", "metadata\n(bytes per frame)", "", "low",
              lambda run: figures.COST[0].of(run), wording.significant), 1.0),
    (Quantity("lines", "cache lines\n(per operation)", "", "low",
              figures.per_operation("cache_lines"), wording.significant), 1.0),
    (Quantity("accesses", "loads + stores\n(per operation)", "", "low",
              figures.per_operation("loads", "stores"), wording.significant), 1.0),
)


def _refusals(experiment: Experiment) -> str:
    """Who refused how much, most first. The yardstick's refusals are no finding."""
    clauses = []
    for scenario in experiment.scenarios:
        shares = {}
        for allocator in experiment.allocators:
            found = figures.measure(experiment, scenario, allocator, COLUMNS[0][0])
            if found and found.median > 0 and not allocator.startswith(ranking.YARDSTICK):
                shares[allocator] = found.median
        if shares:
            places = wording.ranking(shares, "high", wording.percent)
            listed = wording.listed(places, wording.percent, most=2)
            clauses.append(f"{listed} of the requests of {scenario}")
    if not experiment.all_runs():
        return "No run has finished"
    if not clauses:
        return "Every request was served by every allocator that takes memory back"
    return f"Refused: {'; '.join(clauses)}{_only_runs(experiment)}"


def _only_runs(experiment: Experiment) -> str:
    """Says so where no request for a single frame was among the refused ones."""
    runs = [run for run in experiment.all_runs() if run.result["failures"]
            and run.config.get("frames") != ranking.YARDSTICK]
    if any(run.failures is None or run.refused_by_order.get(0) for run in runs):
        return ""
    return "; none of them for a single frame"


def finding(experiment: Experiment) -> str:
    quantity = Quantity("throughput", "", "", "high", figures.steady_throughput,
                        lambda value: f"{wording.significant(value / 1e6)}{wording.SPACE}million",
                        measured=True)
    text = _refusals(experiment)
    if any(ranking.places(experiment, scenario, quantity) for scenario in experiment.scenarios):
        text += ". " + ranking.headline(experiment, quantity, ("does", "do"), "operations/s",
                                        where=len(experiment.scenarios) > 1)
    return text


def _draw(axes: Axes, experiment: Experiment, scenario: str, column: tuple[Quantity, float],
          widest: float) -> None:
    quantity, scale = column
    refusals = column in COLUMNS[:2]
    for row, allocator in enumerate(experiment.allocators):
        found = figures.measure(experiment, scenario, allocator, quantity)
        if found is None:
            _say_why(axes, experiment, scenario, allocator, row)
            continue
        pale = not refusals and not ranking.ranked(experiment, scenario, allocator,
                                                   quantity.placement)
        _bar(axes, allocator, row, found, scale, pale)
        axes.annotate(quantity.show(found.median), (found.high * scale, row), xytext=(4, 0),
                      textcoords="offset points", va="center", fontsize=8)
    axes.set_xlim(0, widest * 1.48 if widest > 0 else 1)
    if widest == 0:
        axes.set_xticks([0])
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _bar(axes: Axes, allocator: str, row: int, found: Spread, scale: float, pale: bool) -> None:
    variant = " (" in allocator
    axes.barh(row, found.median * scale, color=style.look(allocator).color, height=0.62,
              edgecolor="#00000055", linewidth=0.5, alpha=0.3 if pale else 1,
              hatch="////" if variant else None)
    if found.seeds > 1 and found.high > found.low:
        axes.plot([found.low * scale, found.high * scale], [row, row], color=style.INK,
                  linewidth=1, marker="|", markersize=5)


def _say_why(axes: Axes, experiment: Experiment, scenario: str, allocator: str,
             row: int) -> None:
    if experiment.runs(scenario, allocator):
        text, color = "not measured", style.MUTED
    elif not experiment.cells_of(scenario, allocator):
        text, color = "not asked for", style.MUTED
    else:
        text = experiment.problem(scenario, allocator)
        text, color = ("not run yet", style.MUTED) if text == "not run yet" else (
            "failed", style.ALARM)
    axes.annotate(text, (0, row), xytext=(4, 0), textcoords="offset points", va="center",
                  fontsize=8, color=color)


def _widest(experiment: Experiment, column: tuple[Quantity, float]) -> float:
    found: list[Optional[Spread]] = [
        figures.measure(experiment, scenario, allocator, column[0])
        for scenario in experiment.scenarios for allocator in experiment.allocators]
    return max([one.high * column[1] for one in found if one], default=0.0)


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    allocators = experiment.allocators
    head = style.Head(
        finding(experiment), "Totals of whole runs. Shorter is better, but for throughput."
        + ranking_notes(experiment, placement=False), (), experiment.problems(),
        source_line(experiment, "run.json", "failures.csv", "latency.csv", "samples.csv",
                    "events.csv"))
    left = 0.35 + 0.075 * max((len(name) for name in allocators), default=4)
    grid = style.Grid(max(1, len(experiment.scenarios)), len(COLUMNS),
                      0.26 * max(len(allocators), 2) + 0.15, left=left, gap_x=0.22, gap_y=0.42,
                      bottom=0.65, share_x="col", share_y=True)
    fig, axes = style.sheet(head, grid)
    for row, scenario in zip(axes, experiment.scenarios):
        row[0].set_title(scenario)
        for panel, column in zip(row, COLUMNS):
            _draw(panel, experiment, scenario, column, _widest(experiment, column))
    axes[0][0].set_yticks(range(len(allocators)), labels=allocators)
    axes[0][0].set_ylim(len(allocators) - 0.4, -0.6)
    for panel, (quantity, _) in zip(axes[-1], COLUMNS):
        panel.set_xlabel(quantity.label)
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot))
