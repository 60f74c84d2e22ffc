"""Hand many rows to one statement as a table: one statement to parse, plan and answer, on either database.

Rows travel as one JSON text. Sent one by one, thirty settlements cost a server thirty plans; as a table they
cost one. Must not: know a table of the archive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import JSON, Connection, FromClause, Text, bindparam, cast, column, func, select
from sqlalchemy.types import TypeEngine

from clipledger.db.tables import UtcTime, told_time

Statement = TypeVar("Statement")


class ToldRows:
    """Rows with these columns, which a statement meets as the table `told`."""

    def __init__(self, **columns: TypeEngine[Any]) -> None:
        self._columns = columns
        self._times = [name for name, type_ in columns.items() if isinstance(type_, UtcTime)]

    def statement(self, build: Callable[[FromClause], Statement]) -> Callable[[Connection], Statement]:
        """Build a statement from the table, once for each dialect."""
        built: dict[str, Statement] = {}

        def of(connection: Connection) -> Statement:
            name = connection.dialect.name
            if name not in built:
                built[name] = build(_TABLES[name](self._columns))
            return built[name]

        return of

    def bind(self, rows: Sequence[Mapping[str, object]]) -> dict[str, str]:
        """Give the statement's parameter; times as unix seconds, as everywhere."""
        return {"told": json.dumps([self._plain(row) for row in rows], ensure_ascii=False)}

    def _plain(self, row: Mapping[str, Any]) -> dict[str, object]:
        return dict(row) | {name: told_time(row[name]) for name in self._times if row[name] is not None}


def _recordset(columns: Mapping[str, TypeEngine[Any]]) -> FromClause:
    rows = func.json_to_recordset(cast(bindparam("told", type_=Text), JSON))
    typed = [column(name, type_) for name, type_ in columns.items()]
    return rows.table_valued(*typed).render_derived(name="told", with_types=True)


def _each(columns: Mapping[str, TypeEngine[Any]]) -> FromClause:
    row = func.json_each(bindparam("told", type_=Text)).table_valued("value")
    typed = [func.json_extract(row.c.value, f"$.{name}", type_=type_).label(name) for name, type_ in columns.items()]
    return select(*typed).subquery("told")


_TABLES = {"sqlite": _each, "postgresql": _recordset}
