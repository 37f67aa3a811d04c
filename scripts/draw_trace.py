"""What a trace asks for: the live set over time, orders, sizes and lifetimes.

draw_trace.py DISTRIBUTIONS.json -o FILE.png        (kmemlab info TRACE.kmt --plot FILE.png)
"""

import argparse
import json
import sys
from pathlib import Path

from kmemlab_plots import command, style
from kmemlab_plots.table import BadInput

import matplotlib.pyplot as plt  # after style, which chooses the backend
from matplotlib.axes import Axes

KIB_A_FRAME = 4


def powers(counts: list[int]) -> tuple[list[int], list[int]]:
    """Buckets from the first to the last one that counts anything: exponents and counts."""
    used = [place for place, count in enumerate(counts) if count]
    if not used:
        return [], []
    span = list(range(used[0], used[-1] + 1))
    return span, [counts[place] for place in span]


def human(exponent: int, units: tuple[str, ...], step: int) -> str:
    """2^exponent in the largest unit that leaves a number of 1 or more."""
    value, place = float(2 ** exponent), 0
    while value >= step and place + 1 < len(units):
        value, place = value / step, place + 1
    return f"{value:.3g} {units[place]}"


def draw_live(axes: Axes, trace: dict) -> str:
    times = [sample["time_ns"] / 1e9 for sample in trace["live"]]
    mib = [sample["frames"] * KIB_A_FRAME / 1024 for sample in trace["live"]]
    axes.plot(times, mib, color=style.BLUE, label="frames")
    if any(sample["heap_bytes"] for sample in trace["live"]):
        axes.plot(times, [sample["heap_bytes"] / 2**20 for sample in trace["live"]],
                  color=style.ORANGE, linestyle="--", label="heap objects")
        axes.legend(frameon=False)
    axes.set_xlabel("time, s")
    axes.set_ylabel("alive, MiB")
    axes.set_ylim(bottom=0)
    return f"Live set: at most {max(mib):.0f} MiB of frames"


def draw_orders(axes: Axes, trace: dict) -> str:
    orders, counts = powers(trace["orders"])
    axes.bar(orders, counts, color=style.BLUE)
    axes.set_yscale("log")
    axes.set_xticks(orders)
    axes.set_xlabel("order (2^order frames)")
    axes.set_ylabel("allocations")
    total = sum(counts)
    single = trace["orders"][0] / total * 100 if total else 0
    return f"{single:.1f} % of {total:,} allocations are single frames"


def draw_sizes(axes: Axes, trace: dict) -> str:
    exponents, counts = powers(trace["heap_sizes"])
    axes.bar(exponents, counts, color=style.ORANGE)
    axes.set_xticks(exponents, [human(e, ("B", "KiB", "MiB", "GiB"), 1024) for e in exponents],
                    rotation=60)
    axes.set_xlabel("bytes asked for, at least")
    axes.set_ylabel("allocations")
    return f"Sizes of {sum(counts):,} heap objects" if counts else "No heap objects in this trace"


def draw_lives(axes: Axes, trace: dict) -> str:
    named = (("frames", trace["frame_lifetimes"], trace["frame_blocks_left"], style.BLUE, "-"),
             ("heap objects", trace["heap_lifetimes"], trace["objects_left"], style.ORANGE, "--"))
    finding = "No lifetimes: nothing is allocated and freed"
    for name, counts, left, color, line in named:
        total, reached, shares = sum(counts) + left, 0, []
        exponents, used = powers(counts)
        for count in used:
            reached += count
            shares.append(reached / total * 100)
        if not shares:
            continue
        axes.step([2.0 ** (e + 1) for e in exponents], shares, where="post", color=color,
                  linestyle=line, label=f"{name}: {left:,} of {total:,} outlive the trace")
        if name == "frames":
            middle = next((e for e, share in zip(exponents, shares) if share >= 50), None)
            finding = ("Most frames outlive the trace" if middle is None else
                       f"Half of the frame blocks live less than "
                       f"{human_time(2 ** (middle + 1))}")
    if axes.get_lines():
        axes.legend(frameon=False, fontsize=7)
        axes.set_xscale("log")
    axes.set_ylim(0, 100)
    axes.set_xlabel("lifetime, ns")
    axes.set_ylabel("freed by then, %")
    return finding


def human_time(nanoseconds: float) -> str:
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def draw(source: Path, output: Path) -> None:
    try:
        trace = json.loads(source.read_text(encoding="utf-8"))["distributions"]
    except (ValueError, KeyError) as error:
        raise BadInput(f"{source}: not the JSON of kmemlab info --distributions") from error
    with plt.rc_context({**style.RC, "svg.hashsalt": "kmemlab"}):
        figure, panels = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
        for axes, part in zip(panels.flat, (draw_live, draw_orders, draw_sizes, draw_lives)):
            axes.set_title(part(axes, trace), loc="left")
        dated = {"Date": None} if output.suffix == ".svg" else {}
        figure.savefig(output, metadata=dated)
        plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("distributions", type=Path, metavar="DISTRIBUTIONS.json")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.png",
                        help="PNG, or SVG if the name ends so")
    arguments = parser.parse_args()
    return command.guarded(parser.prog, lambda: draw(arguments.distributions, arguments.output))


if __name__ == "__main__":
    sys.exit(main())
