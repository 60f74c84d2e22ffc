"""Connect to the archive's database and give its failures our names.

The one place that knows how SQLite and PostgreSQL differ: pragmas, `BEGIN IMMEDIATE`, which
`insert` speaks ON CONFLICT, and what a driver's error means. Must not: know a table.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError

from clipledger.core.errors import ClipledgerError, Misconfigured, StorageFull, StorageUnavailable

WRITES = {"clipledger_writes": True}
"""Execution options of an engine whose transactions write: they take the write lock at once."""

CONNECTIONS = 3
"""One writer and two readers."""

BUSY_TIMEOUT_S = 10.0
"""How long another process's writer is waited for; ours hold the lock for milliseconds."""

Statement = TypeVar("Statement")
InsertInto = Callable[[Table], sqlite.Insert]
_INSERTS = {"sqlite": sqlite.insert, "postgresql": cast(InsertInto, postgresql.insert)}

_PRAGMAS = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000:.0f}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
)

_NOT_OURS = "the database file is damaged or not a database: restore it from a backup"
_FAILURES: dict[int, tuple[type[ClipledgerError], str]] = {
    sqlite3.SQLITE_FULL: (StorageFull, "the disk that holds the database is full"),
    sqlite3.SQLITE_READONLY: (StorageFull, "the database cannot be written: it is read-only"),
    sqlite3.SQLITE_IOERR: (StorageFull, "the disk that holds the database fails"),
    sqlite3.SQLITE_CANTOPEN: (StorageFull, "the database cannot be opened: check the folder's rights and free space"),
    sqlite3.SQLITE_BUSY: (StorageUnavailable, "another process keeps the database locked"),
    sqlite3.SQLITE_LOCKED: (StorageUnavailable, "another process keeps the database locked"),
    sqlite3.SQLITE_NOTADB: (Misconfigured, _NOT_OURS),
    sqlite3.SQLITE_CORRUPT: (Misconfigured, _NOT_OURS),
}


def database_url(where: str | Path) -> URL:
    """Read `sqlite:///FILE` or a bare path; Misconfigured for anything else."""
    if isinstance(where, Path):
        return URL.create("sqlite", database=str(where))  # never by way of text: a path may hold ?, # and %
    text = where
    try:
        url = make_url(text if "://" in text else f"sqlite:///{text}")
    except ArgumentError:
        raise Misconfigured("database.url is not a URL: write sqlite:///FILE") from None
    if url.drivername != "sqlite" or not url.database or url.database == ":memory:":
        raise Misconfigured("database.url: only sqlite:///FILE is known here")
    return url


def open_engine(url: URL) -> Engine:
    """Make an engine of `CONNECTIONS` connections whose transactions begin as `WRITES` says."""
    engine = create_engine(
        url,
        pool_size=CONNECTIONS,
        max_overflow=0,
        connect_args={"check_same_thread": False},  # the pool hands a connection to one thread at a time
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # `_begin` opens transactions; the driver must not
    for pragma in _PRAGMAS:
        connection.execute(pragma)


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("clipledger_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn what the driver says of disk, lock or file into our errors; let all else pass."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        named = storage_error(error)
        if named is None:
            raise
        raise named from error


def storage_error(error: BaseException) -> ClipledgerError | None:
    """Name a failure of the database itself; None for one of the statement's own."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the low byte: extended codes refine it
    if code not in _FAILURES:
        return None
    kind, detail = _FAILURES[code]
    return kind(detail)


def per_dialect(build: Callable[[InsertInto], Statement]) -> Callable[[Connection], Statement]:
    """Build a statement once for each dialect: the switch that ON CONFLICT needs."""
    built: dict[str, Statement] = {}

    def statement(connection: Connection) -> Statement:
        name = connection.dialect.name
        if name not in built:
            built[name] = build(_INSERTS[name])
        return built[name]

    return statement
