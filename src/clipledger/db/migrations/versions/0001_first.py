"""The first schema: queue, sources, catalog, credits, limits, events.

Frozen: a later change of `db/tables.py` is a migration of its own.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UTC = sa.Text().with_variant(TIMESTAMP(timezone=True), "postgresql")
_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "archive_queue",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("added_at", _UTC, nullable=False),
        sa.Column("resolved_at", _UTC),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("due_at", _UTC, nullable=False),
        sa.Column("lease_until", _UTC),
        sa.Column("worker", sa.Text()),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("crashes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("call_reason", sa.Text(), server_default="first", nullable=False),
        sa.Column("last_reason", sa.Text()),
        sa.Column("last_detail", sa.Text()),
        sa.Column("suspect_reason", sa.Text()),
        sa.Column("suspect_at", _UTC),
        sa.Column("not_founds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("first_not_found_at", _UTC),
        sa.Column("asked_url", sa.Text()),
        sa.Column("author_part", sa.Text()),
        sa.Column("storage_key", sa.Text()),
        sa.Column("rendition", sa.Text(), nullable=True),
        sa.Column("thin", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("hint", sa.JSON()),
        sa.Column("stored_at", _UTC),
        sa.Column("settled_at", _UTC),
        sa.PrimaryKeyConstraint("aweme_id"),
    )
    op.create_index(
        "archive_queue_due",
        "archive_queue",
        ["priority", "due_at", "aweme_id"],
        sqlite_where=sa.text("state = 'pending' AND suspect_at IS NULL"),
        postgresql_where=sa.text("state = 'pending' AND suspect_at IS NULL"),
    )
    op.create_index(
        "archive_queue_open",
        "archive_queue",
        ["state", "lease_until"],
        sqlite_where=sa.text("state IN ('running','stored')"),
        postgresql_where=sa.text("state IN ('running','stored')"),
    )
    op.create_index("archive_queue_source", "archive_queue", ["source", "state"])
    op.create_index(
        "archive_queue_suspect",
        "archive_queue",
        ["suspect_at"],
        sqlite_where=sa.text("suspect_at IS NOT NULL"),
        postgresql_where=sa.text("suspect_at IS NOT NULL"),
    )
    op.create_table(
        "credit_days",
        sa.Column("day", sa.Text(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day"),
    )
    op.create_table(
        "credits",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("at", _UTC, nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("aweme_id", sa.Text()),
        sa.Column("source", sa.Text()),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), server_default="sent", nullable=False),
        sa.Column("credits", sa.Integer(), server_default="1", nullable=False),
        sa.Column("settled_at", _UTC),
        sa.Column("worker", sa.Text()),
        sa.Column("token", sa.BigInteger()),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_index("credits_at", "credits", ["at"])
    op.create_index("credits_id", "credits", ["aweme_id"])
    op.create_index(
        "credits_open",
        "credits",
        ["at"],
        sqlite_where=sa.text("outcome = 'sent'"),
        postgresql_where=sa.text("outcome = 'sent'"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("died_at", _UTC, nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("summarised_at", _UTC),
        sa.PrimaryKeyConstraint("aweme_id"),
    )
    op.create_index("dead_letters_died", "dead_letters", ["died_at"])
    op.create_table(
        "events",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("at", _UTC, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("aweme_id", sa.Text()),
        sa.Column("source", sa.Text()),
        sa.Column("worker", sa.Text()),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "files",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rendition", sa.Text()),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("stored_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("aweme_id", "storage_key"),
    )
    op.create_index("files_sha256", "files", ["sha256"])
    op.create_table(
        "limits",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_at", _UTC, nullable=False),
        sa.Column("paused_until", _UTC),
        sa.Column("throttles", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_table(
        "post_metrics_history",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("observed_at", _UTC, nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("play_count", sa.BigInteger()),
        sa.Column("digg_count", sa.BigInteger()),
        sa.Column("comment_count", sa.BigInteger()),
        sa.Column("share_count", sa.BigInteger()),
        sa.Column("download_count", sa.BigInteger()),
        sa.Column("collect_count", sa.BigInteger()),
        sa.PrimaryKeyConstraint("aweme_id", "observed_at", "feed"),
    )
    op.create_table(
        "posts",
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("author_id", sa.Text(), nullable=False),
        sa.Column("author_handle", sa.Text(), nullable=False),
        sa.Column("author_nickname", sa.Text(), server_default="", nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), nullable=False),
        sa.Column("duration", sa.Double()),
        sa.Column("create_time", sa.BigInteger()),
        sa.Column("play_count", sa.BigInteger()),
        sa.Column("digg_count", sa.BigInteger()),
        sa.Column("comment_count", sa.BigInteger()),
        sa.Column("share_count", sa.BigInteger()),
        sa.Column("download_count", sa.BigInteger()),
        sa.Column("collect_count", sa.BigInteger()),
        sa.Column("music_id", sa.Text(), server_default="", nullable=False),
        sa.Column("is_photo", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("is_ad", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("thin", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("storage_key", sa.Text(), nullable=False),
        sa.Column("sidecar_key", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text()),
        sa.Column("archived_at", _UTC, nullable=False),
        sa.Column("counters_at", _UTC, nullable=False),
        sa.PrimaryKeyConstraint("aweme_id"),
    )
    op.create_index("posts_archived", "posts", ["archived_at"])
    op.create_index("posts_author", "posts", ["author_id"])
    op.create_table(
        "reply_samples",
        sa.Column("seq", _SERIAL, autoincrement=True, nullable=False),
        sa.Column("at", _UTC, nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("aweme_id", sa.Text()),
        sa.Column("source", sa.Text()),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "sightings",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("aweme_id", sa.Text(), nullable=False),
        sa.Column("seen_at", _UTC, nullable=False),
        sa.Column("last_seen_at", _UTC, nullable=False),
        sa.Column("is_ad", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("pinned", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("source", "aweme_id"),
    )
    op.create_index("sightings_id", "sightings", ["aweme_id"])
    op.create_table(
        "sources",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), server_default="", nullable=False),
        sa.Column("sort", sa.Text(), server_default="", nullable=False),
        sa.Column("published_within", sa.Integer(), server_default="0", nullable=False),
        sa.Column("priority", sa.Integer(), server_default="0", nullable=False),
        sa.Column("every_s", sa.Integer()),
        sa.Column("max_pages", sa.Integer()),
        sa.Column("added_at", _UTC, nullable=False),
        sa.Column("paused_at", _UTC),
        sa.Column("entity_id", sa.Text()),
        sa.Column("declared", sa.BigInteger()),
        sa.Column("declared_at", _UTC),
        sa.Column("cursor", sa.Text()),
        sa.Column("cursor_at", _UTC),
        sa.Column("pass_no", sa.Integer(), server_default="0", nullable=False),
        sa.Column("pass_started_at", _UTC),
        sa.Column("pass_pages", sa.Integer(), server_default="0", nullable=False),
        sa.Column("pass_new", sa.Integer(), server_default="0", nullable=False),
        sa.Column("pass_stale", sa.Integer(), server_default="0", nullable=False),
        sa.Column("full_pass_at", _UTC),
        sa.Column("pass_end", sa.Text()),
        sa.Column("next_at", _UTC, nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("last_reason", sa.Text()),
        sa.Column("last_detail", sa.Text()),
        sa.Column("bad_items", sa.Integer(), server_default="0", nullable=False),
        sa.Column("lease_until", _UTC),
        sa.Column("worker", sa.Text()),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("source"),
    )
    op.create_index("sources_next", "sources", ["next_at"])
    op.create_table(
        "switches",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("since", _UTC, nullable=False),
        sa.Column("evidence", sa.Text(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "source_cursors",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["source"], ["sources.source"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("source", "cursor"),
    )
