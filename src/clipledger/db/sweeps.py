"""Sweeps over the whole archive, cut into ranges of ids that any process may lease, leave and take up again.

A range's cursor, its tallies and what was found below the cursor change in one transaction, fenced by the
range's token: what is counted is counted once, whoever dies when. Must not: know what a sweep looks at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, case, delete, func, insert, null, or_, select, update

from clipledger.db.backend import in_order
from clipledger.db.books import Finding
from clipledger.db.database import Database
from clipledger.db.tables import UtcTime, archive_queue, sweep_findings, sweep_ranges, sweeps

RANGE_IDS = 20_000
"""Ids in a range, at most: a hundred million posts make 5,000 ranges, and a range is an hour of one process."""

RANGE_IDS_MIN = 20

KEPT = 10
"""Sweeps whose results are kept; older ones go when a new one ends."""


@dataclass(frozen=True, slots=True)
class Range:
    """One leased range: ids after `cursor`, up to and with `last_id`."""

    sweep: int
    nth: int
    cursor: str
    last_id: str
    token: int


@dataclass(frozen=True, slots=True)
class Step:
    """What was done since a range's last step: up to `cursor`, with what tallies and findings."""

    cursor: str
    done: bool
    ids: int
    files: int
    bytes: int
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class Standing:
    """How a sweep stands. `passed` of `planned` ids lie behind the cursors; ids that are not archived count too."""

    sweep: int
    began_at: float
    ended_at: float | None
    planned: int
    passed: int
    ranges: int
    ranges_done: int
    ids: int
    files: int
    bytes: int
    findings: int


_s, _r, _f, _q = sweeps, sweep_ranges, sweep_findings, archive_queue
_free = sweep_ranges.alias("free")

_COUNT = select(func.count()).select_from(select(_q.c.aweme_id).limit(bindparam("cap")).subquery())
_AFTER = select(_q.c.aweme_id).where(_q.c.aweme_id > bindparam("after")).order_by(_q.c.aweme_id)
_LAST_OF = _AFTER.offset(bindparam("skip")).limit(1)
_REST = select(func.count(), func.max(_q.c.aweme_id)).where(_q.c.aweme_id > bindparam("after"))
_OPEN = select(_s.c.sweep).where(_s.c.kind == bindparam("which"), _s.c.ended_at.is_(None)).order_by(_s.c.sweep.desc())
_BEGIN = insert(_s).returning(_s.c.sweep)
_CLAIM = (
    update(_r)
    .where(
        _r.c.sweep == bindparam("of"),
        _r.c.nth
        == select(_free.c.nth)
        .where(
            _free.c.sweep == bindparam("of"),
            _free.c.done_at.is_(None),
            or_(_free.c.lease_until.is_(None), _free.c.lease_until < bindparam("now", type_=UtcTime)),
        )
        .order_by(_free.c.nth)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery(),
    )
    .values(token=_r.c.token + 1, worker=bindparam("by"), lease_until=bindparam("until", type_=UtcTime))
    .returning(_r.c.sweep, _r.c.nth, _r.c.cursor, _r.c.last_id, _r.c.token)
)
_MINE = (_r.c.sweep == bindparam("of"), _r.c.nth == bindparam("n"), _r.c.token == bindparam("t"))
_SAVE = (
    update(_r)
    .where(*_MINE)
    .values(
        cursor=bindparam("at"),
        ids=_r.c.ids + bindparam("more_ids"),
        files=_r.c.files + bindparam("more_files"),
        bytes=_r.c.bytes + bindparam("more_bytes"),
        findings=_r.c.findings + bindparam("more_findings"),
        done_at=bindparam("finished", type_=UtcTime),
        lease_until=bindparam("until", type_=UtcTime),
    )
)
_RENEW = update(_r).where(*_MINE).values(lease_until=bindparam("until", type_=UtcTime))
_RELEASE = update(_r).where(*_MINE).values(lease_until=null(), worker=null())
_LEFT = select(func.count()).where(_r.c.sweep == bindparam("of"), _r.c.done_at.is_(None))
_END = (
    update(_s)
    .where(_s.c.sweep == bindparam("of"), _s.c.ended_at.is_(None))
    .values(ended_at=bindparam("now", type_=UtcTime))
)
_FORGET = delete(_s).where(
    _s.c.kind == select(_s.c.kind).where(_s.c.sweep == bindparam("of")).scalar_subquery(),
    _s.c.sweep <= bindparam("of") - KEPT,
)
_DROP = delete(_s).where(_s.c.sweep == bindparam("of"))
_ROW = select(_s.c.sweep, _s.c.began_at, _s.c.ended_at, _s.c.planned_ids).where(_s.c.sweep == bindparam("of"))
_SUMS = select(
    func.sum(case((_r.c.done_at.is_not(None), _r.c.planned_ids), else_=_r.c.ids)),
    func.count(),
    func.count(_r.c.done_at),
    *(func.sum(column) for column in (_r.c.ids, _r.c.files, _r.c.bytes, _r.c.findings)),
).where(_r.c.sweep == bindparam("of"))
_FOUND = (
    select(_f.c.aweme_id, _f.c.what)
    .where(_f.c.sweep == bindparam("of"))
    .order_by(_f.c.aweme_id, _f.c.seq)
    .limit(bindparam("n"))
)


