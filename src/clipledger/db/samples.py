"""What is kept for people to look at later: replies of an unknown shape, and rare events.

Must not: hold a secret; whoever calls has scrubbed what is given.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field

from sqlalchemy import Connection, bindparam, delete, insert, select

from clipledger.core.model import AwemeId
from clipledger.db.database import Database
from clipledger.db.tables import events, reply_samples

KEPT = 200
"""Samples kept: the newest."""

BODY_MAX = 64 * 2**10
"""Characters of a sample's body that are kept."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A reply that could not be read. `body` is scrubbed of signatures."""

    at: float
    endpoint: str
    detail: str
    body: str
    aweme_id: AwemeId | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something an operator asks about later. `detail` is JSON."""

    at: float
    name: str
    detail: Mapping[str, object] = field(default_factory=dict)
    aweme_id: AwemeId | None = None
    source: str | None = None
    worker: str | None = None


_KEEP = insert(reply_samples)
_DROP = delete(reply_samples).where(
    reply_samples.c.seq
    <= select(reply_samples.c.seq)
    .order_by(reply_samples.c.seq.desc())
    .offset(KEPT)
    .limit(1)
    .correlate(None)
    .scalar_subquery()
)
_NEWEST = select(*(reply_samples.c[name] for name in Sample.__slots__)).order_by(reply_samples.c.seq.desc())
_NOTE = insert(events)
_OF = select(*(events.c[name] for name in Event.__slots__)).where(events.c.aweme_id == bindparam("id"))
_NOTED = select(*(events.c[name] for name in Event.__slots__)).order_by(events.c.seq.desc()).limit(bindparam("n"))


class Samples:
    """The tables `reply_samples` and `events`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def keep(self, sample: Sample) -> None:
        """Keep a sample; the oldest beyond `KEPT` go."""
        await self._db.write(lambda connection: _keep(connection, sample))

    async def newest(self) -> list[Sample]:
        """List the kept samples, the newest first."""
        return await self._db.read(lambda connection: [Sample(*row) for row in connection.execute(_NEWEST)])

    async def of(self, aweme_id: AwemeId) -> Sample | None:
        """Give the newest sample of one post."""
        wanted = _NEWEST.where(reply_samples.c.aweme_id == aweme_id).limit(1)
        return await self._db.read(lambda connection: next((Sample(*row) for row in connection.execute(wanted)), None))

    async def held(self, ids: Collection[AwemeId]) -> frozenset[str]:
        """Tell which of these posts have a sample."""
        wanted = select(reply_samples.c.aweme_id).where(reply_samples.c.aweme_id.in_(ids))
        return await self._db.read(lambda connection: frozenset(connection.execute(wanted).scalars()))

    async def note(self, event: Event) -> None:
        """Note an event."""
        row = asdict(event)
        await self._db.write(lambda connection: connection.execute(_NOTE, row))

    async def events(self, limit: int) -> list[Event]:
        """List events, the newest first."""
        return await self._db.read(lambda connection: [Event(*row) for row in connection.execute(_NOTED, {"n": limit})])

    async def events_of(self, aweme_id: AwemeId) -> list[Event]:
        """List what was noted of one post, oldest first. Walks the table: for people who look, not for work."""
        asked = {"id": aweme_id}
        return await self._db.read(
            lambda connection: [Event(*row) for row in connection.execute(_OF.order_by(events.c.seq), asked)]
        )


def _keep(connection: Connection, sample: Sample) -> None:
    connection.execute(_KEEP, asdict(sample) | {"body": sample.body[:BODY_MAX]})
    connection.execute(_DROP)
