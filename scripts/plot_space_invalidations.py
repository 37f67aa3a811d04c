"""How often translations are thrown away, by means, and how often for nothing.

plot_space_invalidations.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path
from typing import Optional

from kmemlab_plots import bars, command, figures, ranking, style, wording
from kmemlab_plots.experiment import SPACES, Experiment
from kmemlab_plots.figures import Quantity, of_result
from kmemlab_plots.run import Run
from kmemlab_plots.series import ranking_notes, source_line

HEADING = "Invalidations"
SCENARIOS_A_PAGE = 6
CAPTION = (
    "Per thousand operations on page tables and spaces: INVLPGs that the kernel issued; flushes, "
    "loads of CR3 that are there to empty the TLB; visits, loads of CR3 to reach the tables of a "
    "space that does not run, and back, each of which empties the TLB too; slots (temporary "
    "windows, the second recursive slot) pointed at another table; shootdowns of other CPUs. "
    "Switches between processes are no invalidations. Superfluous ones dropped nothing stale; "
    "missing ones let a stale translation be used, which is a violation: both are known where "
    "machine.stale-check=on. Columns with very long and very short bars are logarithmic. From "
    "run.json.")


def _per_thousand(*path: str) -> figures.Measure:
    return of_result(*path, per=figures.thousands)


def _superfluous(run: Run) -> Optional[float]:
    count, whole = figures.superfluous(run), figures.thousands(run)
    return None if count is None or not whole else count / whole


ALL = Quantity("all", "", "", "low", figures.invalidations, wording.significant)
COLUMNS = tuple((Quantity(key, label, "", "low", measure, wording.significant), 1.0, False)
                for key, label, measure in (
    ("invlpg", "INVLPG", _per_thousand("spaces", "tables", "invlpg")),
    ("flushes", "flushes", _per_thousand("spaces", "tables", "flushes")),
    ("visits", "visits\n(loads of CR3)", _per_thousand("spaces", "tables", "visits")),
    ("slots", "slots moved", _per_thousand("spaces", "tables", "slot_moves")),
    ("shootdowns", "shootdowns", _per_thousand("spaces", "tables", "shootdowns")),
    ("superfluous", "superfluous", _superfluous),
    ("missing", "missing", _per_thousand("passes", "probed", "invalidations", "missing")),
))


def finding(experiment: Experiment) -> str:
    if not any(ranking.places(experiment, scenario, ALL) for scenario in experiment.scenarios):
        return "Nothing to rank"
    return ranking.headline(experiment, ALL, ("makes", "make"),
                            "invalidations per 1,000 operations")


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    head = style.Head(
        finding(experiment), "Per thousand operations on page tables and spaces. The title adds "
        "up INVLPGs, flushes and visits." + ranking_notes(experiment, placement=False), (),
        experiment.problems(), source_line(experiment, "run.json"))
    style.save(bars.draw(head, experiment, COLUMNS), output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (SPACES,)))
