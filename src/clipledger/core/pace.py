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

_WINDOW_S = 60.0

AHEAD_S = 86_400.0
"""No moment lies so far ahead: permits are reserved for a second, and the longest pause is 300 s."""

_WINDOW_MS = round((_WINDOW_S + SLACK_S) * 1000)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Permits at `first_at`, `first_at + interval_s`, ...; `next_at` goes back into the shared row."""

    first_at: float
    interval_s: float
    next_at: float


def interval_s(per_minute: int) -> float:
    """Space permits so that no window of 60 s sees more than `per_minute` calls, even late ones.

    Proof. A call scheduled at s reaches the server in [s, s + SLACK_S). What a window [t, t + 60]
    sees was therefore scheduled in (t - SLACK_S, t + 60], which is L = 60 + SLACK_S long and open
    at one end. Points at least T apart in such a window number at most ceil(L / T). With
    T = L / per_minute that is `per_minute`.
    """
    return (_WINDOW_S + SLACK_S) / per_minute


def reserve(next_at: float, now: float, permits: int, per_minute: int) -> Reservation:
    """Take the next `permits` moments. Unused time is gone: there is no burst to save up for.

    Moments lie on whole milliseconds, as the database keeps them, and are only ever rounded up: what
    comes back from the row is what went in, and the spacing holds across reservations.
    """
    if next_at - now > AHEAD_S:
        next_at = now  # written by a clock that was wrong: nobody is to wait for it
    first_ms = max(round(next_at * 1000), _ceil_ms(now))
    next_ms = first_ms - (-permits * _WINDOW_MS // per_minute)
    return Reservation(first_ms / 1000, interval_s(per_minute), next_ms / 1000)


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


def permits_per_reservation(per_minute: int, waiting: int) -> int:
    """Say how many permits one process takes at once: what waits, at most a second's worth, at least 1.

    More would starve the other processes, and a permit that is not used in time is lost. But what falls within
    `AT_ONCE_S` is taken together, wanted or not: nobody else waits longer than that for it.
    """
    a_second = 1 / interval_s(per_minute)
    return max(1, min(waiting, int(a_second)), int(a_second * AT_ONCE_S))


def backlog_limit(per_minute: int, window_s: float = _WINDOW_S, share: float = 0.5) -> int:
    """Say how many unresolved ids listing may leave waiting so that each is resolved within `window_s`.

    `share` is the part of the rate that resolving gets; pages and retries have the rest.
    """
    return max(1, int(window_s / interval_s(per_minute) * share))


def _ceil_ms(at: float) -> int:
    milliseconds = round(at * 1000)
    return milliseconds if milliseconds / 1000 >= at else milliseconds + 1
