"""Exports: the watermark of the one to come, what changed since one, and which hold a post.

A watermark is the end of a generation of the journal (`export_tables`), no time: whatever changed and is
committed when `begin` returns is stamped with a generation up to it, and is seen by a snapshot taken then. So
no clock is believed, and a transaction that commits late is not missed. Must not: know a format or a place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, and_, bindparam, delete, exists, insert, or_, select, text, update

from clipledger.core.days import day_of
from clipledger.core.model import AwemeId
from clipledger.db.database import Database
from clipledger.db.export_tables import (
    JOURNAL_LOCK,
    OF_ID,
    export_changes,
    export_journal,
    export_parts,
    exports,
)


@dataclass(frozen=True, slots=True)
class Watermark:
    """What an export holds: every change of `journal` up to the end of `generation`."""

    journal: str
    generation: int

    def __str__(self) -> str:
        return f"{self.journal}.{self.generation}"


@dataclass(frozen=True, slots=True)
class ExportRow:
    """One export. `destination` is a URL without secrets; `rows` and `bytes` are what it wrote."""

    export_id: str
    at: float
    kind: str
    destination: str
    watermark: str
    query: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PartRow:
    """One file that an export wrote. `day` None: a whole table in one file."""

    path: str
    kind: str
    day: int | None
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Holding:
    """A file of an export that holds, or may hold, rows of a post."""

    export_id: str
    at: float
    destination: str
    path: str
    sha256: str


_c, _p = export_changes, export_parts
_LOCK = text(f"SELECT pg_advisory_xact_lock({JOURNAL_LOCK})")
_JOURNAL = select(export_journal.c.journal, export_journal.c.generation)
_STAMPED = select(exists().where(_c.c.generation >= bindparam("g")))
_CHANGED = select(_c.c.kind, _c.c.day).where(_c.c.generation > bindparam("since")).distinct()
_later = _c.alias("later")
# Of each day only the latest generation tells anything.
_PRUNE = delete(_c).where(
    exists().where(_later.c.kind == _c.c.kind, _later.c.day == _c.c.day, _later.c.generation > _c.c.generation)
)
_EXPORT = select(exports).where(exports.c.export_id == bindparam("id"))
_ALL = select(exports).order_by(exports.c.at, exports.c.export_id)
_HOLDING = (
    select(exports.c.export_id, exports.c.at, exports.c.destination, _p.c.path, _p.c.sha256)
    .join(_p, _p.c.export_id == exports.c.export_id)
    .where(
        or_(
            and_(_p.c.kind.in_(OF_ID), _p.c.day.in_(bindparam("days", expanding=True))),
            and_(_p.c.kind.in_(OF_ID), _p.c.day.is_(None)),
        ),
        _p.c.rows > 0,
    )
    .order_by(exports.c.at, exports.c.export_id, _p.c.path)
)


class Exports:
    """The tables of exports and the journal."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def begin(self, journal: str) -> Watermark:
        """End the journal's generation; begin the journal, under the name `journal`, where there is none.

        A snapshot taken afterwards holds everything up to the watermark, and possibly more.
        """
        return await self._db.write(partial(_begin, journal=journal))

    async def known(self, export_id: str) -> ExportRow | None:
        """Look an export up."""
        return await self._db.read(lambda connection: _known(connection, export_id))

    async def all(self) -> list[ExportRow]:
        """List every export, oldest first."""
        return await self._db.read(lambda connection: [ExportRow(*row) for row in connection.execute(_ALL)])

    async def record(self, export: ExportRow, parts: Sequence[PartRow]) -> None:
        """Note an export that was published, and drop what the journal need not tell any more."""
        await self._db.write(lambda connection: _record(connection, export, parts))

    async def holding(self, ids: Sequence[AwemeId]) -> list[Holding]:
        """List every file that an export wrote and that may hold one of these posts: never one too few.

        By the day of the post; a file written before the post was archived may be among them.
        """
        asked = {"days": sorted({day_of(aweme_id) for aweme_id in ids})}
        return await self._db.read(lambda connection: [Holding(*row) for row in connection.execute(_HOLDING, asked)])


def read_watermark(written: str) -> Watermark | None:
    """Read a watermark; None for what is none."""
    journal, _, generation = written.partition(".")
    return Watermark(journal, int(generation)) if journal and generation.isdecimal() else None


def changed(connection: Connection, since: Watermark) -> dict[str, set[int]] | None:
    """Name the days that changed after a watermark, by exported table; None when it is of another journal."""
    journal = connection.execute(_JOURNAL).first()
    if journal is None or journal.journal != since.journal or since.generation > journal.generation:
        return None
    days: dict[str, set[int]] = {}
    for kind, day in connection.execute(_CHANGED, {"since": since.generation}):
        days.setdefault(kind, set()).add(day)
    return days


def _begin(connection: Connection, journal: str) -> Watermark:
    if connection.dialect.name == "postgresql":
        connection.execute(_LOCK)
    known = connection.execute(_JOURNAL).first()
    if known is None:
        connection.execute(insert(export_journal), {"journal": journal, "generation": 1})
        return Watermark(journal, 0)
    if not connection.execute(_STAMPED, {"g": known.generation}).scalar_one():
        return Watermark(known.journal, known.generation - 1)
    connection.execute(update(export_journal).values(generation=export_journal.c.generation + 1))
    return Watermark(known.journal, known.generation)


def _known(connection: Connection, export_id: str) -> ExportRow | None:
    row = connection.execute(_EXPORT, {"id": export_id}).first()
    return ExportRow(*row) if row is not None else None


def _record(connection: Connection, export: ExportRow, parts: Sequence[PartRow]) -> None:
    connection.execute(insert(exports), _values(export))
    if parts:
        connection.execute(insert(export_parts), [{"export_id": export.export_id, **_values(part)} for part in parts])
    connection.execute(_PRUNE)


def _values(row: ExportRow | PartRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in type(row).__slots__}
