"""Authors who are kept out: on whose request, what of theirs is in or hidden for it, and what was asked since.

Statements on a connection; `Removals` runs them, with the head of the audit log taken. Must not: move a post's rows.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, delete, exists, func, null, select, union, update

from clipledger.core.chain import Act
from clipledger.core.model import AwemeId, State
from clipledger.db import authors, withheld
from clipledger.db.backend import in_order
from clipledger.db.custody_tables import audit_log, removals, withheld_authors
from clipledger.db.engine import per_dialect
from clipledger.db.index_tables import author_handles
from clipledger.db.tables import archive_queue, posts, sightings
from clipledger.db.withheld import AUTHOR_WITHHELD, PURGED, PURGING, QUARANTINED


@dataclass(frozen=True, slots=True)
class Ban:
    """Why an author is kept out, on whose request, and since when."""

    author_id: str
    reason: str
    request: str
    asked_at: float = field(default=0.0, compare=False)

    def covers(self, reason: str, request: str) -> bool:
        """Tell whether a receipt stands on this ban alone: nobody asked for that post by itself."""
        return (self.reason, self.request) == (reason, request)


@dataclass(frozen=True, slots=True)
class Hidden:
    """An author's posts that are out: for the ban, on other grounds, and those that are being erased."""

    for_ban: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    erasing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Named:
    """An author's posts whose reply told a handle and no id: those that can be nobody else's, and the others."""

    theirs: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()


_q, _r, _w = archive_queue, removals, withheld_authors
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_WITHHOLD = per_dialect(lambda into: into(_w).on_conflict_do_nothing())
_BAN = select(_w.c.author_id, _w.c.reason, _w.c.request, _w.c.asked_at)
_BANS = _BAN.where(_w.c.author_id.in_(_ids))
_LISTED = _BAN.where(_w.c.author_id > bindparam("after")).order_by(_w.c.author_id).limit(bindparam("n"))
_LIFT = delete(_w).where(_w.c.author_id == bindparam("of"))
_mine, _other = author_handles.alias("mine"), author_handles.alias("other")
_shared = exists().where(_other.c.handle == _mine.c.handle, _other.c.author_id != _mine.c.author_id)
_NAMED = (
    select(posts.c.aweme_id, _shared.label("shared"))
    .join(_mine, _mine.c.handle == func.lower(posts.c.author_handle))
    .where(posts.c.author_id == "", _mine.c.author_id == bindparam("of"))
    .order_by(posts.c.aweme_id)
)
_THEIRS = union(
    select(posts.c.aweme_id).where(posts.c.author_id == bindparam("of")),
    select(_NAMED.order_by(None).where(~_shared).subquery().c.aweme_id),
    select(_r.c.aweme_id).where(_r.c.author_id == bindparam("of"), _r.c.state != PURGED),
).order_by("aweme_id")
_HIDDEN = (
    select(_r.c.aweme_id, _r.c.reason, _r.c.request, _r.c.state)
    .where(_r.c.author_id == bindparam("of"), _r.c.state != PURGED)
    .order_by(_r.c.aweme_id)
)
_stray = union(
    select(posts.c.aweme_id, _w.c.author_id, _w.c.reason, _w.c.request)
    .join(_w, _w.c.author_id == posts.c.author_id)
    .where(posts.c.aweme_id > bindparam("after")),
    select(posts.c.aweme_id, _w.c.author_id, _w.c.reason, _w.c.request)
    .join(_mine, _mine.c.handle == func.lower(posts.c.author_handle))
    .join(_w, _w.c.author_id == _mine.c.author_id)
    .where(posts.c.author_id == "", posts.c.aweme_id > bindparam("after"), ~_shared),
).subquery()
_STRAYS = select(_stray).order_by(_stray.c.aweme_id).limit(bindparam("n"))
_WAITING = (
    select(_q.c.aweme_id)
    .where(
        _q.c.state == State.PENDING,
        _q.c.source.in_(bindparam("lists", expanding=True)),
        _q.c.author_part.is_(None),  # else files of it may stand: it is refused when its answer names the author
        _q.c.aweme_id > bindparam("after"),
        ~exists().where(
            sightings.c.aweme_id == _q.c.aweme_id, sightings.c.source.not_in(bindparam("lists", expanding=True))
        ),
    )
    .order_by(_q.c.aweme_id)
    .limit(bindparam("n"))
)
_REFUSED = (_r.c.state == PURGED, _r.c.reason == AUTHOR_WITHHELD)
_UNREFUSE = delete(_r).where(_r.c.aweme_id.in_(_ids), *_REFUSED)
_ADMIT = (
    update(_q)
    .where(
        _q.c.state == State.WITHHELD,
        _q.c.aweme_id.in_(select(_r.c.aweme_id).where(_r.c.author_id == bindparam("of"), *_REFUSED)),
    )
    .values(state=State.PENDING, settled_at=null())
)
_ADMITTED = delete(_r).where(_r.c.author_id == bindparam("of"), *_REFUSED)
_LATE = (
    select(_r.c.author_id)
    .distinct()
    .where(_r.c.author_id.is_not(None), *_REFUSED, _r.c.author_id.not_in(select(_w.c.author_id)))
)
_OWN_GROUNDS = (
    update(_r)
    .where(_r.c.aweme_id.in_(_ids), _r.c.state == QUARANTINED)
    .values(reason=bindparam("why"), request=bindparam("letter"), who=bindparam("by"))
)
_ASKED = (
    select(audit_log.c.act, audit_log.c.why, audit_log.c.detail)
    .where(audit_log.c.subject == bindparam("subject"), audit_log.c.act.in_([Act.WITHDRAW, Act.RESTORE]))
    .order_by(audit_log.c.seq)
)


