"""All plots of an experiment, in the order of the report, split into pages where crowded."""

import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import plot_boot
import plot_cost
import plot_fragmentation
import plot_frame_map
import plot_free_blocks
import plot_heap_memory
import plot_heap_sites
import plot_latency
import plot_regions
import plot_summary
from kmemlab_plots.experiment import Experiment

QUESTIONS: tuple[ModuleType, ...] = (plot_summary, plot_fragmentation, plot_frame_map,
                                     plot_free_blocks, plot_regions, plot_latency, plot_cost,
                                     plot_boot)

# Where heaps are compared: the frame map is the heap's.
HEAP_QUESTIONS: tuple[ModuleType, ...] = (plot_heap_memory, plot_heap_sites, plot_frame_map)


@dataclass(frozen=True)
class Page:
    """One picture: a plot script applied to some of the scenarios."""
    question: ModuleType
    part: Experiment
    file: str

    def draw(self, output: Path) -> None:
        self.question.plot(self.part, output)

    def finding(self) -> str:
        return self.question.finding(self.part)


def plan(experiment: Experiment) -> list[Page]:
    """A question may need a file that not every experiment has."""
    questions = HEAP_QUESTIONS if experiment.has_heaps() else QUESTIONS
    return [page for question in questions
            if getattr(question, "applies", lambda _: True)(experiment)
            for page in pages(question, experiment)]


def pages(question: ModuleType, experiment: Experiment) -> list[Page]:
    stem = question.__name__.removeprefix("plot_").replace("_", "-")
    most = question.SCENARIOS_A_PAGE
    names = experiment.scenarios
    if len(names) <= most:
        return [Page(question, experiment, f"{stem}.png")]
    found = []
    for first in range(0, len(names), most):
        part = names[first:first + most]
        suffix = _slug(part[0]) if most == 1 else str(first // most + 1)
        found.append(Page(question, experiment.only(part), f"{stem}.{suffix}.png"))
    return found


def _slug(scenario: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", scenario).strip("-")
