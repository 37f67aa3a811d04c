"""An experiment's folder: its cells, grouped the way that the plots compare them.

A cell's *kind* is what it compares: page-frame allocators, kernel heaps, or page tables and address
spaces. A *scenario* is what they are compared under: a trace on a machine. An *allocator* here is a
label: the name, with the options appended where one name was run with several.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Optional

from kmemlab_plots import wording
from kmemlab_plots.run import Run
from kmemlab_plots.table import BadInput, need, read_json

# Settings that make a second column of the same allocator when they differ in one scenario.
VARIANT_KEYS = ("tables", "start", "place", "cpus", "direct_leaf_bytes", "until")

FRAMES, HEAPS, SPACES = "frames", "heaps", "spaces"
KINDS = (FRAMES, HEAPS, SPACES)
# What one of them, and several, are called.
SUBJECTS = {FRAMES: ("allocator", "allocators"), HEAPS: ("heap", "heaps"),
            SPACES: ("system", "systems")}


@dataclass
class Cell:
    """One trace x allocator x machine x seed, run or not."""
    name: str
    trace: str
    frames: str
    machine: str
    ram: str
    seed: int
    status: str
    exit: int
    message: str
    heap: str = "none"
    tables: str = "direct"
    space: str = "none"
    scenario: str = ""
    allocator: str = ""
    run: Optional[Run] = None

    @property
    def kind(self) -> str:
        if self.heap != "none":
            return HEAPS
        return FRAMES if self.space == "none" else SPACES

    def problem(self) -> Optional[str]:
        """Why there are no figures of this cell, in words; None where there are."""
        if self.status == "done":
            return None
        if self.status == "pending":
            return "not run yet"
        reason = f": {self.message}" if self.message else ""
        return f"failed (exit {self.exit}){reason}"


class Experiment:
    """The cells of an experiment, or of one part of it (`parts`, `only`). Those that are
    impossible and were skipped stand apart."""

    def __init__(self, path: Path, name: str, title: str, cells: list[Cell],
                 skipped: Iterable[Cell] = ()):
        self.path = path
        self.name = name
        self.title = title
        self.cells = cells
        self.skipped = list(skipped)
        self.scenarios = _distinct(cell.scenario for cell in cells)
        self.allocators = _distinct(cell.allocator for cell in cells)

    @property
    def kind(self) -> str:
        """Of the first cell: a part has one kind."""
        return self.cells[0].kind if self.cells else FRAMES

    def parts(self) -> list["Experiment"]:
        """By kind, in the order of the report. One part even if there are no cells."""
        found = [Experiment(self.path, self.name, self.title,
                            [cell for cell in self.cells if cell.kind == kind])
                 for kind in KINDS]
        return [part for part in found if part.cells] or [self]

    def only(self, scenarios: Iterable[str]) -> "Experiment":
        wanted = set(scenarios)
        return Experiment(self.path, self.name, self.title,
                          [cell for cell in self.cells if cell.scenario in wanted])

    def cells_of(self, scenario: str, allocator: str) -> list[Cell]:
        return [cell for cell in self.cells
                if cell.scenario == scenario and cell.allocator == allocator]

    def runs(self, scenario: str, allocator: str) -> list[Run]:
        """The finished runs of all seeds, ascending."""
        runs = [cell.run for cell in self.cells_of(scenario, allocator) if cell.run]
        return sorted(runs, key=lambda run: run.seed)

    def all_runs(self, scenario: Optional[str] = None) -> list[Run]:
        return [cell.run for cell in self.cells
                if cell.run and scenario in (None, cell.scenario)]

    def problem(self, scenario: str, allocator: str) -> str:
        """Why an allocator has no finished run in a scenario."""
        cells = self.cells_of(scenario, allocator)
        reasons = [cell.problem() for cell in cells if cell.problem()]
        return reasons[0] if reasons else "not part of this experiment"

    def problems(self) -> list[str]:
        """A sentence for the cells that have no figures; seeds with one reason share it."""
        seeds: dict[tuple[str, str, str], list[int]] = {}
        for cell in self.cells:
            if reason := cell.problem():
                seeds.setdefault((cell.allocator, cell.scenario, reason), []).append(cell.seed)
        return [f"{allocator} on {scenario}, seed{'s' if len(found) > 1 else ''} "
                f"{', '.join(map(str, found))}: {reason}"
                for (allocator, scenario, reason), found in seeds.items()]

    def left_out(self) -> list[str]:
        """A sentence for each reason to skip cells."""
        reasons: dict[str, int] = {}
        for cell in self.skipped:
            reasons[cell.message] = reasons.get(cell.message, 0) + 1
        return [f"{wording.plural(count, 'combination')}: {reason}"
                for reason, count in reasons.items()]

    def huge_order(self, scenario: str) -> int:
        runs = self.all_runs(scenario)
        return runs[0].huge_order if runs else 9

    def seeds(self) -> int:
        """The largest number of seeds that any pair was run with."""
        return max((len(self.runs(scenario, allocator)) for scenario in self.scenarios
                    for allocator in self.allocators), default=0)

    def load_all(self) -> None:
        for run in self.all_runs():
            run.load_all()


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def load_experiment(path: Path) -> Experiment:
    document = path / "experiment.json"
    if not document.is_file():
        raise BadInput(f"{path}: not an experiment: it has no experiment.json")
    content = read_json(document)
    name = need(document, content, "name", str)
    schema = need(document, content, "schema", int)
    if schema != 1:
        raise BadInput(f"{document}:1: schema {schema}, this program reads 1")
    entries = need(document, content, "cells", list)
    cells = [_cell(document, index, entry) for index, entry in enumerate(entries)]
    for cell in cells:
        if cell.status == "done":
            cell.run = Run(path / cell.name, cell.seed)
    possible = [cell for cell in cells if cell.status != "skipped"]
    for kind in KINDS:
        same = [cell for cell in possible if cell.kind == kind]
        _name_scenarios(same)
        _name_allocators(same)
    return Experiment(path, name, content.get("title") or name, possible,
                      [cell for cell in cells if cell.status == "skipped"])


def _cell(document: Path, index: int, entry: Any) -> Cell:
    where = f"cells[{index}]."
    if not isinstance(entry, dict):
        raise BadInput(f"{document}:1: {where[:-1]} is not an object")
    status = need(document, entry, "status", str, where)
    if status not in ("done", "failed", "pending", "skipped"):
        raise BadInput(f"{document}:1: {where}status is {status!r}")
    name = need(document, entry, "run", str, where)
    if Path(name).name != name:
        raise BadInput(f"{document}:1: {where}run is not the name of a folder: {name!r}")
    return Cell(name=name, trace=need(document, entry, "trace", str, where),
                frames=need(document, entry, "frames", str, where),
                machine=entry.get("machine") or "recorded", ram=_ram(entry),
                seed=int(entry.get("seed") or 0), status=status,
                exit=int(entry.get("exit") or 0), message=str(entry.get("message") or ""),
                heap=str(entry.get("heap") or "none"),
                tables=str(entry.get("tables") or "direct"),
                space=str(entry.get("space") or "none"))


def _ram(entry: dict[str, Any]) -> str:
    """The RAM asked for, as text: `ram` as it was written, or `ram_bytes`, 0 being as recorded."""
    if "ram" in entry:
        return str(entry["ram"])
    frames = int(entry.get("ram_bytes") or 0) // 4096
    return wording.size(frames) if frames else "recorded"


def _name_scenarios(cells: list[Cell]) -> None:
    """The trace, and of machine and RAM what distinguishes cells of the same trace."""
    for cell in cells:
        same = [other for other in cells if other.trace == cell.trace]
        parts = [cell.trace]
        machines = list(dict.fromkeys(other.machine for other in same))
        if len(machines) > 1:
            parts.append(_machine(cell.machine, machines))
        if len({other.ram for other in same}) > 1:
            parts.append(f"{cell.ram} RAM")
        cell.scenario = " · ".join(parts)


def _machine(machine: str, machines: list[str]) -> str:
    """pc-512m-i386 (pae): the name, and the settings that not all of them have."""
    common = set.intersection(*(set(_own_settings(one).items()) for one in machines))
    settings = {key: value for key, value in _own_settings(machine).items()
                if (key, value) not in common}
    return _label(machine.split(":")[0], settings)


def _settings(run: Run) -> dict[str, str]:
    settings = {key: str(run.config.get(key)) for key in VARIANT_KEYS}
    settings.update({re.sub(r"^(frames|heap|tables|space|machine)\.", "", key): str(value)
                     for key, value in (run.config.get("options") or {}).items()})
    return settings


def _label(name: str, settings: dict[str, str]) -> str:
    """buddy, bitmap (next-fit), stack (batch=8): words speak for themselves, numbers do not."""
    words = [value if value[:1].isalpha() and value != "default" else f"{key}={value}"
             for key, value in settings.items()]
    return f"{name} ({', '.join(words)})" if words else name


def _subjects(cell: Cell, cells: list[Cell]) -> list[str]:
    """What is compared, its name first: the heap, the page tables, the frame allocator; then what
    else differs between the cells of its kind."""
    if cell.kind == FRAMES:
        return [cell.frames]
    slots = ["heap", "frames"] if cell.kind == HEAPS else ["tables", "space", "frames"]
    varying = [slot for slot in slots if len({getattr(other, slot) for other in cells}) > 1]
    if cell.kind == HEAPS and "heap" not in varying:
        varying.insert(0, "heap")
    return [getattr(cell, slot) for slot in varying or slots[:1]]


def _own_settings(subject: str) -> dict[str, str]:
    """Those that the experiment wrote behind the name: bitmap:policy=next-fit."""
    _, _, settings = subject.partition(":")
    return dict(part.partition("=")[::2] for part in re.split("[:,]", settings) if part)


def _alike(cell: Cell) -> tuple:
    """Cells that share this differ, if at all, in settings that are no axis of their kind."""
    return (cell.scenario, cell.frames, cell.heap, cell.space,
            cell.tables if cell.kind == SPACES else None, cell.seed)


def _name_allocators(cells: list[Cell]) -> None:
    """The subject's name, and the settings that differ between cells alike in all else."""
    for cell in cells:
        alike = [_settings(other.run) for other in cells if other.run
                 and _alike(other) == _alike(cell)]
        keys = sorted({key for settings in alike for key in settings})
        varying = [key for key in keys if len({s.get(key, "default") for s in alike}) > 1]
        own = _settings(cell.run) if cell.run else {}
        shown = {key: own.get(key, "default") for key in varying} if cell.run else {}
        first, *others = _subjects(cell, cells)
        words = {other: other.replace(":", " ") for other in others}
        cell.allocator = _label(first.split(":")[0], {**_own_settings(first), **words, **shown})
