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
import plot_heap_bounds
import plot_heap_memory
import plot_heap_sites
import plot_heap_summary
import plot_latency
import plot_regions
import plot_space_contiguity
import plot_space_faults
import plot_space_invalidations
import plot_space_memory
import plot_space_operations
import plot_space_processes
import plot_space_summary
import plot_summary
from kmemlab_plots.experiment import FRAMES, HEAPS, SPACES, Experiment

QUESTIONS: dict[str, tuple[ModuleType, ...]] = {
    FRAMES: (plot_summary, plot_fragmentation, plot_frame_map, plot_free_blocks, plot_regions,
             plot_latency, plot_cost, plot_boot),
    # The frame map is the heap's: nobody else has frames.
    HEAPS: (plot_heap_summary, plot_heap_memory, plot_heap_sites, plot_frame_map, plot_latency,
            plot_cost, plot_heap_bounds),
    SPACES: (plot_space_summary, plot_space_operations, plot_space_invalidations,
             plot_space_faults, plot_space_memory, plot_space_processes,
             plot_space_contiguity),
}
PREFIXES = {FRAMES: "", HEAPS: "heap-", SPACES: "space-"}


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
    return [page for part in experiment.parts() for question in QUESTIONS[part.kind]
            if getattr(question, "applies", lambda _: True)(part)
            for page in pages(question, part)]


def pages(question: ModuleType, experiment: Experiment) -> list[Page]:
    stem = question.__name__.removeprefix("plot_").replace("_", "-")
    prefix = PREFIXES[experiment.kind]
    stem = stem if stem.startswith(prefix) else prefix + stem
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
