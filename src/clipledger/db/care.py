"""The care of stored bytes: when each post's files are read next, who reads or repairs them, and what was found.

A look and a repair are leased and fenced like any attempt; both take the same lease, so no two ever work on one post.
A claim of repairs counts what the day has spent on them and what is under way, in one transaction that excludes
every other. Must not: decide when a post is due (`core.rotation`), or read a file.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, bindparam, delete, func, null, or_, select, update

from clipledger.core.lifecycle import CallReason
from clipledger.core.model import AwemeId
from clipledger.core.rotation import first_due
from clipledger.core.times import read_iso_time, utc_day
from clipledger.db import custody
from clipledger.db.care_tables import fixity
from clipledger.db.catalog import Record, revise
from clipledger.db.custody import CustodyRow
from clipledger.db.database import Database
from clipledger.db.engine import per_dialect
from clipledger.db.tables import UtcTime, limits
from clipledger.db.tables import credits as calls

PLANNED_AT_ONCE = 1000
DETAIL_MAX = 500
_LOCK = "repair"


@dataclass(frozen=True, slots=True)
class Held:
    """One leased post. `due_at` is when it was due, None where that was never planned; `hurt`: known to be damaged."""

    aweme_id: AwemeId
    token: int
    due_at: float | None
    hurt: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How the rotation stands. `overdue`: posts not read for longer than the period; `oldest_at` None: no post."""

    posts: int
    overdue: int
    damaged: int
    oldest_at: float | None


@dataclass(frozen=True, slots=True)
class DamagedPost:
    """A post that is known not to be whole."""

    aweme_id: AwemeId
    damaged_at: float
    damage: str
    tries: int
    tried_at: float | None


