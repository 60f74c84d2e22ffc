"""How many workers a fleet needs, from what is due, what the rate allows and how long a post takes.

Must not: read a clock or a table. Up at once, since work waits; down only after it was too many for a
while, since a worker that starts costs more than one that idles.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

JOB_S = 15.0
"""How long a post takes as long as nobody measured it: resolve, fetch, publish."""

JOB_MAX_S = 600.0

SPARE = 1.25
"""A quarter more slots than the average needs: arrivals are not even."""

HOLD_S = 60.0
"""So long must fewer workers have been enough before there are fewer."""


@dataclass(frozen=True, slots=True)
class Load:
    """What there is to do: posts due now, under way, finished a minute; calls a minute; slots of one worker."""

    due: int
    in_flight: int
    videos_per_min: float
    calls_per_min: int
    slots: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between how many workers a fleet has."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Size:
    """How many workers there should be, and since when fewer would do (unix seconds; None: they would not)."""

    workers: int
    low_since: float | None = None


def needed(load: Load) -> int:
    """Say how many workers the load can keep busy; 0 when there is nothing to do.

    Little's law: what is under way at a time is what the rate lets begin, times how long one takes.
    """
    if load.due <= 0 and load.in_flight <= 0:
        return 0
    begun_per_min = min(max(load.due, 0), load.calls_per_min)
    slots = begun_per_min / 60.0 * _job_s(load) * SPARE
    return max(1, ceil(slots / max(load.slots, 1)), ceil(load.in_flight / max(load.slots, 1)) if load.due > 0 else 1)


def resize(size: Size, load: Load, bounds: Bounds, now: float) -> Size:
    """Say how many workers there should be from now on."""
    wanted = min(max(needed(load), bounds.least), bounds.most)
    if wanted >= size.workers:
        return Size(wanted)
    if size.workers > bounds.most:
        return Size(bounds.most)
    low_since = size.low_since if size.low_since is not None else now
    return Size(wanted) if now - low_since >= HOLD_S else Size(size.workers, low_since)


def _job_s(load: Load) -> float:
    if load.in_flight <= 0 or load.videos_per_min <= 0:
        return JOB_S
    return min(max(60.0 * load.in_flight / load.videos_per_min, 1.0), JOB_MAX_S)
