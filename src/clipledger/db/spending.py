"""What the ledger tells an operator: credits by day, source, endpoint and reason, and what a post took.

Reads only. A day is a UTC day. Must not: be called by a stage, or judge what is a waste (`core.cost` and
the commands do).
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Text, bindparam, case, func, select, type_coerce

from clipledger.core.model import State
from clipledger.db.database import Database
from clipledger.db.engine import summed
from clipledger.db.tables import UtcTime, archive_queue, files, posts, sources
from clipledger.db.tables import credits as calls

_RESOLVES = ("/post-detail/", "/download-video/")


@dataclass(frozen=True, slots=True)
class Spent:
    """One line of a summary: `name` is a day, a source, an endpoint or a reason. `gone`: calls so answered."""

    name: str
    calls: int
    credits: int
    gone: int


@dataclass(frozen=True, slots=True)
class Experience:
    """What the archive has lived through: posts, resolve credits, mean bytes by file kind, new ids per page by kind."""

    archived: int
    resolve_credits: int
    files: dict[str, tuple[int, int]]
    pages: dict[str, tuple[int, int]]


_SINCE = calls.c.at >= bindparam("since", type_=UtcTime)
_SUMS = (
    func.count(),
    func.sum(calls.c.credits),
    func.sum(case((calls.c.outcome == "gone", 1), else_=0)),
)
_FILES = select(files.c.kind, func.count(), summed(files.c.bytes)).group_by(files.c.kind)
_POSTS = select(func.count()).select_from(posts)
_RESOLVED = select(func.coalesce(func.sum(calls.c.credits), 0)).where(calls.c.endpoint.in_(_RESOLVES))
_PAGES = (
    select(sources.c.kind, func.count())
    .join(calls, calls.c.source == sources.c.source)
    .where(calls.c.reason == "page", calls.c.outcome == "ok")
    .group_by(sources.c.kind)
)
_NEW = (
    select(sources.c.kind, func.count())
    .join(archive_queue, archive_queue.c.source == sources.c.source)
    .group_by(sources.c.kind)
)
_LOST = (
    select(func.coalesce(func.sum(calls.c.credits), 0))
    .join(archive_queue, archive_queue.c.aweme_id == calls.c.aweme_id)
    .where(_SINCE, calls.c.endpoint.in_(_RESOLVES), calls.c.reason == "first", archive_queue.c.state == State.DEAD)
)


class Spending:
    """The ledger, summed up."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def by_day(self, since: float) -> list[Spent]:
        """Sum up by UTC day, oldest first."""
        return await self._db.read(
            lambda connection: _sums(connection, _utc_day(connection), since, order_by_name=True)
        )

    async def by_source(self, since: float) -> list[Spent]:
        """Sum up by source, dearest first; calls that belong to none stand under ''."""
        column = func.coalesce(calls.c.source, "")
        return await self._db.read(lambda connection: _sums(connection, column, since))

    async def by_endpoint(self, since: float) -> list[Spent]:
        """Sum up by endpoint, dearest first."""
        return await self._db.read(lambda connection: _sums(connection, calls.c.endpoint, since))

    async def by_reason(self, since: float) -> list[Spent]:
        """Sum up by the reason the call was made for, dearest first."""
        return await self._db.read(lambda connection: _sums(connection, calls.c.reason, since))

    async def lost(self, since: float) -> int:
        """Give the credits of first resolves whose post ended dead all the same."""
        asked = {"since": since}
        return await self._db.read(lambda connection: connection.execute(_LOST, asked).scalar_one())

    async def experience(self) -> Experience:
        """Tell what posts took so far."""
        return await self._db.read(_experience)


def _utc_day(connection: Connection) -> ColumnElement[str]:
    if connection.dialect.name == "postgresql":
        return func.to_char(func.timezone("UTC", calls.c.at), "YYYY-MM-DD")
    return func.substr(type_coerce(calls.c.at, Text), 1, 10)


def _sums(
    connection: Connection, name: ColumnElement[str], since: float, *, order_by_name: bool = False
) -> list[Spent]:
    label = name.label("name")
    asked = select(label, *_SUMS).where(_SINCE).group_by(label)
    asked = asked.order_by(label) if order_by_name else asked.order_by(_SUMS[1].desc(), label)
    return [Spent(*row) for row in connection.execute(asked, {"since": since})]


def _experience(connection: Connection) -> Experience:
    pages: dict[str, int] = {kind: count for kind, count in connection.execute(_PAGES)}
    new: dict[str, int] = {kind: count for kind, count in connection.execute(_NEW)}
    return Experience(
        archived=connection.execute(_POSTS).scalar_one(),
        resolve_credits=connection.execute(_RESOLVED).scalar_one(),
        files={kind: (count, int(total)) for kind, count, total in connection.execute(_FILES)},
        pages={kind: (count, new.get(kind, 0)) for kind, count in pages.items()},
    )
