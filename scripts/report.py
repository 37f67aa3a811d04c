"""Writes an experiment's report: one HTML file that needs nothing else.

report.py EXPERIMENT_DIR -o report.html
"""

import argparse
import sys
import tempfile
from pathlib import Path

from kmemlab_plots import report_parts
from kmemlab_plots.command import guarded
from kmemlab_plots.experiment import Experiment, load_experiment
from kmemlab_plots.gallery import Page, plan
from kmemlab_plots.html import Html, element, joined


def newest_input_ns(experiment: Experiment) -> int:
    """When the latest of what a plot depends on was written: the runs' files and these scripts."""
    inputs = [experiment.path / "experiment.json", *experiment.path.glob("*.csv"), *Path(__file__).parent.rglob("*.py")]
    for run in experiment.all_runs():
        inputs += run.path.iterdir()
    return max(path.stat().st_mtime_ns for path in inputs)


def pictures(experiment: Experiment, pages: list[Page]) -> list[tuple[Page, bytes]]:
    """The PNGs: those in plots/ that are newer than their inputs, the others drawn now."""
    newest = newest_input_ns(experiment)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for page in pages:
            path = experiment.path / "plots" / page.file
            if not path.is_file() or path.stat().st_mtime_ns < newest:
                path = Path(folder) / page.file
                page.draw(path)
            found.append((page, path.read_bytes()))
    return found


def document(experiment: Experiment) -> str:
    head = element("head", element("meta", charset="utf-8"),
                   element("meta", name="viewport", content="width=device-width"),
                   element("title", f"{experiment.title} – kmemlab"),
                   element("style", report_parts.stylesheet()))
    body = element("body", joined([
        report_parts.heading(experiment),
        report_parts.alarms(experiment),
        report_parts.contents(experiment),
        report_parts.what_was_run(experiment),
        *[report_parts.chapter(part, pictures(experiment, plan(part)))
          for part in experiment.parts()],
        report_parts.reproduce(experiment),
        element("footer", "Written by kmemlab from the files of the runs; what each file and "
                "column means stands in results/README.md.")]))
    return Html("<!doctype html>\n") + element("html", head, body, lang="en") + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("experiment", type=Path, metavar="EXPERIMENT_DIR")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="report.html")
    arguments = parser.parse_args()

    def work() -> None:
        experiment = load_experiment(arguments.experiment)
        experiment.load_all()
        text = document(experiment)
        # Beside it first: a reader never sees half a report.
        draft = arguments.output.with_name(arguments.output.name + ".new")
        draft.write_text(text, encoding="utf-8")
        draft.replace(arguments.output)

    return guarded(parser.prog, work)


if __name__ == "__main__":
    sys.exit(main())
