"""Where the cells of a frame map stand on a panel: in order, but long holes drawn short."""

from dataclasses import dataclass

import numpy as np

from kmemlab_plots.framemap import FrameMap

LONG_HOLE = 0.08   # of the cells with RAM: a longer run of cells without RAM is shortened,
SHORT_HOLE = 0.07  # to this share of them
TICKS = 5
NEAREST_TICKS = 0.055  # of the panel's height


@dataclass(frozen=True)
class Part:
    """Cells in a row; heights are in cells."""
    cells: slice
    bottom: float
    height: float
    first_frame: int
    frames: int
    shortened: bool


@dataclass(frozen=True)
class Layout:
    parts: list[Part]
    height: float

    def ticks(self) -> list[tuple[float, int]]:
        """(place, frame number): round numbers, and where RAM goes on behind a short hole."""
        shown = sum(part.frames for part in self.parts if not part.shortened)
        step = 2 ** int(np.ceil(np.log2(max(shown / TICKS, 1024))))
        found: list[tuple[float, int]] = []
        for part in self.parts:
            if part.shortened:
                continue
            end = part.first_frame + part.frames
            frames = [part.first_frame] if part.first_frame % 1024 == 0 else []
            frames += range(-(-(part.first_frame + 1) // step) * step, end + 1, step)
            for frame in frames:
                place = part.bottom + part.height * (frame - part.first_frame) / part.frames
                if not found or place - found[-1][0] >= NEAREST_TICKS * self.height:
                    found.append((place, frame))
        return found


def lay_out(found: FrameMap) -> Layout:
    """For a map with at least one cell."""
    hole = found.hole.all(axis=0)
    with_ram = int((~hole).sum())
    edges = np.flatnonzero(np.diff(hole.astype(np.int8))) + 1
    bounds = [0, *edges.tolist(), len(hole)]
    # Short holes stay with the cells around them: only long ones cut the axis.
    cuts = [(first, last) for first, last in zip(bounds, bounds[1:])
            if hole[first] and last - first > LONG_HOLE * with_ram and with_ram]
    parts: list[Part] = []
    bottom, at = 0.0, 0
    for first, last in [*cuts, (len(hole), len(hole))]:
        for start, stop, height, shortened in ((at, first, first - at, False),
                                               (first, last, SHORT_HOLE * with_ram, True)):
            if start < stop:
                frames = (min(stop * found.frames_per_cell, found.ram_frames)
                          - start * found.frames_per_cell)
                parts.append(Part(slice(start, stop), bottom, float(height),
                                  start * found.frames_per_cell, frames, shortened))
                bottom += height
        at = last
    return Layout(parts, bottom)
