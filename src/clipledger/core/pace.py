"""Rate arithmetic on (state, now): when the next call may go, who waits, how far listing may run ahead.

Must not: read a clock, sleep, roll dice or count credits it did not get as arguments. The one row
that every process shares holds `next_at`; whoever moves it forward owns the moments in between.
"""

from __future__ import annotations

from dataclasses import dataclass

SLACK_S = 0.6
"""How late after its moment a call may reach the server: scheduling plus the way there. 1 % of a minute."""

LATE_S = 0.4
"""How late it may be sent; what is left of the slack is for the way there."""

PAUSE_BASE_S, PAUSE_CAP_S = 5.0, 300.0
"""After a 429: first pause and longest one (API bursts are forgiven within seconds; contract unknown)."""

AT_ONCE_S = 0.01
"""Moments so close are reserved in one go: a row read and written for each call costs more than the calls."""

GROUP_MAX, GROUP_S = 4, 1.25
"""How many calls go together at most, and how far apart groups lie at most. Posts that come alone cost twice what those
cost that share their commits. Half of `api.concurrency`: while one group is answered the next one stands in line."""

GROUPED_FROM_S = 0.1
"""Calls that are closer than this anyway are not grouped: their posts meet without it."""

JOIN_S = 0.1
"""How long after its moment a group may still be joined: those who stand in line ask one after another."""

_WINDOW_S = 60.0

AHEAD_S = 86_400.0
"""No moment lies so far ahead: permits are reserved for a second, and the longest pause is 300 s."""

_WINDOW_MS = round((_WINDOW_S + SLACK_S) * 1000)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Permits at `moments`, in order, as unix seconds; `next_at` goes back into the shared row.

    `spaced`: each at its own moment, none put off to go with others.
    """

    moments: tuple[float, ...]
    next_at: float
    spaced: bool


def interval_s(per_minute: int) -> float:
    """Space permits so that no window of 60 s sees more than `per_minute` calls, even late ones.

    Proof. A call scheduled at s reaches the server in [s, s + SLACK_S). What a window [t, t + 60]
    sees was therefore scheduled in (t - SLACK_S, t + 60], which is L = 60 + SLACK_S long and open
    at one end. Points at least T apart in such a window number at most ceil(L / T). With
    T = L / per_minute that is `per_minute`.

    Calls that go together are put off to the next of the ticks that all processes share, g T apart. Of the points
    that are put off to one tick there are at most g, and a window has at most L / (g T) ticks: `per_minute` calls
    again, as g divides it. Before a call that is not put off where the last one was, g T stay unused: a window
    that begins among the former has points from up to g T before it, and so many fewer behind.
    """
    return (_WINDOW_S + SLACK_S) / per_minute


def group(per_minute: int) -> int:
    """Say how many calls may go together: a divisor of the limit, as the proof asks; 1 for none."""
    if interval_s(per_minute) < GROUPED_FROM_S:
        return 1
    most = min(int(GROUP_S / interval_s(per_minute)), GROUP_MAX)
    return next((size for size in range(most, 1, -1) if per_minute % size == 0), 1)


def reserve(
    next_at: float, now: float, permits: int, per_minute: int, *, ours: float | None = None, not_before: float = 0.0
) -> Reservation:
    """Take the next `permits` moments, none before `not_before`. Unused time is gone: there is no burst to save up for.

    A whole group goes together. Fewer are spaced when the last ones were, which is known where `next_at` is `ours`,
    what this process last put there for spaced ones, or when there were none for as long as the proof asks.
    Points lie on whole milliseconds, as the database keeps them, and are only ever rounded up: what
    comes back from the row is what went in, and the spacing holds across reservations.
    """
    size = group(per_minute)
    idle = next_at + size * interval_s(per_minute) <= max(now, not_before)
    spaced = size == 1 or (permits < size and (idle or next_at == ours))
    if next_at - now > AHEAD_S:
        next_at = now  # written by a clock that was wrong: nobody is to wait for it
    if spaced:
        first_ms = max(round(next_at * 1000), _ceil_ms(max(now, not_before)))
        moments = tuple(first_ms / 1000 + nth * interval_s(per_minute) for nth in range(permits))
    else:
        ticks = _Ticks(per_minute, size)
        first_ms = max(round(next_at * 1000), ticks.opens_ms(_ceil_ms(max(now - JOIN_S, not_before))))
        moments = tuple(ticks.put_off(first_ms, nth) for nth in range(permits))
    return Reservation(moments, (first_ms + _ceil_div(permits * _WINDOW_MS, per_minute)) / 1000, spaced)


@dataclass(frozen=True, slots=True)
class _Ticks:
    """The moments of groups, the same for every process: counted from 1970.

    Reckoned in parts of a millisecond, `per_minute` of them, in which all lengths are whole numbers.
    """

    per_minute: int
    size: int

    @property
    def _parts(self) -> int:
        return _WINDOW_MS * self.size

    def opens_ms(self, at_ms: int) -> int:
        """Give the first point that is put off to the tick at or behind a moment."""
        before = _ceil_div(at_ms * self.per_minute, self._parts) - 1
        return before * self._parts // self.per_minute + 1

    def put_off(self, first_ms: int, nth: int) -> float:
        """Give the moment of the n-th point from a first one, in unix seconds."""
        point = first_ms * self.per_minute + nth * _WINDOW_MS
        return _ceil_div(_ceil_div(point, self._parts) * self._parts, self.per_minute) / 1000


def permit_is_late(scheduled_at: float, now: float) -> bool:
    """Say that a permit's moment is past: it must be thrown away and reserved anew, or the proof breaks."""
    return now - scheduled_at >= LATE_S


