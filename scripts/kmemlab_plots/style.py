"""How an allocator looks, everywhere, and how a sheet of plots is laid out and written."""

import logging
import os
import textwrap
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Sequence

logging.getLogger("matplotlib").setLevel(logging.ERROR)
os.environ.setdefault("MPLBACKEND", "Agg")

import matplotlib  # noqa: E402
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.cm import ScalarMappable  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.lines import Line2D  # noqa: E402

BLACK, ORANGE, SKY, GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
YELLOW, BLUE, VERMILLION, PURPLE = "#f0e442", "#0072b2", "#d55e00", "#cc79a7"
OKABE_ITO = (BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE)
INK, MUTED, FAINT, ALARM = "#1a1a1a", "#5f6368", "#d9dbde", "#b3261e"

SOLID, DASHED, DASHDOT, DOTTED = "-", (0, (5, 2)), (0, (5, 1.5, 1, 1.5)), (0, (1, 1.3))
LINES = (SOLID, DASHED, DASHDOT, DOTTED)
MARKERS = "os^Dv<>PX*"
# Of names that are not in LOOKS, and of nobody there.
UNKNOWN_LINES = ((0, (2, 2)), (0, (3, 1, 1, 1, 1, 1)), (0, (9, 1.5, 2, 1.5)))


@dataclass(frozen=True)
class Look:
    color: str
    line: object
    marker: str


# The one place where a name gets its colour. Eight colours serve more names: the marker and the
# line style tell apart those that share one.
LOOKS = {
    "null": Look(BLACK, DOTTED, "x"),
    "bitmap": Look(ORANGE, SOLID, "o"),
    "stack": Look(VERMILLION, DASHED, "s"),
    "stack-lazy": Look(VERMILLION, DOTTED, "d"),
    "buddy": Look(BLUE, SOLID, "^"),
    "bitmap-lockless": Look(PURPLE, DASHDOT, "D"),
    "range-list": Look(GREEN, DASHED, "v"),
    "split": Look(SKY, DASHDOT, "P"),
    "memblock": Look(YELLOW, DASHED, "*"),
    "two-ended": Look(GREEN, DOTTED, "<"),
    "zoned-buddy": Look(SKY, SOLID, ">"),
    "placement": Look(PURPLE, DOTTED, "h"),
    "llfree": Look(GREEN, SOLID, "X"),
    # Heaps.
    "size-classes": Look(ORANGE, DASHED, "s"),
    "sole": Look(BLACK, DASHDOT, "h"),
    "boundary-tags": Look(VERMILLION, SOLID, "o"),
    "page-only": Look(YELLOW, SOLID, "*"),
    "slab": Look(BLUE, DASHED, "^"),
    "pools": Look(SKY, DASHED, "P"),
    "collector": Look(PURPLE, SOLID, "D"),
    "tlsf": Look(GREEN, DASHDOT, "X"),
    # Page tables.
    "none": Look(BLACK, SOLID, "x"),
    "direct": Look(BLUE, DASHDOT, "^"),
    "recursive": Look(ORANGE, DOTTED, "o"),
    "foreign": Look(VERMILLION, DASHDOT, "s"),
    "window": Look(GREEN, (0, (8, 2)), "X"),
    "directories": Look(SKY, DOTTED, "P"),
    "pool": Look(PURPLE, DASHED, "D"),
    "preallocated": Look(BLACK, DASHED, "*"),
    # Address spaces.
    "regions": Look(ORANGE, DASHDOT, "v"),
    "zero-frame": Look(SKY, (0, (8, 2)), "o"),
    "zero-table": Look(PURPLE, (0, (8, 2)), "s"),
    "cow": Look(VERMILLION, (0, (8, 2)), "^"),
    "guarded": Look(YELLOW, DASHDOT, "d"),
    "process": Look(BLUE, DOTTED, "*"),
}


def look(allocator: str) -> Look:
    """A label's look: that of its name, with other line and marker for a variant "name (k=v)"."""
    name, _, variant = allocator.partition(" (")
    known = LOOKS.get(name) or _hashed_look(name)
    if not variant:
        return known
    shift = zlib.crc32(variant.encode())
    lines = [line for line in LINES if line != known.line]
    markers = [marker for marker in MARKERS if marker != known.marker]
    return Look(known.color, lines[shift % len(lines)], markers[(shift >> 8) % len(markers)])


