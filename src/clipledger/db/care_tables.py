"""The schema of what is known of the stored bytes: when each post's files were read last, and what became of them.

Beside `tables`, on the same metadata. Must not: know a statement.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text, text

from clipledger.db.tables import UtcTime, metadata

_UNPLANNED, _DAMAGED = text("due_at IS NULL"), text("damaged_at IS NOT NULL")

fixity = Table(
    "fixity",
    metadata,
    Column("aweme_id", Text, primary_key=True),
    Column("due_at", UtcTime),  # when its files are read next; empty: not planned yet
    Column("checked_at", UtcTime, nullable=False),  # when they were last known to be whole, or found not to be
    Column("unread", Integer, nullable=False, server_default="0"),  # looks in a row that the store did not answer
    Column("damaged_at", UtcTime),  # when damage was found; empty: whole, as far as is known
    Column("damage", Text, nullable=False, server_default=""),  # what was found, for people
    Column("tried_at", UtcTime),  # when a repair was tried last
    Column("tries", Integer, nullable=False, server_default="0"),  # repairs that failed
    Column("lease_until", UtcTime),
    Column("worker", Text),
    Column("token", BigInteger, nullable=False, server_default="0"),
    Index("fixity_unplanned", "aweme_id", sqlite_where=_UNPLANNED),
    Index("fixity_due", "due_at"),
    Index("fixity_checked", "checked_at"),
    Index("fixity_damaged", "damaged_at", sqlite_where=_DAMAGED),
    Index("fixity_held", "worker", sqlite_where=text("worker IS NOT NULL")),
)

custody = Table(
    "custody",
    metadata,
    Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("at", UtcTime, nullable=False),
    Column("aweme_id", Text, nullable=False),
    Column("act", Text, nullable=False),  # db.custody.Act
    Column("kind", Text, nullable=False, server_default=""),  # core.model.FileKind, or 'sidecar'
    Column("storage_key", Text, nullable=False),
    Column("bytes", BigInteger),  # what stands there since
    Column("sha256", Text),
    Column("was_key", Text),  # what the index held before
    Column("was_bytes", BigInteger),
    Column("was_sha256", Text),
    Column("detail", Text, nullable=False, server_default=""),
    Column("worker", Text),
    Index("custody_id", "aweme_id"),
)
