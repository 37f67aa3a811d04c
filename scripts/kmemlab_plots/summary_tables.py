"""The report's tables of figures: a row an allocator in a scenario, the best of a column marked."""

from typing import Optional

from kmemlab_plots import figures, ranking, style, wording
from kmemlab_plots.experiment import Experiment
from kmemlab_plots.figures import Quantity
from kmemlab_plots.html import Content, Html, element, joined, table
from kmemlab_plots.run import Run

GROUPS = (
    ("placement", "Placement", figures.PLACEMENT,
     "Exact, the same on every host. Means are over the trace's time."),
    ("speed", "Speed", figures.SPEED,
     "Measured in the native pass on the host named above; latencies of order-0 operations. "
     "Without stalls: without the slowest one in 10,000, which the host may have interrupted."),
    ("cost", "Cost", figures.COST,
     "Exact. Metadata as the run ends; machine events counted in the probed pass, means over "
     "all allocations and frees."),
)

HEAP_GROUPS = (
    ("heap", "Memory", figures.HEAP,
     "Exact, the same on every host. Held: frames that the heap has; live: bytes asked for."),
    ("speed", "Speed", figures.HEAP_SPEED,
     "Measured in the native pass on the host named above. Without stalls: without the slowest "
     "one in 10,000, which the host may have interrupted."),
    ("cost", "Cost", [quantity for quantity in figures.COST if quantity.key != "metadata"],
     "Exact: machine events counted in the probed pass, means over all allocations and frees."),
)


def summary(experiment: Experiment) -> Html:
    parts = []
    for key, heading, quantities, note in HEAP_GROUPS if experiment.has_heaps() else GROUPS:
        parts.append(element("h3", heading, id=f"table-{key}"))
        header: list[Content] = ["allocator", *[_column(quantity) for quantity in quantities]]
        rows = []
        for scenario in experiment.scenarios:
            rows.append(_scenario_row(scenario, len(header)))
            best = {quantity.key: _best(experiment, scenario, quantity)
                    for quantity in quantities}
            rows += [_row(experiment, scenario, allocator, quantities, best)
                     for allocator in experiment.allocators
                     if experiment.cells_of(scenario, allocator)]
        parts.append(table(note, header, rows))
    return joined(parts)


def integrity(experiment: Experiment) -> Html:
    header: list[Content] = ["allocator", "violations", "passes agree", "skipped",
                             "deferred frees", "displaced", _digest_header(experiment)]
    rows = []
    for scenario in experiment.scenarios:
        rows.append(_scenario_row(scenario, len(header)))
        for allocator in experiment.allocators:
            runs = experiment.runs(scenario, allocator)
            if runs:
                rows.append(_integrity_row(allocator, runs))
            elif experiment.cells_of(scenario, allocator):
                rows.append(_problem_row(experiment, scenario, allocator, len(header)))
    note = ("Skipped: events on handles whose allocation had failed. Deferred: parts given back "
            "of a block that could only be freed whole. Displaced: not at the recorded frame.")
    return joined([element("h3", "Integrity", id="table-integrity"), table(note, header, rows)])


def digests_agree(run: Run) -> Optional[bool]:
    """None where only one pass was run."""
    passes = run.result.get("passes") or {}
    digests = [one.get("digest") for one in passes.values() if isinstance(one, dict)]
    return None if len(digests) < 2 else len(set(digests)) == 1


def swatch(allocator: str) -> Html:
    return element("span", "", css="swatch", style=f"background:{style.look(allocator).color}")


def _column(quantity: Quantity) -> Html:
    return joined([element("span", quantity.label),
                   element("span", quantity.unit, css="unit")], "")


def _scenario_row(scenario: str, columns: int) -> Html:
    return element("tr", element("th", scenario, colspan=str(columns), scope="rowgroup"),
                   css="scenario")


def _best(experiment: Experiment, scenario: str, quantity: Quantity) -> list[str]:
    """Who is best; nobody where there is no contest or no difference."""
    found = ranking.places(experiment, scenario, quantity)
    return found[0].names if len(found) > 1 else []


def _row(experiment: Experiment, scenario: str, allocator: str, quantities: list[Quantity],
         best: dict[str, list[str]]) -> Html:
    if not experiment.runs(scenario, allocator):
        return _problem_row(experiment, scenario, allocator, len(quantities) + 1)
    cells = [_cell(experiment, scenario, allocator, quantity, best[quantity.key])
             for quantity in quantities]
    ranked = ranking.ranked(experiment, scenario, allocator,
                            any(quantity.placement for quantity in quantities))
    return element("tr", element("td", swatch(allocator), allocator + ("" if ranked else " †")),
                   *cells, css="" if ranked else "unranked")


def _cell(experiment: Experiment, scenario: str, allocator: str, quantity: Quantity,
          best: list[str]) -> Html:
    found = figures.measure(experiment, scenario, allocator, quantity)
    if found is None:
        return element("td", "–", title="not measured")
    content: list[Content] = [quantity.show(found.median)]
    if found.seeds > 1 and quantity.show(found.low) != quantity.show(found.high):
        content.append(element("span", f"{quantity.show(found.low)} to "
                               f"{quantity.show(found.high)}", css="range"))
    if allocator not in best:
        return element("td", *content)
    content.append(element("span", "best" if len(best) == 1 else "shared best", css="tag"))
    return element("td", *content, css="best")


def _problem_row(experiment: Experiment, scenario: str, allocator: str, columns: int) -> Html:
    return element("tr", element("td", swatch(allocator), allocator),
                   element("td", experiment.problem(scenario, allocator), css="bad text",
                           colspan=str(columns - 1)))


def _digest_header(experiment: Experiment) -> str:
    return "digest of each seed" if experiment.seeds() > 1 else "digest"


def _integrity_row(allocator: str, runs: list[Run]) -> Html:
    violations = sum(run.result["violations"] for run in runs)
    agree = [digests_agree(run) for run in runs]
    if False in agree:
        verdict, css = "no", "bad"
    else:
        verdict, css = ("one pass only" if None in agree else "yes"), ""
    totals = [_total(runs, key) for key in ("skipped", "deferred_frees", "displaced")]
    digests = joined([element("code", run.result["digest"]) for run in runs], " ")
    return element("tr", element("td", swatch(allocator), allocator),
                   element("td", f"{violations:,}", css="bad" if violations else ""),
                   element("td", verdict, css=css),
                   *[element("td", total) for total in totals], element("td", digests))


def _total(runs: list[Run], key: str) -> str:
    values = [run.result.get(key) for run in runs]
    return "–" if None in values else wording.count(sum(values))
