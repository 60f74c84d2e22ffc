"""Pick the database that a URL names, and give its failures our names.

With `sqlite.py` and `postgres.py` the only place that knows how the two differ; here: which of them
is meant, which `insert` speaks ON CONFLICT, and whose error this is. Must not: know a table.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TypeVar
from typing import cast as as_type

from sqlalchemy import BigInteger, ColumnElement, Connection, Table, cast, func
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.exc import DBAPIError

from clipledger.core.errors import ClipledgerError, Misconfigured
from clipledger.db import postgres, sqlite
from clipledger.db.backend import Backend, DamagedValue

Statement = TypeVar("Statement")
InsertInto = Callable[[Table], sqlite_dialect.Insert]

_FILE = "sqlite:///"
_NO_FILE = re.compile(r"\A:memory:\Z|://|[\x00-\x1f]")
# What libpq, a URL or an encoded form of either has, and a plain path seldom: one that has it is written sqlite:///FILE.
_NO_BARE_PATH = re.compile(r"[=@:%?\x00-\x1f]|\A\s*(?:postgres(?:ql)?|sqlite)(?:\+\w*)?/", re.I)


def backend_of(where: str | Path) -> Backend:
    """Read a bare path, `sqlite:///FILE` or `postgresql://...`; Misconfigured for anything else."""
    if isinstance(where, Path):
        return sqlite.Sqlite(str(where))
    file = file_of(where)
    return postgres.Postgres.read(where) if file is None else sqlite.Sqlite(file)


def file_of(url: str) -> str | None:
    """Give the file that a bare path or `sqlite:///FILE` names, None for a server's URL.

    Misconfigured, without a word of it, for anything else: a server written wrongly holds a password as
    often as one written rightly, and must not become the name of a file.
    """
    if url.startswith(postgres.SCHEMES):
        return None
    file = url.removeprefix(_FILE)
    wrong = _NO_FILE if url.startswith(_FILE) else _NO_BARE_PATH
    if not file or wrong.search(file):
        raise Misconfigured("database.url: only sqlite:///FILE and postgresql://USER@HOST/NAME are known here")
    return file


class storage_errors:
    """Turn what the driver says of disk, lock, file or server into our errors; let all else pass."""

    __slots__ = ()

    def __enter__(self) -> None: ...

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _at: TracebackType | None
    ) -> None:
        named = storage_error(error) if error is not None else None
        if named is not None:
            raise named from error


def storage_error(error: BaseException) -> ClipledgerError | None:
    """Name a failure of the database itself; None for one of the statement's own.

    `Passing`: the whole transaction may be run again.
    """
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, DamagedValue | UnicodeDecodeError):  # the latter: how SQLite tells of a damaged schema
        return Misconfigured(f"the database is damaged ({cause}): restore it from a backup")
    if isinstance(cause, sqlite3.Error):
        return sqlite.failure(cause)
    return postgres.failure(cause) if postgres.is_ours(cause) else None


def per_dialect(build: Callable[[InsertInto], Statement]) -> Callable[[Connection], Statement]:
    """Build a statement once for each dialect: the switch that ON CONFLICT needs."""
    built: dict[str, Statement] = {}

    def statement(connection: Connection) -> Statement:
        name = connection.dialect.name
        if name not in built:
            built[name] = build(_insert_into(name))
        return built[name]

    return statement


def _insert_into(dialect: str) -> InsertInto:
    if dialect == "sqlite":
        return sqlite_dialect.insert
    from sqlalchemy.dialects import postgresql  # here: with all its drivers, which no look at a file waits for

    return as_type(InsertInto, postgresql.insert)


def summed(column: ColumnElement[int]) -> ColumnElement[int]:
    """Sum whole numbers to a whole number: PostgreSQL sums BIGINT to NUMERIC, which JSON does not know."""
    return cast(func.sum(column), BigInteger)