def _hashed_look(name: str) -> Look:
    """Of a plugin, say: what no known name has. Yellow is too pale for one that nobody knows."""
    free = [Look(color, line, marker) for color in OKABE_ITO if color != YELLOW
            for line in UNKNOWN_LINES for marker in MARKERS]
    return free[zlib.crc32(name.encode()) % len(free)]


RC = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK,
    "axes.edgecolor": "#8a8d91", "axes.labelcolor": INK, "axes.linewidth": 0.7,
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 9.5,
    "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelsize": 8.5,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#e6e7e9", "grid.linewidth": 0.7,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.labelcolor": INK,
    "ytick.labelcolor": INK, "xtick.labelsize": 8, "ytick.labelsize": 8,
    "xtick.major.width": 0.7, "ytick.major.width": 0.7, "xtick.major.size": 3,
    "ytick.major.size": 3, "lines.linewidth": 1.6, "lines.markersize": 4.5,
    "legend.frameon": False, "legend.fontsize": 8.5, "figure.facecolor": "white",
    "savefig.facecolor": "white", "hatch.linewidth": 0.6, "svg.hashsalt": "kmemlab",
    "svg.fonttype": "path", "path.simplify": True,
}

WIDTH_IN = 10.5
DPI = 150
TITLE_WRAP, NOTE_WRAP = 98, 146


@dataclass(frozen=True)
class Grid:
    """Sizes in inches. `left`, `right`: room for labels outside the outer panels."""
    rows: int
    cols: int
    row_height: float
    heights: Optional[Sequence[float]] = None  # relative to row_height
    left: float = 0.75
    right: float = 0.2
    bottom: float = 0.5
    gap_x: float = 0.35
    gap_y: float = 0.3
    share_x: str | bool = False
    share_y: str | bool = False
    panel_title: float = 0.25


@dataclass(frozen=True)
class Scale:
    """A colour scale in the head: position (0 to 1) -> label."""
    label: str
    colors: str
    ticks: dict[float, str]


@dataclass(frozen=True)
class Head:
    """What stands above the panels and below them."""
    title: str
    subtitle: str
    legend: Sequence[object] = ()
    problems: Sequence[str] = ()
    source: str = ""
    scale: Optional[Scale] = None


def setup() -> None:
    """Start from matplotlib's own defaults: a user's settings must not change the bytes."""
    matplotlib.rcdefaults()
    matplotlib.rcParams.update(RC)


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _head_lines(head: Head) -> list[tuple[str, dict]]:
    lines = [(line, {"fontsize": 11.5, "fontweight": "bold", "step": 0.215})
             for line in _wrap(head.title, TITLE_WRAP)]
    lines += [(line, {"fontsize": 8.8, "color": MUTED, "step": 0.17 if index else 0.215})
              for index, line in enumerate(_wrap(head.subtitle, NOTE_WRAP))]
    shown = list(head.problems[:4])
    if len(head.problems) > 4:
        shown.append(f"and {len(head.problems) - 4} more cells without figures: see the report")
    lines += [(line, {"fontsize": 8.8, "color": ALARM, "step": 0.17})
              for problem in shown for line in _wrap(problem, NOTE_WRAP)]
    return lines


