"""Who posted, by author id, and every handle each was seen with.

Statements on a connection, and `Authors`, which asks. Must not: decide who somebody is: an author without
an id is nobody's row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, case, func, select, text, update
from sqlalchemy.dialects.sqlite import Insert

from clipledger.core.model import Author
from clipledger.db.database import Database
from clipledger.db.engine import InsertInto, per_dialect
from clipledger.db.index_tables import author_handles, authors
from clipledger.db.tables import posts
from clipledger.db.withheld import HIDDEN_AUTHORS


@dataclass(frozen=True, slots=True)
class Met:
    """An author as one reply told of them, at `at`."""

    author: Author
    at: float


@dataclass(frozen=True, slots=True)
class HandleRow:
    """One handle an author was seen with."""

    handle: str
    first_seen_at: float
    last_seen_at: float


@dataclass(frozen=True, slots=True)
class AuthorRow:
    """One author; `handles` from the latest to the first, `archived` posts of theirs."""

    author_id: str
    handle: str
    nickname: str
    first_seen_at: float
    last_seen_at: float
    archived: int
    handles: tuple[HandleRow, ...] = ()


_h = author_handles


@per_dialect
def _meet(insert: InsertInto) -> Insert:
    statement = insert(authors)
    told = statement.excluded
    later = told.last_seen_at >= authors.c.last_seen_at
    return statement.on_conflict_do_update(
        index_elements=["author_id"],
        set_={
            "handle": case((later & (told.handle != ""), told.handle), else_=authors.c.handle),
            "nickname": case((later & (told.nickname != ""), told.nickname), else_=authors.c.nickname),
            "first_seen_at": case(
                (told.first_seen_at < authors.c.first_seen_at, told.first_seen_at), else_=authors.c.first_seen_at
            ),
            "last_seen_at": case((later, told.last_seen_at), else_=authors.c.last_seen_at),
        },
    )


@per_dialect
def _call(insert: InsertInto) -> Insert:
    statement = insert(_h)
    told = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["author_id", "handle"],
        set_={
            "first_seen_at": case(
                (told.first_seen_at < _h.c.first_seen_at, told.first_seen_at), else_=_h.c.first_seen_at
            ),
            "last_seen_at": case((told.last_seen_at > _h.c.last_seen_at, told.last_seen_at), else_=_h.c.last_seen_at),
        },
    )


_archived = select(func.count()).where(posts.c.author_id == authors.c.author_id).scalar_subquery()
_ROW = (
    authors.c.author_id,
    authors.c.handle,
    authors.c.nickname,
    authors.c.first_seen_at,
    authors.c.last_seen_at,
    _archived,
)
_SHOWN = select(*_ROW).where(text(f"authors.author_id NOT IN ({HIDDEN_AUTHORS})"))
_SOME = _SHOWN.where(authors.c.author_id > bindparam("after")).order_by(authors.c.author_id).limit(bindparam("n"))
_ONE = _SHOWN.where(authors.c.author_id == bindparam("id"))
_CALLED = (
    _SHOWN.join(_h, _h.c.author_id == authors.c.author_id)
    .where(_h.c.handle == bindparam("h"))
    .order_by(authors.c.last_seen_at.desc(), authors.c.author_id)
)
_TOUCH = update(authors).where(authors.c.author_id == bindparam("id")).values(handle=authors.c.handle)
_HANDLES = (
    select(_h.c.author_id, _h.c.handle, _h.c.first_seen_at, _h.c.last_seen_at)
    .where(_h.c.author_id.in_(bindparam("ids", expanding=True)))
    .order_by(_h.c.last_seen_at.desc(), _h.c.handle)
)
_IDS = (
    select(_h.c.handle, _h.c.author_id)
    .where(_h.c.handle.in_(bindparam("handles", expanding=True)))
    .order_by(_h.c.handle, _h.c.author_id)
)


def meet(connection: Connection, met: Iterable[Met]) -> None:
    """Take note of authors and the handles they bore; who has no id is passed over."""
    known = [each for each in sorted(met, key=lambda each: each.at) if each.author.id]
    if not known:
        return
    # One order, so that no two writers wait for each other.
    latest = {each.author.id: _author_values(each) for each in known}
    connection.execute(_meet(connection), [latest[author_id] for author_id in sorted(latest)])
    called = {
        (each.author.id, each.author.handle.lower()): _handle_values(each) for each in known if each.author.handle
    }
    if called:
        connection.execute(_call(connection), [called[key] for key in sorted(called)])


def touch(connection: Connection, author_id: str) -> None:
    """Have the next export write an author's row anew, or leave it out: the journal is told by a change of the row."""
    connection.execute(_TOUCH, {"id": author_id})


def ids_called(connection: Connection, handles: Iterable[str]) -> dict[str, list[str]]:
    """Give for each handle the ids of all who have or had it, withheld ones too."""
    found: dict[str, list[str]] = {handle: [] for handle in handles}
    for handle, author_id in connection.execute(_IDS, {"handles": list(found)}) if found else ():
        found[handle].append(author_id)
    return found


class Authors:
    """Look at the tables `authors` and `author_handles`; of who is withheld they show nothing."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, after: str, limit: int) -> list[AuthorRow]:
        """List authors by id, after one; begin with ''."""
        return await self._db.read(
            lambda connection: _rows(connection, connection.execute(_SOME, {"after": after, "n": limit}))
        )

    async def of(self, author_id: str) -> list[AuthorRow]:
        """Give the one author of an id, or nobody."""
        return await self._db.read(lambda connection: _rows(connection, connection.execute(_ONE, {"id": author_id})))

    async def called(self, handle: str) -> list[AuthorRow]:
        """List who has or had a handle, the one seen last first."""
        asked = {"h": handle.removeprefix("@").lower()}
        return await self._db.read(lambda connection: _rows(connection, connection.execute(_CALLED, asked)))


def _rows(connection: Connection, found: Iterable[Sequence[object]]) -> list[AuthorRow]:
    rows = [AuthorRow(*row) for row in found]  # type: ignore[arg-type]
    handles: dict[str, list[HandleRow]] = {row.author_id: [] for row in rows}
    for author_id, *rest in connection.execute(_HANDLES, {"ids": list(handles)}) if rows else ():
        handles[author_id].append(HandleRow(*rest))
    return [
        AuthorRow(
            row.author_id,
            row.handle,
            row.nickname,
            row.first_seen_at,
            row.last_seen_at,
            row.archived,
            tuple(handles[row.author_id]),
        )
        for row in rows
    ]


def _author_values(met: Met) -> dict[str, object]:
    who = met.author
    return {
        "author_id": who.id,
        "handle": who.handle,
        "nickname": who.nickname,
        "first_seen_at": met.at,
        "last_seen_at": met.at,
    }


def _handle_values(met: Met) -> dict[str, object]:
    return {
        "author_id": met.author.id,
        "handle": met.author.handle.lower(),
        "first_seen_at": met.at,
        "last_seen_at": met.at,
    }