def pause(throttles: int, now: float, retry_after_s: float | None, jitter: float) -> float:
    """Say until when everybody waits after the `throttles`-th 429 in a row (from 1).

    Doubles from 5 s, spread by up to half again with `jitter` 0..1; obeys a longer Retry-After; at
    most 300 s from `now`.
    """
    doubled: float = PAUSE_BASE_S * 2.0 ** min(max(throttles - 1, 0), 30)
    told = retry_after_s if retry_after_s is not None and retry_after_s > 0 else 0.0
    return now + min(max(doubled * (1 + 0.5 * jitter), told), PAUSE_CAP_S)


def believed_pause(until: float, now: float) -> float:
    """Give until when everybody waits, 0 for what a wrong clock wrote: no pause is longer than `PAUSE_CAP_S`.

    Clocks of machines may be as far apart once more.
    """
    return until if until - now <= 2 * PAUSE_CAP_S else 0.0


def permits_per_reservation(per_minute: int, waiting: int) -> int:
    """Say how many permits one process takes at once: what waits, at most a second's worth, at least 1.

    A group is taken whole, though it may be a little more. More would starve the other processes, and a permit that
    is not used in time is lost. But what falls within `AT_ONCE_S` is taken together, wanted or not: nobody else waits
    longer than that for it.
    """
    a_second = 1 / interval_s(per_minute)
    return max(1, min(waiting, max(int(a_second), group(per_minute))), int(a_second * AT_ONCE_S))


def backlog_limit(per_minute: int, window_s: float = _WINDOW_S, share: float = 0.5) -> int:
    """Say how many unresolved ids listing may leave waiting so that each is resolved within `window_s`.

    `share` is the part of the rate that resolving gets; pages and retries have the rest.
    """
    return max(1, int(window_s / interval_s(per_minute) * share))


def _ceil_div(value: int, by: int) -> int:
    return -(-value // by)


def _ceil_ms(at: float) -> int:
    milliseconds = round(at * 1000)
    return milliseconds if milliseconds / 1000 >= at else milliseconds + 1
