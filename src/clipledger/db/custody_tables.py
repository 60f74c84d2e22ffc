"""The schema of custody: what was withdrawn or deleted by a rule, what is held, and the log of who did what.

Beside `tables`, on the same metadata. The log can only be added to: the database itself refuses to change
or delete its rows. Must not: know a statement.
"""

from __future__ import annotations

from sqlalchemy import DDL, JSON, BigInteger, Column, Index, Integer, Table, Text, event, text
from sqlalchemy.schema import ExecutableDDLElement

from clipledger.db.tables import Serial, UtcTime, metadata

removals = Table(
    "removals",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("state", Text, nullable=False),  # quarantined, purging, purged
    Column("reason", Text, nullable=False),
    Column("request", Text, nullable=False, server_default=""),  # reference of who asked for it
    Column("rule", Text, nullable=False, server_default=""),  # of the retention rule, when none asked
    Column("who", Text, nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("purge_at", UtcTime, nullable=False),  # not before
    Column("purged_at", UtcTime),
    Column("was", Text, nullable=False),  # core.model.State before, or unseen
    Column("author_id", Text),  # until it is purged; of whom it is, where it is kept out for its author
    Index(
        "removals_due",
        "purge_at",
        sqlite_where=text("state <> 'purged'"),
    ),
)

removed_files = Table(
    "removed_files",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # core.model.FileKind, or sidecar, or other
    Column("bytes", BigInteger, nullable=False),
    Index("removed_files_sha256", "sha256"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("nth", Integer, primary_key=True),
    Column("origin", Text, nullable=False),  # the table that the row was in
    Column("content", JSON, nullable=False),  # the row
)

cold_files = Table(
    "cold_files",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("storage_key", Text, primary_key=True),
    Column("storage_class", Text, nullable=False),  # where a retention rule moved it
    Column("moved_at", UtcTime, nullable=False),
)

withheld_authors = Table(
    "withheld_authors",
    metadata,
    Column("author_id", Text, primary_key=True),  # nothing of theirs is ever archived
    Column("reason", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("asked_at", UtcTime, nullable=False),
)

holds = Table(
    "holds",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),  # id, author, source
    Column("subject", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("placed_at", UtcTime, nullable=False),
    Column("released_at", UtcTime),  # empty: it holds
    Column("released_by", Text),
    Column("released_why", Text),
    Index("holds_subject", "kind", "subject"),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),  # UTC; text, since the hash is over its letters
    Column("operator", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("act", Text, nullable=False),  # core.chain.Act
    Column("subject", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("before", Text, nullable=False),  # hash of the row before; 64 zeros in the first
    Column("hash", Text, nullable=False),  # sha256 over all of the above
    Index("audit_log_subject", "subject"),
)

CUSTODY = (removals, removed_files, withheld_authors, holds, audit_log)
"""Receipts: without content, and kept for good."""

APPEND_ONLY = {
    "sqlite": (
        "CREATE TRIGGER audit_log_keep BEFORE UPDATE ON audit_log "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
        "CREATE TRIGGER audit_log_stay BEFORE DELETE ON audit_log "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION audit_log_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$",
        "CREATE TRIGGER audit_log_keep BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_log_refuse()",
    ),
}
"""What makes the log append-only, for whoever may not drop a trigger."""

for _dialect, _statements in APPEND_ONLY.items():
    for _statement in _statements:
        _made: ExecutableDDLElement = DDL(_statement)  # type: ignore[no-untyped-call]
        event.listen(metadata, "after_create", _made.execute_if(dialect=_dialect))
