"""The command line that all plot scripts share. Exit codes: 0 done, 2 usage, 3 bad input."""

import argparse
import sys
from pathlib import Path
from typing import Callable

from kmemlab_plots.experiment import Experiment, load_experiment
from kmemlab_plots.table import BadInput

EXIT_BAD_INPUT = 3


def guarded(program: str, work: Callable[[], None]) -> int:
    """Runs the work; bad input and files that cannot be read or written become a message."""
    try:
        work()
    except BadInput as error:
        print(f"{program}: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except OSError as error:
        print(f"{program}: {error.filename}: {error.strerror}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return 0


def main(description: str, plot: Callable[[Experiment, Path], None]) -> int:
    """plot_X.py EXPERIMENT_DIR -o FILE.png [--trace NAME]"""
    parser = argparse.ArgumentParser(description=description.strip().splitlines()[0])
    parser.add_argument("experiment", type=Path, metavar="EXPERIMENT_DIR")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.png",
                        help="PNG, or SVG if the name ends so")
    parser.add_argument("--trace", action="append", metavar="NAME",
                        help="only this trace (may be repeated)")
    arguments = parser.parse_args()

    def work() -> None:
        experiment = load_experiment(arguments.experiment)
        if arguments.trace:
            wanted = [cell.scenario for cell in experiment.cells
                      if cell.trace in arguments.trace or cell.scenario in arguments.trace]
            if not wanted:
                parser.error(f"no such trace: {', '.join(arguments.trace)}; there are "
                             f"{', '.join(experiment.scenarios)}")
            experiment = experiment.only(wanted)
        plot(experiment, arguments.output)

    return guarded(parser.prog, work)
