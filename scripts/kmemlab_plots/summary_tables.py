"""The report's tables of figures: a row an allocator in a scenario, the best of a column marked."""

from typing import Optional

from kmemlab_plots import figures, ranking, style, wording
from kmemlab_plots.experiment import FRAMES, HEAPS, SPACES, SUBJECTS, Experiment
from kmemlab_plots.figures import Quantity
from kmemlab_plots.html import Content, Html, element, joined, table
from kmemlab_plots.run import Run

_STALLS = "Without stalls: without the slowest one in 10,000, which the host may have interrupted."

GROUPS = {
    FRAMES: (
        ("placement", "Placement", figures.PLACEMENT,
         "Exact, the same on every host. Means are over the trace's time."),
        ("speed", "Speed", figures.SPEED,
         "Measured in the native pass on the host named above; latencies of order-0 operations. "
         + _STALLS),
        ("cost", "Cost", figures.COST,
         "Exact. Metadata as the run ends; machine events counted in the probed pass, means over "
         "all allocations and frees.")),
    HEAPS: (
        ("heap", "Memory", figures.HEAP,
         "Exact, the same on every host. Held: frames that the heap has; live: bytes asked for."),
        ("heap-speed", "Speed", figures.HEAP_SPEED,
         "Measured in the native pass on the host named above, all sizes together. " + _STALLS),
        ("heap-cost", "Cost", [*figures.COST[1:], figures.TLB_MISSES],
         "Exact: machine events counted in the probed pass, means over all allocations and "
         "frees.")),
    SPACES: (
        ("space", "Memory and invalidations", figures.SPACE,
         "Exact, the same on every host. Flushes empty a TLB; visits are loads of CR3 to reach "
         "tables of a space that does not run, and back. Superfluous invalidations found nothing "
         "stale to drop; they are known with machine.stale-check=on alone."),
        ("space-speed", "Speed", figures.SPACE_SPEED,
         "Measured in the native pass on the host named above. " + _STALLS),
        ("space-cost", "Cost", [*figures.COST[1:], figures.TLB_MISSES, figures.CYCLES],
         "Exact: machine events counted in the probed pass, means over all operations on page "
         "tables and spaces, page faults among them. Cycles are of TLBs and walks, by the "
         "machine's weights, users' accesses included.")),
}


def summary(experiment: Experiment) -> Html:
    parts = []
    for key, heading, quantities, note in GROUPS[experiment.kind]:
        parts.append(element("h3", heading, id=f"table-{key}"))
        header: list[Content] = [_subject(experiment),
                                 *[_column(quantity) for quantity in quantities]]
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


def _subject(experiment: Experiment) -> str:
    return SUBJECTS[experiment.kind][0]


MOST_SITES = 12


def call_sites(experiment: Experiment) -> Html:
    """A heap's customers: the hungriest call sites, and what each heap hands out beyond what they
    ask for. Empty without heaps."""
    parts = []
    for scenario in experiment.scenarios:
        runs = {heap: run for heap in experiment.allocators
                for run in experiment.runs(scenario, heap)[:1]
                if run.heap_sites is not None and len(run.heap_sites)}
        if runs:
            parts.append(_site_table(scenario, runs))
    if not parts:
        return Html("")
    return joined([element("h3", "Call sites", id="table-call-sites"), *parts])


def _site_table(scenario: str, runs: dict[str, Run]) -> Html:
    first = next(iter(runs.values())).heap_sites
    assert first is not None
    header: list[Content] = ["call site or cache", "objects", "asked for (KiB)", "live at the end",
                             "most alive (KiB)",
                             *[joined([swatch(heap), element("span", heap)], "")
                               for heap in runs]]
    rows = []
    for row in range(min(MOST_SITES, len(first))):
        key = first.text("site")[row], first.text("cache")[row]
        cells = [wording.count(first["allocs"][row]),
                 wording.significant(first["requested_bytes"][row] / 1024),
                 wording.count(first["live_objects"][row]),
                 wording.significant(first["peak_bytes"][row] / 1024),
                 *[_site_waste(run, key) for run in runs.values()]]
        rows.append(element("tr", element("td", key[1] or key[0]),
                            *[element("td", cell) for cell in cells]))
    return table(f"{scenario}: the call sites that asked for the most bytes. By heap: the share "
                 "of what was handed out to that site that it had not asked for. Lowest seed.",
                 header, rows)


def _site_waste(run: Run, key: tuple[str, str]) -> str:
    sites = run.heap_sites
    assert sites is not None
    for row, found in enumerate(zip(sites.text("site"), sites.text("cache"))):
        if found == key and sites["usable_bytes"][row]:
            return wording.percent(sites["internal_percent"][row])
    return "–"


def integrity(experiment: Experiment) -> Html:
    header: list[Content] = [_subject(experiment), "violations", "passes agree", "skipped",
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
    suffix = "" if experiment.kind == FRAMES else f"-{experiment.kind}"
    return joined([element("h3", "Integrity", id=f"table-integrity{suffix}"),
                   table(note, header, rows)])


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
