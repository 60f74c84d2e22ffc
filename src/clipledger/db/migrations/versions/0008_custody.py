"""Removals and their receipts, quarantine, withheld authors, holds, the audit log; files in colder storage.

Frozen: a later change of the tables is a migration of its own.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_UTC = sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_APPEND_ONLY = {
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


def upgrade() -> None:
    _removals()
    _old_receipts()
    op.create_table(
        "holds",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("placed_at", _UTC, nullable=False),
        sa.Column("released_at", _UTC),
        sa.Column("released_by", sa.Text()),
        sa.Column("released_why", sa.Text()),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("holds_subject", "holds", ["kind", "subject"])
    op.create_table(
        "audit_log",
        sa.Column("seq", _SERIAL, autoincrement=False, nullable=False),
        *(
            sa.Column(name, sa.Text(), nullable=False)
            for name in ["at", "operator", "host", "version", "act", "subject", "why", "detail", "before", "hash"]
        ),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("audit_log_subject", "audit_log", ["subject"])
    for statement in _APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


def _old_receipts() -> None:
    """Write receipts for what was withheld by hand, before there was a command."""
    op.execute(
        "INSERT INTO removals (aweme_id, state, reason, who, asked_at, purge_at, purged_at, was) "
        "SELECT aweme_id, 'purged', 'withheld by hand, before receipts were kept', '', coalesce(settled_at, added_at), "
        "coalesce(settled_at, added_at), coalesce(settled_at, added_at), 'archived' "
        "FROM archive_queue WHERE state = 'withheld'"
    )


def _removals() -> None:
    op.create_table(
        "removals",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), server_default="", nullable=False),
        sa.Column("rule", sa.Text(), server_default="", nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("asked_at", _UTC, nullable=False),
        sa.Column("purge_at", _UTC, nullable=False),
        sa.Column("purged_at", _UTC),
        sa.Column("was", sa.Text(), nullable=False),
        sa.Column("author_id", sa.Text()),
        sa.PrimaryKeyConstraint("aweme_id"),
    )
    where = sa.text("state <> 'purged'")
    op.create_index("removals_due", "removals", ["purge_at"], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "removed_files",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("aweme_id", "sha256"),
    )
    op.create_index("removed_files_sha256", "removed_files", ["sha256"])
    op.create_table(
        "quarantine",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("nth", sa.Integer(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("content", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("aweme_id", "nth"),
    )
    op.create_table(
        "cold_files",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("storage_class", sa.Text(), nullable=False),
        sa.Column("moved_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("aweme_id", "storage_key"),
    )
    op.create_table(
        "withheld_authors",
        sa.Column("author_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("asked_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("author_id"),
    )
