"""Videos whose very bytes more posts were served than is usual: how each alarm stands, who holds them, who waits.

An alarm is a row of `switches`, so that every process sees it; its posts are those whose `video_sha256` it names.
Must not: decide when there is one, which is for `stages.likeness`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, func, literal_column, select, union, update

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import PARKED_S, same_bytes_probe_at
from clipledger.core.model import AwemeId, FileKind, State
from clipledger.db.database import Database
from clipledger.db.switches import Switch, Switches
from clipledger.db.tables import UtcTime, archive_queue, files, switches

RAISED, ALLOWED, DISPROVED = "raised", "allowed", "disproved"
"""How an alarm stands: posts wait; the operator accepts the bytes; they were found to stand in for others."""

_NAME = "same_bytes:"


@dataclass(frozen=True, slots=True)
class Alarm:
    """One video for many posts: how it stands since when (unix seconds), on what evidence, and how many have it."""

    sha256: str
    state: str
    since: float
    evidence: str
    archived: int
    waiting: int


_q = archive_queue
_WHOSE = _q.c.video_sha256 == bindparam("sha256")
_WAITS = (_q.c.state == State.PENDING, _q.c.last_reason == Reason.SAME_BYTES, _WHOSE)
_HOLDERS = select(func.count()).select_from(
    union(
        select(_q.c.aweme_id).where(_WHOSE),
        select(files.c.aweme_id).where(files.c.sha256 == bindparam("sha256"), files.c.kind == FileKind.VIDEO),
    )
    .limit(bindparam("most"))
    .subquery()
)
_SOME_STATES = select(switches.c.name, switches.c.state).where(switches.c.name.in_(bindparam("names", expanding=True)))
_shas: BindParameter[Any] = bindparam("shas", expanding=True)
_held = union(
    select(_q.c.video_sha256.label("sha256"), _q.c.aweme_id).where(_q.c.video_sha256.in_(_shas)),
    select(files.c.sha256, files.c.aweme_id).where(files.c.sha256.in_(_shas), files.c.kind == FileKind.VIDEO),
).subquery()
_HELD = select(_held.c.sha256, func.count()).group_by(_held.c.sha256)
_ALL = select(switches).where(switches.c.name.startswith(_NAME)).order_by(switches.c.since, switches.c.name)
_STATES = select(_q.c.state, func.count()).where(_WHOSE).group_by(_q.c.state)
_WAITING = select(func.count(), func.min(_q.c.due_at), func.max(_q.c.due_at)).where(*_WAITS)
_FIRST = select(_q.c.aweme_id).where(*_WAITS).order_by(_q.c.due_at, _q.c.aweme_id).limit(1)
_HASTEN = update(_q).where(*_WAITS).values(due_at=bindparam("now", type_=UtcTime))
_HASTEN_ONE = (
    update(_q)
    .where(_q.c.aweme_id == bindparam("id"), _q.c.state == State.PENDING)
    .values(due_at=bindparam("now", type_=UtcTime))
)
_RAISED = select(func.count()).where(switches.c.name.startswith(_NAME), switches.c.state != ALLOWED)
_SERVED = select(_q.c.video_sha256).where(
    _q.c.aweme_id.in_(bindparam("ids", expanding=True)), _q.c.video_sha256.is_not(None)
)
_DOUBTED = (
    select(_q.c.aweme_id)
    .where(
        _q.c.state.in_([literal_column("'archived'"), literal_column("'stored'")]),
        _q.c.video_sha256.in_(bindparam("shas", expanding=True)),
    )
    .order_by(_q.c.aweme_id)
)


class Alarms:
    """The alarms of one archive."""

    def __init__(self, db: Database) -> None:
        self._db, self._switches = db, Switches(db)
        self._standing = db.gathered(_standing)

    async def state(self, sha256: str) -> str | None:
        """Say how the alarm about some bytes stands; None when there is none."""
        switch = await self._switches.get(_NAME + sha256)
        return switch.state if switch is not None else None

    async def note(self, sha256: str, state: str, now: float, evidence: str) -> None:
        """Write down how an alarm stands now."""
        await self._switches.set(Switch(_NAME + sha256, state, now, evidence))

    async def holders(self, sha256: str, most: int) -> int:
        """Count the posts that were served some bytes as their video; stop at `most`."""
        asked = {"sha256": sha256, "most": most}
        return await self._db.read(lambda connection: connection.execute(_HOLDERS, asked).scalar_one())

    async def standing(self, sha256: str, most: int) -> tuple[str | None, int]:
        """Give `state` and `holders` at once: what every download asks."""
        return await self._standing((sha256, most))

    async def all(self) -> list[Alarm]:
        """List the alarms, the oldest first."""
        return await self._db.read(_all)

    async def release(self, sha256: str, now: float) -> int:
        """Make due what waits because of some bytes; return how many."""
        asked = {"sha256": sha256, "now": now}
        return await self._db.write(lambda connection: connection.execute(_HASTEN, asked).rowcount)

    async def probe(self, now: float) -> int:
        """Make one post of each alarm due when it is time to look whether it still is served the same."""
        return await self._db.write(lambda connection: _probe(connection, now))

    async def served(self, ids: Sequence[AwemeId]) -> list[str]:
        """List the bytes that some posts were served as their videos."""
        asked = {"ids": list(ids)}
        return sorted(set(await self._db.read(lambda connection: connection.execute(_SERVED, asked).scalars().all())))

    async def doubted(self) -> list[AwemeId]:
        """List archived posts whose stored bytes were found to stand in for others': they are to be fetched anew."""
        found = [alarm.sha256 for alarm in await self.all() if alarm.state == DISPROVED]
        rows = await self._db.read(lambda connection: connection.execute(_DOUBTED, {"shas": found}).scalars().all())
        return [AwemeId(row) for row in rows]


