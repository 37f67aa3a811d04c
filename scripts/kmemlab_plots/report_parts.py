"""The report's sections but for its tables of figures."""

import base64
from pathlib import Path
from typing import Any

from kmemlab_plots import figures, ranking, summary_tables, wording
from kmemlab_plots.experiment import FRAMES, HEAPS, SPACES, SUBJECTS, Experiment
from kmemlab_plots.gallery import QUESTIONS, Page
from kmemlab_plots.html import Content, Html, element, joined, table
from kmemlab_plots.run import Run
from kmemlab_plots.summary_tables import digests_agree, swatch

MOST_VIOLATIONS = 20

CHAPTERS = {
    FRAMES: ("Page frames", (
        "Who hands out the frames of RAM. Each trace's allocations and frees of frames are "
        "replayed against each allocator on a machine booted afresh, twice: in a native build, "
        "where times are measured, and in a probed one, where every load and store of the "
        "allocator is counted and checked. What is said of memory comes from the lab's own "
        "ledger of who owns which frame.")),
    HEAPS: ("Kernel heaps", (
        "Who cuts frames into objects. Each trace's allocations and frees of kernel objects are "
        "replayed against each heap, which has the machine to itself and gets its frames from a "
        "frame allocator. Every object is filled when it is handed out and verified when it is "
        "freed; a ledger of objects judges overlap and alignment. As for frames there is a "
        "native pass for times and a probed one for counts.")),
    SPACES: ("Page tables and address spaces", (
        "How a kernel reaches its page tables, and what it does for processes: regions, page "
        "faults, copy-on-write, exit. Each trace's processes and their touches are replayed "
        "through the simulated MMU of each machine; every system must let the users read the "
        "same contents. Users' touches go through TLBs in both passes; what the kernel itself "
        "loads and stores is counted in the probed pass.")),
}


def heading(experiment: Experiment) -> Html:
    runs = experiment.all_runs()
    seeds = sorted({cell.seed for cell in experiment.cells})
    counts = [f"{len(part.allocators)} "
              f"{SUBJECTS[part.kind][len(part.allocators) != 1]}" for part in experiment.parts()]
    traces = len({cell.trace for cell in experiment.cells})
    lead = ", ".join([*counts, wording.plural(traces, "trace"),
                      wording.plural(len(seeds), "seed")])
    programs = sorted({str(run.host.get("program")) for run in runs if run.host.get("program")})
    lead += f": {wording.plural(len(runs), 'finished run')} of {len(experiment.cells)}"
    if programs:
        lead += f", by {wording.joined(programs)}"
    return element("header", element("h1", experiment.title),
                   element("p", f"Experiment “{experiment.name}”. {lead}.", css="lead"))


def alarms(experiment: Experiment) -> Html:
    """Everything that makes figures doubtful, before any figure."""
    boxes = []
    if problems := experiment.problems():
        boxes.append(_alarm("Cells without figures", [_line(line) for line in problems]))
    broken = [run for run in experiment.all_runs() if run.result["violations"]]
    if broken:
        boxes.append(_alarm("Broken rules: an allocator misbehaved", _violations(broken)))
    differing = [run for run in experiment.all_runs() if digests_agree(run) is False]
    if differing:
        boxes.append(_alarm("The passes placed differently", [
            _line(f"{run.path.name}: the digests of its native and probed pass differ")
            for run in differing]))
    if not boxes:
        boxes.append(element("p", _all_well(experiment), css="fine"))
    if left_out := experiment.left_out():
        boxes.append(element("p", "Combinations that are impossible were left out: "
                             f"{'; '.join(left_out)}.", css="note"))
    return joined(boxes)


def _line(text: str) -> Html:
    return element("li", text)


def _alarm(title: str, lines: list[Html]) -> Html:
    return element("section", element("h2", title), element("ul", joined(lines)), css="alarm")


def _violations(broken: list[Run]) -> list[Html]:
    lines = []
    for run in broken:
        listed = run.result.get("violation_list") or []
        lines.append(element("li", f"{run.path.name}: "
                             + wording.plural(run.result["violations"], "violation")))
        for one in listed[:MOST_VIOLATIONS]:
            lines.append(element("li", f"event {one.get('event')}, {one.get('kind')}, frame "
                                 f"{one.get('frame')}: {one.get('message')} ",
                                 element("code", str(one.get("command") or ""))))
    return lines


def _all_well(experiment: Experiment) -> str:
    runs = experiment.all_runs()
    both = [run for run in runs if digests_agree(run)]
    text = f"No violations in {wording.plural(len(runs), 'run')}, no failed cells"
    if both and len(both) == len(runs):
        text += "; native and probed pass agree on every placement"
    return text + "."


