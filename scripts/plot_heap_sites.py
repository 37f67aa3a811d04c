"""Which call sites ask for the most memory, and what each heap hands out beyond that.

plot_heap_sites.py EXPERIMENT_DIR -o FILE.png
"""

import sys
from pathlib import Path

from matplotlib.axes import Axes

from kmemlab_plots import command, style
from kmemlab_plots.experiment import HEAPS, Experiment
from kmemlab_plots.run import Run
from kmemlab_plots.series import source_line, without_figures

HEADING = "Call sites"
SCENARIOS_A_PAGE = 1
SITES = 12
CAPTION = (
    "The call sites (or object caches) that asked for the most bytes in all, one row each, and "
    "one mark a heap: how much of what it handed out for that site was not asked for. The numbers "
    "behind a name: how many objects, and how many of them still live at the end, which is what "
    "the site leaks, or keeps. From heap_sites.csv, lowest seed.")


def _first(experiment: Experiment, scenario: str, heap: str) -> Run | None:
    runs = [run for run in experiment.runs(scenario, heap) if run.heap_sites is not None]
    return runs[0] if runs else None


def _key(run: Run, row: int) -> tuple[str, str]:
    assert run.heap_sites is not None
    return run.heap_sites.text("site")[row], run.heap_sites.text("cache")[row]


def _name(key: tuple[str, str]) -> str:
    site, cache = key
    return cache if cache else site


def finding(experiment: Experiment) -> str:
    for scenario in experiment.scenarios:
        for heap in experiment.allocators:
            run = _first(experiment, scenario, heap)
            if run is None or not len(run.heap_sites["allocs"]):
                continue
            share = 100 * run.heap_sites["requested_bytes"][0] / max(
                1.0, run.heap_sites["requested_bytes"].sum())
            return (f"{_name(_key(run, 0))} asks for the most memory on {scenario}: "
                    f"{share:.0f} % of all bytes")
    return "No call sites were recorded"


def _draw(axes: Axes, experiment: Experiment, scenario: str) -> None:
    drawn = False
    heaps = experiment.allocators
    for index, heap in enumerate(heaps):
        run = _first(experiment, scenario, heap)
        if run is None or run.heap_sites is None:
            continue
        shift = 0.0 if len(heaps) == 1 else 0.6 * (index / (len(heaps) - 1) - 0.5)
        if not drawn:
            rows = range(min(SITES, len(run.heap_sites["allocs"])))
            order = {_key(run, row): row for row in rows}
            axes.set_yticks(list(rows), [
                f"{_name(_key(run, row))}  ({run.heap_sites['allocs'][row]:.0f}, "
                f"{run.heap_sites['live_objects'][row]:.0f} live)" for row in rows])
            axes.set_ylim(len(order) - 0.5, -0.5)
            for row in rows[1:]:
                axes.axhline(row - 0.5, color=style.FAINT, linewidth=0.6)
            axes.grid(axis="y", visible=False)
            axes.tick_params(axis="y", length=0)
            drawn = True
        own = style.look(heap)
        places = [(order[_key(run, row)], run.heap_sites["internal_percent"][row])
                  for row in range(len(run.heap_sites["allocs"])) if _key(run, row) in order]
        axes.plot([x for _, x in places], [y + shift for y, _ in places], markersize=4, color=own.color,
                  marker=own.marker, linestyle="none", label=heap)
    if not drawn:
        style.say(axes, "no call sites")


def plot(experiment: Experiment, output: Path) -> None:
    style.setup()
    head = style.Head(
        finding(experiment), "Internal fragmentation by call site, the hungriest first.",
        style.allocator_handles(experiment.allocators, without_figures(experiment)),
        experiment.problems(), source_line(experiment, "heap_sites.csv", one_seed=True))
    grid = style.Grid(max(1, len(experiment.scenarios)), 1, 4.2, left=2.9, gap_x=0.25, gap_y=0.6,
                      share_x="none", share_y="none")
    fig, axes = style.sheet(head, grid)
    for row, scenario in enumerate(experiment.scenarios):
        axes[row][0].set_title(scenario)
        _draw(axes[row][0], experiment, scenario)
        axes[row][0].set_xlim(left=-1)
        axes[row][0].set_xlabel("not asked for (% of what was handed out)")
    style.save(fig, output)


if __name__ == "__main__":
    sys.exit(command.main(__doc__, plot, (HEAPS,)))
