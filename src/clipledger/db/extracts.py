"""What exports read: six tables, cut by day, each row in the same plain values from either database.

Times come as UTC text of fixed width, ids and counts as they are. What is withheld is in none of them. All
statements run on one connection, the caller's snapshot, and stream: memory does not grow with the archive.
Must not: know a format, or write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, text

from clipledger.core.days import DATED_FROM, DATED_UNTIL, DAY_S, UNDATED, day_of, first_id
from clipledger.core.query import Query, both
from clipledger.core.scrub import scrub_text
from clipledger.db.search import matching_ids
from clipledger.db.tables import UtcTime
from clipledger.db.withheld import HIDDEN_AUTHORS, WITHHELD_IDS

ROWS = 16_384
"""Rows in memory at once."""


class Form(StrEnum):
    """What a column holds. `FREE` is text of strangers, `TIME` UTC text."""

    ID = "id"
    TEXT = "text"
    FREE = "free"
    WHOLE = "whole"
    REAL = "real"
    TRUTH = "truth"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Column:
    """One exported column; `sql` is what it is made of, the column of that name when empty."""

    name: str
    form: Form
    sql: str = ""


@dataclass(frozen=True, slots=True)
class Extract:
    """One exported table: where its rows come from, and in which order they go. `source` is the archive's table."""

    name: str
    source: str
    order: tuple[str, ...]
    columns: tuple[Column, ...]

    @property
    def by_id(self) -> bool:
        """Say whether it is cut by the day of a post; else by the day on which somebody was first seen."""
        return self.order[0] == "aweme_id"


Row = Sequence[Any]

_COUNTS = tuple(
    Column(f"{name}_count", Form.WHOLE) for name in ("play", "digg", "comment", "share", "download", "collect")
)
_ID = Column("aweme_id", Form.ID)
_GONE = (
    "(SELECT {first_at} FROM availability a WHERE a.aweme_id = t.aweme_id AND a.ended_at IS NULL AND a.state = 'gone')"
)
_HANDLES = {
    "sqlite": "(SELECT group_concat(handle, ' ') FROM (SELECT h.handle FROM author_handles h "
    "WHERE h.author_id = t.author_id ORDER BY h.first_seen_at, h.handle))",
    "postgresql": "(SELECT string_agg(h.handle, ' ' ORDER BY h.first_seen_at, h.handle COLLATE \"C\") "
    "FROM author_handles h WHERE h.author_id = t.author_id)",
}

EXTRACTS: dict[str, Extract] = {
    each.name: each
    for each in (
        Extract(
            "posts",
            "posts",
            ("aweme_id",),
            (
                _ID,
                Column("author_id", Form.ID),
                Column("author_handle", Form.FREE),
                Column("author_nickname", Form.FREE),
                Column("title", Form.FREE),
                Column("region", Form.TEXT),
                Column("duration", Form.REAL),
                Column("create_time", Form.WHOLE),
                *_COUNTS,
                Column("music_id", Form.ID),
                Column("is_photo", Form.TRUTH),
                Column("is_ad", Form.TRUTH),
                Column("thin", Form.TRUTH),
                Column("storage_key", Form.TEXT),
                Column("sidecar_key", Form.TEXT),
                Column("bytes", Form.WHOLE),
                Column("sha256", Form.TEXT),
                Column("archived_at", Form.TIME),
                Column("counters_at", Form.TIME),
                Column("plays_per_day", Form.REAL),
                Column("gone_at", Form.TIME, _GONE),
            ),
        ),
        Extract(
            "metrics",
            "post_metrics_history",
            ("aweme_id", "observed_at", "feed"),
            (_ID, Column("observed_at", Form.TIME), Column("feed", Form.TEXT), *_COUNTS),
        ),
        Extract(
            "files",
            "files",
            ("aweme_id", "storage_key"),
            (
                _ID,
                Column("storage_key", Form.TEXT),
                Column("kind", Form.TEXT),
                Column("position", Form.WHOLE),
                Column("rendition", Form.TEXT),
                Column("media_type", Form.TEXT),
                Column("bytes", Form.WHOLE),
                Column("sha256", Form.TEXT),
                Column("stored_at", Form.TIME),
            ),
        ),
        Extract(
            "sightings",
            "sightings",
            ("aweme_id", "source"),
            (
                _ID,
                Column("source", Form.FREE),
                Column("seen_at", Form.TIME),
                Column("last_seen_at", Form.TIME),
                Column("is_ad", Form.TRUTH),
                Column("pinned", Form.TRUTH),
            ),
        ),
        Extract(
            "dead_letters",
            "dead_letters",
            ("aweme_id",),
            (
                _ID,
                Column("reason", Form.TEXT),
                Column("detail", Form.FREE),
                Column("attempts", Form.WHOLE),
                Column("died_at", Form.TIME),
                Column("source", Form.FREE),
                Column("acknowledged_at", Form.TIME),
            ),
        ),
        Extract(
            "authors",
            "authors",
            ("author_id",),
            (
                Column("author_id", Form.ID),
                Column("handle", Form.FREE),
                Column("nickname", Form.FREE),
                Column("handles", Form.FREE, "handles"),
                Column("first_seen_at", Form.TIME),
                Column("last_seen_at", Form.TIME),
            ),
        ),
    )
}
"""Every exported table."""

