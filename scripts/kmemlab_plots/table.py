"""Reading the files of a run strictly: what is damaged is named with file and line."""

import json
from pathlib import Path
from typing import Any, Iterable

import numpy as np


class BadInput(Exception):
    """A file that is not what results/README.md says; the message starts with its path."""


class Table:
    """A CSV file as columns of floats; an empty field, where it is allowed, is NaN."""

    def __init__(self, path: Path, columns: dict[str, np.ndarray], texts: dict[str, list[str]]):
        self.path = path
        self._columns = columns
        self._texts = texts

    def __len__(self) -> int:
        return len(next(iter(self._columns.values()), ()))

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._columns:
            raise BadInput(f"{self.path}:1: no column {name}")
        return self._columns[name]

    def text(self, name: str) -> list[str]:
        return self._texts[name]

    def require_sorted(self, name: str) -> None:
        """Demands that a column never falls."""
        falls = np.flatnonzero(np.diff(self[name]) < 0)
        if len(falls):
            raise BadInput(f"{self.path}:{falls[0] + 3}: {name} goes backwards")


def _split(path: Path) -> list[str]:
    try:
        content = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[:error.start].count(b"\n") + 1
        raise BadInput(f"{path}:{line}: not UTF-8 text") from None
    if not content:
        raise BadInput(f"{path}:1: empty, not even a header line")
    lines = content.split("\n")
    if lines.pop() != "":
        raise BadInput(f"{path}:{len(lines) + 1}: cut off, the last line has no end")
    return lines


def _numbers(path: Path, name: str, fields: list[str], may_be_empty: bool) -> np.ndarray:
    try:
        values = np.array([field or "nan" for field in fields] if may_be_empty else fields,
                          dtype=float)
        wrong = np.isinf(values) if may_be_empty else ~np.isfinite(values)
    except ValueError:
        values = None
        wrong = np.array([not _is_number(field, may_be_empty) for field in fields])
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise BadInput(f"{path}:{row + 2}: {name}: {fields[row]!r} is not a number")
    return values


def _is_number(field: str, may_be_empty: bool) -> bool:
    try:
        return bool(np.isfinite(float(field)))
    except ValueError:
        return may_be_empty and field == ""


def read_csv(path: Path, required: Iterable[str], texts: Iterable[str] = (),
             optional: Iterable[str] = ()) -> Table:
    """Reads all of a CSV file; `texts` are kept as strings, `optional` ones may be empty."""
    lines = _split(path)
    header = lines[0].split(",")
    missing = [name for name in required if name not in header]
    if missing:
        raise BadInput(f"{path}:1: no column {missing[0]}")
    rows = [line.split(",") for line in lines[1:]]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise BadInput(f"{path}:{number}: {len(row)} fields where the header has "
                           f"{len(header)}")
    by_column = list(zip(*rows)) if rows else [()] * len(header)
    columns, kept = {}, {}
    text_names, optional_names = set(texts), set(optional)
    for name, fields in zip(header, by_column):
        if name in text_names:
            kept[name] = list(fields)
        else:
            columns[name] = _numbers(path, name, list(fields), name in optional_names)
    return Table(path, columns, kept)


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}:{error.lineno}: {error.msg} (column {error.colno})") from None
    except UnicodeDecodeError:
        raise BadInput(f"{path}:1: not UTF-8 text") from None
    if not isinstance(value, dict):
        raise BadInput(f"{path}:1: not a JSON object")
    return value


def need(path: Path, parent: dict[str, Any], key: str, kind: type | tuple[type, ...],
         where: str = "") -> Any:
    """parent[key], which must exist and be of that kind."""
    value = parent.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        state = "is missing" if key not in parent else f"has the wrong type ({value!r})"
        raise BadInput(f"{path}:1: {where}{key} {state}")
    return value
