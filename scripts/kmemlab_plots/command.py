"""The command line that all plot scripts share. Exit codes: 0 done, 2 usage, 3 bad input."""

import argparse
import sys
from pathlib import Path
from typing import Callable, Sequence

from kmemlab_plots.experiment import KINDS, Experiment, load_experiment
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


def main(description: str, plot: Callable[[Experiment, Path], None],
         kinds: Sequence[str] = KINDS) -> int:
    """plot_X.py EXPERIMENT_DIR -o FILE.png [--trace NAME] [--of KIND]

    `kinds`: what the plot is about; of an experiment with several the first one is drawn.
    """
    parser = argparse.ArgumentParser(description=description.strip().splitlines()[0])
    parser.add_argument("experiment", type=Path, metavar="EXPERIMENT_DIR")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.png",
                        help="PNG, or SVG if the name ends so")
    parser.add_argument("--trace", action="append", metavar="NAME",
                        help="only this trace (may be repeated)")
    parser.add_argument("--of", choices=kinds, default=None,
                        help="which cells, where the experiment compares several kinds")
    arguments = parser.parse_args()

    def work() -> None:
        parts = load_experiment(arguments.experiment).parts()
        wanted_kinds = [arguments.of] if arguments.of else kinds
        fitting = [part for part in parts if part.kind in wanted_kinds]
        if not fitting:
            parser.error(f"the experiment compares {', '.join(part.kind for part in parts)}, not "
                         f"{', '.join(wanted_kinds)}")
        experiment = fitting[0]
        if arguments.trace:
            wanted = [cell.scenario for cell in experiment.cells
                      if cell.trace in arguments.trace or cell.scenario in arguments.trace]
            if not wanted:
                parser.error(f"no such trace: {', '.join(arguments.trace)}; there are "
                             f"{', '.join(experiment.scenarios)}")
            experiment = experiment.only(wanted)
        plot(experiment, arguments.output)

    return guarded(parser.prog, work)