_f = fixity
_free = fixity.alias("free")
_NOW = bindparam("now", type_=UtcTime)
_LEASED = (_f.c.aweme_id, _f.c.token, _f.c.due_at, _f.c.damaged_at.is_not(None))
_UNPLANNED = select(_f.c.aweme_id).where(_f.c.due_at.is_(None)).limit(PLANNED_AT_ONCE)
_PLAN = (
    update(_f)
    .where(_f.c.aweme_id == bindparam("id"), _f.c.due_at.is_(None))
    .values(due_at=bindparam("due", type_=UtcTime))
)
_REPLAN = update(_f).where(_f.c.due_at.is_not(None)).values(due_at=null())
_IS_FREE = or_(_free.c.lease_until.is_(None), _free.c.lease_until < _NOW)
_TAKEN = {"token": _f.c.token + 1, "worker": bindparam("by"), "lease_until": bindparam("until", type_=UtcTime)}
_CLAIM = (
    update(_f)
    .where(
        _f.c.aweme_id.in_(
            select(_free.c.aweme_id)
            .where(_free.c.due_at <= bindparam("upto", type_=UtcTime), _IS_FREE)
            .order_by(_free.c.due_at)
            .limit(bindparam("n"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(**_TAKEN)
    .returning(*_LEASED)
)
_CLAIM_DAMAGED = (
    update(_f)
    .where(
        _f.c.aweme_id.in_(
            select(_free.c.aweme_id)
            .where(
                _free.c.damaged_at.is_not(None),
                or_(_free.c.tried_at.is_(None), _free.c.tried_at < bindparam("before", type_=UtcTime)),
                _IS_FREE,
            )
            .order_by(_free.c.tries, _free.c.damaged_at)
            .limit(bindparam("n"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(**_TAKEN)
    .returning(*_LEASED)
)
_ROW = per_dialect(lambda insert: insert(_f).on_conflict_do_nothing())
_HOLD = (
    update(_f)
    .where(_f.c.aweme_id == bindparam("id"), or_(_f.c.lease_until.is_(None), _f.c.lease_until < _NOW))
    .values(**_TAKEN)
    .returning(*_LEASED)
)
_MINE = (_f.c.aweme_id == bindparam("id"), _f.c.token == bindparam("t"))
_FREED = {"lease_until": null(), "worker": null()}
_WHOLE = (
    update(_f)
    .where(*_MINE)
    .values(
        checked_at=_NOW,
        due_at=bindparam("due", type_=UtcTime),
        unread=0,
        damaged_at=null(),
        damage="",
        tries=0,
        tried_at=null(),
        **_FREED,
    )
)
_HURT = (
    update(_f)
    .where(*_MINE)
    .values(
        checked_at=_NOW,
        due_at=bindparam("due", type_=UtcTime),
        unread=0,
        damaged_at=func.coalesce(_f.c.damaged_at, _NOW),
        damage=bindparam("what"),
        **_FREED,
    )
)
_WAS_HURT = select(_f.c.damaged_at).where(*_MINE)
_UNREAD = (
    update(_f)
    .where(*_MINE)
    .values(unread=_f.c.unread + 1, due_at=bindparam("due", type_=UtcTime), **_FREED)
    .returning(_f.c.unread)
)
_TRIED = update(_f).where(*_MINE).values(tried_at=_NOW, tries=_f.c.tries + 1, **_FREED)
_RENEW = update(_f).where(*_MINE).values(lease_until=bindparam("until", type_=UtcTime))
_GIVE_BACK = update(_f).where(*_MINE).values(**_FREED)
_LEAVE = update(_f).where(_f.c.worker == bindparam("by")).values(**_FREED)
_FORGET = delete(_f).where(*_MINE)
_GUARD_ROW = per_dialect(lambda insert: insert(limits).on_conflict_do_nothing())
_GUARD = select(limits.c.name).where(limits.c.name == _LOCK).with_for_update()
_SPENT = select(func.coalesce(func.sum(calls.c.credits), 0)).where(
    calls.c.at >= bindparam("day", type_=UtcTime), calls.c.reason == CallReason.REPAIR
)
_REPAIRING = select(func.count()).select_from(_f).where(_f.c.damaged_at.is_not(None), _f.c.lease_until >= _NOW)
_POSTS = select(func.count(), func.min(_f.c.checked_at)).select_from(_f)
_OVERDUE = select(func.count()).select_from(_f).where(_f.c.checked_at < bindparam("since", type_=UtcTime))
_HURT_COUNT = select(func.count()).select_from(_f).where(_f.c.damaged_at.is_not(None))
_DAMAGED = (
    select(_f.c.aweme_id, _f.c.damaged_at, _f.c.damage, _f.c.tries, _f.c.tried_at)
    .where(_f.c.damaged_at.is_not(None))
    .order_by(_f.c.damaged_at, _f.c.aweme_id)
    .limit(bindparam("n"))
)
_NEXT = select(func.min(_f.c.due_at)).where(_f.c.due_at.is_not(None))


class Care:
    """The table `fixity`. Settling calls with a stale token change nothing and give False."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def plan(self, now: float, period_s: float) -> int:
        """Give up to `PLANNED_AT_ONCE` posts the moment of their first look; return how many there were."""
        return await self._db.write(partial(_plan, now=now, period_s=period_s))

    async def replan(self) -> None:
        """Have every post planned anew: the period changed."""
        await self._db.write(lambda connection: connection.execute(_REPLAN))

    async def claim(self, n: int, now: float, upto: float, lease_s: float, worker: str) -> list[Held]:
        """Lease up to `n` posts that are due until `upto`, those due longest first."""
        asked = {"n": n, "now": now, "upto": upto, "until": now + lease_s, "by": worker}
        return await self._db.write(lambda connection: _held(connection.execute(_CLAIM, asked).all()))

    async def claim_damaged(
        self, n: int, now: float, lease_s: float, worker: str, *, again_s: float, budget: int | None
    ) -> list[Held]:
        """Lease up to `n` damaged posts that no repair was tried on for `again_s`, as far as the day's budget goes."""
        asked = {"now": now, "before": now - again_s, "until": now + lease_s, "by": worker}
        return await self._db.write(partial(_claim_damaged, asked=asked, n=n, budget=budget))

    async def hold(self, aweme_id: AwemeId, now: float, lease_s: float, worker: str) -> Held | None:
        """Lease one post; None when somebody else has it."""
        asked = {"id": aweme_id, "now": now, "until": now + lease_s, "by": worker}
        return await self._db.write(partial(_hold, asked=asked))

    async def renew(self, held: Held, until: float) -> bool:
        """Lengthen a lease; False when it was lost."""
        told = _fence(held) | {"until": until}
        return await self._db.write(lambda connection: connection.execute(_RENEW, told).rowcount == 1)

    async def checked(
        self, held: Held, due_at: float, now: float, findings: Sequence[str] = (), acts: Sequence[CustodyRow] = ()
    ) -> bool:
        """Note that all files were read, what was found, and when they are read next. `acts`: of damage that is new."""
        return await self._db.write(partial(_checked, held=held, due=due_at, now=now, findings=findings, acts=acts))

    async def unread(self, held: Held, again_at: float) -> int:
        """Note that the store did not give the files; give how often in a row, 0 when the lease was lost."""
        told = _fence(held) | {"due": again_at}
        return await self._db.write(lambda connection: connection.execute(_UNREAD, told).scalar() or 0)

    async def mended(
        self, held: Held, due_at: float, now: float, acts: Sequence[CustodyRow], record: Record | None = None
    ) -> bool:
        """Note that a post is whole again. `record`: what the index is to hold from now on, where that changed."""
        return await self._db.write(partial(_mended, held=held, due=due_at, now=now, acts=acts, record=record))

    async def not_mended(
        self, held: Held, now: float, acts: Sequence[CustodyRow], record: Record | None = None
    ) -> bool:
        """Note that a repair was tried and the post is not whole; what was mended of it is kept."""
        return await self._db.write(partial(_not_mended, held=held, now=now, acts=acts, record=record))

    async def give_back(self, held: Collection[Held]) -> None:
        """Free what was leased and not looked at; it is due as it was."""
        if held:
            await self._db.write(lambda connection: connection.execute(_GIVE_BACK, [_fence(each) for each in held]))

    async def leave(self, worker: str) -> None:
        """Free whatever a worker still holds."""
        await self._db.write(lambda connection: connection.execute(_LEAVE, {"by": worker}))

    async def forget(self, held: Held) -> None:
        """Drop a post that is no longer archived."""
        await self._db.write(lambda connection: connection.execute(_FORGET, _fence(held)))

    async def next_at(self) -> float | None:
        """Tell when the next look is due."""
        return await self._db.read(lambda connection: connection.execute(_NEXT).scalar())

    async def standing(self, now: float, period_s: float | None) -> Standing:
        """Tell how the rotation stands; nothing is overdue where there is no period."""
        return await self._db.read(partial(standing, now=now, period_s=period_s))

    async def damaged(self, limit: int) -> list[DamagedPost]:
        """List the posts that are known to be damaged, the oldest finding first."""
        return await self._db.read(
            lambda connection: [DamagedPost(*row) for row in connection.execute(_DAMAGED, {"n": limit})]
        )


def standing(connection: Connection, now: float, period_s: float | None) -> Standing:
    """Tell how the rotation stands, on an open connection."""
    posts, oldest_at = connection.execute(_POSTS).one()
    overdue = 0
    if period_s is not None:
        overdue = connection.execute(_OVERDUE, {"since": now - period_s}).scalar_one()
    return Standing(posts, overdue, connection.execute(_HURT_COUNT).scalar_one(), oldest_at)


def _plan(connection: Connection, now: float, period_s: float) -> int:
    ids = [AwemeId(row) for row in connection.execute(_UNPLANNED).scalars()]
    if ids:
        connection.execute(_PLAN, [{"id": each, "due": first_due(each, now, period_s)} for each in ids])
    return len(ids)


def _held(rows: Sequence[Sequence[object]]) -> list[Held]:
    found = [Held(*row) for row in rows]  # type: ignore[arg-type]
    return sorted(found, key=lambda held: (held.due_at or 0.0, held.aweme_id))


def _hold(connection: Connection, asked: dict[str, object]) -> Held | None:
    connection.execute(_ROW(connection), {"aweme_id": asked["id"], "checked_at": 0.0})
    row = connection.execute(_HOLD, asked).one_or_none()
    return Held(*row) if row is not None else None


def _claim_damaged(connection: Connection, asked: dict[str, object], n: int, budget: int | None) -> list[Held]:
    if budget is not None:
        # The row must be there to be locked: else two processes could both find the same credit unspent.
        connection.execute(_GUARD_ROW(connection), {"name": _LOCK, "next_at": 0.0, "throttles": 0})
        connection.execute(_GUARD)
        n = min(n, budget - spent(connection, asked["now"]) - connection.execute(_REPAIRING, asked).scalar_one())
    return _held(connection.execute(_CLAIM_DAMAGED, asked | {"n": n}).all()) if n > 0 else []


def spent(connection: Connection, now: object) -> int:
    """Give the credits that repairs cost on the UTC day of `now` (unix seconds)."""
    assert isinstance(now, float)
    return int(connection.execute(_SPENT, {"day": read_iso_time(f"{utc_day(now)}T00:00:00Z")}).scalar_one())


def _checked(
    connection: Connection, held: Held, due: float, now: float, findings: Sequence[str], acts: Sequence[CustodyRow]
) -> bool:
    told = _fence(held) | {"now": now, "due": due}
    if not findings:
        return connection.execute(_WHOLE, told).rowcount == 1
    known = connection.execute(_WAS_HURT, told).scalar()
    if connection.execute(_HURT, told | {"what": "; ".join(findings)[:DETAIL_MAX]}).rowcount != 1:
        return False
    if known is None:
        custody.note(connection, acts)
    return True


def _mended(
    connection: Connection, held: Held, due: float, now: float, acts: Sequence[CustodyRow], record: Record | None
) -> bool:
    if connection.execute(_WHOLE, _fence(held) | {"now": now, "due": due}).rowcount != 1:
        return False
    _written(connection, acts, record)
    return True


def _not_mended(
    connection: Connection, held: Held, now: float, acts: Sequence[CustodyRow], record: Record | None
) -> bool:
    if connection.execute(_TRIED, _fence(held) | {"now": now}).rowcount != 1:
        return False
    _written(connection, acts, record)
    return True


def _written(connection: Connection, acts: Sequence[CustodyRow], record: Record | None) -> None:
    custody.note(connection, acts)
    if record is not None:
        revise(connection, record)


def _fence(held: Held) -> dict[str, object]:
    return {"id": held.aweme_id, "t": held.token}
