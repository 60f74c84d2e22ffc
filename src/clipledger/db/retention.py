"""What retention rules look at, page by page, and which files a rule moved to colder storage.

Must not: decide over a post (`core.retention` does), or touch the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, select

from clipledger.core.chain import Act, Entry, Who
from clipledger.core.retention import COLD_BYTES_MIN, Facts
from clipledger.db import audit
from clipledger.db.custody_tables import cold_files
from clipledger.db.database import Database
from clipledger.db.engine import per_dialect, summed
from clipledger.db.index_tables import availability
from clipledger.db.tables import UtcTime, files, posts, sightings

PAGE = 500
"""Posts judged at a time."""


@dataclass(frozen=True, slots=True)
class WarmFile:
    """One file that a rule may move."""

    aweme_id: str
    storage_key: str
    bytes: int


_p = posts
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_bytes = select(func.coalesce(summed(files.c.bytes), 0)).where(files.c.aweme_id == _p.c.aweme_id).scalar_subquery()
_gone = (
    select(availability.c.aweme_id)
    .where(availability.c.aweme_id == _p.c.aweme_id, availability.c.ended_at.is_(None), availability.c.state == "gone")
    .exists()
)
_PAGE = (
    select(_p.c.aweme_id, _p.c.archived_at, _p.c.region, _gone.label("gone"), _bytes.label("bytes"))
    .where(_p.c.aweme_id > bindparam("after"), _p.c.archived_at < bindparam("before", type_=UtcTime))
    .order_by(_p.c.aweme_id)
    .limit(PAGE)
)
_SHOWN_BY = select(sightings.c.aweme_id, sightings.c.source).where(sightings.c.aweme_id.in_(_ids))
_WARM = (
    select(files.c.aweme_id, files.c.storage_key, files.c.bytes)
    .join(
        cold_files,
        (cold_files.c.aweme_id == files.c.aweme_id) & (cold_files.c.storage_key == files.c.storage_key),
        isouter=True,
    )
    .where(
        files.c.aweme_id.in_(_ids),
        files.c.bytes >= COLD_BYTES_MIN,
        (cold_files.c.storage_class.is_(None)) | (cold_files.c.storage_class != bindparam("to")),
    )
    .order_by(files.c.aweme_id, files.c.storage_key)
)


@per_dialect
def _cooled(insert: Any) -> Any:
    statement = insert(cold_files)
    told = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["aweme_id", "storage_key"],
        set_={"storage_class": told.storage_class, "moved_at": told.moved_at},
    )


class Retained:
    """Look at archived posts as the rules do."""

    def __init__(self, db: Database, who: Who) -> None:
        self._db, self._who = db, who

    async def page(self, after: str, before: float) -> list[Facts]:
        """Give the facts of posts captured before a moment, by id behind `after`; at most `PAGE`."""
        return await self._db.read(partial(_facts, after=after, before=before))

    async def warm(self, ids: Sequence[str], storage_class: str) -> list[WarmFile]:
        """List the files of posts that are large enough to be moved, and are not in that class."""
        asked = {"ids": list(ids), "to": storage_class}
        return await self._db.read(lambda connection: [WarmFile(*row) for row in connection.execute(_WARM, asked)])

    async def cooled(self, moved: Sequence[WarmFile], storage_class: str, rule: str, now: float) -> None:
        """Note files that were moved; one row of the audit log for each post."""
        await self._db.write(lambda connection: _note(connection, self._who, moved, storage_class, rule, now))


def _facts(connection: Connection, after: str, before: float) -> list[Facts]:
    rows = connection.execute(_PAGE, {"after": after, "before": before}).all()
    shown: dict[str, set[str]] = {}
    for aweme_id, source in connection.execute(_SHOWN_BY, {"ids": [row.aweme_id for row in rows]}) if rows else ():
        shown.setdefault(aweme_id, set()).add(source)
    return [
        Facts(
            row.aweme_id, row.archived_at, row.region, bool(row.gone), row.bytes, frozenset(shown.get(row.aweme_id, ()))
        )
        for row in rows
    ]


def _note(
    connection: Connection, who: Who, moved: Sequence[WarmFile], storage_class: str, rule: str, now: float
) -> None:
    audit.lock(connection)
    place = {"storage_class": storage_class, "moved_at": now}
    rows = [{"aweme_id": file.aweme_id, "storage_key": file.storage_key} | place for file in moved]
    connection.execute(_cooled(connection), rows)
    told = [Entry(Act.COOL, each, f"rule {rule}", storage_class) for each in dict.fromkeys(f.aweme_id for f in moved)]
    audit.append(connection, who, now, *told)
