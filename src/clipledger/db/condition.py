"""What `db check` tells of an archive's database. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, inspect

from clipledger.core.ports import Clock
from clipledger.db import schema
from clipledger.db.clock import Skew, measure
from clipledger.db.database import Database
from clipledger.db.tables import SCHEMA_VERSION, metadata


@dataclass(frozen=True, slots=True)
class Condition:
    """The database as found. `missing_indexes` by name; `skew` None where the clock is this machine's own."""

    where: str
    server: str
    schema: str
    archive_uuid: str
    missing_indexes: tuple[str, ...]
    latency_s: float
    skew: Skew | None


async def examine(db: Database, clock: Clock) -> Condition:
    """Look at an opened database, whose schema is known to be right. `clock` is this machine's own."""
    return await db.read(lambda connection: _examine(connection, db, clock))


def _examine(connection: Connection, db: Database, clock: Clock) -> Condition:
    began = clock.now()
    uuid = schema.identity(connection)
    latency_s = clock.now() - began
    dialect = connection.dialect
    skew = measure(connection, clock) if db.backend.is_server else None
    version = ".".join(map(str, getattr(dialect, "server_version_info", None) or ()))
    return Condition(
        where=db.backend.shown,
        server=f"{dialect.name} {version}",
        schema=SCHEMA_VERSION,
        archive_uuid=uuid,
        missing_indexes=tuple(sorted(_indexes_declared() - _indexes_present(connection))),
        latency_s=skew.latency_s if skew is not None else latency_s,
        skew=skew,
    )


def _indexes_declared() -> set[str]:
    return {str(index.name) for found in metadata.tables.values() for index in found.indexes}


def _indexes_present(connection: Connection) -> set[str]:
    look = inspect(connection)
    return {str(index["name"]) for name in metadata.tables for index in look.get_indexes(name)}