def contents(experiment: Experiment) -> Html:
    """Links to the chapters, where there are several."""
    parts = experiment.parts()
    if len(parts) < 2:
        return Html("")
    links = [element("a", CHAPTERS[part.kind][0], href=f"#{part.kind}") for part in parts]
    return element("p", joined(links, " · "))


def what_was_run(experiment: Experiment) -> Html:
    return joined([element("h2", "What was run", id="run"), _traces(experiment),
                   *[_allocators(part) for part in experiment.parts()], _hosts(experiment)])


def _traces(experiment: Experiment) -> Html:
    parts = experiment.parts()
    header = ["trace", "events", "prologue", "machine", "RAM", "CPUs", "SHA-256"]
    rows = []
    for part in parts:
        if len(parts) > 1:
            rows.append(element("tr", element("th", CHAPTERS[part.kind][0], scope="rowgroup",
                                              colspan=str(len(header))), css="scenario"))
        rows += [_trace_row(part, scenario) for scenario in part.scenarios]
    return table("Traces and the machines they were replayed on. Prologue: allocations made "
                 "before event 0.", header, rows, texts=("SHA-256",))


def _trace_row(experiment: Experiment, scenario: str) -> Html:
    runs = experiment.all_runs(scenario)
    if not runs:
        return element("tr", element("td", scenario),
                       element("td", "no finished run", colspan="6", css="text"))
    config, result = runs[0].config, runs[0].result
    machine = f"{config.get('machine', '?')}, {config.get('arch', '?')}"
    if config.get("paging"):
        machine += f", paging {config['paging']}"
    if config.get("machine_known") is False:
        machine += " (guessed)"
    return element(
        "tr", element("td", scenario), element("td", _number(result.get("events"))),
        element("td", _number(result.get("prologue"))), element("td", machine),
        element("td", _memory(config)), element("td", _number(config.get("cpus"))),
        element("td", element("code", str(config.get("trace_sha256", "?")), css="hash"),
                css="text"))


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _memory(config: dict[str, Any]) -> str:
    ram, usable = config.get("ram_bytes"), config.get("usable_frames")
    text = wording.size(ram / 4096) if isinstance(ram, int) and ram else "as recorded"
    return f"{text}, {wording.size(usable)} usable" if isinstance(usable, int) else text


def _settings(run: Run) -> list[str]:
    parts = [f"{key} {run.config[key]}"
             for key in ("tables", "space", "start", "place", "pass", "until")
             if run.config.get(key) not in (None, "", 0, "none")]
    return parts + [f"{key}={value}" for key, value in (run.config.get("options") or {}).items()]


def _common_settings(runs: list[Run]) -> str:
    """What all runs share; what differs stands in the names of traces and machines."""
    found = [_settings(run) for run in runs]
    common = [part for part in found[0] if all(part in one for one in found)] if found else []
    return ", ".join(common) or "–"


def _allocators(experiment: Experiment) -> Html:
    rows = []
    for allocator in experiment.allocators:
        cells = [cell for cell in experiment.cells if cell.allocator == allocator]
        runs = [cell.run for cell in cells if cell.run]
        seeds = ", ".join(str(seed) for seed in sorted({cell.seed for cell in cells}))
        rows.append(element("tr", element("td", swatch(allocator), allocator),
                            element("td", f"{len(runs)} of {len(cells)}"),
                            element("td", seeds),
                            element("td", _common_settings(runs), css="text")))
    one, several = SUBJECTS[experiment.kind]
    return table(f"{several.capitalize()}, with the colour that stands for each in all plots.",
                 [one, "runs", "seeds", "settings"], rows, texts=("settings",))


def _values(values: set[Any]) -> str:
    """Different ones of several hosts, or the range of measured ones."""
    if all(isinstance(value, (int, float)) for value in values):
        ends = [wording.significant(min(values)), wording.significant(max(values))]
        return ends[0] if ends[0] == ends[1] else " to ".join(ends)
    return wording.joined(sorted(map(str, values)))


def _hosts(experiment: Experiment) -> Html:
    rows = []
    labels = (("program", "program"), ("compiler", "compiler"), ("flags", "flags"),
              ("cpu", "CPU of the host"), ("timer_cost_ns", "cost of the timer (ns)"),
              ("sample_rate", "sample rate of fast operations"),
              ("slow_threshold_ns", "always kept above (ns)"))
    for key, label in labels:
        values = {run.host[key] for run in experiment.all_runs() if key in run.host}
        if values:
            text = _values(values)
            rows.append(element("tr", element("td", label), element("td", text, css="text")))
    return (table("The host. Only latencies and throughput depend on it.", [], rows)
            if rows else Html(""))


