"""The schema, in one place. Both databases hold the same columns.

Must not: know a statement, a setting or a state's meaning. Times are UTC (`UtcTime`): unix seconds
as float in Python, `2026-05-29T12:00:00.123Z` in SQLite (sorts as text), timestamptz in
PostgreSQL. `create_time` alone is the API's own unix-seconds integer, under the API's own name.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    JSON,
    TIMESTAMP,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)

from clipledger.core.times import iso_time, read_iso_time
from clipledger.db.backend import DamagedValue

SCHEMA_VERSION = "0011"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
told_time = lru_cache(maxsize=256)(iso_time)  # the rows of one batch hold the same few moments


class UtcTime(TypeDecorator[float]):
    """A point in time: float unix seconds in Python, readable UTC in the database."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """Store text, but a real timestamp where there is one."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(TIMESTAMP(timezone=True))
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: float | None, dialect: Dialect) -> Any:
        """Write unix seconds, rounded to the millisecond."""
        if value is None:
            return None
        if dialect.name == "postgresql":
            return _EPOCH + timedelta(milliseconds=round(value * 1000))
        return told_time(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> float | None:
        """Read unix seconds; DamagedValue where no moment stands."""
        if value is None:
            return None
        if isinstance(value, datetime):
            return (value - _EPOCH) / timedelta(seconds=1)
        try:
            return read_iso_time(value)
        except (ValueError, TypeError) as error:
            raise DamagedValue(f"{str(value)[:40]!r} where a moment belongs") from error


Serial = BigInteger().with_variant(Integer(), "sqlite")  # SQLite counts INTEGER alone

metadata = MetaData()


def _where(condition: str) -> dict[str, Any]:
    """Say which rows a partial index holds. The migrations tell PostgreSQL: its word would load its drivers."""
    return {"sqlite_where": text(condition)}


meta = Table(
    "meta",
    metadata,
    Column("key", Text, primary_key=True),  # archive_uuid, created_at, regions, regions_at ...
    Column("value", Text, nullable=False),
)

archive_queue = Table(
    "archive_queue",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("source", Text, nullable=False),  # the source that showed it first
    Column("state", Text, nullable=False),  # core.model.State
    Column("attempts", Integer, nullable=False, server_default="0"),  # counted at claim
    Column("added_at", UtcTime, nullable=False),
    Column("resolved_at", UtcTime),  # the first time a paid resolve answered
    Column("priority", Integer, nullable=False, server_default="0"),  # higher first
    Column("due_at", UtcTime, nullable=False),
    Column("lease_until", UtcTime),
    Column("worker", Text),  # who holds the lease
    Column("token", BigInteger, nullable=False, server_default="0"),  # grows at each claim
    Column("crashes", Integer, nullable=False, server_default="0"),  # leases that ran out
    Column("call_reason", Text, nullable=False, server_default="first"),  # of the next paid resolve
    Column("last_reason", Text),  # core.errors.Reason of the last failure
    Column("last_detail", Text),
    Column("suspect_reason", Text),  # said to be gone, not yet believed
    Column("suspect_at", UtcTime),
    Column("not_founds", Integer, nullable=False, server_default="0"),  # times suspected, then acquitted
    Column("first_not_found_at", UtcTime),
    Column("asked_url", Text),  # how the operator wrote it, when by hand
    Column("author_part", Text),  # fixed before the first byte is stored, with day and storage_key
    Column("storage_key", Text),
    Column("rendition", Text),  # of the video that is, or is about to be, under storage_key
    Column("thin", Boolean, nullable=False, server_default=text("false")),
    Column("hint", JSON),  # the scrubbed list item, only for capture.lean
    Column("stored_at", UtcTime),
    Column("settled_at", UtcTime),  # when it reached archived, dead or withheld
    Column("throttles", Integer, nullable=False, server_default="0"),  # 429s that it met
    Column("rechecks", Integer, nullable=False, server_default="0"),  # times asked again after it was gone
    Column("first_died_at", UtcTime),  # what `queue.recheck_gone` counts from
    Column("restored_at", UtcTime),  # when its row was made from its sidecar: the calls it cost are not in the ledger
    Column("video_sha256", Text),  # what was served as its video last, stored or not
    Index(  # walked backwards by the claim, which needs nothing else: suspects are not in it
        "archive_queue_due",
        "priority",
        "due_at",
        "aweme_id",
        **_where("state = 'pending' AND suspect_at IS NULL"),
    ),
    Index("archive_queue_open", "state", "lease_until", **_where("state IN ('running','stored')")),
    Index("archive_queue_suspect", "suspect_at", **_where("suspect_at IS NOT NULL")),
    Index("archive_queue_source", "source", "state"),
    Index("archive_queue_video", "video_sha256", **_where("video_sha256 IS NOT NULL")),
)

sources = Table(
    "sources",
    metadata,
    Column("source", Text, primary_key=True),  # canonical text: @alice, #dance, search:cats?region=US&sort=date
    Column("kind", Text, nullable=False),  # user, tag, search, music, playlist, collection, liked, stories, link, hand
    Column("subject", Text, nullable=False),  # handle without @, tag without #, words, id, short link
    Column("region", Text, nullable=False, server_default=""),
    Column("sort", Text, nullable=False, server_default=""),
    Column("published_within", Integer, nullable=False, server_default="0"),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("every_s", Integer),  # None = the default
    Column("max_pages", Integer),
    Column("added_at", UtcTime, nullable=False),
    Column("paused_at", UtcTime),
    Column("entity_id", Text),  # numeric id behind a handle or tag, cached for ever
    Column("declared", BigInteger),  # how many posts the profile or tag says it has
    Column("declared_at", UtcTime),
    Column("cursor", Text),  # where the running pass goes on; None = from the top
    Column("cursor_at", UtcTime),
    Column("pass_no", Integer, nullable=False, server_default="0"),  # passes begun
    Column("pass_started_at", UtcTime),
    Column("pass_pages", Integer, nullable=False, server_default="0"),
    Column("pass_new", Integer, nullable=False, server_default="0"),
    Column("pass_stale", Integer, nullable=False, server_default="0"),  # pages in a row without a new id
    Column("full_pass_at", UtcTime),  # when a pass ran to the end; empty while not all below is known to be listed
    Column("pass_end", Text),  # why the last pass ended: end, known, stale, loop, max_pages, error
    Column("next_at", UtcTime, nullable=False),  # when the next page or pass is due
    Column("failures", Integer, nullable=False, server_default="0"),  # in a row
    Column("last_reason", Text),
    Column("last_detail", Text),
    Column("bad_items", Integer, nullable=False, server_default="0"),
    Column("lease_until", UtcTime),
    Column("worker", Text),
    Column("token", BigInteger, nullable=False, server_default="0"),
    Column("refresh", Text),  # steps after capture at which its posts are asked again: 1h,1d; none; empty = the default
    Index("sources_next", "next_at"),
)

source_cursors = Table(
    "source_cursors",
    metadata,
    Column("source", Text, ForeignKey("sources.source", ondelete="CASCADE"), primary_key=True),
    Column("cursor", Text, primary_key=True),  # seen in the running pass: a circle ends it
)

sightings = Table(
    "sightings",
    metadata,
    Column("source", Text, primary_key=True),
    Column("aweme_id", Text, primary_key=True),
    Column("seen_at", UtcTime, nullable=False),  # first
    Column("last_seen_at", UtcTime, nullable=False),
    Column("is_ad", Boolean, nullable=False, server_default=text("false")),
    Column("pinned", Boolean, nullable=False, server_default=text("false")),
    Index("sightings_id", "aweme_id"),
)

posts = Table(
    "posts",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("author_id", Text, nullable=False),
    Column("author_handle", Text, nullable=False),
    Column("author_nickname", Text, nullable=False, server_default=""),
    Column("title", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("duration", Double),  # seconds
    Column("create_time", BigInteger),  # unix seconds, the API's own
    Column("play_count", BigInteger),
    Column("digg_count", BigInteger),
    Column("comment_count", BigInteger),
    Column("share_count", BigInteger),
    Column("download_count", BigInteger),
    Column("collect_count", BigInteger),
    Column("music_id", Text, nullable=False, server_default=""),
    Column("is_photo", Boolean, nullable=False, server_default=text("false")),
    Column("is_ad", Boolean, nullable=False, server_default=text("false")),
    Column("thin", Boolean, nullable=False, server_default=text("false")),
    Column("storage_key", Text, nullable=False),
    Column("sidecar_key", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),  # of its files without the cover
    Column("sha256", Text),  # of the MP4; of the sidecar for a photo post
    Column("archived_at", UtcTime, nullable=False),  # never changes
    Column("counters_at", UtcTime, nullable=False),  # when the counters above were observed
    Column("plays_per_day", Double),  # between the last two observations; may fall below 0
    Index("posts_author", "author_id"),
    Index("posts_archived", "archived_at"),
)

post_metrics_history = Table(
    "post_metrics_history",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("observed_at", UtcTime, primary_key=True),
    Column("feed", Text, primary_key=True),  # capture, list, refresh
    Column("play_count", BigInteger),
    Column("digg_count", BigInteger),
    Column("comment_count", BigInteger),
    Column("share_count", BigInteger),
    Column("download_count", BigInteger),
    Column("collect_count", BigInteger),
)

files = Table(
    "files",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("storage_key", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # core.model.FileKind, or 'sidecar'
    Column("position", Integer, nullable=False, server_default="0"),  # slides from 1
    Column("rendition", Text),
    Column("media_type", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("stored_at", UtcTime, nullable=False),
    Index("files_sha256", "sha256"),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("reason", Text, nullable=False),  # core.errors.Reason
    Column("detail", Text, nullable=False, server_default=""),
    Column("attempts", Integer, nullable=False),
    Column("died_at", UtcTime, nullable=False),
    Column("source", Text, nullable=False, server_default=""),
    Column("summarised_at", UtcTime),  # when the janitor dropped the detail
    Column("acknowledged_at", UtcTime),  # when the operator took note: no longer a reason for exit 3
    Index("dead_letters_died", "died_at"),
)

credits = Table(
    "credits",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("at", UtcTime, nullable=False),  # written before the call is sent
    Column("endpoint", Text, nullable=False),
    Column("aweme_id", Text),
    Column("source", Text),
    Column("reason", Text, nullable=False),
    Column("outcome", Text, nullable=False, server_default="sent"),  # db.credits.CallOutcome
    Column("credits", Integer, nullable=False, server_default="1"),
    Column("settled_at", UtcTime),
    Column("worker", Text),
    Column("token", BigInteger),
    Index("credits_at", "at"),
    Index("credits_id", "aweme_id"),
    Index("credits_open", "at", sqlite_where=text("outcome = 'sent'")),
)

credit_days = Table(
    "credit_days",
    metadata,
    Column("day", Text, primary_key=True),  # UTC, 2026-05-29
    Column("credits", BigInteger, nullable=False),  # running sum of credits.credits of that day
)

limits = Table(
    "limits",
    metadata,
    Column("name", Text, primary_key=True),  # api, cdn
    Column("next_at", UtcTime, nullable=False),  # when the next permit falls due
    Column("paused_until", UtcTime),  # 429: everybody waits
    Column("throttles", Integer, nullable=False, server_default="0"),  # in a row, for the doubling
)

switches = Table(
    "switches",
    metadata,
    Column("name", Text, primary_key=True),  # breaker, pause
    Column("state", Text, nullable=False),  # closed, open:api, open:cdn; paused, resumed
    Column("since", UtcTime, nullable=False),
    Column("evidence", Text, nullable=False, server_default=""),
)

commits = Table(
    "commits",
    metadata,
    Column("writer", Text, primary_key=True),  # one opened database of one process
    Column("number", BigInteger, nullable=False),  # of its last committed transaction; PostgreSQL only
    Column("at", UtcTime, nullable=False),  # by the server's clock
)

reply_samples = Table(
    "reply_samples",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("at", UtcTime, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("aweme_id", Text),
    Column("source", Text),
    Column("detail", Text, nullable=False),
    Column("body", Text, nullable=False),  # scrubbed of signatures, at most 64 KiB
)

events = Table(
    "events",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("at", UtcTime, nullable=False),
    Column("name", Text, nullable=False),  # only the rare ones that an operator asks about later
    Column("aweme_id", Text),
    Column("source", Text),
    Column("worker", Text),
    Column("detail", JSON, nullable=False),
)

workers = Table(
    "workers",
    metadata,
    Column("worker", Text, primary_key=True),  # the name in every lease that it holds
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),  # on that host
    Column("roles", Text, nullable=False),  # capture,listing
    Column("began_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),  # for display: who is dead is for leases and locks to say
    Column("in_flight", Integer, nullable=False, server_default="0"),
    Column("captured", BigInteger, nullable=False, server_default="0"),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Column("spent", BigInteger, nullable=False, server_default="0"),  # credits, as far as known
    Column("videos_per_min", Double, nullable=False, server_default="0"),  # over the last minute
    Column("credits_per_min", Double, nullable=False, server_default="0"),
    Column("stop", Integer, nullable=False, server_default="0"),  # 1 asked to finish, 2 to drop what is under way
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("sweep", Serial, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),  # verify_media
    Column("began_at", UtcTime, nullable=False),
    Column("ended_at", UtcTime),  # None while ranges are left
    Column("planned_ids", BigInteger, nullable=False),
)

sweep_ranges = Table(
    "sweep_ranges",
    metadata,
    Column("sweep", BigInteger, ForeignKey("sweeps.sweep", ondelete="CASCADE"), primary_key=True),
    Column("nth", Integer, primary_key=True),
    Column("cursor", Text, nullable=False),  # ids up to this one are done
    Column("last_id", Text, nullable=False),  # the range ends with it
    Column("planned_ids", Integer, nullable=False),
    Column("ids", BigInteger, nullable=False, server_default="0"),  # looked at
    Column("files", BigInteger, nullable=False, server_default="0"),
    Column("bytes", BigInteger, nullable=False, server_default="0"),
    Column("findings", BigInteger, nullable=False, server_default="0"),
    Column("done_at", UtcTime),
    Column("lease_until", UtcTime),
    Column("worker", Text),
    Column("token", BigInteger, nullable=False, server_default="0"),
)

sweep_findings = Table(
    "sweep_findings",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("sweep", BigInteger, ForeignKey("sweeps.sweep", ondelete="CASCADE"), nullable=False),
    Column("aweme_id", Text, nullable=False),
    Column("what", Text, nullable=False),
    Index("sweep_findings_sweep", "sweep", "aweme_id"),
)
