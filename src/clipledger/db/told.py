"""Hand many rows to one statement as a table: one statement to parse, plan and answer, on either database.

Rows travel as one JSON text. Sent one by one, thirty settlements cost a server thirty plans; as a table they
cost one. Must not: know a table of the archive.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import JSON, ClauseElement, Connection, FromClause, Text, bindparam, cast, column, func, select
from sqlalchemy.sql.compiler import SQLCompiler
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

    def sent(self, build: Callable[[FromClause], ClauseElement]) -> Sent:
        """Build a statement for those that every post needs: see `Sent`."""
        return Sent(self, self.statement(build))

    def bind(self, rows: Sequence[Mapping[str, object]]) -> dict[str, str]:
        """Give the statement's parameter; times as unix seconds, as everywhere."""
        return {"told": json.dumps([self._plain(row) for row in rows], ensure_ascii=False)}

    def _plain(self, row: Mapping[str, Any]) -> dict[str, object]:
        return dict(row) | {name: told_time(row[name]) for name in self._times if row[name] is not None}


class Sent:
    """A statement that goes to the driver as a text, written once for each dialect.

    For the few that every post needs: SQLAlchemy's own way costs several times what the database does. Raises the
    driver's errors bare, which `engine.storage_errors` knows. What it returns is not converted: text and numbers alone.
    """

    def __init__(self, rows: ToldRows, statement: Callable[[Connection], ClauseElement]) -> None:
        self._rows, self._statement = rows, statement
        self._written: dict[str, tuple[str, Callable[[str], Any]]] = {}

    def __call__(self, connection: Connection, rows: Sequence[Mapping[str, object]]) -> list[tuple[Any, ...]]:
        """Run it for some rows; give what it returns."""
        text, parameters = self._written.get(connection.dialect.name) or self._write(connection)
        cursor = connection.connection.cursor()
        try:
            cursor.execute(text, parameters(self._rows.bind(rows)["told"]))
            return list(cursor.fetchall())
        finally:
            cursor.close()

    def _write(self, connection: Connection) -> tuple[str, Callable[[str], Any]]:
        compiled = self._statement(connection).compile(dialect=connection.dialect)
        assert isinstance(compiled, SQLCompiler)
        plain, names = compiled.params, compiled.positiontup

        def parameters(told: str) -> Any:
            known = {**plain, "told": told}
            return known if names is None else [known[name] for name in names]

        self._written[connection.dialect.name] = str(compiled), parameters
        return self._written[connection.dialect.name]


def _recordset(columns: Mapping[str, TypeEngine[Any]]) -> FromClause:
    rows = func.json_to_recordset(cast(bindparam("told", type_=Text), JSON))
    typed = [column(name, type_) for name, type_ in columns.items()]
    return rows.table_valued(*typed).render_derived(name="told", with_types=True)


def _each(columns: Mapping[str, TypeEngine[Any]]) -> FromClause:
    row = func.json_each(bindparam("told", type_=Text)).table_valued("value")
    typed = [func.json_extract(row.c.value, f"$.{name}", type_=type_).label(name) for name, type_ in columns.items()]
    return select(*typed).subquery("told")


_TABLES = {"sqlite": _each, "postgresql": _recordset}