def findings(experiment: Experiment, pages: list[Page]) -> Html:
    """A sentence a plot; what limits them after that."""
    lines = []
    for question in QUESTIONS[experiment.kind]:
        sentences = [element("a", page.finding() + ".", href=f"#{_anchor(page)}")
                     for page in pages if page.question is question]
        if sentences:
            lines.append(element("li", element("strong", f"{question.HEADING}. "),
                                 joined(sentences, " ")))
    return joined([element("h3", "Findings", id=_id(experiment, "findings")),
                   element("ul", joined(lines), css="findings"),
                   *[element("p", text, css="note") for text in _limits(experiment)]])


def _id(experiment: Experiment, name: str) -> str:
    return name if experiment.kind == FRAMES else f"{experiment.kind}-{name}"


def _limits(experiment: Experiment) -> list[str]:
    """What a reader must know before believing a ranking."""
    notes = ranking.unranked_notes(experiment, placement=True)
    several = SUBJECTS[experiment.kind][1]
    share = wording.percent(ranking.MOST_FAILED_PERCENT)
    if experiment.kind == FRAMES:
        text = (f"Memory that was never handed out is easily kept in one piece. So {several} that "
                f"left more than {share} of the requests unserved (or, for where frames lie, "
                f"{wording.percent(ranking.MOST_UNSERVED_PERCENT)} of the memory asked for)")
    else:
        text = (f"To refuse is cheap. So {several} that left more than {share} of the requests "
                "unserved")
    texts = [text + ", that broke a rule or that never free are shown, but not ranked"
             + (f": {'; '.join(notes)}." if notes else "; here there are none.")
             + " Among the others, too, compare what was not served."]
    tolerance = wording.percent(100 * figures.MEASURED_TOLERANCE)
    times = (f"Measured times that differ by less than {tolerance}, or lie below the timer's own "
             "cost, count as equal; all other figures are exact for the trace and the seed.")
    times += (" Ranked are the medians over the seeds." if experiment.seeds() > 1 else
              " There is one repetition on one host, so nothing is known about the noise of the "
              "times, nor of the spread of the other figures over seeds.")
    return texts + [times]


def _anchor(page: Page) -> str:
    return "figure-" + page.file.removesuffix(".png").replace(".", "-")


def gallery(experiment: Experiment, pages: list[tuple[Page, bytes]]) -> Html:
    """Every picture with its caption, grouped by question."""
    parts = [element("h3", "Plots", id=_id(experiment, "plots"))]
    for question in QUESTIONS[experiment.kind]:
        own = [(page, png) for page, png in pages if page.question is question]
        if not own:
            continue
        parts.append(element("h4", question.HEADING))
        parts.append(element("p", question.CAPTION, css="note"))
        parts += [_figure(page, png) for page, png in own]
    return joined(parts)


def chapter(experiment: Experiment, pictures: list[tuple[Page, bytes]]) -> Html:
    """All that is said of one kind: what it is about, findings, figures, plots."""
    title, text = CHAPTERS[experiment.kind]
    return joined([
        element("h2", title, id=experiment.kind), element("p", text),
        findings(experiment, [page for page, _ in pictures]),
        element("h3", "Summary", id=_id(experiment, "summary")),
        element("p", "The best of each column is marked, by what is ranked (†: not ranked). "
                "Times within the tolerance share the mark.", css="note"),
        summary_tables.summary(experiment),
        summary_tables.call_sites(experiment),
        summary_tables.integrity(experiment),
        gallery(experiment, pictures)])


def _figure(page: Page, png: bytes) -> Html:
    data = "data:image/png;base64," + base64.b64encode(png).decode()
    caption: list[Content] = [f"plots/{page.file}"]
    return element("figure", element("img", src=data, alt=page.finding()),
                   element("figcaption", *caption), id=_anchor(page))


def reproduce(experiment: Experiment) -> Html:
    commands = [str(run.config["command"]) for run in experiment.all_runs()
                if run.config.get("command")]
    folder = f"results/{experiment.name}"
    drawn = [f"kmemlab plot {folder}", f"kmemlab report {folder} -o {folder}/report.html"]
    return joined([
        element("h2", "To reproduce", id="reproduce"),
        element("p", "Each run again; digests and placement figures must come out the same on "
                "any machine, latencies will not:"),
        element("pre", "\n".join(commands) or "no finished run"),
        element("p", "Plots and report from the files of the runs:"),
        element("pre", "\n".join(drawn))])


def stylesheet() -> Html:
    return Html((Path(__file__).parent / "report.css").read_text(encoding="utf-8"))
