"""Switches that every process of the archive sees: the breaker and the operator's pause, each with its why."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sqlalchemy import bindparam, select
from sqlalchemy.dialects.sqlite import Insert

from clipledger.db.database import Database
from clipledger.db.engine import InsertInto, per_dialect
from clipledger.db.tables import switches

PAUSE, PAUSED, RESUMED = "pause", "paused", "resumed"
"""The operator's switch and its two states; one that was never set is not paused."""


@dataclass(frozen=True, slots=True)
class Switch:
    """How a switch stands, since when (unix seconds), on what evidence."""

    name: str
    state: str
    since: float
    evidence: str = ""


_GET = select(switches).where(switches.c.name == bindparam("which"))


@per_dialect
def _set(insert: InsertInto) -> Insert:
    statement = insert(switches)
    told = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["name"], set_={"state": told.state, "since": told.since, "evidence": told.evidence}
    )


class Switches:
    """The `switches` table."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, name: str) -> Switch | None:
        """Look a switch up; None when it was never set."""
        row = await self._db.read(lambda connection: connection.execute(_GET, {"which": name}).one_or_none())
        return Switch(*row) if row is not None else None

    async def set(self, switch: Switch) -> None:
        """Set a switch."""
        await self._db.write(lambda connection: connection.execute(_set(connection), asdict(switch)))
