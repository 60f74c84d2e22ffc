"""Rows as Parquet: typed, zstd, in the order they come. With `duck` the only file that knows
pyarrow.

Same rows and same pyarrow, same bytes. Must not: know a database, or where a file goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from clipledger.db.extracts import Column, Extract, Form, Row
from clipledger.export.formats import Batches

if TYPE_CHECKING:
    import pyarrow as pa

LEVEL = 3
"""Of zstd: its own default."""

VERSION = "2.6"
"""Of the format; what Spark 3, R's arrow and DuckDB read."""


def schema_of(extract: Extract) -> pa.Schema:
    """Give the types of a table's columns."""
    import pyarrow as pa

    first = extract.columns[0].name
    return pa.schema([pa.field(each.name, _type(each), nullable=each.name != first) for each in extract.columns])


def write_parquet(path: Path, extract: Extract, batches: Batches) -> int:
    """Write one file, a row group a batch; no rows leave no file. Gives the rows."""
    import pyarrow.parquet as pq

    schema, rows, writer = schema_of(extract), 0, None
    try:
        for batch in batches:
            writer = writer or pq.ParquetWriter(
                path, schema, version=VERSION, compression="zstd", compression_level=LEVEL, use_dictionary=True
            )
            writer.write_batch(record_batch(extract, schema, batch))
            rows += len(batch)
    finally:
        if writer is not None:
            writer.close()
    return rows


def record_batch(extract: Extract, schema: pa.Schema, rows: Sequence[Row]) -> pa.RecordBatch:
    """Turn rows into typed columns."""
    import pyarrow as pa

    columns = list(zip(*rows, strict=True)) if rows else [()] * len(extract.columns)
    arrays = [_array(each, values) for each, values in zip(extract.columns, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(column: Column, values: tuple[object, ...]) -> pa.Array:
    import pyarrow as pa

    match column.form:
        case Form.TIME:
            return pa.array(values, pa.string()).cast(_type(column))
        case Form.TRUTH:  # SQLite's are numbers
            return pa.array([None if value is None else bool(value) for value in values], pa.bool_())
    return pa.array(values, _type(column))


def _type(column: Column) -> pa.DataType:
    import pyarrow as pa

    match column.form:
        case Form.WHOLE:
            return pa.int64()
        case Form.REAL:
            return pa.float64()
        case Form.TRUTH:
            return pa.bool_()
        case Form.TIME:
            return pa.timestamp("ms", tz="UTC")
    return pa.string()
