"""The schema of exports: which were made and what is in each; and the journal of what changed since.

The journal is kept by triggers, so that no writer of ours, of today or of a later release, can forget it. It
names the days whose rows changed, a row for each table, day and generation: small whatever the archive's size.
It is off, and costs one look, until the first export begins it. Beside `tables`, on the same metadata.
Must not: know a statement that reads it (`exports.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import DDL, BigInteger, Column, ForeignKey, Index, Integer, Table, Text, event, text
from sqlalchemy.schema import ExecutableDDLElement

from clipledger.core.days import DATED_FROM, DATED_UNTIL
from clipledger.db.index_tables import authors
from clipledger.db.tables import UtcTime, archive_queue, metadata

JOURNAL_LOCK = 0x636C6970_65787074
"""PostgreSQL's advisory lock: shared by who changes rows, held alone while a generation ends ("clipexpt")."""

exports = Table(
    "exports",
    metadata,
    Column("export_id", Text, primary_key=True),
    Column("at", UtcTime, nullable=False),  # of its snapshot
    Column("kind", Text, nullable=False),  # parquet, csv, jsonl, ids, dataset
    Column("destination", Text, nullable=False),  # a URL without secrets
    Column("watermark", Text, nullable=False),  # journal and generation up to which everything is in it
    Column("query", Text, nullable=False, server_default=""),  # --where
    Column("rows", BigInteger, nullable=False),  # written, not those of parts that stayed
    Column("bytes", BigInteger, nullable=False),
    Index("exports_destination", "destination", "at"),
)

export_parts = Table(
    "export_parts",
    metadata,
    Column("export_id", Text, ForeignKey("exports.export_id", ondelete="CASCADE"), primary_key=True),
    Column("path", Text, primary_key=True),  # below the destination
    Column("kind", Text, nullable=False),  # the exported table
    Column("day", Integer),  # days since 1970-01-01; empty: the whole table is one file
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Index("export_parts_day", "day"),
)

export_journal = Table(
    "export_journal",
    metadata,
    Column("journal", Text, primary_key=True),  # one row, thrown when the first export begins; no row: it is off
    Column("generation", BigInteger, nullable=False),  # what changes now is stamped with it
)

export_changes = Table(
    "export_changes",
    metadata,
    Column("kind", Text, primary_key=True),  # the exported table
    Column("day", Integer, primary_key=True),  # days since 1970-01-01
    Column("generation", BigInteger, primary_key=True),
    Column("writer", BigInteger, primary_key=True),  # PostgreSQL's transaction: no two wait for each other; else 0
)

Index(
    "archive_queue_withheld",
    archive_queue.c.aweme_id,
    sqlite_where=text("state = 'withheld'"),
)

Index("authors_first_seen", authors.c.first_seen_at)

OF_ID = ("posts", "metrics", "files", "sightings", "dead_letters")
"""The exported tables that are cut by the day on which the post was made."""

_TABLES = {
    "posts": "posts",
    "post_metrics_history": "metrics",
    "files": "files",
    "sightings": "sightings",
    "dead_letters": "dead_letters",
    "availability": "posts",
}
"""Table of the archive -> the exported table that a change of it changes."""


def day_of_id(dialect: str, column: str) -> str:
    """Write, in SQL, the day on which a post was made; 0 for an id that tells none. `core.days` says the same."""
    dated = f"length({column}) = 19 AND {column} >= '{DATED_FROM}' AND {column} < '{DATED_UNTIL}'"
    day = f"CAST((CAST({column} AS BIGINT) >> 32) / 86400 AS INTEGER)"
    if dialect == "postgresql":
        dated += f" AND {column} SIMILAR TO '[0-9]+'"
    return f"CASE WHEN {dated} THEN {day} ELSE 0 END"


def _sqlite() -> Iterator[str]:
    for table, kind in _TABLES.items():
        for act, row in (("insert", "NEW"), ("update", "NEW"), ("delete", "OLD")):
            yield _noting(f"export_{table}_{act}", f"{act.upper()} ON {table}", kind, _sqlite_day(row))
    days = {"insert": ("NEW",), "update": ("OLD", "NEW"), "delete": ("OLD",)}
    for act, rows in days.items():
        for row in rows:
            seen = f"CAST(julianday(substr({row}.first_seen_at, 1, 10)) - 2440587.5 AS INTEGER)"
            yield _noting(f"export_authors_{act}_{row.lower()}", f"{act.upper()} ON authors", "authors", seen)
    seen = "(SELECT CAST(julianday(substr(a.first_seen_at, 1, 10)) - 2440587.5 AS INTEGER) FROM authors a"
    for act, row in (("insert", "NEW"), ("delete", "OLD")):
        by = f"coalesce({seen} WHERE a.author_id = {row}.author_id), 0)"
        yield _noting(f"export_authors_post_{act}", f"{act.upper()} ON posts", "authors", by)
    hidden = "UPDATE OF state ON archive_queue"
    when = "(OLD.state = 'withheld') <> (NEW.state = 'withheld') AND "
    for kind in OF_ID:
        yield _noting(f"export_withheld_{kind}", hidden, kind, _sqlite_day("NEW"), when)
    by = f"coalesce({seen} JOIN posts p ON p.author_id = a.author_id WHERE p.aweme_id = NEW.aweme_id), 0)"
    yield _noting("export_withheld_authors", hidden, "authors", by, when)


