"""The heaps side by side: memory held, waste, throughput, cost of an operation.

plot_heap_summary.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path

from kmemlab_plots import bars, command, figures, ranking, wording
from kmemlab_plots.experiment import HEAPS, Experiment
from kmemlab_plots.figures import Quantity

HEADING = "Side by side"
SCENARIOS_A_PAGE = 6
CAPTION = (
    "One row a trace, one bar a heap, the value written beside it; pale bars are of heaps that "
    "are not ranked. Held by live is the most memory that the heap had from the frame allocator "
    "at a time, by the most that was live in bytes asked for. Not asked for is the internal "
    "fragmentation of everything that was handed out. Throughput is of the native pass, net of "
    "the lab, without the slowest one in 10,000 operations. Cache lines, loads, stores and misses "
    "of the simulated TLB are counted in the probed pass. Columns with very long and very short "
    "bars are logarithmic. Whiskers reach from the lowest to the highest seed. From run.json, "
    "latency.csv, events.csv.")

HELD = Quantity("held", "most held by\nmost live (times)", "", "low",
                figures.of_result("heap", "peak_held_to_peak_live"), wording.significant)
COLUMNS = (
    (Quantity("failed", "requests not served\n(%)", "", "low", figures.failed_percent,
              wording.percent), 1.0, True),
    (HELD, 1.0, False),
    (Quantity("internal", "not asked for\n(% of handed out)", "", "low",
              figures.of_result("heap", "internal_of_all_percent"), wording.percent), 1.0, False),
    (Quantity("throughput", "throughput\n(million op./s)", "", "high", figures.steady_throughput,
              lambda value: wording.significant(value / 1e6), measured=True), 1e-6, False),
    (Quantity("accesses", "loads + stores\n(per operation)", "", "low",
              figures.per_operation("loads", "stores"), wording.significant), 1.0, False),
    (Quantity("lines", "cache lines\n(per operation)", "", "low",
              figures.per_operation("cache_lines"), wording.significant), 1.0, False),
    (Quantity("tlb", "TLB misses\n(per operation)", "", "low",
              figures.per_operation("tlb_misses"), wording.significant), 1.0, False),
)


def finding(experiment: Experiment) -> str:
    quantity = Quantity("throughput", "", "", "high", figures.steady_throughput,
                        lambda value: f"{wording.significant(value / 1e6)}{wording.SPACE}million",
                        measured=True)
    if not any(ranking.places(experiment, scenario, quantity)
               for scenario in experiment.scenarios):
        return "No throughput was measured, or nothing to rank"
    return ranking.headline(experiment, quantity, ("does", "do"), "operations/s")


def plot(experiment: Experiment, output: Path) -> None:
    bars.totals(finding(experiment), experiment, COLUMNS, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (HEAPS,)))