def standing(connection: Connection) -> int:
    """Count the alarms that the operator has not answered."""
    return connection.execute(_RAISED).scalar_one()


def _standing(connection: Connection, asked: Sequence[tuple[str, int]]) -> list[tuple[str | None, int]]:
    names = {"names": [_NAME + sha256 for sha256, _ in asked]}
    states = {name: state for name, state in connection.execute(_SOME_STATES, names)}
    quiet = [sha256 for sha256, _ in asked if _NAME + sha256 not in states]
    # Whose alarm was raised is not counted again: it may have as many holders as there are posts.
    rows = connection.execute(_HELD, {"shas": quiet}).all() if quiet else ()
    held: dict[str, int] = {sha256: count for sha256, count in rows}
    return [(states.get(_NAME + sha256), min(held.get(sha256, 0), most)) for sha256, most in asked]


def _all(connection: Connection) -> list[Alarm]:
    return [_alarm(connection, Switch(*row)) for row in connection.execute(_ALL).all()]


def _alarm(connection: Connection, switch: Switch) -> Alarm:
    sha256 = switch.name.removeprefix(_NAME)
    states = {state: count for state, count in connection.execute(_STATES, {"sha256": sha256})}
    waiting = connection.execute(_WAITING, {"sha256": sha256}).one()[0]
    return Alarm(sha256, switch.state, switch.since, switch.evidence, states.get(State.ARCHIVED, 0), waiting)


def _probe(connection: Connection, now: float) -> int:
    probes = 0
    for row in connection.execute(_ALL).all():
        switch = Switch(*row)
        asked = {"sha256": switch.name.removeprefix(_NAME)}
        count, first_due, last_due = connection.execute(_WAITING, asked).one()
        if not count or switch.state == ALLOWED or first_due <= now:
            continue
        if same_bytes_probe_at(switch.since, last_due - PARKED_S, now) <= now:
            probe = connection.execute(_FIRST, asked).scalar_one()
            probes += connection.execute(_HASTEN_ONE, {"id": probe, "now": now}).rowcount
    return probes
