"""Numbers and rankings as words: every finding in a title or in the report is made here."""

from dataclasses import dataclass
from typing import Callable, Sequence

SPACE = "\u00a0"  # between number and unit: a line must not break there


def joined(words: Sequence[str]) -> str:
    """a, b and c"""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def significant(value: float, digits: int = 3) -> str:
    """Three figures, but never fewer than the integer part has: 0.123, 12.3, 12,345."""
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return text if "e" not in text else f"{value:.1e}"


def short(value: float) -> str:
    """For a tick: 0.1, 20, 3k, 5M."""
    for unit, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{value / scale:g}{unit}"
    return f"{value:g}"


def count(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def percent(value: float) -> str:
    """Whole percents, more digits only near the ends, so that 99.97 % does not read as all."""
    value = round(value, 9)
    for digits in range(4):
        text = f"{value:.{digits}f}"
        if value in (0, 100) or 1 <= value <= 99 or float(text) not in (0, 100):
            return f"{text}{SPACE}%"
    return f"under 0.001{SPACE}%" if value < 50 else f"over 99.999{SPACE}%"


def nanoseconds(value: float) -> str:
    for unit, scale in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if value >= scale:
            return f"{significant(value / scale)}{SPACE}{unit}"
    digits = 0 if value >= 10 or value == int(value) else 1
    return f"{value:.{digits}f}{SPACE}ns"


def rate(value: float) -> str:
    return f"{significant(value / 1e6)}{SPACE}million/s" if value >= 1e6 else f"{value:,.0f}/s"


def size(frames: float) -> str:
    """Frames as memory."""
    value = frames * 4
    for unit in ("KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{significant(value)}{SPACE}{unit}"
        value /= 1024
    return ""


def order_size(order: int) -> str:
    return size(2 ** order)


@dataclass(frozen=True)
class Place:
    """Allocators that cannot be told apart, best first, with their values."""
    names: list[str]
    values: list[float]

    def shown(self, show: Callable[[float], str]) -> str:
        """The value, or the range if it reads differently at its ends."""
        ends = [show(min(self.values)), show(max(self.values))]
        return ends[0] if ends[0] == ends[1] else " to ".join(ends)


def ranking(values: dict[str, float], better: str, show: Callable[[float], str],
            tolerance: float = 0.0) -> list[Place]:
    """Best first. Who is written the same as a place's best, or lies within the relative
    tolerance of it, shares that place."""
    sign = -1 if better == "high" else 1
    places: list[Place] = []
    for name, value in sorted(values.items(), key=lambda item: sign * item[1]):
        if places:
            best = places[-1].values[0]
            if (show(value) == show(best)
                    or abs(value - best) <= tolerance * max(abs(value), abs(best))):
                places[-1].names.append(name)
                places[-1].values.append(value)
                continue
        places.append(Place([name], [value]))
    return places


def named(names: Sequence[str]) -> str:
    """a, b and c; of many the first ones and how many others."""
    if len(names) > 4:
        return f"{', '.join(names[:2])} and {len(names) - 2} others"
    return joined(names)


def listed(places: Sequence[Place], show: Callable[[float], str], most: int) -> str:
    """buddy 64 %, bitmap and stack 3 %; of many places the first ones and the last one."""
    words = [f"{named(place.names)} {place.shown(show)}" for place in places]
    if len(words) > most:
        left_out = len(words) - most
        words = words[:most - 1] + [f"{left_out} more between", words[-1]]
    return ", ".join(words)


def plural(number: int, word: str) -> str:
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
