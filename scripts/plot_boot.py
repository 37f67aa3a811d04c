"""Does an allocator start as fast in a large machine as in a small one?

plot_boot.py EXPERIMENT_DIR -o FILE.png

Draws boot.csv of the experiment's folder, which `kmemlab boot -o` writes.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from kmemlab_plots import command, style
from kmemlab_plots.experiment import Experiment
from kmemlab_plots.table import BadInput, Table, read_csv

HEADING = "What starting costs, by RAM size"
SCENARIOS_A_PAGE = 1000  # the traces have no part in it
FILE = "boot.csv"
CAPTION = (
    "From the firmware's memory map to the first frame handed out, all else at defaults. The page "
    "tables of the direct map are part of it and are the same for all: the lowest line shows "
    "little else. A line that rises as steeply as the diagonal doubles with the RAM; a flat one "
    "does not care. A line that ends was refused more (a system that writes every free frame "
    "needs as much host memory). Metric 22; times are of one host, the other panels are exact.")

PANELS = (
    ("loads + stores", "accesses", lambda t: t["loads"] + t["stores"] + t["atomics"], 1.0),
    ("frames touched", "distinct 4 KiB frames", lambda t: t["touched_frames"], 1.0),
    ("the allocator's state", "KiB", lambda t: t["state_bytes"], 1 / 1024),
    ("CPU time of this host", "ms", lambda t: t["boot_ns"], 1e-6),
)


def applies(experiment: Experiment) -> bool:
    return (experiment.path / FILE).is_file()


def read(experiment: Experiment) -> Table:
    path = experiment.path / FILE
    if not path.is_file():
        raise BadInput(f"{path}: is not there; kmemlab boot -o {path} writes it")
    return read_csv(path, ["ram_bytes", "managed_frames", "state_bytes", "table_frames", "loads",
                           "stores", "atomics", "touched_frames", "boot_ns", "refused"],
                    texts=["frames"])


def _series(table: Table, name: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.array([one == name for one in table.text("frames")], dtype=bool)
    chosen &= table["refused"] == 0
    return table["ram_bytes"][chosen], values[chosen]


def _names(table: Table) -> list[str]:
    return list(dict.fromkeys(table.text("frames")))


def finding(experiment: Experiment) -> str:
    table = read(experiment)
    ends = {name: _series(table, name, table["touched_frames"]) for name in _names(table)}
    largest = max((ram[-1] for ram, _ in ends.values() if len(ram)), default=0.0)
    there = {name: touched[-1] for name, (ram, touched) in ends.items()
             if len(ram) and ram[-1] == largest}
    short = [name for name in ends if name not in there]
    if not there:
        return "No allocator started"
    least, most = min(there, key=there.get), max(there, key=there.get)
    text = f"At {_size(largest)} {least} touches {there[least]:,.0f} frames to start"
    if there[most] > there[least]:
        text += f", {most} {there[most]:,.0f}"
    return text + (f"; {', '.join(short)} cannot start in that much here" if short else "")


def _size(value: float, _position: int = 0) -> str:
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    power = min(int(np.log2(max(value, 1)) // 10), len(units) - 1)
    return f"{value / 1024 ** power:g} {units[power]}"


def _draw(axes: Axes, table: Table, title: str, unit: str, values: np.ndarray) -> None:
    for name in _names(table):
        ram, column = _series(table, name, values)
        own = style.look(name)
        axes.plot(ram, column, color=own.color, linestyle=own.line, marker=own.marker)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_title(title)
    axes.set_ylabel(unit)
    axes.set_xlabel("RAM")
    axes.set_xticks(np.unique(table["ram_bytes"]))
    axes.xaxis.set_major_formatter(FuncFormatter(_size))


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    table = read(experiment)
    head = style.Head(
        finding(experiment),
        "From the firmware's memory map to the first frame, by RAM size; both axes are "
        "logarithmic.", style.allocator_handles(_names(table)), [],
        f"{experiment.name} · {FILE} · loads, stores and frames: probed build, exact; time: "
        "native build, one start")
    fig, axes = style.sheet(head, style.Grid(2, 2, 2.3, gap_x=0.8, gap_y=0.75))
    panels = [panel for row in axes for panel in row]
    for panel, (title, unit, of, scale) in zip(panels, PANELS):
        _draw(panel, table, title, unit, of(table) * scale)
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot))
