"""Legal holds: on an id, an author or a source; while one lasts, nothing of it may be removed.

Statements on a connection, and `Holds`. A hold is placed under the lock of the audit log's head, as is the
last step before a purge: so of the two, one is first, and the other knows. Must not: remove anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, insert, literal, select, union_all, update

from clipledger.core.chain import Act, Entry, Who
from clipledger.db import audit
from clipledger.db.custody_tables import holds, removals
from clipledger.db.database import Database
from clipledger.db.tables import UtcTime, archive_queue, posts, sightings
from clipledger.db.withheld import AUTHOR_WITHHELD, PURGED, PURGING

ID, AUTHOR, SOURCE = "id", "author", "source"


@dataclass(frozen=True, slots=True)
class Hold:
    """One hold; `released_at` None while it lasts."""

    kind: str
    subject: str
    reason: str
    who: str
    placed_at: float
    released_at: float | None
    released_by: str | None
    released_why: str | None


@dataclass(frozen=True, slots=True)
class Placed:
    """What placing a hold came to: how many posts it covers, and how many purges were under way already.

    `erased` before; `never_kept`: kept out for their author, so that there was never anything to hold.
    """

    posts: int
    too_late: int
    erased: int = 0
    never_kept: int = 0


_h, _p, _r, _s = holds, posts, removals, sightings
_LASTING = _h.c.released_at.is_(None)
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_COVERED = union_all(
    select(_h.c.subject.label("id"), _h.c.reason).where(_LASTING, _h.c.kind == ID, _h.c.subject.in_(_ids)),
    select(_p.c.aweme_id, _h.c.reason)
    .join(_h, (_h.c.subject == _p.c.author_id) & (_h.c.kind == AUTHOR))
    .where(_LASTING, _p.c.aweme_id.in_(_ids)),
    select(_r.c.aweme_id, _h.c.reason)
    .join(_h, (_h.c.subject == _r.c.author_id) & (_h.c.kind == AUTHOR))
    .where(_LASTING, _r.c.aweme_id.in_(_ids), _r.c.state != PURGED),
    select(_s.c.aweme_id, _h.c.reason)
    .join(_h, (_h.c.subject == _s.c.source) & (_h.c.kind == SOURCE))
    .where(_LASTING, _s.c.aweme_id.in_(_ids)),
)
_TOO_LATE = (
    (_r.c.state == PURGING,),
    (_r.c.state == PURGED, _r.c.reason != AUTHOR_WITHHELD),
    (_r.c.state == PURGED, _r.c.reason == AUTHOR_WITHHELD),
)
_ANY = select(literal(1)).where(select(_h.c.seq).where(_LASTING).exists())
_SAME = select(_h.c.seq).where(_LASTING, _h.c.kind == bindparam("kind"), _h.c.subject == bindparam("subject"))
_PLACE = insert(_h)
_RELEASE = (
    update(_h)
    .where(_LASTING, _h.c.kind == bindparam("of"), _h.c.subject == bindparam("on"))
    .values(
        released_at=bindparam("now", type_=UtcTime),
        released_by=bindparam("by"),
        released_why=bindparam("told"),
    )
)
_ALL = select(*(_h.c[name] for name in Hold.__slots__)).order_by(_h.c.seq)
_MEMBERS = {
    ID: select(archive_queue.c.aweme_id).where(archive_queue.c.aweme_id == bindparam("subject")),
    AUTHOR: union_all(
        select(_p.c.aweme_id).where(_p.c.author_id == bindparam("subject")),
        select(_r.c.aweme_id).where(_r.c.author_id == bindparam("subject"), _r.c.state != PURGED),
    ),
    SOURCE: select(_s.c.aweme_id).where(_s.c.source == bindparam("subject")),
}


def held(connection: Connection, ids: Sequence[str]) -> dict[str, str]:
    """Give those of `ids` that a hold covers, each with the reason of one."""
    if not ids or connection.execute(_ANY).first() is None:
        return {}
    return {aweme_id: reason for aweme_id, reason in connection.execute(_COVERED, {"ids": list(ids)})}


def author_is_held(connection: Connection, author_id: str) -> str | None:
    """Give the reason of a hold on an author; None when there is none."""
    asked = {"kind": AUTHOR, "subject": author_id}
    return connection.execute(_SAME.with_only_columns(_h.c.reason), asked).scalar()


class Holds:
    """Place, release and list holds; each act is in the audit log."""

    def __init__(self, db: Database, who: Who) -> None:
        self._db, self._who = db, who

    async def place(self, kind: str, subject: str, reason: str, now: float) -> Placed:
        """Hold an id, an author's posts or a source's; the posts still to come are held too."""
        return await self._db.write(lambda connection: _place(connection, self._who, kind, subject, reason, now))

    async def release(self, kind: str, subject: str, why: str, now: float) -> bool:
        """End a hold; False when there was none."""
        return await self._db.write(lambda connection: _release(connection, self._who, kind, subject, why, now))

    async def all(self) -> list[Hold]:
        """List every hold ever placed, in order."""
        return await self._db.read(lambda connection: [Hold(*row) for row in connection.execute(_ALL)])

    async def held(self, ids: Sequence[str]) -> dict[str, str]:
        """Give those of `ids` that a hold covers, each with the reason of one."""
        return await self._db.read(lambda connection: held(connection, ids))


def _place(connection: Connection, who: Who, kind: str, subject: str, reason: str, now: float) -> Placed:
    audit.lock(connection)
    if connection.execute(_SAME, {"kind": kind, "subject": subject}).first() is None:
        row = {"kind": kind, "subject": subject, "reason": reason, "who": who.operator, "placed_at": now}
        connection.execute(_PLACE, row)
        audit.append(connection, who, now, Entry(Act.HOLD, _spelt(kind, subject), reason))
    members = _MEMBERS[kind].subquery()
    count = select(func.count(members.c.aweme_id.distinct()))
    of_them = _r.c.aweme_id.in_(select(members.c.aweme_id))
    late = tuple(select(func.count()).where(of_them, *which) for which in _TOO_LATE)
    asked = {"subject": subject}
    return Placed(*(connection.execute(each, asked).scalar_one() for each in (count, *late)))


def _release(connection: Connection, who: Who, kind: str, subject: str, why: str, now: float) -> bool:
    told = {"of": kind, "on": subject, "now": now, "by": who.operator, "told": why}
    if not connection.execute(_RELEASE, told).rowcount:
        return False
    audit.append(connection, who, now, Entry(Act.RELEASE, _spelt(kind, subject), why))
    return True


def _spelt(kind: str, subject: str) -> str:
    return subject if kind == ID else f"{kind}:{subject}"
