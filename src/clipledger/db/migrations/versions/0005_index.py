"""Authors, tags, availability, refreshes and the search index; filled from the posts that are there.

Frozen, but for the filling, which is what `clipledger reindex` does: it can be done anew at any time.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_UTC = sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")

_SEARCH = {
    "sqlite": ("CREATE VIRTUAL TABLE post_search USING fts5(words, tokenize = \"ascii tokenchars ':_.-%'\")",),
    "postgresql": (
        "CREATE TABLE post_search (aweme_id TEXT PRIMARY KEY, words TEXT NOT NULL, lexemes TSVECTOR NOT NULL)",
        "CREATE INDEX post_search_lexemes ON post_search USING gin (lexemes)",
    ),
}


def upgrade() -> None:
    op.add_column("sources", sa.Column("refresh", sa.Text()))
    op.add_column("posts", sa.Column("plays_per_day", sa.Double()))
    op.create_index("posts_plays", "posts", ["play_count", "aweme_id"])
    op.create_index("posts_growth", "posts", ["plays_per_day", "aweme_id"])
    op.create_index("posts_ranked", "posts", ["aweme_id", "play_count", "plays_per_day"])
    op.create_table(
        "authors",
        sa.Column("author_id", sa.Text(), nullable=False),
        sa.Column("handle", sa.Text(), nullable=False),
        sa.Column("nickname", sa.Text(), nullable=False),
        sa.Column("first_seen_at", _UTC, nullable=False),
        sa.Column("last_seen_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("author_id"),
    )
    op.create_table(
        "author_handles",
        sa.Column("author_id", sa.Text(), nullable=False),
        sa.Column("handle", sa.Text(), nullable=False),
        sa.Column("first_seen_at", _UTC, nullable=False),
        sa.Column("last_seen_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("author_id", "handle"),
    )
    op.create_index("author_handles_handle", "author_handles", ["handle"])
    op.create_table(
        "hashtags",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("tag", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("aweme_id", "tag"),
    )
    op.create_index("hashtags_tag", "hashtags", ["tag", "aweme_id"])
    op.create_table(
        "availability",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("first_at", _UTC, nullable=False),
        sa.Column("last_at", _UTC, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("ended_at", _UTC),
        sa.PrimaryKeyConstraint("aweme_id", "first_at"),
    )
    _partial_index("availability_gone", "availability", "first_at", "state = 'gone'")
    op.create_table(
        "refreshes",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("planned", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("next_at", _UTC),
        sa.Column("asked_at", _UTC),
        sa.Column("doubted_at", _UTC),
        sa.Column("doubt_due_at", _UTC),
        sa.Column("doubt_reason", sa.Text()),
        sa.Column("lease_until", _UTC),
        sa.Column("worker", sa.Text()),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("aweme_id"),
    )
    _partial_index("refreshes_unplanned", "refreshes", "aweme_id", "NOT planned")
    _partial_index("refreshes_next", "refreshes", "next_at", "next_at IS NOT NULL")
    _partial_index("refreshes_doubted", "refreshes", "doubt_due_at", "doubt_due_at IS NOT NULL")
    for statement in _SEARCH[op.get_bind().dialect.name]:
        op.execute(sa.text(statement.replace(":", "\\:")))
    _fill()


def _partial_index(name: str, table: str, column: str, where: str) -> None:
    op.create_index(name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _fill() -> None:
    from clipledger.db.search_index import fill

    fill(op.get_bind())
