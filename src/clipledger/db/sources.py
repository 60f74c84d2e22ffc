"""The sources: what is listed, how far, and who is reading it now.

Leased and fenced like videos: a claim hands out a token that grows, and a stale one changes
nothing. Must not: decide when a pass ends (`core.passes`), or read a list.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from sqlalchemy import Connection, bindparam, case, delete, func, null, or_, select, tuple_, update

from clipledger.core.errors import Reason
from clipledger.db.database import Database
from clipledger.db.engine import per_dialect
from clipledger.db.settling import DETAIL_MAX
from clipledger.db.tables import UtcTime, source_cursors, sources

NEVER_LISTED = ("hand",)
"""Kinds that hold sightings only: there is no list to read."""

_FAMILIES = (("user", "liked", "stories"),)
"""Kinds whose subject names the same entity: its numeric id is looked up once for all of them."""

_HANDLED = _FAMILIES[0]
"""Kinds whose subject is a handle: `@Alice` is `@alice`, under the spelling that came first."""


@dataclass(frozen=True, slots=True)
class SourceIn:
    """A source to be registered. None leaves a known source's own value as it is, a new one's default."""

    source: str
    kind: str
    subject: str
    now: float
    region: str = ""
    sort: str = ""
    published_within: int = 0
    priority: int | None = None
    every_s: int | None = None
    max_pages: int | None = None


@dataclass(frozen=True, slots=True)
class SourceJob:
    """One claimed source."""

    source: str
    kind: str
    subject: str
    region: str
    sort: str
    published_within: int
    priority: int
    every_s: int | None
    max_pages: int | None
    entity_id: str | None
    cursor: str | None
    cursor_at: float | None
    pass_no: int
    pass_started_at: float | None
    pass_pages: int
    pass_new: int
    pass_stale: int
    full_pass_at: float | None
    failures: int
    token: int
    next_at: float


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One source as the table holds it."""

    source: str
    kind: str
    subject: str
    region: str
    sort: str
    published_within: int
    priority: int
    every_s: int | None
    max_pages: int | None
    added_at: float
    paused_at: float | None
    entity_id: str | None
    declared: int | None
    declared_at: float | None
    cursor: str | None
    cursor_at: float | None
    pass_no: int
    pass_started_at: float | None
    pass_pages: int
    pass_new: int
    pass_stale: int
    full_pass_at: float | None
    pass_end: str | None
    next_at: float
    failures: int
    last_reason: str | None
    last_detail: str | None
    bad_items: int
    lease_until: float | None
    worker: str | None
    token: int
    refresh: str | None


_s = sources
_due = sources.alias("due")


