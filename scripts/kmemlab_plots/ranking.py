"""Who is best at what, and who does not compete: the sentences of titles and findings."""

from typing import Optional

from kmemlab_plots import wording
from kmemlab_plots.experiment import Experiment
from kmemlab_plots.figures import Quantity, failed_percent, measure, unserved_memory_percent
from kmemlab_plots.wording import Place

# Who leaves more than this share of the requests unserved is shown, but not ranked.
MOST_FAILED_PERCENT = 10.0
# The same by memory, where it is about where frames lie: memory that was never handed out is
# easily kept in one piece.
MOST_UNSERVED_PERCENT = 25.0
# Never takes memory back: the yardstick for the least work possible, not a competitor.
YARDSTICK = "null"


def why_unranked(experiment: Experiment, scenario: str, allocator: str,
                 placement: bool) -> Optional[str]:
    """Why an allocator does not compete, in words; None if it does, or has no runs."""
    runs = experiment.runs(scenario, allocator)
    if not runs:
        return None
    if YARDSTICK in (runs[0].config.get("frames"), runs[0].config.get("heap")):
        return f"{allocator} never takes memory back"
    if any(run.result["violations"] for run in runs):
        return f"{allocator} broke the rules"
    failed = max(failed_percent(run) or 0.0 for run in runs)
    if failed > MOST_FAILED_PERCENT:
        return f"{allocator} left {wording.percent(failed)} of the requests unserved"
    unserved = max(unserved_memory_percent(run) or 0.0 for run in runs)
    if placement and unserved > MOST_UNSERVED_PERCENT:
        return f"{allocator} left {wording.percent(unserved)} of the memory asked for unserved"
    return None


def ranked(experiment: Experiment, scenario: str, allocator: str, placement: bool) -> bool:
    """Whether the allocator did the work: only then do its figures compete."""
    return (bool(experiment.runs(scenario, allocator))
            and why_unranked(experiment, scenario, allocator, placement) is None)


def _floor(experiment: Experiment, scenario: str, quantity: Quantity) -> float:
    if quantity.floor is None:
        return 0.0
    return max((quantity.floor(run) or 0.0 for run in experiment.all_runs(scenario)), default=0.0)


def places(experiment: Experiment, scenario: str, quantity: Quantity) -> list[Place]:
    """The allocators that compete, best first; what cannot be told apart shares a place."""
    values = {}
    floor = _floor(experiment, scenario, quantity)
    for allocator in experiment.allocators:
        found = measure(experiment, scenario, allocator, quantity)
        if found and ranked(experiment, scenario, allocator, quantity.placement):
            values[allocator] = max(found.median, floor)
    return wording.ranking(values, quantity.better, quantity.show, quantity.tolerance)


def unranked_notes(experiment: Experiment, placement: bool) -> list[str]:
    """Who is shown but not ranked, and why; each reason with the scenarios that it holds in."""
    found: dict[str, list[str]] = {}
    for scenario in experiment.scenarios:
        for allocator in experiment.allocators:
            if reason := why_unranked(experiment, scenario, allocator, placement):
                found.setdefault(reason, []).append(scenario)
    return [reason if len(scenarios) == len(experiment.scenarios)
            else f"{reason} on {wording.joined(scenarios)}"
            for reason, scenarios in found.items()]


def headline(experiment: Experiment, quantity: Quantity, verbs: tuple[str, str],
             rest: str, where: bool = True) -> str:
    """On TRACE, A keeps 71 % of free memory usable, B 64 %; on TRACE, ...: one clause a scenario.

    `verbs`: for one allocator, for several; `rest`: what follows the value; `where`: whether a
    single scenario is named.
    """
    several = len(experiment.scenarios) > 1
    most = 3 if not several else 2 if len(experiment.allocators) > 5 else 3
    most = 1 if len(experiment.scenarios) > 2 else most
    bodies: dict[tuple, list[str]] = {}  # what is said, and of which scenarios
    for scenario in experiment.scenarios:
        body = _placed(experiment, scenario, quantity, most)
        bodies.setdefault(body, []).append(scenario)
    clauses, said = [], False
    for (first, one, value, others), scenarios in bodies.items():
        prefix = f"on {wording.joined(scenarios)}, " if where or several else ""
        if not first:
            clauses.append(f"{prefix}there is nothing to rank")
            continue
        words = [first, value]
        if not said:  # the words around the value
            words = [first, verbs[0] if one else verbs[1], value, rest]
            said = True
        clauses.append(prefix + " ".join(words) + (f", {others}" if others else ""))
    text = "; ".join(clauses)
    return text[:1].upper() + text[1:] if text else "No cells"


def _placed(experiment: Experiment, scenario: str, quantity: Quantity,
            most: int) -> tuple[str, bool, str, str]:
    """Who is first, whether that is one alone, with what value, and the others."""
    found = places(experiment, scenario, quantity)
    if not found:
        return "", False, "", ""
    floor = _floor(experiment, scenario, quantity)

    def show(value: float) -> str:
        return quantity.show(value) + (" or less" if floor and value <= floor else "")

    first, others = found[0], found[1:]
    return (wording.named(first.names), len(first.names) == 1, first.shown(show),
            wording.listed(others, show, most))
