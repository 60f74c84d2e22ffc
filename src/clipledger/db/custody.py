"""What was done to stored bytes after they were stored: damage, repairs, other bytes in their place. Append only.

Statements on a connection, and `Custody`, which looks. Must not: decide what is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

from sqlalchemy import Connection, bindparam, insert, select

from clipledger.core.model import AwemeId, FileKind, ObjectKey
from clipledger.core.sidecar import Replaced
from clipledger.db.care_tables import custody
from clipledger.db.database import Database


class Act(StrEnum):
    """What was done."""

    DAMAGED = "damaged"
    RESTORED = "restored"
    REPLACED = "replaced"
    REWRITTEN = "rewritten"
    NOT_REPAIRED = "not_repaired"


@dataclass(frozen=True, slots=True)
class CustodyRow:
    """One act. `bytes` and `sha256` stand since, `was_...` are what the index held before; None where there is none."""

    at: float
    aweme_id: AwemeId
    act: str
    kind: str
    storage_key: ObjectKey
    bytes: int | None = None
    sha256: str | None = None
    was_key: ObjectKey | None = None
    was_bytes: int | None = None
    was_sha256: str | None = None
    detail: str = ""
    worker: str | None = None


_c = custody
_OF = (
    select(*(column for column in _c.c if column is not _c.c.seq))
    .where(_c.c.aweme_id == bindparam("id"))
    .order_by(_c.c.seq)
)


def note(connection: Connection, rows: Sequence[CustodyRow]) -> None:
    """Write acts down."""
    if rows:
        connection.execute(insert(_c), [asdict(row) for row in rows])


def replacement(row: CustodyRow) -> Replaced | None:
    """Read an act as a sidecar tells it; None for one that replaced nothing."""
    old, new = (row.was_bytes, row.was_sha256), (row.bytes, row.sha256)
    if row.act != Act.REPLACED or row.was_key is None or None in (*old, *new):
        return None
    return Replaced(row.at, FileKind(row.kind), row.was_key, *old, row.storage_key, *new)  # type: ignore[arg-type]


def told(aweme_id: AwemeId, replaced: Sequence[Replaced]) -> list[CustodyRow]:
    """Read the acts that a sidecar tells of its post."""
    return [
        CustodyRow(
            at=each.at,
            aweme_id=aweme_id,
            act=Act.REPLACED,
            kind=each.kind,
            storage_key=each.new_key,
            bytes=each.new_bytes,
            sha256=each.new_sha256,
            was_key=each.key,
            was_bytes=each.bytes,
            was_sha256=each.sha256,
        )
        for each in replaced
    ]


class Custody:
    """Look at the table `custody`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def of(self, aweme_id: AwemeId) -> list[CustodyRow]:
        """List what was done to one post's bytes, oldest first."""
        return await self._db.read(
            lambda connection: [CustodyRow(*row) for row in connection.execute(_OF, {"id": aweme_id})]
        )
