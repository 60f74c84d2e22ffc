"""Facts about the archive itself, as text: its UUID, when it was made, what was last looked up."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.sqlite import Insert

from clipledger.db.database import Database
from clipledger.db.engine import InsertInto, per_dialect
from clipledger.db.tables import meta

_GET = select(meta.c.value).where(meta.c.key == bindparam("k"))


@per_dialect
def _set(insert: InsertInto) -> Insert:
    statement = insert(meta)
    return statement.on_conflict_do_update(index_elements=["key"], set_={"value": statement.excluded.value})


def get(connection: Connection, key: str) -> str | None:
    """Look a fact up; None when it was never set."""
    found: str | None = connection.execute(_GET, {"k": key}).scalar()
    return found


def put(connection: Connection, key: str, value: str) -> None:
    """Set a fact within a transaction that changes more."""
    connection.execute(_set(connection), {"key": key, "value": value})


class Meta:
    """The `meta` table: small texts under fixed keys."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def get(self, key: str) -> str | None:
        """Look a fact up; None when it was never set."""
        return await self._db.read(lambda connection: get(connection, key))

    async def set(self, key: str, value: str) -> None:
        """Set a fact, in place of an older one."""
        await self._db.write(lambda connection: put(connection, key, value))
