"""`sql`: one SELECT over the archive, or over an export of it."""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from clipledger.archive import open_archive
from clipledger.cli.output import Context, table
from clipledger.cli.streams import write_line
from clipledger.export.duck import Answer, over_archive, over_export
from clipledger.export.formats import csv_line


def query(context: Context, statement: str, over: Path | None, *, csv: bool, limit: int) -> None:
    """Print the rows that a SELECT gives: a table, CSV or JSON."""
    answer = _ask(context, statement, over, limit)
    if context.json:
        rows = [[_finite(value) for value in row] for row in answer.rows]
        context.document({"columns": answer.columns, "rows": rows, "more": answer.more, "exit": context.exit.word})
    elif csv:
        write_line(sys.stdout, csv_line(answer.columns))
        for row in answer.rows:
            write_line(sys.stdout, csv_line(row))
    else:
        context.tell(table(answer.rows, answer.columns) if answer.rows else "no rows")
    if answer.more:
        context.warn(f"clipledger: only the first {limit} rows; --limit gives more")


def _ask(context: Context, statement: str, over: Path | None, limit: int) -> Answer:
    if over is not None:
        return over_export(over, statement, limit)
    return asyncio.run(_archive(context, statement, limit))


async def _archive(context: Context, statement: str, limit: int) -> Answer:
    async with open_archive(context.archive) as archive:
        with tempfile.TemporaryDirectory(prefix="clipledger-sql-") as scratch:
            ask = partial(over_archive, scratch=Path(scratch), statement=statement, limit=limit)
            return await archive.db.read(ask)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