_DATED = "length(t.aweme_id) = {n} AND t.aweme_id >= :lo AND t.aweme_id < :hi".replace("{n}", str(len(DATED_FROM)))
_UNDATED = f"NOT (length(t.aweme_id) = {len(DATED_FROM)} AND t.aweme_id >= :lo AND t.aweme_id < :hi)"
_SEEN = "t.first_seen_at >= :lo AND t.first_seen_at < :hi"


def days(connection: Connection, extract: Extract) -> list[int]:
    """List the days of which the table holds rows, in order: one look into its index for each.

    But for rows without a date the whole index is read: where few days matter, ask `days_of`.
    """
    found, day = _undated(connection, extract), UNDATED
    while (day := _next_day(connection, extract, day)) > 0:
        found.append(day)
        day += 1
    return found


def days_of(connection: Connection, extract: Extract, asked: Iterable[int]) -> list[int]:
    """List those of the days asked for of which the table holds rows, in order."""
    wanted = sorted(asked)
    found = _undated(connection, extract) if UNDATED in wanted else []
    return found + [day for day in wanted if day != UNDATED and _next_day(connection, extract, day) == day]


def _undated(connection: Connection, extract: Extract) -> list[int]:
    if not extract.by_id or connection.execute(_first(extract.source, _UNDATED), _dated()).first() is None:
        return []
    return [UNDATED]


def rows(connection: Connection, extract: Extract, day: int, wanted: Wanted | None = None) -> Iterator[list[Row]]:
    """Stream the rows of one day, in order, up to `ROWS` at a time; `wanted` keeps only what belongs to some posts."""
    statement = _statement(extract, connection.dialect.name, undated=extract.by_id and day == UNDATED)
    free = [at for at, column in enumerate(extract.columns) if column.form is Form.FREE]
    kept = wanted.of_day(connection, extract, day) if wanted is not None else None
    streamed = {"stream_results": True, "max_row_buffer": ROWS}
    with connection.execute(statement, _bounds(extract, day), execution_options=streamed) as found:
        while part := found.fetchmany(ROWS):
            chosen = part if kept is None else [row for row in part if row[0] in kept]
            if chosen:
                yield _cleaned(chosen, free)


class Wanted:
    """The posts that a query matches, and what belongs to them; read day by day, and by table in `EXTRACTS`' order."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._authors: set[str] = set()

    def of_day(self, connection: Connection, extract: Extract, day: int) -> set[str]:
        """Give the ids of the table's first column that are wanted: of posts, or of the authors of wanted posts."""
        if not extract.by_id:
            return self._authors
        within = Query(since=day * DAY_S, until=(day + 1) * DAY_S)
        ids = set(matching_ids(connection, both(self._query, within)))
        if extract.name == "posts":
            self._authors |= _authors_of(connection, ids)
        return ids