class Sweeps:
    """The tables `sweeps`, `sweep_ranges` and `sweep_findings`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def open(self, kind: str) -> int | None:
        """Give the sweep of this kind that is not done yet; None when there is none."""
        return await self._db.read(lambda connection: connection.execute(_OPEN, {"which": kind}).scalar())

    async def plan(self, kind: str, now: float, parts: int) -> int:
        """Cut every id known now into `parts` ranges or more, and begin; one that is open already is given instead.

        Quantiles of the primary key, found one after the other: no more than the bounds is ever held.
        """
        bounds = await self._bounds(parts)
        return await self._db.write(lambda connection: _begin(connection, kind, now, bounds))

    async def claim(self, sweep: int, now: float, lease_s: float, worker: str) -> Range | None:
        """Lease the next range that nobody holds; None when there is none now."""
        asked = {"of": sweep, "now": now, "until": now + lease_s, "by": worker}
        row = await self._db.write(lambda connection: connection.execute(_CLAIM, asked).one_or_none())
        return Range(*row) if row is not None else None

    async def save(self, held: Range, step: Step, now: float, lease_s: float) -> bool:
        """Write a step down; False, and nothing is counted, when the lease was lost."""
        return await self._db.write(lambda connection: _saved(connection, held, step, now, lease_s))

    async def renew(self, held: Range, until: float) -> bool:
        """Lengthen a lease; False when it was lost."""
        told = _fence(held) | {"until": until}
        return await self._db.write(lambda connection: connection.execute(_RENEW, told).rowcount == 1)

    async def release(self, held: Range) -> None:
        """Leave a range as it stands."""
        await self._db.write(lambda connection: connection.execute(_RELEASE, _fence(held)))

    async def end(self, sweep: int, now: float) -> bool:
        """Close a sweep once no range is left, and drop results older than the last `KEPT`; False while some are."""
        return await self._db.write(lambda connection: _end(connection, sweep, now))

    async def drop(self, sweep: int) -> None:
        """Forget a sweep and what it found."""
        await self._db.write(lambda connection: connection.execute(_DROP, {"of": sweep}))

    async def standing(self, sweep: int) -> Standing:
        """Add a sweep's ranges up."""
        return await self._db.read(lambda connection: _standing(connection, sweep))

    async def findings(self, sweep: int, limit: int) -> list[Finding]:
        """List what a sweep found, by id."""
        asked = {"of": sweep, "n": limit}
        return await self._db.read(lambda connection: [Finding(*row) for row in connection.execute(_FOUND, asked)])

    async def _bounds(self, parts: int) -> list[tuple[str, str, int]]:
        cap = parts * RANGE_IDS
        count = await self._db.read(lambda connection: connection.execute(_COUNT, {"cap": cap}).scalar_one())
        size = max(-(-count // parts), RANGE_IDS_MIN)
        bounds: list[tuple[str, str, int]] = []
        after = ""
        while (bound := await self._next_bound(after, size)) is not None:
            bounds.append(bound)
            after = bound[1]
        return bounds

    async def _next_bound(self, after: str, size: int) -> tuple[str, str, int] | None:
        return await self._db.read(lambda connection: _bound(connection, after, size))


def _bound(connection: Connection, after: str, size: int) -> tuple[str, str, int] | None:
    last = connection.execute(_LAST_OF, {"after": after, "skip": size - 1}).scalar()
    if last is not None:
        in_order(after, [last])
        return after, last, size
    count, last = connection.execute(_REST, {"after": after}).one()
    return (after, last, count) if count else None


def _begin(connection: Connection, kind: str, now: float, bounds: Sequence[tuple[str, str, int]]) -> int:
    known: int | None = connection.execute(_OPEN, {"which": kind}).scalar()
    if known is not None:
        return known
    planned = sum(count for _, _, count in bounds)
    row: dict[str, object] = {"kind": kind, "began_at": now, "planned_ids": planned}
    sweep: int = connection.execute(_BEGIN, row).scalar_one()
    rows = [
        {"sweep": sweep, "nth": nth, "cursor": after, "last_id": last, "planned_ids": count}
        for nth, (after, last, count) in enumerate(bounds)
    ]
    if rows:
        connection.execute(insert(_r), rows)
    return sweep


def _saved(connection: Connection, held: Range, step: Step, now: float, lease_s: float) -> bool:
    told = _fence(held) | {
        "at": step.cursor,
        "more_ids": step.ids,
        "more_files": step.files,
        "more_bytes": step.bytes,
        "more_findings": len(step.findings),
        "finished": now if step.done else None,
        "until": None if step.done else now + lease_s,
    }
    if connection.execute(_SAVE, told).rowcount != 1:
        return False
    if step.findings:
        rows = [{"sweep": held.sweep, "aweme_id": found.aweme_id, "what": found.what} for found in step.findings]
        connection.execute(insert(_f), rows)
    return True


def _end(connection: Connection, sweep: int, now: float) -> bool:
    if connection.execute(_LEFT, {"of": sweep}).scalar_one():
        return False
    connection.execute(_END, {"of": sweep, "now": now})
    connection.execute(_FORGET, {"of": sweep})
    return True


def _standing(connection: Connection, sweep: int) -> Standing:
    number, began_at, ended_at, planned = connection.execute(_ROW, {"of": sweep}).one()
    passed, ranges, done, ids, files, size, findings = connection.execute(_SUMS, {"of": sweep}).one()
    return Standing(
        sweep=number,
        began_at=began_at,
        ended_at=ended_at,
        planned=planned,
        passed=int(passed or 0),
        ranges=ranges,
        ranges_done=done,
        ids=int(ids or 0),
        files=int(files or 0),
        bytes=int(size or 0),
        findings=int(findings or 0),
    )


def _fence(held: Range) -> dict[str, object]:
    return {"of": held.sweep, "n": held.nth, "t": held.token}
