"""frames.bin: how full each part of RAM was over time."""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kmemlab_plots.table import BadInput

MAGIC = b"KMFRAMES"
HEADER = struct.Struct("<8sIIQQQ")
FULL = 250  # a byte is a share in 250ths
HOLE = 255  # no RAM in that cell


@dataclass(frozen=True)
class FrameMap:
    """Shares of usable frames (0 ... 1), one row a moment, one column a cell of RAM."""
    time_ns: np.ndarray
    live: np.ndarray
    reserved: np.ndarray
    hole: np.ndarray
    frames_per_cell: int
    ram_frames: int


def read_frame_map(path: Path) -> FrameMap:
    data = path.read_bytes()
    if len(data) < HEADER.size:
        raise BadInput(f"{path}: byte {len(data)}: shorter than its header")
    magic, version, cells, per_cell, ram_frames, count = HEADER.unpack_from(data)
    if magic != MAGIC:
        raise BadInput(f"{path}: byte 0: does not start with KMFRAMES")
    if version != 1:
        raise BadInput(f"{path}: byte 8: version {version}, this program reads 1")
    if per_cell == 0 or per_cell & (per_cell - 1) or cells * per_cell < ram_frames:
        raise BadInput(f"{path}: byte 12: {cells} cells of {per_cell} frames do not cover "
                       f"{ram_frames} frames")
    record = np.dtype([("event", "<u8"), ("time_ns", "<u8"),
                       ("live", "u1", (cells,)), ("reserved", "u1", (cells,))])
    wanted = HEADER.size + count * record.itemsize
    if len(data) != wanted:
        raise BadInput(f"{path}: byte {min(len(data), wanted)}: {len(data)} bytes where {count} "
                       f"frame-map frames need {wanted}")
    rows = np.frombuffer(data, dtype=record, offset=HEADER.size)
    live, reserved = rows["live"], rows["reserved"]
    _check_shares(path, live, reserved, record.itemsize)
    if np.any(np.diff(rows["time_ns"].astype(float)) < 0):
        raise BadInput(f"{path}: byte {HEADER.size}: time_ns goes backwards")
    return FrameMap(time_ns=rows["time_ns"].astype(float), live=live / FULL,
                    reserved=reserved / FULL, hole=live == HOLE,
                    frames_per_cell=per_cell, ram_frames=ram_frames)


def _check_shares(path: Path, live: np.ndarray, reserved: np.ndarray, record_bytes: int) -> None:
    hole = live == HOLE
    # Both shares are rounded on their own: their sum may be one 250th too large.
    full = live.astype(int) + reserved > FULL + 1
    wrong = ~hole & full
    wrong |= hole & (reserved != HOLE) & (reserved != 0)
    if wrong.any():
        row, cell = np.argwhere(wrong)[0]
        byte = HEADER.size + int(row) * record_bytes + 16 + int(cell)
        raise BadInput(f"{path}: byte {byte}: cell {cell} of frame-map frame {row} is "
                       f"{live[row, cell]}/250 live and {reserved[row, cell]}/250 reserved")
