"""Find what a worker holds without walking through everything that is archived.

Frozen: a later change of `db/tables.py` is a migration of its own.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    held = sa.text("worker IS NOT NULL")
    for table in ("fixity", "refreshes"):
        op.create_index(f"{table}_held", table, ["worker"], sqlite_where=held, postgresql_where=held)
