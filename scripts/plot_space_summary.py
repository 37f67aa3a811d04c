"""Page tables and address spaces side by side: frames, throughput, cost of an operation.

plot_space_summary.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path

from kmemlab_plots import bars, command, figures, ranking, wording
from kmemlab_plots.experiment import SPACES, Experiment
from kmemlab_plots.figures import Quantity

HEADING = "Side by side"
SCENARIOS_A_PAGE = 6
CAPTION = (
    "One row a trace on a machine, one bar a system, the value written beside it; pale bars are "
    "of systems that are not ranked. An operation is anything that the kernel does to page tables "
    "and spaces: spawn, fork, exit, mmap, munmap, mprotect, brk, a switch, a page fault. Loads, "
    "stores, cache lines and misses of the simulated TLB are the kernel's, counted in the probed "
    "pass; cycles are of TLBs and walks by the machine's weights, the users' accesses included, "
    "for each touch of a user. Throughput is of the native pass. Columns with very long and very "
    "short bars are logarithmic. Whiskers reach from the lowest to the highest seed. From "
    "run.json, latency.csv, events.csv.")

LINES = Quantity("lines", "cache lines\n(per operation)", "", "low",
                 figures.per_operation("cache_lines"), wording.significant)
COLUMNS = (
    (Quantity("users", "users' frames, most\n(MiB)", "", "low",
              figures.of_result("spaces", "user_frames_peak", scale=1 / 256),
              wording.significant), 1.0, False),
    (Quantity("tables", "page tables, most\n(frames)", "", "low",
              figures.of_result("spaces", "tables", "frames_peak"), wording.count), 1.0, False),
    (Quantity("throughput", "throughput\n(thousand op./s)", "", "high",
              figures.steady_throughput, lambda value: wording.significant(value / 1e3),
              measured=True), 1e-3, False),
    (Quantity("accesses", "loads + stores\n(per operation)", "", "low",
              figures.per_operation("loads", "stores"), wording.significant), 1.0, False),
    (LINES, 1.0, False),
    (Quantity("tlb", "TLB misses\n(per operation)", "", "low",
              figures.per_operation("tlb_misses"), wording.significant), 1.0, False),
    (Quantity("cycles", "translation\n(cycles per touch)", "", "low", figures.cycles_per_touch,
              wording.significant), 1.0, False),
)


def finding(experiment: Experiment) -> str:
    if not any(ranking.places(experiment, scenario, LINES)
               for scenario in experiment.scenarios):
        return "No machine events were counted: the probed pass was skipped, or nothing to rank"
    return ranking.headline(experiment, LINES, ("touches", "touch"), "cache lines per operation")


def plot(experiment: Experiment, output: Path) -> None:
    bars.totals(finding(experiment), experiment, COLUMNS, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (SPACES,)))
