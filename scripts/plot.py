"""Draws all plots of an experiment into EXPERIMENT_DIR/plots/ and prints their names.

plot.py EXPERIMENT_DIR
"""

import argparse
import sys
from pathlib import Path

from kmemlab_plots.command import guarded
from kmemlab_plots.experiment import load_experiment
from kmemlab_plots.gallery import plan


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("experiment", type=Path, metavar="EXPERIMENT_DIR")
    arguments = parser.parse_args()

    def work() -> None:
        experiment = load_experiment(arguments.experiment)
        experiment.load_all()
        folder = arguments.experiment / "plots"
        folder.mkdir(exist_ok=True)
        for page in plan(experiment):
            page.draw(folder / page.file)
            print(folder / page.file, flush=True)

    return guarded(parser.prog, work)


if __name__ == "__main__":
    sys.exit(main())
