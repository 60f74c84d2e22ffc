"""Pictures for a terminal: curves and bars of block characters, or of ASCII where nothing else can be shown.

Must not: print, or know what is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from clipledger.core.times import iso_time

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_ASCII = " .:-=+*#@"
_WIDTH, _HEIGHT = 60, 10


def draw(points: Sequence[tuple[float, float]], title: str, *, bars: bool, plain: bool = False) -> str:
    """Draw numbers over time; `bars`: each stands for a day, else a value holds until the next one."""
    if not points:
        return f"{title}\nnothing to draw yet"
    steps = _ASCII if plain else _EIGHTHS
    columns = _columns(points, bars=bars)
    top = max(columns)
    scaled = [round(max(value, 0) / top * _HEIGHT * 8) if top > 0 else 0 for value in columns]
    lines = [
        f"{_label(top, row):>7} " + "".join(steps[min(max(each - row * 8, 0), 8)] for each in scaled).rstrip()
        for row in reversed(range(_HEIGHT))
    ]
    first, last = iso_time(points[0][0]), iso_time(points[-1][0])
    cut = 10 if bars or points[-1][0] - points[0][0] > 3 * 86_400 else 16
    axis = first[:cut] + last[:cut].rjust(max(len(columns) - cut, cut + 1))
    return "\n".join([title, *lines, f"{'':8}{axis}"])


def short(number: float) -> str:
    """Write a number for an axis: 1.2M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= size:
            return f"{number / size:.1f}{unit}"
    return f"{number:.0f}"


def _label(top: float, row: int) -> str:
    return short(top) if row == _HEIGHT - 1 else "0" if row == 0 else ""


def _columns(points: Sequence[tuple[float, float]], *, bars: bool) -> list[float]:
    began, ended = points[0][0], points[-1][0]
    if bars:
        days = round((ended - began) / 86_400) + 1
        width = min(days, _WIDTH)
        columns = [0.0] * width
        for at, value in points:
            columns[min(int((at - began) / 86_400 * width / days), width - 1)] += value
        return columns
    values, at_point = list[float](), 0
    for column in range(_WIDTH):
        until = began + (ended - began) * (column + 1) / _WIDTH
        while at_point + 1 < len(points) and points[at_point + 1][0] <= until:
            at_point += 1
        values.append(points[at_point][1])
    return values
