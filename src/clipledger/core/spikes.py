"""Days on which far more disappeared than usual: a purge, an outage, or somebody who took everything down.

Must not: say why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

DAY_S = 86_400.0

LEAST = 5
"""Fewer on one day are no spike, however quiet the days around it."""

TIMES = 4.0
"""So many times what an ordinary day loses."""


@dataclass(frozen=True, slots=True)
class Spike:
    """One such day: its midnight (unix seconds), how many went, and how many go on an ordinary day."""

    at: float
    count: int
    usual: float


def spikes(days: Iterable[tuple[float, float]], since: float, until: float) -> list[Spike]:
    """Find them among counts by day, the latest first; days without a count are days of nothing."""
    counts = [(at, count) for at, count in days if since <= at < until]
    quiet = max(int((until - since) // DAY_S) - len(counts), 0)
    usual = median([count for _, count in counts] + [0.0] * quiet) if counts or quiet else 0.0
    found = [Spike(at, int(count), usual) for at, count in counts if count >= max(LEAST, TIMES * usual)]
    return sorted(found, key=lambda spike: -spike.at)
