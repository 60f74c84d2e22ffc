"""Rows as text: CSV that no spreadsheet takes for a formula, JSON lines, and a plain list of ids.

Same rows, same bytes. Must not: know a database, or where a file goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from clipledger.db.extracts import Column, Extract, Form, Row

Batches = Iterable[list[Row]]

_LIVE = frozenset("=+-@\t\r\n＝＋－＠|%")
"""What a cell may begin with that a spreadsheet acts on, full-width forms of East Asian ones included."""


def write_csv(path: Path, extract: Extract, batches: Batches) -> int:
    """Write RFC 4180: UTF-8, CRLF, numbers bare, all else in quotes, nothing between commas for what is not known."""
    cells = [_CELLS[column.form] for column in extract.columns]
    rows = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(f'"{column.name}"' for column in extract.columns) + "\r\n")
        for batch in batches:
            file.writelines(
                ",".join([cell(value) for cell, value in zip(cells, row, strict=True)]) + "\r\n" for row in batch
            )
            rows += len(batch)
    return rows


def write_jsonl(path: Path, extract: Extract, batches: Batches) -> int:
    """Write one JSON object a line: ids as strings, times as UTC text, null for what is not known."""
    names = [column.name for column in extract.columns]
    truths = [at for at, column in enumerate(extract.columns) if column.form is Form.TRUTH]
    encode, rows = msgspec.json.Encoder().encode, 0
    with path.open("wb") as file:
        for batch in batches:
            file.writelines(encode(_object(names, truths, row)) + b"\n" for row in batch)
            rows += len(batch)
    return rows


def write_ids(path: Path, extract: Extract, batches: Batches) -> int:
    """Write the first column, one id a line."""
    rows = 0
    with path.open("w", encoding="ascii", newline="") as file:
        for batch in batches:
            file.writelines(f"{row[0]}\n" for row in batch)
            rows += len(batch)
    return rows


def csv_line(values: Iterable[object]) -> str:
    """Write one row of any values as CSV, without its end of line."""
    return ",".join(
        _truth(value) if isinstance(value, bool) else _number(value) if isinstance(value, int | float) else _any(value)
        for value in values
    )


def inert(text: str) -> str:
    """Write text so that a spreadsheet shows it and never runs it: an apostrophe before what looks live."""
    head = text.lstrip(" \u00a0\u3000\ufeff\u200b")[:1]
    return f"'{text}" if head in _LIVE and head else text


def type_of(column: Column) -> str:
    """Name a column's type for a reader of the manifest."""
    return {
        Form.ID: "text",
        Form.TEXT: "text",
        Form.FREE: "text",
        Form.WHOLE: "int64",
        Form.REAL: "double",
        Form.TRUTH: "bool",
        Form.TIME: "timestamp[ms, UTC]",
    }[column.form]


def _object(names: list[str], truths: list[int], row: Row) -> dict[str, Any]:
    told = dict(zip(names, row, strict=True))
    for at in truths:
        if row[at] is not None:
            told[names[at]] = bool(row[at])
    return told


def _text(value: str | None) -> str:
    return "" if value is None else '"' + inert(value).replace('"', '""') + '"'


def _any(value: object) -> str:
    return _text(None if value is None else str(value))


def _quoted(value: str | None) -> str:
    return "" if value is None else f'"{value}"'


def _number(value: float | None) -> str:
    return "" if value is None else repr(value)


def _truth(value: object) -> str:
    return "" if value is None else '"true"' if value else '"false"'


_CELLS: dict[Form, Callable[[Any], str]] = {
    Form.ID: _text,
    Form.TEXT: _text,
    Form.FREE: _text,
    Form.WHOLE: _number,
    Form.REAL: _number,
    Form.TRUTH: _truth,
    Form.TIME: _quoted,
}
