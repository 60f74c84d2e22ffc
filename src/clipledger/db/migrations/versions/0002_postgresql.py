"""Commit notes, and what PostgreSQL must be told about tables whose rows change all the time.

Frozen: a later change of `db/tables.py` is a migration of its own.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_UTC = sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")

# Defaults wait until a fifth of a table is dead: 400,000 rows of 2 million, all of them in the way of
# the claim, which walks the due index past every version that is still in it.
_BUSY = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "2000",
    "autovacuum_analyze_scale_factor": "0.02",
    "autovacuum_vacuum_insert_scale_factor": "0.05",
    "autovacuum_vacuum_cost_delay": "0",  # milliseconds: a vacuum that dawdles is overtaken by the claims
}
# One row a process, or one for all, changed with every commit: the new version goes beside the old one
# in the same page (HOT), which needs room there and no vacuum.
_SINGLE = {"fillfactor": "10", "autovacuum_vacuum_scale_factor": "0", "autovacuum_vacuum_threshold": "500"}

_SETTINGS = {
    # A row is written four or five times on its way, once or twice without touching an index.
    "archive_queue": {"fillfactor": "80"} | _BUSY,
    "credits": _BUSY,  # each row is settled once
    "sightings": {"fillfactor": "90"} | _BUSY,  # seen again with every pass of the list
    "posts": {"fillfactor": "90"},  # counters are refreshed with every pass
    "sources": _SINGLE | {"fillfactor": "50"},  # claimed and moved on with every page
    "commits": _SINGLE,
    "limits": _SINGLE,
    "credit_days": _SINGLE,
    "switches": _SINGLE,
}


def upgrade() -> None:
    op.create_table(
        "commits",
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("writer"),
    )
    if op.get_bind().dialect.name == "postgresql":
        for table, settings in _SETTINGS.items():
            told = ", ".join(f"{name} = {value}" for name, value in settings.items())
            op.execute(f"ALTER TABLE {table} SET ({told})")
