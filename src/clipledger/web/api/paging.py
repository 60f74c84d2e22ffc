"""What every list of the API has: a limit, a key to go on behind, and the forms of parameters.

Must not: know a list.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from clipledger.core.errors import UsageError
from clipledger.core.links import shown
from clipledger.core.times import iso_time, read_iso_time

LIMIT_MAX = 200
IDS_MAX = 10_000

_FIRST, _LAST = read_iso_time("1000-01-01T00:00:00Z"), read_iso_time("9999-12-31T00:00:00Z")
"""What `iso_time` writes with four digits, and rounding cannot carry beyond them."""

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="At most so many rows.")]
After = Annotated[
    str | None, Query(max_length=300, description="Go on behind the page whose `next` this was; leave it out at first.")
]
AwemeIdInPath = Annotated[str, Path(pattern="^[0-9]{5,20}$", max_length=20, description="The id of a post.")]
Words = Annotated[str, Query(max_length=1000, description="A search, in the language of `clipledger search`.")]
Named = Annotated[str | None, Query(max_length=300)]


def moment_key(at: float, aweme_id: str) -> str:
    """Write the key of a row that is ordered by a moment and an id."""
    return f"{iso_time(at)}_{aweme_id}"


def read_moment_key(after: str | None) -> tuple[float, str] | None:
    """Read such a key; raises UsageError."""
    if after is None:
        return None
    at, _, aweme_id = after.partition("_")
    if not (aweme_id.isascii() and aweme_id.isdigit() and len(aweme_id) <= 20):
        raise _no_key(after)
    try:
        moment = read_iso_time(at)
    except (ValueError, TypeError, OverflowError):  # no moment; none without an offset; none that there is
        raise _no_key(after) from None
    if not _FIRST <= moment <= _LAST:
        raise _no_key(after)
    return moment, aweme_id


def read_number_key(after: str | None, first: int) -> int:
    """Read the key of a row that has a number; `first` where there is none. Raises UsageError."""
    if after is None:
        return first
    if not (after.isascii() and after.isdigit() and len(after) <= 18):
        raise _no_key(after)
    return int(after)


def _no_key(after: str) -> UsageError:
    return UsageError(f"after: '{shown(after, 40)}' is no key of this list: take it from `next` of the page before")
