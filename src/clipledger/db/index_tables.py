"""The schema of what is known about archived posts over time, and of the search index.

Beside `tables`, on the same metadata. `post_search` alone is no ordinary table: FTS5 on SQLite, a
tsvector under a GIN index on PostgreSQL. Must not: know a statement.
"""

from __future__ import annotations

from sqlalchemy import DDL, BigInteger, Boolean, Column, Index, Table, Text, event, text
from sqlalchemy.schema import ExecutableDDLElement

from clipledger.db.tables import UtcTime, metadata, posts

authors = Table(
    "authors",
    metadata,
    Column("author_id", Text, primary_key=True),
    Column("handle", Text, nullable=False),
    Column("nickname", Text, nullable=False),
    Column("first_seen_at", UtcTime, nullable=False),
    Column("last_seen_at", UtcTime, nullable=False),
)

author_handles = Table(
    "author_handles",
    metadata,
    Column("author_id", Text, primary_key=True),
    Column("handle", Text, primary_key=True),  # lower case, as handles are one whatever their case
    Column("first_seen_at", UtcTime, nullable=False),
    Column("last_seen_at", UtcTime, nullable=False),
    Index("author_handles_handle", "handle"),
)

hashtags = Table(
    "hashtags",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("tag", Text, primary_key=True),  # without #, NFC, case-folded
    Index("hashtags_tag", "tag", "aweme_id"),
)

availability = Table(
    "availability",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("first_at", UtcTime, primary_key=True),  # the first observation that said so
    Column("last_at", UtcTime, nullable=False),  # the last one
    Column("state", Text, nullable=False),  # present, gone
    Column("feed", Text, nullable=False),  # what said so last: capture, list, refresh
    Column("reason", Text, nullable=False, server_default=""),  # core.errors.Reason of what is gone
    Column("ended_at", UtcTime),  # when something else was observed; empty: it holds
    Index(
        "availability_gone",
        "first_at",
        sqlite_where=text("state = 'gone'"),
    ),
)

refreshes = Table(
    "refreshes",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("planned", Boolean, nullable=False, server_default=text("false")),  # next_at follows the schedule of now
    Column("next_at", UtcTime),  # the next step; empty: none is left
    Column("asked_at", UtcTime),
    Column("doubted_at", UtcTime),  # when it was first not found; empty: it is not doubted
    Column("doubt_due_at", UtcTime),  # when it is asked again
    Column("doubt_reason", Text),  # core.errors.Reason
    Column("lease_until", UtcTime),
    Column("worker", Text),
    Column("token", BigInteger, nullable=False, server_default="0"),
    Index(
        "refreshes_unplanned",
        "aweme_id",
        sqlite_where=text("NOT planned"),
    ),
    Index(
        "refreshes_next",
        "next_at",
        sqlite_where=text("next_at IS NOT NULL"),
    ),
    Index(
        "refreshes_doubted",
        "doubt_due_at",
        sqlite_where=text("doubt_due_at IS NOT NULL"),
    ),
    Index("refreshes_held", "worker", sqlite_where=text("worker IS NOT NULL")),
)

Index("posts_plays", posts.c.play_count, posts.c.aweme_id)
Index("posts_growth", posts.c.plays_per_day, posts.c.aweme_id)
Index("posts_ranked", posts.c.aweme_id, posts.c.play_count, posts.c.plays_per_day)  # sorting matches reads it alone

SEARCH = {
    # Words arrive folded and divided by spaces: whatever is not ASCII is part of a word, whichever Unicode it is from.
    "sqlite": ("CREATE VIRTUAL TABLE post_search USING fts5(words, tokenize = \"ascii tokenchars ':_.-%'\")",),
    "postgresql": (
        "CREATE TABLE post_search (aweme_id TEXT PRIMARY KEY, words TEXT NOT NULL, lexemes TSVECTOR NOT NULL)",
        "CREATE INDEX post_search_lexemes ON post_search USING gin (lexemes)",
    ),
}
"""What makes the search index. SQLite's rowid is the post's id as a number: its order is that of creation."""

for _dialect, _statements in SEARCH.items():
    for _statement in _statements:
        _made: ExecutableDDLElement = DDL(_statement.replace("%", "%%"))  # type: ignore[no-untyped-call]
        event.listen(metadata, "after_create", _made.execute_if(dialect=_dialect))