def _authors_of(connection: Connection, ids: set[str]) -> set[str]:
    statement = text(f"SELECT author_id FROM posts WHERE aweme_id IN :ids AND aweme_id NOT IN ({WITHHELD_IDS})")
    some = sorted(ids)
    cuts = (some[at : at + 1000] for at in range(0, len(some), 1000))
    asked = statement.bindparams(bindparam("ids", expanding=True))
    return {who for cut in cuts for who in connection.execute(asked, {"ids": cut}).scalars()}


def _next_day(connection: Connection, extract: Extract, day: int) -> int:
    """Find the first day with rows from `day` on; 0 when there is none."""
    if extract.by_id:
        asked = {"lo": first_id(day), "hi": DATED_UNTIL}
        found = connection.execute(_first(extract.source, _DATED, "t.aweme_id"), asked).scalar()
        return day_of(found) if found is not None else 0
    seen = text("SELECT min(t.first_seen_at) AS at FROM authors t WHERE t.first_seen_at >= :lo")
    typed = seen.bindparams(bindparam("lo", type_=UtcTime)).columns(at=UtcTime)
    first_at: float | None = connection.execute(typed, {"lo": float(max(day, 1) * DAY_S)}).scalar()
    return int(first_at // DAY_S) if first_at is not None else 0


def _first(source: str, where: str, order: str = "") -> TextClause:
    ordered = f" ORDER BY {order}" if order else ""
    return text(f"SELECT t.aweme_id FROM {source} t WHERE {where}{ordered} LIMIT 1")


def _dated() -> dict[str, object]:
    return {"lo": DATED_FROM, "hi": DATED_UNTIL}


def _bounds(extract: Extract, day: int) -> dict[str, object]:
    if not extract.by_id:
        return {"lo": float(day * DAY_S), "hi": float((day + 1) * DAY_S)}
    return _dated() if day == UNDATED else {"lo": first_id(day), "hi": first_id(day + 1)}


@cache
def _statement(extract: Extract, dialect: str, *, undated: bool) -> TextClause:
    told = ", ".join(f"{_sql(column, dialect)} AS {column.name}" for column in extract.columns)
    if extract.by_id:
        where = f"{_UNDATED if undated else _DATED} AND t.aweme_id NOT IN ({WITHHELD_IDS})"
    else:
        where = f"{_SEEN} AND t.author_id NOT IN ({HIDDEN_AUTHORS})"
    order = ", ".join(f"t.{name}{_collated(name, dialect)}" for name in extract.order)
    statement = text(f"SELECT {told} FROM {extract.source} t WHERE {where} ORDER BY {order}")
    if extract.by_id:
        return statement
    return statement.bindparams(bindparam("lo", type_=UtcTime), bindparam("hi", type_=UtcTime))


def _collated(name: str, dialect: str) -> str:
    # Ids of one day are digits of one length: any collation, and the key's own index, has them in order.
    return ' COLLATE "C"' if dialect == "postgresql" and name in ("storage_key", "source", "feed", "author_id") else ""


def _sql(column: Column, dialect: str) -> str:
    if column.name == "handles":
        return _HANDLES[dialect]
    written = (column.sql or f"t.{column.name}").replace("{first_at}", "a.first_at")
    if column.form is Form.TIME and dialect == "postgresql":
        return f"to_char({written} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24\\:MI\\:SS.MS\"Z\"')"
    return written


def _cleaned(part: Sequence[Row], free: Sequence[int]) -> list[Row]:
    """Take out of strangers' text what no reader takes (NUL), and once more whatever looks like a signature."""
    if not free:
        return list(part)
    return [_clean(row, free) for row in part]


def _clean(row: Row, free: Sequence[int]) -> Row:
    for at in free:
        told = row[at]
        if told and (scrubbed := scrub_text(told).replace("\0", "\ufffd")) != told:
            row = (*row[:at], scrubbed, *row[at + 1 :])
    return row
