"""Note which bytes were served as each post's video, so that one file served for many is noticed.

Frozen: a later change of `db/tables.py` is a migration of its own.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("archive_queue", sa.Column("video_sha256", sa.Text()))
    noted = sa.text("video_sha256 IS NOT NULL")
    op.create_index(
        "archive_queue_video", "archive_queue", ["video_sha256"], sqlite_where=noted, postgresql_where=noted
    )
