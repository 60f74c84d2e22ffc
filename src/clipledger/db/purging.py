"""Erase what was taken out, as far as the database goes: what is due, what a purge begins with, what its end drops.

Statements on a connection; `Removals` runs them. Must not: touch the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, null, select, update

from clipledger.core.chain import Act, Entry, Who
from clipledger.core.model import AwemeId
from clipledger.db import audit, holds, meta, quarantine
from clipledger.db.backend import in_order
from clipledger.db.custody_tables import removals
from clipledger.db.tables import UtcTime, archive_queue, told_time
from clipledger.db.withheld import PURGED, PURGING

SCRUB_DUE = "scrub_due"
"""The key in `meta` of a moment: since then something deleted may still be in the database's files."""


@dataclass(frozen=True, slots=True)
class Purge:
    """What has to be erased for one post: the keys that the catalog knew (with sha256), and where others may lie."""

    aweme_id: AwemeId
    day: str | None
    author_part: str | None
    known: Mapping[str, str]


_q, _r = archive_queue, removals
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_DUE = (
    select(_r.c.aweme_id)
    .where(_r.c.state != PURGED, _r.c.purge_at <= bindparam("now", type_=UtcTime), _r.c.aweme_id > bindparam("after"))
    .order_by(_r.c.aweme_id)
    .limit(bindparam("n"))
)
_BEGIN = (
    update(_r)
    .where(_r.c.aweme_id.in_(_ids), _r.c.state != PURGED, _r.c.purge_at <= bindparam("now", type_=UtcTime))
    .values(state=PURGING)
    .returning(_r.c.aweme_id)
)
_PLACES = select(_q.c.aweme_id, _q.c.added_at, _q.c.author_part).where(_q.c.aweme_id.in_(_ids))
_BEGUN = select(_r.c.aweme_id).where(_r.c.aweme_id.in_(_ids), _r.c.state == PURGING).order_by(_r.c.aweme_id)
_END = (
    update(_r)
    .where(_r.c.aweme_id.in_(_ids))
    .values(state=PURGED, purged_at=bindparam("now", type_=UtcTime), author_id=null())
)
_AUTHORS_OF = select(_r.c.author_id).distinct().where(_r.c.aweme_id.in_(_ids), _r.c.author_id.is_not(None))


def due(connection: Connection, now: float, after: str, limit: int) -> list[str]:
    """List what is to be purged, by id behind `after`; what was begun and what is held are among it."""
    asked = {"now": now, "after": after, "n": limit}
    return list(in_order(after, connection.execute(_DUE, asked).scalars().all()))


def begin(connection: Connection, ids: Sequence[str], now: float) -> list[Purge]:
    """Begin to purge what is due; what a hold covers is left out."""
    audit.lock(connection)
    held = holds.held(connection, ids)
    begun = connection.execute(_BEGIN, {"ids": [each for each in ids if each not in held], "now": now}).scalars().all()
    known = quarantine.hidden_files(connection, begun)
    return [
        Purge(AwemeId(row.aweme_id), told_time(row.added_at)[:10], row.author_part, known[row.aweme_id])
        for row in connection.execute(_PLACES, {"ids": list(begun)})
    ]


def end(connection: Connection, who: Who, ids: Sequence[str], now: float) -> list[str]:
    """Drop all that is known of posts whose files are erased; give those that nobody ended before."""
    audit.lock(connection)
    ended = list(connection.execute(_BEGUN, {"ids": list(ids)}).scalars())
    if not ended:
        return []
    theirs = list(connection.execute(_AUTHORS_OF, {"ids": ended}).scalars())
    quarantine.forget(connection, ended)
    connection.execute(_END, {"ids": ended, "now": now})
    quarantine.forget_authors(connection, theirs)
    meta.put(connection, SCRUB_DUE, told_time(now))
    audit.append(connection, who, now, *(Entry(Act.PURGE, each) for each in ended))
    return ended
