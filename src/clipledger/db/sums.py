"""The sums that `status` tells: fresh, but kept for ten minutes where making them takes seconds.

Balancing a million ids by source means reading each of them. A large archive therefore keeps what was summed
last, with its moment. Must not: be asked by `verify` or by metrics, which need what is true now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from clipledger.core.errors import StorageFull, StorageUnavailable
from clipledger.db import standing
from clipledger.db.books import Balance, Books
from clipledger.db.catalog import Catalog
from clipledger.db.credits import CallTotal as Total
from clipledger.db.credits import Credits
from clipledger.db.database import Database
from clipledger.db.meta import Meta

LARGE = 200_000
"""Ids or paid calls from which on sums are kept: below it, all of them take less than half a second."""

KEPT_S = 600.0
_KEY = "sums"


@dataclass(frozen=True, slots=True)
class Sums:
    """What was counted at `as_of` (unix seconds)."""

    as_of: float
    states: Mapping[str, int]
    everything: Balance
    per_source: Sequence[Balance]
    files: int
    bytes: int
    totals: Sequence[Total]


async def sums(db: Database, now: float, *, fresh: bool = False, kept_s: float = KEPT_S) -> Sums:
    """Give the sums of now, or of up to `kept_s` ago where there are more than `LARGE` ids or calls and not `fresh`."""
    meta = Meta(db)
    if not fresh and (kept := await meta.get(_KEY)) is not None:
        found = _read(kept)
        if found is not None and 0 <= now - found.as_of < kept_s:
            return found
    made = await _sum(db, now)
    if max(made.everything.seen, sum(total.calls for total in made.totals)) > LARGE:
        with suppress(StorageFull, StorageUnavailable):  # looking is allowed where writing is not
            await meta.set(_KEY, json.dumps(asdict(made)))
    return made


async def _sum(db: Database, now: float) -> Sums:
    books = Books(db)
    files, size = await Catalog(db).size()
    return Sums(
        now,
        await db.read(standing.counts),
        await books.everything(),
        tuple(await books.per_source()),
        files,
        size,
        tuple(await Credits(db).totals()),
    )


def _read(kept: str) -> Sums | None:
    """Read what was kept; None where it is not, to the letter, what this version keeps: it is made anew."""
    with suppress(ValueError, TypeError, KeyError):
        told = json.loads(kept)
        told["everything"] = Balance(**told["everything"])
        told["per_source"] = tuple(Balance(**row) for row in told["per_source"])
        told["totals"] = tuple(Total(**row) for row in told["totals"])
        found = Sums(**told)
        return found if json.dumps(asdict(found)) == kept else None
    return None
