"""The day of a post: its id holds the second at which it was made.

Exports are cut by it. An id that tells no day (from before 2016, or of another form) belongs to day 0,
1970-01-01. Must not: know a table or what is exported.
"""

from __future__ import annotations

from clipledger.core.model import EARLIEST_S

DAY_S = 86_400

DATED_FROM = str(EARLIEST_S << 32)
DATED_UNTIL = str((1 << 31) << 32)
"""Between these two, all of 19 digits, text sorts as numbers do: bounds of a day are bounds of the text."""

UNDATED = 0


def day_of(aweme_id: str) -> int:
    """Give the UTC day on which a post was made, in days since 1970-01-01; `UNDATED` when its id tells none."""
    dated = len(aweme_id) == len(DATED_FROM) and aweme_id.isdecimal() and DATED_FROM <= aweme_id < DATED_UNTIL
    return (int(aweme_id) >> 32) // DAY_S if dated else UNDATED


def first_id(day: int) -> str:
    """Give the lowest id that a post made on `day` or later can have, or at least `DATED_FROM`."""
    return max(DATED_FROM, min(DATED_UNTIL, str((day * DAY_S) << 32).zfill(len(DATED_FROM))))
