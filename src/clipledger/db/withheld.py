"""What is kept out, and the receipts of what was taken out: looked up, and written where ids come in.

Statements on a connection, and `Receipts`. Must not: take anything out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import BindParameter, Connection, Row, Select, bindparam, func, null, select, update

from clipledger.core.model import AwemeId, State
from clipledger.core.tombstone import RemovedFile
from clipledger.db.custody_tables import removals, removed_files, withheld_authors
from clipledger.db.database import Database
from clipledger.db.engine import per_dialect
from clipledger.db.tables import UtcTime, archive_queue

QUARANTINED, PURGING, PURGED = "quarantined", "purging", "purged"
"""The states of a removal."""

AUTHOR_WITHHELD = "its author is withheld"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What remains of a removal."""

    aweme_id: AwemeId
    state: str
    reason: str
    request: str
    rule: str
    who: str
    asked_at: float
    purge_at: float
    purged_at: float | None
    files: tuple[RemovedFile, ...] = ()


_q, _r = archive_queue, removals
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_TOLD = tuple(_r.c[name] for name in Receipt.__slots__[:-1])
_WITHHELD = select(_q.c.aweme_id).where(_q.c.aweme_id.in_(_ids), _q.c.state == State.WITHHELD)
_AUTHORS = select(withheld_authors.c.author_id).where(withheld_authors.c.author_id.in_(_ids))
_WITHHOLD = (
    update(_q)
    .where(_q.c.aweme_id.in_(_ids))
    .values(
        state=State.WITHHELD,
        settled_at=bindparam("now", type_=UtcTime),
        token=_q.c.token + 1,  # whoever has it under way has lost it
        lease_until=null(),
        worker=null(),
        suspect_at=null(),
        suspect_reason=null(),
        hint=null(),
    )
)
_RECEIPT = per_dialect(lambda into: into(_r).on_conflict_do_nothing())
_RECEIPTS = (
    select(*_TOLD)
    .where(_r.c.aweme_id > bindparam("after"), _r.c.asked_at >= bindparam("since", type_=UtcTime))
    .order_by(_r.c.aweme_id)
    .limit(bindparam("n"))
)
_SOME = select(*_TOLD).where(_r.c.aweme_id.in_(_ids)).order_by(_r.c.aweme_id)
_FILES = (
    select(removed_files.c.aweme_id, removed_files.c.sha256, removed_files.c.kind, removed_files.c.bytes)
    .where(removed_files.c.aweme_id.in_(_ids))
    .order_by(removed_files.c.aweme_id, removed_files.c.sha256)
)
_WAITING = select(func.count(), func.min(_r.c.purge_at)).where(_r.c.state != PURGED)


def withheld(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Give those of `ids` that are withheld."""
    return set(connection.execute(_WITHHELD, {"ids": list(ids)}).scalars())


def withheld_of(connection: Connection, author_ids: Iterable[str]) -> set[str]:
    """Give those authors of whom nothing is archived."""
    asked = [each for each in set(author_ids) if each]
    return set(connection.execute(_AUTHORS, {"ids": asked}).scalars()) if asked else set()


def withhold(connection: Connection, ids: Sequence[str], now: float) -> None:
    """Move ids to withheld, from whatever state; whoever has one under way has lost it."""
    connection.execute(_WITHHOLD, {"ids": list(ids), "now": now})


def write_receipts(connection: Connection, rows: Sequence[dict[str, object]]) -> None:
    """Write receipts; one that stands is left as it is."""
    if rows:
        connection.execute(_RECEIPT(connection), list(rows))


def refuse(connection: Connection, ids: Iterable[str], now: float) -> None:
    """Write the receipts of ids that are kept out for their author: there was never anything to remove."""
    plain: dict[str, object] = {
        "state": PURGED,
        "reason": AUTHOR_WITHHELD,
        "request": "",
        "rule": "",
        "who": "",
        "was": State.PENDING,
    }
    times = {"asked_at": now, "purge_at": now, "purged_at": now}
    write_receipts(connection, [{"aweme_id": aweme_id} | plain | times for aweme_id in ids])


def refuse_running(connection: Connection, authors: Mapping[str, str], now: float) -> None:
    """Withhold those posts under way that turn out to be a withheld author's; `authors` by the post's id."""
    if kept_out := withheld_of(connection, authors.values()):
        ids = [aweme_id for aweme_id, author in authors.items() if author in kept_out]
        withhold(connection, ids, now)
        refuse(connection, ids, now)


class Receipts:
    """Look at the table `removals`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, since: float, after: str, limit: int) -> list[Receipt]:
        """List receipts by id, behind `after`, asked for since a moment."""
        asked = {"since": since, "after": after, "n": limit}
        return await self._db.read(partial(_receipts, statement=_RECEIPTS, asked=asked))

    async def of(self, aweme_id: AwemeId) -> Receipt | None:
        """Look one receipt up."""
        found = await self.of_all([aweme_id])
        return found[0] if found else None

    async def of_all(self, ids: Sequence[str]) -> list[Receipt]:
        """Look receipts up, by id."""
        return await self._db.read(partial(_receipts, statement=_SOME, asked={"ids": list(ids)}))

    async def waiting(self) -> tuple[int, float | None]:
        """Count what is not purged yet, and tell when the first of it is to be."""
        count, at = await self._db.read(lambda connection: connection.execute(_WAITING).one())
        return count, at


def _receipts(connection: Connection, statement: Select[Any], asked: dict[str, object]) -> list[Receipt]:
    rows = connection.execute(statement, asked).all()
    found: dict[str, list[RemovedFile]] = {}
    for aweme_id, *told in connection.execute(_FILES, {"ids": [row[0] for row in rows]}) if rows else ():
        found.setdefault(aweme_id, []).append(RemovedFile(*told))
    return [_receipt(row, found) for row in rows]


def _receipt(row: Row[Any], found: dict[str, list[RemovedFile]]) -> Receipt:
    return Receipt(**row._mapping, files=tuple(found.get(row[0], ())))
