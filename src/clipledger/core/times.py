"""Times as text: durations as people write them (`90s`, `30m`, `6h`, `7d`, `2w`), moments as UTC.

Must not: know what time it is.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from clipledger.core.errors import UsageError

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_FORM = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)\s*([smhdw])", re.ASCII)
_LONGEST_S = 10 * 366 * 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)


def iso_time(at: float) -> str:
    """Write unix seconds as `2026-05-29T12:00:00.123Z`: UTC, fixed width, sorts as text."""
    return (_NAIVE_EPOCH + timedelta(milliseconds=round(at * 1000))).isoformat(timespec="milliseconds") + "Z"


def since(began: float, now: float) -> float:
    """Give the seconds from `began` to `now`, to the millisecond; 0 when the clock was set back in between."""
    return round(max(now - began, 0.0), 3)


def until_next(now: float, every_s: float) -> float:
    """Give the seconds to the next whole multiple of `every_s`: what beats at the same moments wakes a machine once."""
    left_s = every_s - now % every_s
    return left_s if left_s > every_s / 20 else left_s + every_s  # a timer that came a little early is not a beat


def utc_day(at: float) -> str:
    """Name the UTC day of a moment, as `iso_time` writes it: `2026-05-29`."""
    return iso_time(at)[:10]


def read_iso_time(text: str) -> float:
    """Read what `iso_time` wrote, or any ISO 8601 moment with an offset, into unix seconds."""
    return (datetime.fromisoformat(text) - _EPOCH) / timedelta(seconds=1)


def parse_duration(text: str) -> float:
    """Read a duration into seconds, more than 0 and at most ten years; raise UsageError otherwise."""
    match = _FORM.fullmatch(text.strip().lower())
    seconds = float(match[1]) * _UNITS_S[match[2]] if match else 0.0
    if not 0 < seconds <= _LONGEST_S:
        raise UsageError(f"{text[:40]!r} is not a duration: write a number and s, m, h, d or w, such as 6h")
    return seconds


def write_duration(seconds: float) -> str:
    """Write seconds in the largest unit that gives a whole number: 21600 -> `6h`."""
    for unit, length in reversed(_UNITS_S.items()):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