def _legend_width(handles: Sequence[object], cols: int) -> float:
    """Estimated inches; matplotlib fills column by column."""
    rows = -(-len(handles) // cols)
    longest = [max(len(handle.get_label()) for handle in handles[first:first + rows])
               for first in range(0, len(handles), rows)]
    return sum(0.072 * letters + 0.68 for letters in longest)


def _legend_columns(handles: Sequence[object]) -> int:
    for rows in range(1, len(handles)):
        cols = -(-len(handles) // rows)
        if _legend_width(handles, cols) <= WIDTH_IN - 0.3:
            return cols
    return 1


def _legend_height(handles: Sequence[object]) -> float:
    return 0.2 * -(-len(handles) // _legend_columns(handles)) + 0.1 if handles else 0.0


def _draw_legend(fig: Figure, handles: Sequence[object], top: float, height: float) -> None:
    """`top`: inches below the upper edge of a figure of that height."""
    if handles:
        fig.legend(handles=list(handles), loc="upper left", ncol=_legend_columns(handles),
                   handlelength=2.8, bbox_to_anchor=(0.1 / WIDTH_IN, 1 - top / height),
                   borderaxespad=0, borderpad=0.2, columnspacing=1.6)


def _draw_scale(fig: Figure, scale: Scale, top: float, height: float) -> None:
    axes = fig.add_axes([(WIDTH_IN - 2.8) / WIDTH_IN, 1 - (top + 0.15) / height,
                         2.4 / WIDTH_IN, 0.1 / height])
    bar = fig.colorbar(ScalarMappable(cmap=scale.colors), cax=axes, orientation="horizontal")
    bar.outline.set_linewidth(0.4)
    bar.set_ticks(list(scale.ticks), labels=list(scale.ticks.values()))
    axes.tick_params(labelsize=7.5, length=2, pad=1.5)
    axes.text(-0.05, 0.5, scale.label, transform=axes.transAxes, ha="right", va="center",
              fontsize=8.5)


def sheet(head: Head, grid: Grid) -> tuple[Figure, list[list[Axes]]]:
    """A figure with head, legend and grid of panels, placed in inches."""
    lines = _head_lines(head)
    top = 0.15 + sum(style["step"] for _, style in lines) + 0.08
    legend = _legend_height(head.legend)
    heights = [grid.row_height * h for h in grid.heights or [1] * grid.rows]
    body = sum(heights) + grid.gap_y * (grid.rows - 1)
    foot = 0.22 if head.source else 0.0
    height = top + legend + grid.panel_title + body + grid.bottom + foot
    fig = plt.figure(figsize=(WIDTH_IN, height), dpi=DPI)
    y = 0.15
    for text, style in lines:
        style = dict(style)
        y += style.pop("step")
        fig.text(0.15 / WIDTH_IN, 1 - y / height, text, va="baseline", **style)
    _draw_legend(fig, head.legend, top, height)
    if head.scale:
        _draw_scale(fig, head.scale, top, height)
    if head.source:
        fig.text(0.15 / WIDTH_IN, 0.09 / height, head.source, fontsize=7.5, color=MUTED)
    axes = fig.subplots(grid.rows, grid.cols, squeeze=False, sharex=grid.share_x,
                        sharey=grid.share_y, gridspec_kw={"height_ratios": heights})
    panel_height = sum(heights) / grid.rows
    panel_width = (WIDTH_IN - grid.left - grid.right - grid.gap_x * (grid.cols - 1)) / grid.cols
    fig.subplots_adjust(left=grid.left / WIDTH_IN, right=1 - grid.right / WIDTH_IN,
                        bottom=(grid.bottom + foot) / height,
                        top=1 - (top + legend + grid.panel_title) / height,
                        wspace=grid.gap_x / panel_width, hspace=grid.gap_y / panel_height)
    return fig, [list(row) for row in axes]


def save(fig: Figure, output: Path) -> None:
    """Writes PNG or SVG by the name's ending, with nothing in it that changes between runs."""
    kind = "svg" if output.suffix.lower() == ".svg" else "png"
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    try:
        fig.savefig(output, format=kind, dpi=DPI, metadata=metadata)
    finally:
        plt.close(fig)


def allocator_handles(allocators: Sequence[str], failed: Sequence[str] = ()) -> list[Line2D]:
    """Legend entries; allocators without any figures say so."""
    handles = []
    for name in allocators:
        own = look(name)
        label = f"{name} (no figures)" if name in failed else name
        handles.append(Line2D([], [], color=own.color, linestyle=own.line, marker=own.marker,
                              label=label, alpha=0.35 if name in failed else 1))
    return handles


def say(axes: Axes, text: str, alarm: bool = False) -> None:
    """Writes into a panel that has nothing to show why that is so."""
    axes.grid(False)
    axes.text(0.5, 0.5, "\n".join(_wrap(text, 38)), transform=axes.transAxes, ha="center",
              va="center", fontsize=8.5, color=ALARM if alarm else MUTED)
