"""Exports: which were made, what is in each, and the journal of what changed since.

Frozen, but for the triggers, which are those of `export_tables`: a later migration that changes them drops each
trigger and function named export_* and makes them anew.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_UTC = sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "exports",
        sa.Column("export_id", sa.Text(), nullable=False),
        sa.Column("at", _UTC, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("watermark", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), server_default="", nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("export_id"),
    )
    op.create_index("exports_destination", "exports", ["destination", "at"])
    op.create_table(
        "export_parts",
        sa.Column("export_id", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer()),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("export_id", "path"),
        sa.ForeignKeyConstraint(["export_id"], ["exports.export_id"], ondelete="CASCADE"),
    )
    op.create_index("export_parts_day", "export_parts", ["day"])
    op.create_table(
        "export_journal",
        sa.Column("journal", sa.Text(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("journal"),
    )
    op.create_table(
        "export_changes",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("writer", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "day", "generation", "writer"),
    )
    where = sa.text("state = 'withheld'")
    op.create_index("archive_queue_withheld", "archive_queue", ["aweme_id"], sqlite_where=where, postgresql_where=where)
    op.create_index("authors_first_seen", "authors", ["first_seen_at"])
    _watch()


def _watch() -> None:
    from clipledger.db.export_tables import TRIGGERS

    for statement in TRIGGERS[op.get_bind().dialect.name]:
        op.get_bind().exec_driver_sql(statement)
