"""The numbers of committed transactions: how a writer learns whether a commit stands whose answer was lost.

Each transaction leaves its number in its writer's row of `commits`, which then stands exactly if the
transaction does. Must not: decide what follows (`database.py`), or be used where no answer can be lost.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import Insert
from sqlalchemy.sql.dml import ReturningInsert

from clipledger.db.engine import InsertInto, per_dialect
from clipledger.db.tables import UtcTime, commits

AGED_S = 86_400.0
"""A writer silent for so long will ask no more: no outage is waited out for a day."""

_VALUES = {"writer": bindparam("by"), "number": bindparam("n"), "at": func.now()}


@per_dialect
def _note(insert: InsertInto) -> Insert:
    statement = insert(commits).values(_VALUES)
    told = statement.excluded
    return statement.on_conflict_do_update(index_elements=["writer"], set_={"number": told.number, "at": told.at})


@per_dialect
def _ask(insert: InsertInto) -> ReturningInsert[int]:
    # An insert, since it waits where a plain read would not: for the lost transaction itself, should the
    # server still be about to commit it, even if the row is that transaction's own first.
    statement = insert(commits).values(_VALUES)
    asked = statement.on_conflict_do_update(index_elements=["writer"], set_={"at": statement.excluded.at})
    return asked.returning(commits.c.number)


_old = commits.alias("old")
_FORGET = delete(commits).where(
    commits.c.writer.in_(
        select(_old.c.writer)
        .where(_old.c.at < bindparam("before", type_=UtcTime))
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True)
    )
)


class CommitNotes:
    """One writer's notes. Used in one thread at a time."""

    def __init__(self, writer: str) -> None:
        self._writer = writer
        self._number = 0

    def note(self, connection: Connection) -> None:
        """Leave the next number in the open transaction."""
        self._number += 1
        connection.execute(_note(connection), {"by": self._writer, "n": self._number})

    def stands(self, connection: Connection) -> bool:
        """Say whether the transaction noted last stands; waits for it should it still be under way."""
        asked = {"by": self._writer, "n": 0}
        return bool(connection.execute(_ask(connection), asked).scalar_one() == self._number)


def forget(connection: Connection, before: float, limit: int) -> int:
    """Drop the rows of at most `limit` writers that wrote nothing since `before`; return how many."""
    return connection.execute(_FORGET, {"before": before, "most": limit}).rowcount
