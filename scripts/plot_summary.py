"""The allocators side by side: failures, throughput, metadata, cost of an operation.

plot_summary.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path

from kmemlab_plots import bars, command, figures, ranking, style, wording
from kmemlab_plots.experiment import FRAMES, Experiment
from kmemlab_plots.figures import Quantity
from kmemlab_plots.series import ranking_notes, source_line

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
              wording.percent), 1.0, True),
    (Quantity("unserved", "memory not served\n(% of frames)", "", "low",
              figures.unserved_memory_percent, wording.percent), 1.0, True),
    (Quantity("throughput", "throughput\n(million op./s)", "", "high", figures.steady_throughput,
              lambda value: wording.significant(value / 1e6), measured=True), 1e-6, False),
    (Quantity("metadata", "metadata\n(bytes per frame)", "", "low",
              lambda run: figures.COST[0].of(run), wording.significant), 1.0, False),
    (Quantity("lines", "cache lines\n(per operation)", "", "low",
              figures.per_operation("cache_lines"), wording.significant), 1.0, False),
    (Quantity("accesses", "loads + stores\n(per operation)", "", "low",
              figures.per_operation("loads", "stores"), wording.significant), 1.0, False),
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


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    head = style.Head(
        finding(experiment), "Totals of whole runs. Shorter is better, but for throughput."
        + ranking_notes(experiment, placement=False), (), experiment.problems(),
        source_line(experiment, "run.json", "failures.csv", "latency.csv", "samples.csv",
                    "events.csv"))
    fig = bars.draw(head, experiment, COLUMNS)
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (FRAMES,)))
