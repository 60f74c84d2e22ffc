"""When each post's files are read again: once a period, each at a moment of its own.

The moment within the period is drawn from the id, so that the work is spread evenly whenever the posts came,
and stays that post's: reading late does not move it. Must not: read a clock, or know a table.
"""

from __future__ import annotations

from hashlib import blake2b
from math import floor

from clipledger.core.model import AwemeId
from clipledger.core.times import parse_duration

OFF = "none"
_SPAN = 1 << 64


def read_period(text: str) -> float | None:
    """Read the length of the rotation (`janitor.fixity`), seconds; None when it is off."""
    return None if text == OFF else parse_duration(text)


def share(aweme_id: AwemeId) -> float:
    """Place a post in the period: more than 0, at most 1, the same for ever."""
    return (int.from_bytes(blake2b(aweme_id.encode(), digest_size=8).digest(), "big") + 1) / _SPAN


def first_due(aweme_id: AwemeId, now: float, period_s: float) -> float:
    """Say when a post known to be whole until `now` at the latest is read first: within one period."""
    return now + period_s * share(aweme_id)


def following(due_at: float, now: float, period_s: float) -> float:
    """Say when a post that was due at `due_at` is due after being read at `now`: one period on, later than now."""
    return due_at + period_s * max(floor((now - due_at) / period_s) + 1, 1)


def rest_s(size_bytes: int, took_s: float, bytes_per_s: int) -> float:
    """Say how long to rest after reading so much, so that no more than `bytes_per_s` is read on the whole."""
    return max(size_bytes / bytes_per_s - took_s, 0.0)
