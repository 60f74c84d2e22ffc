"""The members of a fleet, and sweeps over leased ranges of ids."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_UTC = sa.Text().with_variant(postgresql.TIMESTAMP(timezone=True), "postgresql")
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("began_at", _UTC, nullable=False),
        sa.Column("seen_at", _UTC, nullable=False),
        sa.Column("in_flight", sa.Integer(), server_default="0", nullable=False),
        sa.Column("captured", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("videos_per_min", sa.Double(), server_default="0", nullable=False),
        sa.Column("credits_per_min", sa.Double(), server_default="0", nullable=False),
        sa.Column("stop", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("worker"),
    )
    op.create_table(
        "sweeps",
        sa.Column("sweep", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("began_at", _UTC, nullable=False),
        sa.Column("ended_at", _UTC),
        sa.Column("planned_ids", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("sweep"),
    )
    op.create_table(
        "sweep_ranges",
        sa.Column("sweep", sa.BigInteger(), nullable=False),
        sa.Column("nth", sa.Integer(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.Column("last_id", sa.Text(), nullable=False),
        sa.Column("planned_ids", sa.Integer(), nullable=False),
        sa.Column("ids", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("files", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("findings", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("done_at", _UTC),
        sa.Column("lease_until", _UTC),
        sa.Column("worker", sa.Text()),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["sweep"], ["sweeps.sweep"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("sweep", "nth"),
    )
    op.create_table(
        "sweep_findings",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("sweep", sa.BigInteger(), nullable=False),
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["sweep"], ["sweeps.sweep"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("sweep_findings_sweep", "sweep_findings", ["sweep", "aweme_id"])
