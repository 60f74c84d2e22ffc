"""SQL for analysis: DuckDB over an export, or over the archive itself, with tables of the same names.

DuckDB is fed Arrow and nothing else: it opens no file of its own accord, loads no extension, reaches no network.
Over an export it reads the files that the manifest names. Over the archive, what a statement names is carried
into a private DuckDB file first, in bounded memory. Must not: change anything that outlives the question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from clipledger.core.errors import Misconfigured, UsageError
from clipledger.core.times import iso_time
from clipledger.db.extracts import EXTRACTS, Extract, days, rows
from clipledger.export.extras import require
from clipledger.export.manifest import MANIFEST, MAX_BYTES, Manifest, day_text, read_manifest
from clipledger.export.parquet import record_batch, schema_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

MEMORY = "400MB"
_BATCH = 4096
_DAY = "dt"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a statement gave. `more`: there are rows beyond the limit."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool


def over_export(folder: Path, statement: str, limit: int) -> Answer:
    """Ask an export in a folder; UsageError where there is none, or for anything but one SELECT."""
    _require()
    manifest = _manifest(folder)
    with _opened(":memory:") as session:
        for name in _named(session, statement):
            session.register(name, _files(folder, manifest, EXTRACTS[name]))
        return _ask(session, statement, limit)


def over_archive(connection: Connection, scratch: Path, statement: str, limit: int) -> Answer:
    """Ask the archive, on one snapshot; `scratch` is an empty folder for what DuckDB needs."""
    _require()
    with _opened(str(scratch / "tables.duckdb"), scratch) as session:
        for name in _named(session, statement):
            _carry(session, connection, EXTRACTS[name])
        return _ask(session, statement, limit)


def _require() -> None:
    require("duckdb", "analytics", "clipledger sql")
    require("pyarrow", "analytics", "clipledger sql")


@contextmanager
def _opened(place: str, scratch: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY,
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
    }
    if scratch is not None:
        settings["temp_directory"] = str(scratch / "spill")
    with closing(duckdb.connect(place, config=settings)) as session:
        session.execute("SET TimeZone = 'UTC'")
        session.execute("SET python_enable_replacements = false")  # no variable of this program is a table
        yield session


def _named(session: duckdb.DuckDBPyConnection, statement: str) -> list[str]:
    """Name the tables that one SELECT may read: those whose name is in it. UsageError for anything else."""
    import duckdb

    try:
        found = session.extract_statements(statement)
    except duckdb.Error as error:
        raise UsageError(f"sql: {_line(error)}") from None
    if len(found) != 1 or found[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise UsageError("sql takes one SELECT, and changes nothing")
    words = set(re.findall(r"\w+", statement.lower()))
    return [name for name in EXTRACTS if name in words]


def _ask(session: duckdb.DuckDBPyConnection, statement: str, limit: int) -> Answer:
    import duckdb

    try:
        session.execute("SET enable_external_access = false")
        session.execute("SET lock_configuration = true")
        reader = session.sql(statement).to_arrow_reader(_BATCH)
        columns, some = tuple(reader.schema.names), list[tuple[Any, ...]]()
        while len(some) <= limit and (batch := next(reader, None)) is not None:
            some += zip(*(column.to_pylist() for column in batch.columns), strict=True)
    except duckdb.Error as error:
        raise UsageError(f"sql: {_line(error)}") from None
    return Answer(columns, tuple(tuple(_plain(value) for value in row) for row in some[:limit]), len(some) > limit)


def _files(folder: Path, manifest: Manifest, extract: Extract) -> Any:
    """Give the files of one table as one Arrow dataset, the day of each as its column `dt`."""
    import pyarrow as pa
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    schema = _schema(extract)
    form, disk = ds.ParquetFileFormat(), LocalFileSystem()
    day = ds.field(_DAY)
    fragments = [
        form.make_fragment(
            str(folder.absolute() / file.path), disk, day == pa.scalar(_date(file.day or 0), pa.date32())
        )
        for file in manifest.files
        if file.table == extract.name
    ]
    if missing := next((each.path for each in fragments if not Path(each.path).is_file()), None):
        raise Misconfigured(f"{missing} is not there: export again with --anew")
    return ds.FileSystemDataset(fragments, schema, form, disk) if fragments else schema.empty_table()


def _carry(session: duckdb.DuckDBPyConnection, connection: Connection, extract: Extract) -> None:
    import pyarrow as pa

    schema = _schema(extract)
    session.register("carried", pa.RecordBatchReader.from_batches(schema, _batches(connection, extract, schema)))
    session.execute(f'CREATE TABLE "{extract.name}" AS SELECT * FROM carried')
    session.unregister("carried")


def _batches(connection: Connection, extract: Extract, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    plain = schema_of(extract)
    for day in days(connection, extract):
        for part in rows(connection, extract, day):
            batch = record_batch(extract, plain, part)
            dated = pa.array([_date(day)] * len(part), pa.date32())
            yield pa.RecordBatch.from_arrays([*batch.columns, dated], schema=schema)


def _manifest(folder: Path) -> Manifest:
    try:
        with (folder / MANIFEST).open("rb") as file:
            manifest = read_manifest(file.read(MAX_BYTES))
    except FileNotFoundError:
        raise UsageError(f"--over {folder}: no manifest.json there: name the folder of an export") from None
    except OSError as error:
        raise UsageError(f"--over {folder}: {error.strerror}") from None
    if not manifest.kind.by_day:
        raise UsageError(f"--over {folder}: it holds {manifest.kind}; sql reads exports of parquet and dataset")
    return manifest


def _schema(extract: Extract) -> pa.Schema:
    import pyarrow as pa

    return schema_of(extract).append(pa.field(_DAY, pa.date32()))


def _date(day: int) -> date:
    return date.fromisoformat(day_text(day))


def _plain(value: Any) -> Any:
    """Make a value that JSON and a terminal can show."""
    match value:
        case datetime():
            return iso_time(value.timestamp()) if value.tzinfo is not None else value.isoformat()
        case date() | Decimal():
            return str(value)
        case bytes():
            return value.hex()
        case Mapping():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case None | bool() | int() | float() | str():
            return value
        case Sequence():
            return [_plain(inner) for inner in value]
    return str(value)


def _line(error: BaseException) -> str:
    told = " ".join(str(error).split())
    if "Table with name" in told:  # its own guess is one of DuckDB's tables
        return f"{told.partition('!')[0]}: the tables are {', '.join(EXTRACTS)}"
    return told[:300]