def standing(connection: Connection, author_ids: Collection[str | None]) -> dict[str, Ban]:
    """Give the bans on those of these authors who are kept out."""
    asked = sorted({each for each in author_ids if each})
    return {row[0]: Ban(*row) for row in connection.execute(_BANS, {"ids": asked})} if asked else {}


def listed(connection: Connection, after: str, limit: int) -> list[Ban]:
    """List the authors who are kept out, by id, behind `after`."""
    return [Ban(*row) for row in connection.execute(_LISTED, {"after": after, "n": limit})]


def place(connection: Connection, row: dict[str, object]) -> bool:
    """Keep an author out; False when they were already, on the same request or another."""
    return connection.execute(_WITHHOLD(connection), row).rowcount > 0


def asked_since(connection: Connection, author_id: str) -> list[tuple[str, str]]:
    """List (reason, request) of all who asked for an author since they were let in last, in order."""
    asked: list[tuple[str, str]] = []
    for act, why, detail in connection.execute(_ASKED, {"subject": f"author:{author_id}"}):
        asked = [] if act == Act.RESTORE else [*asked, (why, detail)]
    return asked


def of_author(connection: Connection, author_id: str) -> list[AwemeId]:
    """List an author's archived posts, and those of them that are in quarantine."""
    return [AwemeId(each) for each in connection.execute(_THEIRS, {"of": author_id}).scalars()]


def named(connection: Connection, author_id: str) -> Named:
    """Sort archived posts that tell no author's id, and a handle that this one bore; `unsure` if others bore it too."""
    rows = connection.execute(_NAMED, {"of": author_id}).all()
    return Named(*(tuple(row.aweme_id for row in rows if bool(row.shared) is shared) for shared in (False, True)))


def waiting(connection: Connection, lists: Collection[str], after: str, limit: int) -> list[str]:
    """List ids that wait, by id behind `after`, and that these lists alone showed."""
    asked = {"lists": list(lists), "after": after, "n": limit}
    return list(in_order(after, connection.execute(_WAITING, asked).scalars().all()))


def hidden_of(connection: Connection, author_id: str, ban: Ban | None) -> Hidden:
    """Sort what of an author's is out and not erased."""
    rows = connection.execute(_HIDDEN, {"of": author_id}).all()
    waiting = [row for row in rows if row.state != PURGING]
    own = [row.aweme_id for row in waiting if ban is not None and ban.covers(row.reason, row.request)]
    others = [row.aweme_id for row in waiting if row.aweme_id not in set(own)]
    return Hidden(tuple(own), tuple(others), tuple(row.aweme_id for row in rows if row.state == PURGING))


def strays(connection: Connection, after: str, limit: int) -> dict[str, Ban]:
    """List archived posts, by id behind `after`, whose author is kept out, each with the ban."""
    rows = connection.execute(_STRAYS, {"after": after, "n": limit}).all()
    in_order(after, [row.aweme_id for row in rows])
    return {row.aweme_id: Ban(row.author_id, row.reason, row.request) for row in rows}


def lift(connection: Connection, author_id: str) -> int | None:
    """Lift a ban; give how many ids that were kept out for it wait now, None if there was nothing to lift."""
    asked = {"of": author_id}
    lifted = connection.execute(_LIFT, asked).rowcount
    again = connection.execute(_ADMIT, asked).rowcount  # a page that came in meanwhile may have kept out more
    if not lifted and not again:
        return None
    connection.execute(_ADMITTED, asked)
    withheld.forget_marks(connection, author_id)
    authors.touch(connection, author_id)
    return again


def let_in(connection: Connection) -> list[str]:
    """List authors who are not kept out and of whom ids are: who looked before the ban was lifted wrote that after."""
    return [author_id for author_id in connection.execute(_LATE).scalars() if author_id is not None]


def unrefuse(connection: Connection, ids: Collection[str]) -> None:
    """Drop the receipts of ids that were out for their author alone: they are to have their own."""
    connection.execute(_UNREFUSE, {"ids": list(ids)})


def stand_alone(connection: Connection, ids: Collection[str], reason: str, request: str, who: str) -> None:
    """Put posts that were hidden for their author on grounds of their own; their dates stay."""
    if ids:
        connection.execute(_OWN_GROUNDS, {"ids": list(ids), "why": reason, "letter": request, "by": who})
