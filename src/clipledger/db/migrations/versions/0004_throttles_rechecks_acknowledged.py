"""Count a video's own 429s and how often it was asked after its death; let an operator take note of the dead.

Frozen: a later change of `db/tables.py` is a migration of its own.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_UTC = sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")


def upgrade() -> None:
    op.add_column("archive_queue", sa.Column("throttles", sa.Integer(), server_default="0", nullable=False))
    op.add_column("archive_queue", sa.Column("rechecks", sa.Integer(), server_default="0", nullable=False))
    op.add_column("archive_queue", sa.Column("first_died_at", _UTC))
    op.add_column("dead_letters", sa.Column("acknowledged_at", _UTC))