_LISTED = (_s.c.paused_at.is_(None), _s.c.kind.not_in(NEVER_LISTED))
_MINE = (_s.c.source == bindparam("name"), _s.c.token == bindparam("t"))
_KNOWN = select(_s.c.source).where(_s.c.source.in_(bindparam("names", expanding=True)))
_SPELT = select(_s.c.source).where(
    func.lower(_s.c.source).in_(bindparam("names", expanding=True)),
    _s.c.kind.in_(bindparam("kinds", expanding=True)),
)
_INSERT = per_dialect(lambda insert: insert(_s).on_conflict_do_nothing())
_WISH = (
    update(_s)
    .where(_s.c.source == bindparam("name"))
    .values(
        priority=func.coalesce(bindparam("wished_priority"), _s.c.priority),
        every_s=func.coalesce(bindparam("wished_every"), _s.c.every_s),
        max_pages=func.coalesce(bindparam("wished_pages"), _s.c.max_pages),
    )
)
_READ = select(_s.c.pass_started_at).where(
    _s.c.source == bindparam("name"), _s.c.pass_end.is_not(None), _s.c.failures == 0, _s.c.kind != "link"
)
_RESCHEDULE = update(_s).where(_s.c.source == bindparam("name")).values(next_at=bindparam("due", type_=UtcTime))
_READ_NOW = _RESCHEDULE.where(_s.c.kind.not_in(NEVER_LISTED)).values(failures=0)
_ALL = select(_s).order_by(_s.c.source)
_CLAIM = (
    update(_s)
    .where(
        _s.c.source
        == select(_due.c.source)
        .where(
            _due.c.next_at <= bindparam("now", type_=UtcTime),
            _due.c.paused_at.is_(None),
            _due.c.kind.not_in(NEVER_LISTED),
            or_(_due.c.lease_until.is_(None), _due.c.lease_until < bindparam("now", type_=UtcTime)),
        )
        .order_by(_due.c.next_at, _due.c.source)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    .values(token=_s.c.token + 1, worker=bindparam("by"), lease_until=bindparam("until", type_=UtcTime))
    .returning(*(_s.c[name] for name in SourceJob.__slots__))
)
_KIN = (
    select(_s.c.entity_id)
    .where(
        func.lower(_s.c.subject) == func.lower(bindparam("whom")),
        _s.c.kind.in_(bindparam("kinds", expanding=True)),
        _s.c.entity_id.is_not(None),
    )
    .limit(1)
)
_SAVE_ENTITY = (
    update(_s)
    .where(_s.c.source == bindparam("name"))
    .values(
        entity_id=bindparam("entity"),
        declared=func.coalesce(bindparam("told"), _s.c.declared),
        declared_at=func.coalesce(bindparam("told_at", type_=UtcTime), _s.c.declared_at),
    )
)
_FAIL = (
    update(_s)
    .where(*_MINE)
    .values(
        failures=_s.c.failures + 1,
        last_reason=bindparam("reason"),
        last_detail=bindparam("detail"),
        next_at=bindparam("due", type_=UtcTime),
        lease_until=null(),
        worker=null(),
    )
)
_RELEASE = update(_s).where(*_MINE).values(lease_until=null(), worker=null())
_BEGIN = (
    update(_s)
    .where(*_MINE)
    .values(
        pass_no=_s.c.pass_no + 1,
        pass_started_at=bindparam("now", type_=UtcTime),
        pass_pages=0,
        pass_new=0,
        pass_stale=0,
        pass_end=null(),
        cursor=null(),
        cursor_at=null(),
    )
)
_FORGET_CURSORS = delete(source_cursors).where(source_cursors.c.source == bindparam("name"))
_RENEW = (
    update(_s)
    .where(tuple_(_s.c.source, _s.c.token).in_(bindparam("held", expanding=True)), _s.c.worker.is_not(None))
    .values(lease_until=bindparam("until", type_=UtcTime))
    .returning(_s.c.source)
)
_PAUSE = (
    update(_s)
    .where(_s.c.source.in_(bindparam("names", expanding=True)), _s.c.kind.not_in(NEVER_LISTED))
    .values(paused_at=bindparam("at", type_=UtcTime))
    .returning(_s.c.source)
)
_NEXT = select(
    func.min(case((_s.c.lease_until > _s.c.next_at, _s.c.lease_until), else_=_s.c.next_at), type_=UtcTime)
).where(*_LISTED)


class Sources:
    """The tables `sources` and `source_cursors`. Settling calls return False when the lease was lost."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def register(self, source: SourceIn) -> bool:
        """Register one source; True when it was not known."""
        return (await self.register_all([source]))[0]

    async def register_all(self, given: Sequence[SourceIn]) -> list[bool]:
        """Register many in one transaction; say for each whether it was not known."""
        return await self._db.write(lambda connection: _register(connection, given))

    async def all(self) -> list[SourceRow]:
        """List every source by name."""
        return await self._db.read(lambda connection: [SourceRow(*row) for row in connection.execute(_ALL)])

    async def remove(self, source: str) -> bool:
        """Stop reading a source; what it showed stays. False when it is not registered."""
        gone = delete(_s).where(_s.c.source == source)
        return await self._db.write(lambda connection: connection.execute(gone).rowcount == 1)

    async def read_now(self, source: str, now: float) -> bool:
        """Make a source due, whatever it waits for; False when it has no list or is not registered."""
        asked = {"name": source, "due": now}
        return await self._db.write(lambda connection: connection.execute(_READ_NOW, asked).rowcount == 1)

    async def claim_due(self, now: float, lease_s: float, worker: str) -> SourceJob | None:
        """Claim the source that has been due longest; None when none is due. An expired lease is no obstacle."""
        return await self._db.write(lambda connection: _claim(connection, now, now + lease_s, worker))

    async def renew(self, jobs: Sequence[SourceJob], now: float, lease_s: float) -> set[str]:
        """Lengthen the leases of claimed sources; return the names whose lease was lost."""
        asked = {"held": [(job.source, job.token) for job in jobs], "until": now + lease_s}
        kept = await self._db.write(lambda connection: connection.execute(_RENEW, asked).scalars().all())
        return {job.source for job in jobs} - set(kept)

    async def save_entity(self, source: str, entity_id: str, declared: int | None, now: float) -> None:
        """Keep the numeric id behind a source for ever, and how many posts it says it has."""
        told_at = now if declared is not None else None
        told = {"name": source, "entity": entity_id, "told": declared, "told_at": told_at}
        await self._db.write(lambda connection: connection.execute(_SAVE_ENTITY, told))

    async def begin_pass(self, job: SourceJob, now: float) -> bool:
        """Start again from the top of the list, with no cursor met yet."""
        return await self._db.write(lambda connection: _begin(connection, job, now))

    async def fail(self, job: SourceJob, reason: Reason, detail: str, next_at: float) -> bool:
        """Count a failed page and free the source until `next_at`; its pass goes on where it stood."""
        told = {"reason": reason, "detail": detail[:DETAIL_MAX], "due": next_at} | _fence(job)
        return await self._db.write(lambda connection: connection.execute(_FAIL, told).rowcount == 1)

    async def release(self, job: SourceJob) -> bool:
        """Free the source as it stands."""
        return await self._db.write(lambda connection: connection.execute(_RELEASE, _fence(job)).rowcount == 1)

    async def pause(self, names: Sequence[str], at: float | None) -> set[str]:
        """Pause sources since `at`, or let them be read again (None); return the names that are known."""
        told = {"names": list(names), "at": at}
        return set(await self._db.write(lambda connection: connection.execute(_PAUSE, told).scalars().all()))

    async def next_due_at(self) -> float | None:
        """Tell when the earliest source may be claimed: due, and its lease over; None when there is none to list."""
        return await self._db.read(lambda connection: connection.execute(_NEXT).scalar())


def _register(connection: Connection, given: Sequence[SourceIn]) -> list[bool]:
    if not given:
        return []
    given = _as_spelt(connection, given)
    known = set(connection.execute(_KNOWN, {"names": [source.source for source in given]}).scalars())
    connection.execute(_INSERT(connection), [_new_values(source) for source in given])
    connection.execute(_WISH, [_wish_values(source) for source in given])
    for source in given:
        if source.source in known and source.every_s is not None:
            _reschedule(connection, source, source.every_s)
    return [_is_new(known, source.source) for source in given]


def _as_spelt(connection: Connection, given: Sequence[SourceIn]) -> list[SourceIn]:
    """Name sources by handle as they were first spelt: the platform tells no `@Alice` from `@alice`."""
    asked = {"names": [source.source.lower() for source in given if source.kind in _HANDLED], "kinds": _HANDLED}
    spelt = {name.lower(): name for name in connection.execute(_SPELT, asked).scalars()} if asked["names"] else {}
    return [
        replace(source, source=spelt.setdefault(source.source.lower(), source.source))
        if source.kind in _HANDLED
        else source
        for source in given
    ]


def _reschedule(connection: Connection, source: SourceIn, every_s: int) -> None:
    """Let a new interval count from the last pass on; a pass under way or a back-off goes on as it is."""
    read_at = connection.execute(_READ, {"name": source.source}).scalar()
    if read_at is not None:
        connection.execute(_RESCHEDULE, {"name": source.source, "due": max(read_at + every_s, source.now)})


def _is_new(known: set[str], source: str) -> bool:
    if source in known:
        return False
    known.add(source)
    return True


def _new_values(source: SourceIn) -> dict[str, object]:
    row = asdict(source)
    now = row.pop("now")
    return row | {"priority": source.priority or 0, "added_at": now, "next_at": now}


def _wish_values(source: SourceIn) -> dict[str, object]:
    return {
        "name": source.source,
        "wished_priority": source.priority,
        "wished_every": source.every_s,
        "wished_pages": source.max_pages,
    }


def _fence(job: SourceJob) -> dict[str, object]:
    return {"name": job.source, "t": job.token}


def _claim(connection: Connection, now: float, until: float, worker: str) -> SourceJob | None:
    row = connection.execute(_CLAIM, {"now": now, "until": until, "by": worker}).one_or_none()
    if row is None:
        return None
    job = SourceJob(*row)
    return job if job.entity_id is not None else _with_entity(connection, job)


def _with_entity(connection: Connection, job: SourceJob) -> SourceJob:
    kinds = next((family for family in _FAMILIES if job.kind in family), (job.kind,))
    entity_id = connection.execute(_KIN, {"whom": job.subject, "kinds": kinds}).scalar()
    if entity_id is None:
        return job
    connection.execute(_SAVE_ENTITY, {"name": job.source, "entity": entity_id, "told": None, "told_at": None})
    return replace(job, entity_id=entity_id)


def _begin(connection: Connection, job: SourceJob, now: float) -> bool:
    if connection.execute(_BEGIN, _fence(job) | {"now": now}).rowcount != 1:
        return False
    connection.execute(_FORGET_CURSORS, {"name": job.source})
    return True
