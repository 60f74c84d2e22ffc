"""Carry an archive's tables to another database, and prove that both hold the same.

All or nothing: tables, rows, counters and the proof are one transaction of the target, so a copy that was
killed leaves an empty database and a database with tables in it is a whole archive. Memory is bounded:
rows pass in batches. Must not: be called from the event loop, or while somebody is at work on the source.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Column, Connection, Insert, Table, Text, func, insert, inspect, select
from sqlalchemy.exc import DataError

from clipledger.core.errors import ArchiveInUse, Misconfigured
from clipledger.core.model import State
from clipledger.db import schema, search_index
from clipledger.db.engine import backend_of, storage_errors
from clipledger.db.export_tables import export_changes, export_journal
from clipledger.db.tables import archive_queue, commits, metadata
from clipledger.db.told import ToldRows

BATCH = 500
"""Rows in memory: of the largest, list items kept for lean capture, some 10 MB."""

_UNTOLD = re.compile("[\x00\ud800-\udfff]")
"""What PostgreSQL's text cannot hold: NUL, and halves of UTF-16 pairs."""

_WHOLE = 1 << 128

Progress = Callable[[str, int, int], None]
"""Table, rows copied so far, rows in all."""


@dataclass(frozen=True, slots=True)
class Copied:
    """One table: its rows, and a sum over their digests that no order changes, the same on both sides."""

    table: str
    rows: int
    checksum: str


class CopyDiffers(Misconfigured):
    """The target did not give back what was written into it; nothing was kept."""


def plan(source: str | Path, target: str | Path, now: float) -> list[tuple[str, int]]:
    """Count the rows of each table, having made sure that a copy could begin; writes nothing."""
    with _reading(source) as reading, _reading(target) as there:
        _check_rest(source, reading, now)
        _check_empty(reading, there)
        return [(table.name, _count(reading, table)) for table in _tables()]


def copy(source: str | Path, target: str | Path, now: float, progress: Progress) -> list[Copied]:
    """Copy every table; the target must hold none of them.

    Raises Misconfigured (target not empty, a value that does not fit), CopyDiffers, ArchiveInUse.
    """
    backend = backend_of(target)
    engines = backend.engines()
    try:
        with _reading(source) as reading, storage_errors(), engines.writing.begin() as writing:
            _check_rest(source, reading, now)
            backend.lock_schema(writing)
            _check_empty(reading, writing)
            schema.lay_tables(writing)
            sums = [_carry(table, reading, writing, progress) for table in _tables()]
            for column in (column for table in _tables() for column in table.c if column.autoincrement is True):
                backend.go_on_counting(writing, column.table.name, column.name)
            for copied in sums:
                _prove(copied, writing)
            search_index.index_all(writing)  # a table of each database's own kind: made anew, not copied
            return sums
    finally:
        engines.dispose()


def _tables() -> list[Table]:
    # Notes of a server's own writers; and what changed since exports, which begin anew on another database.
    own = {commits, export_changes, export_journal}
    return [table for table in metadata.sorted_tables if table not in own]


def _check_rest(source: str | Path, reading: Connection, now: float) -> None:
    schema.check(reading)
    # Locks tell who is at work on this machine; of a server's other machines only leases do.
    held = select(archive_queue.c.worker).where(archive_queue.c.state == State.RUNNING)
    if backend_of(source).is_server and (who := reading.scalar(held.where(archive_queue.c.lease_until > now).limit(1))):
        raise ArchiveInUse(f"{who} is at work on the archive: stop it, or wait until its leases have run out")


def _check_empty(reading: Connection, there: Connection) -> None:
    present = set(inspect(there).get_table_names())
    if "alembic_version" in present:
        same = schema.identity(there) == schema.identity(reading)
        what = "this archive: it was copied before" if same else "another archive"
        raise Misconfigured(f"the target already holds {what}; copy into an empty database")
    if taken := sorted(present & {"alembic_version", *metadata.tables}):
        raise Misconfigured(f"the target holds a table {taken[0]} of another program; copy into an empty database")


def _carry(table: Table, reading: Connection, writing: Connection, progress: Progress) -> Copied:
    rows = ToldRows(**{column.name: column.type for column in table.c})
    write = rows.statement(lambda told: _insert(table, told))(writing)
    total, done, checksum = _count(reading, table), 0, 0
    for batch in _batches(table, reading):
        checksum += sum(map(_digest, batch))
        _write(table, writing, write, rows.bind(batch))
        done += len(batch)
        progress(table.name, done, total)
    return Copied(table.name, done, _spelt(checksum))


def _insert(table: Table, told: Any) -> Insert:
    names = table.c.keys()
    return insert(table).from_select(names, select(*(told.c[name] for name in names)))


def _write(table: Table, writing: Connection, write: Insert, told: dict[str, str]) -> None:
    try:
        writing.execute(write, told)
    except DataError as error:
        why = str(error.orig).splitlines()[0]
        raise Misconfigured(f"table {table.name} holds a value that the target cannot: {why}") from None


def _prove(copied: Copied, writing: Connection) -> None:
    table, rows, checksum = metadata.tables[copied.table], 0, 0
    for batch in _batches(table, writing):
        rows, checksum = rows + len(batch), checksum + sum(map(_digest, batch))
    if (rows, _spelt(checksum)) != (copied.rows, copied.checksum):
        raise CopyDiffers(
            f"table {table.name}: {copied.rows} rows with checksum {copied.checksum} were written,"
            f" {rows} with {_spelt(checksum)} were read back; nothing was kept"
        )


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _batches(table: Table, connection: Connection) -> Iterator[list[dict[str, object]]]:
    """Read a table in batches, each value in the one form that both databases can hold."""
    plain = [(column.name, _form(column)) for column in table.c]
    streamed = select(table).execution_options(stream_results=True, max_row_buffer=BATCH)
    with connection.execute(streamed) as found:
        while part := found.fetchmany(BATCH):
            yield [{name: form(value) for (name, form), value in zip(plain, row, strict=True)} for row in part]


def _form(column: Column[Any]) -> Callable[[Any], object]:
    return _tellable if isinstance(column.type, Text | JSON) else lambda value: value


def _tellable(value: Any) -> Any:
    match value:
        case str():
            return _UNTOLD.sub("", value)
        case list():
            return [_tellable(each) for each in value]
        case dict():
            return {_tellable(name): _tellable(each) for name, each in value.items()}
    return value


def _digest(row: dict[str, object]) -> int:
    text = json.dumps(list(row.values()), sort_keys=True)
    return int.from_bytes(blake2b(text.encode("ascii"), digest_size=16).digest(), "big")


def _spelt(checksum: int) -> str:
    return f"{checksum % _WHOLE:032x}"


@contextmanager
def _reading(where: str | Path) -> Iterator[Connection]:
    """Hold one snapshot of a database."""
    backend = backend_of(where)
    engines = backend.engines()
    try:
        with storage_errors(), engines.reading.connect() as connection, connection.begin():
            yield connection
    finally:
        engines.dispose()
