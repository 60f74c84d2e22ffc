"""Ask an archive's database in plain SQL, whichever database it is, past all of the client's code.

What comes back looks the same from both: times as text, truths as 0 and 1. Must not: write, or import
anything of the client's.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() ORDER BY 1"


@dataclass(frozen=True, slots=True)
class Row:
    """One row, by column's name or number."""

    names: Sequence[str]
    values: tuple[Any, ...]

    def __getitem__(self, column: str | int) -> Any:
        return self.values[self.names.index(column) if isinstance(column, str) else column]


Ask = Callable[..., list[Row]]
"""(SQL with `?` for values, *values) -> rows."""


@contextmanager
def asking(folder: Path, database: str | None) -> Iterator[Ask]:
    """Open the archive's database to be read: the server's at the URL `database`, None for the file in `folder`."""
    if database is None:
        path = (folder / "clipledger.db").resolve().as_uri()  # a folder's name may hold ?, # and %
        with closing(sqlite3.connect(f"{path}?mode=ro", uri=True)) as file:
            yield lambda sql, *values: _rows(file.execute(sql, values))
        return
    import psycopg

    with closing(psycopg.connect(database, autocommit=True)) as server:
        yield lambda sql, *values: _rows(server.execute(sql.replace("?", "%s"), values or None))


def everything_written(folder: Path, database: str | None) -> Iterator[tuple[str, bytes]]:
    """Give what a server's tables hold, as (table, its rows as text); nothing for a file, which can be read itself."""
    if database is None:
        return
    with asking(folder, database) as ask:
        for (table,) in (row.values for row in ask(_TABLES)):
            rows = ask(f'SELECT t::text FROM "{table}" AS t')
            yield table, "\n".join(row[0] for row in rows).encode()


def _rows(cursor: Any) -> list[Row]:
    names = [column[0] for column in cursor.description]
    return [Row(names, tuple(map(_plain, values))) for values in cursor.fetchall()]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return int(value) if isinstance(value, bool) else value
