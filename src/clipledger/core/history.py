"""When an archived post is looked at again, which one first, and what is believed of one that is gone.

Refreshes cost credits on purpose: a schedule of steps after first capture, the most valuable first. A post
that answers "not found" is only doubted: it is asked again between two posts that are alive, and believed
to be gone when it still is. Must not: read a clock, or know a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipledger.core.errors import UsageError
from clipledger.core.times import parse_duration

STEPS_MAX = 50
OFF = "none"

DOUBT_S = 900.0
"""A post that was not found is asked again so much later: most outages are over, and it is still found in time."""

DOUBTS_TOGETHER = 20
"""Doubted posts that are asked again between the same two living ones."""

GROWTH_SPAN_S = 600.0
"""Two counts nearer than this tell no growth: counters are cached upstream and come in jumps."""

_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class DueRefresh:
    """A post whose step has come. `plays_per_day` None: not known. Times are unix seconds."""

    aweme_id: str
    created_at: float
    plays_per_day: float | None
    due_at: float


def read_steps(text: str) -> tuple[float, ...]:
    """Read `1h,6h,1d` into seconds after capture, ascending; '' and `none` are no steps. Raises UsageError."""
    if text.strip().lower() in ("", OFF):
        return ()
    steps = tuple(sorted({parse_duration(part) for part in text.split(",")}))
    if len(steps) > STEPS_MAX:
        raise UsageError(f"{text[:40]!r}: at most {STEPS_MAX} steps")
    return steps


def next_due(captured_at: float, steps: Sequence[float], now: float) -> float | None:
    """Say when a post captured at `captured_at` is asked next; steps already past are not made up for."""
    return min((captured_at + step for step in steps if captured_at + step > now), default=None)


def worth(due: DueRefresh, now: float) -> float:
    """Weigh a refresh: plays a day for each day of age. One measured only once counts as growing by a thousand."""
    age_days = max(now - due.created_at, 3600.0) / _DAY_S
    growth = 1000.0 if due.plays_per_day is None else max(due.plays_per_day, 1.0)
    return growth / age_days


def most_valuable(due: Sequence[DueRefresh], n: int, now: float) -> list[DueRefresh]:
    """Pick the `n` that tell most: the youngest and fastest growing, the longest due among equals."""
    return sorted(due, key=lambda each: (-worth(each, now), each.due_at, each.aweme_id))[:n]


def growth(before: tuple[int | None, float] | None, plays: int | None, at: float, known: float | None) -> float | None:
    """Give plays a day between two counts (count, unix seconds); what was known when they are too near."""
    if before is None or plays is None or before[0] is None or at - before[1] < GROWTH_SPAN_S:
        return known
    return (plays - before[0]) / (at - before[1]) * _DAY_S


@dataclass(frozen=True, slots=True)
class Round:
    """What asking doubted posts again came to.

    `alive_before` and `alive_after`: a post that is known to be there was asked, and was alive.
    """

    alive_before: bool
    alive_after: bool
    alive: frozenset[str]
    gone: frozenset[str]


def believed(asked: Round) -> frozenset[str]:
    """Name the posts that are believed to be gone.

    None while a neighbour was not alive, and none when as many came back as stayed away: then answers
    are false at random, and what is still missing may be as false as what came back was. Where nobody is
    left to be asked beside them they stay doubted: that is what an outage looks like too.
    """
    random = len(asked.alive) >= max(len(asked.gone), 1)
    return asked.gone if asked.alive_before and asked.alive_after and not random else frozenset()


def doubted_again_at(doubted_at: float | None, now: float) -> float:
    """Say when a post that is not found is asked again: as long after as it has been doubted, within bounds."""
    stood_s = now - doubted_at if doubted_at is not None else 0.0
    return now + min(max(stood_s, DOUBT_S), _DAY_S)