def _sqlite_day(row: str) -> str:
    return day_of_id("sqlite", f"{row}.aweme_id")


def _noting(name: str, event_: str, kind: str, day: str, when: str = "") -> str:
    known = f"e.kind = '{kind}' AND e.day = {day} AND e.generation = j.generation"
    return (
        f"CREATE TRIGGER {name} AFTER {event_} WHEN {when}EXISTS (SELECT 1 FROM export_journal) BEGIN "
        f"INSERT INTO export_changes (kind, day, generation, writer) SELECT '{kind}', {day}, j.generation, 0 "
        f"FROM export_journal j WHERE NOT EXISTS (SELECT 1 FROM export_changes e WHERE {known}); END"
    )


def _postgres() -> Iterator[str]:
    by_id, seen = day_of_id("postgresql", "c.aweme_id"), "CAST(c.first_seen_at AT TIME ZONE 'UTC' AS DATE)"
    yield _function("export_note_ids", f"SELECT {by_id} AS day FROM changed c")
    yield _function("export_note_authors", f"SELECT {seen} - DATE '1970-01-01' AS day FROM changed c")
    posted = "authors c JOIN changed p ON p.author_id = c.author_id"
    yield _function("export_note_posted", f"SELECT {seen} - DATE '1970-01-01' AS day FROM {posted}")
    for table, kind in _TABLES.items():
        for act, rows in (("insert", "NEW"), ("update", "NEW"), ("delete", "OLD")):
            yield _trigger(f"export_{table}_{act}", act, table, rows, f"export_note_ids('{kind}')")
    for act, rows in (("insert", "NEW"), ("update", "NEW"), ("update", "OLD"), ("delete", "OLD")):
        name = f"export_authors_{act}_{rows.lower()}"
        yield _trigger(name, act, "authors", rows, "export_note_authors('authors')")
    for act, rows in (("insert", "NEW"), ("delete", "OLD")):
        yield _trigger(f"export_authors_post_{act}", act, "posts", rows, "export_note_posted('authors')")
    yield from _postgres_withheld(by_id, seen)


def _postgres_withheld(by_id: str, seen: str) -> Iterator[str]:
    author = "SELECT p.aweme_id, p.author_id FROM posts p WHERE p.aweme_id = NEW.aweme_id"
    yield _function("export_note_withheld", f"SELECT {by_id} AS day FROM (SELECT NEW.aweme_id AS aweme_id) c")
    yield _function(
        "export_note_hidden",
        f"SELECT {seen} - DATE '1970-01-01' AS day FROM authors c JOIN ({author}) p ON p.author_id = c.author_id",
    )
    # For each row, since a condition on the state keeps everyday changes of the queue free of it.
    when = "FOR EACH ROW WHEN ((OLD.state = 'withheld') IS DISTINCT FROM (NEW.state = 'withheld'))"
    for name, call in (
        ("export_withheld_ids", f"export_note_withheld('{','.join(OF_ID)}')"),
        ("export_withheld_authors", "export_note_hidden('authors')"),
    ):
        yield f"CREATE TRIGGER {name} AFTER UPDATE OF state ON archive_queue {when} EXECUTE FUNCTION {call}"


def _function(name: str, days: str) -> str:
    """Write a function that notes `days` for the tables that its trigger names.

    The lock comes first: who ends a generation waits for every transaction that has stamped its changes with it.
    """
    known = "e.kind = k AND e.day = d.day AND e.generation = j.generation"
    return (
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"PERFORM pg_advisory_xact_lock_shared({JOURNAL_LOCK}); "
        "IF EXISTS (SELECT 1 FROM export_journal) THEN "
        "INSERT INTO export_changes (kind, day, generation, writer) "
        "SELECT DISTINCT k, d.day, j.generation, txid_current() "
        f"FROM ({days}) d, export_journal j, unnest(string_to_array(TG_ARGV[0], ',')) k "
        f"WHERE NOT EXISTS (SELECT 1 FROM export_changes e WHERE {known}); "
        "END IF; RETURN NULL; END $$"
    )


def _trigger(name: str, act: str, table: str, rows: str, call: str) -> str:
    return (
        f"CREATE TRIGGER {name} AFTER {act.upper()} ON {table} REFERENCING {rows} TABLE AS changed "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {call}"
    )


TRIGGERS = {"sqlite": tuple(_sqlite()), "postgresql": tuple(_postgres())}
"""What keeps the journal. An upsert fires for what it inserts and for what it updates."""

for _dialect, _statements in TRIGGERS.items():
    for _statement in _statements:
        _made: ExecutableDDLElement = DDL(_statement)  # type: ignore[no-untyped-call]
        event.listen(metadata, "after_create", _made.execute_if(dialect=_dialect))
