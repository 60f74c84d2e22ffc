"""The audit log: who did what, when and why, in one chain however many processes write.

Each row is written in the transaction of what it tells, so neither stands without the other. Whoever writes
holds the head of the chain until the commit: on SQLite by the one write lock, on PostgreSQL by an advisory
lock. Must not: change or delete a row; the database refuses that too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, insert, select, text

from clipledger.core.chain import FIRST, Act, Entry, Row, Who, broken_at, next_row
from clipledger.core.times import iso_time
from clipledger.db.custody_tables import audit_log

if TYPE_CHECKING:
    from clipledger.db.database import Database  # which opens by way of `schema`, which writes the first row

PAGE = 1000
"""Rows proven at a time."""

WORDS_MAX = 500
"""Characters of a reason or a detail that are kept."""

_CHAIN = 0x6C656467_6361696E  # the advisory lock's number: the letters of its name
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")
_COLUMNS = tuple(audit_log.c[name] for name in Row.__slots__)
_HEAD = select(audit_log.c.seq, audit_log.c.hash).order_by(audit_log.c.seq.desc()).limit(1)
_APPEND = insert(audit_log)
_BEHIND = select(*_COLUMNS).where(audit_log.c.seq > bindparam("after")).order_by(audit_log.c.seq).limit(bindparam("n"))
_SINCE = (
    select(*_COLUMNS).where(audit_log.c.at >= bindparam("since")).order_by(audit_log.c.seq.desc()).limit(bindparam("n"))
)
_BELOW = (
    select(*_COLUMNS).where(audit_log.c.seq < bindparam("seq")).order_by(audit_log.c.seq.desc()).limit(bindparam("n"))
)
_ABOUT = select(*_COLUMNS).where(audit_log.c.subject == bindparam("subject")).order_by(audit_log.c.seq)
_AT = select(audit_log.c.hash).where(audit_log.c.seq == bindparam("seq"))


def lock(connection: Connection) -> None:
    """Take the head of the chain until the transaction ends: what others did before is seen from here on."""
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK, {"key": _CHAIN})


def append(connection: Connection, who: Who, now: float, *entries: Entry) -> None:
    """Add rows in an open transaction; they are durable when that is."""
    lock(connection)
    seq, before = head(connection)
    rows = []
    for entry in entries:
        row = next_row(seq + 1, before, iso_time(now), who, _bounded(entry))
        rows.append(asdict(row))
        seq, before = row.seq, row.hash
    if rows:
        connection.execute(_APPEND, rows)


def head(connection: Connection) -> tuple[int, str]:
    """Give the last row's number and hash; 0 and zeros before the first."""
    found = connection.execute(_HEAD).one_or_none()
    return (found.seq, found.hash) if found is not None else (0, FIRST)


class AuditLog:
    """Write to the log and read it. `who` is who acts in this process."""

    def __init__(self, db: Database, who: Who) -> None:
        self._db, self.who = db, who

    async def append(self, now: float, act: Act, subject: str = "", why: str = "", detail: str = "") -> None:
        """Tell one act that stands by itself."""
        entry = Entry(act, subject, why, detail)
        await self._db.write(lambda connection: append(connection, self.who, now, entry))

    async def newest(self, since: float, limit: int) -> list[Row]:
        """List rows from a moment on, the newest first."""
        asked = {"since": iso_time(since), "n": limit}
        return await self._db.read(lambda connection: [Row(*row) for row in connection.execute(_SINCE, asked)])

    async def before(self, seq: int, limit: int) -> list[Row]:
        """List rows below a number, the newest first."""
        asked = {"seq": seq, "n": limit}
        return await self._db.read(lambda connection: [Row(*row) for row in connection.execute(_BELOW, asked)])

    async def about(self, subject: str) -> list[Row]:
        """List what was done to one subject, oldest first."""
        asked = {"subject": subject}
        return await self._db.read(lambda connection: [Row(*row) for row in connection.execute(_ABOUT, asked)])

    async def head(self) -> tuple[int, str]:
        """Give the chain's head, to be noted where nobody of this archive can change it."""
        return await self._db.read(head)

    async def hash_of(self, seq: int) -> str | None:
        """Give the hash of one row; None when there is none."""
        return await self._db.read(lambda connection: connection.execute(_AT, {"seq": seq}).scalar())


async def broken(db: Database) -> tuple[int, str] | None:
    """Walk the whole chain; give the first row that does not hold, and why; None when all do."""
    seq, before = 0, FIRST
    async for rows in _pages(db):
        if (found := broken_at(rows, seq, before)) is not None:
            return found
        seq, before = rows[-1].seq, rows[-1].hash
    return None


async def _pages(db: Database) -> AsyncIterator[Sequence[Row]]:
    after = 0
    while rows := await db.read(partial(_page, after=after)):
        yield rows
        after = rows[-1].seq


def _page(connection: Connection, after: int) -> list[Row]:
    return [Row(*row) for row in connection.execute(_BEHIND, {"after": after, "n": PAGE})]


def _bounded(entry: Entry) -> Entry:
    words = (" ".join(each.split())[:WORDS_MAX] for each in (entry.subject, entry.why, entry.detail))
    return Entry(entry.act, *words)
