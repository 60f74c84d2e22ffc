"""When each post's files were read last, what became of them, and which rows were made from sidecars.

Frozen: a later change of the tables is a migration of its own.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_UTC = sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("archive_queue", sa.Column("restored_at", _UTC))
    op.create_table(
        "fixity",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("due_at", _UTC),
        sa.Column("checked_at", _UTC, nullable=False),
        sa.Column("unread", sa.Integer(), server_default="0", nullable=False),
        sa.Column("damaged_at", _UTC),
        sa.Column("damage", sa.Text(), server_default="", nullable=False),
        sa.Column("tried_at", _UTC),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", _UTC),
        sa.Column("worker", sa.Text()),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("aweme_id"),
    )
    _partial_index("fixity_unplanned", "fixity", "aweme_id", "due_at IS NULL")
    op.create_index("fixity_due", "fixity", ["due_at"])
    op.create_index("fixity_checked", "fixity", ["checked_at"])
    _partial_index("fixity_damaged", "fixity", "damaged_at", "damaged_at IS NOT NULL")
    op.create_table(
        "custody",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("at", _UTC, nullable=False),
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("act", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="", nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("sha256", sa.Text()),
        sa.Column("was_key", sa.Text()),
        sa.Column("was_bytes", sa.BigInteger()),
        sa.Column("was_sha256", sa.Text()),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("worker", sa.Text()),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("custody_id", "custody", ["aweme_id"])
    op.execute(sa.text("INSERT INTO fixity (aweme_id, checked_at) SELECT aweme_id, archived_at FROM posts"))


def _partial_index(name: str, table: str, column: str, where: str) -> None:
    op.create_index(name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
