"""The schema of access over the web: who may enter, and who is inside.

Beside `tables`, on the same metadata. No secret is in it: passwords are hashed with argon2id, tokens and sessions,
which are long and random, with sha256. Must not: know a statement.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Table, Text

from clipledger.db.tables import UtcTime, metadata

access_grants = Table(
    "access_grants",
    metadata,
    Column("name", Text, primary_key=True),
    Column("kind", Text, nullable=False),  # password, token
    Column("role", Text, nullable=False),  # core.access.Role
    Column("scopes", Text, nullable=False),  # core.access.Scope, with commas between
    Column("hash", Text, nullable=False),  # argon2id of a password, sha256 of a token
    Column("made_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime),  # empty: never
    Index("access_grants_hash", "hash"),
)

access_sessions = Table(
    "access_sessions",
    metadata,
    Column("hash", Text, primary_key=True),  # sha256 of the cookie
    Column("name", Text, nullable=False),  # of the grant
    Column("made_at", UtcTime, nullable=False),
    Column("seen_at", UtcTime, nullable=False),
    Column("expires_at", UtcTime, nullable=False),
    Index("access_sessions_name", "name"),
)
