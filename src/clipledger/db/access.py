"""Who may enter over the web, and who is inside: grants (passwords, tokens) and sessions.

Every change is written with its row in the audit log. Must not: see a password or a token, only their hashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from clipledger.core.access import IDLE_S, SESSION_S, Role, Scope
from clipledger.core.chain import Act, Entry, Who
from clipledger.core.errors import UsageError
from clipledger.db import audit
from clipledger.db.access_tables import access_grants, access_sessions
from clipledger.db.database import Database
from clipledger.db.tables import UtcTime

PASSWORD, TOKEN = "password", "token"

SESSIONS_MAX = 100
"""Sessions of one grant; the oldest go."""

_SEEN_S = 600.0
"""A session's last use is written down no more often than this."""

_GRANTS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Grant:
    """One way in. `expires_at` None: never; `hash` is no secret of use to anybody, but is shown to nobody."""

    name: str
    kind: str
    role: Role
    scopes: tuple[Scope, ...]
    hash: str
    made_at: float
    expires_at: float | None


_g, _s = access_grants, access_sessions
_NOW = bindparam("now", type_=UtcTime)
_LASTING = _g.c.expires_at.is_(None) | (_g.c.expires_at > _NOW)
_ANY = select(_g.c.name).limit(1)
_NAMED = select(_g).where(_g.c.name == bindparam("named"))
_ALL = select(_g).order_by(_g.c.name).limit(_GRANTS_MAX)
_TOKEN = select(_g).where(_g.c.kind == TOKEN, _g.c.hash == bindparam("digest"), _LASTING)
_SESSION = (
    select(_g, _s.c.seen_at)
    .join(_s, _s.c.name == _g.c.name)
    .where(
        _s.c.hash == bindparam("digest"),
        _s.c.expires_at > _NOW,
        _s.c.seen_at > bindparam("idle", type_=UtcTime),
        _LASTING,
    )
)
_SEEN = update(_s).where(_s.c.hash == bindparam("digest")).values(seen_at=_NOW)
_DROP_GRANT = delete(_g).where(_g.c.name == bindparam("named"))
_DROP_SESSIONS = delete(_s).where(_s.c.name == bindparam("named"))
_WHOSE = select(_s.c.name).where(_s.c.hash == bindparam("digest"))
_DROP_SESSION = delete(_s).where(_s.c.hash == bindparam("digest"))
_DROP_ENDED = delete(_s).where((_s.c.expires_at <= _NOW) | (_s.c.seen_at <= bindparam("idle", type_=UtcTime)))
_OLDEST = (
    select(_s.c.hash).where(_s.c.name == bindparam("named")).order_by(_s.c.made_at.desc()).offset(SESSIONS_MAX - 1)
)


class Access:
    """The tables `access_grants` and `access_sessions`; `who` is written into the audit log."""

    def __init__(self, db: Database, who: Who) -> None:
        self._db, self._who = db, who

    async def is_open(self) -> bool:
        """Say whether nobody ever set a password or made a token."""
        return await self._db.read(lambda connection: connection.execute(_ANY).scalar()) is None

    async def all(self) -> list[Grant]:
        """List the grants by name."""
        return await self._db.read(lambda connection: [_grant(row) for row in connection.execute(_ALL)])

    async def named(self, name: str) -> Grant | None:
        """Look one grant up, whether it has expired or not."""
        return await self._db.read(lambda connection: _one(connection.execute(_NAMED, {"named": name}).all()))

    async def by_token(self, digest: str, now: float) -> Grant | None:
        """Find the token of a hash; None where there is none, or it has expired."""
        asked = {"digest": digest, "now": now}
        return await self._db.read(lambda connection: _one(connection.execute(_TOKEN, asked).all()))

    async def by_session(self, digest: str, now: float) -> Grant | None:
        """Find whose session a cookie's hash is, and note that it is in use; None where it has ended."""
        asked = {"digest": digest, "now": now, "idle": now - IDLE_S}
        row = await self._db.read(lambda connection: connection.execute(_SESSION, asked).one_or_none())
        if row is None:
            return None
        if now - row.seen_at > _SEEN_S:
            await self._db.write(lambda connection: connection.execute(_SEEN, {"digest": digest, "now": now}))
        return _grant(row[:-1])

    async def grant(self, grant: Grant) -> bool:
        """Write a grant in the place of one of that name, whose sessions end; say whether it is a new one."""
        return await self._db.write(lambda connection: self._grant(connection, grant))

    async def revoke(self, name: str, now: float, may_open: bool) -> bool:
        """Take a grant and its sessions away; False where there is none of that name.

        Without `may_open` the last one stays, for nobody is asked for anything without it: raises UsageError.
        """
        return await self._db.write(lambda connection: self._revoke(connection, name, now, may_open))

    async def enter(self, digest: str, name: str, now: float, came_from: str) -> None:
        """Begin a session of a grant; what has ended goes."""
        await self._db.write(lambda connection: self._enter(connection, digest, name, now, came_from))

    async def leave(self, digest: str, now: float) -> None:
        """End a session; where there is none, nothing is written."""
        await self._db.write(lambda connection: self._leave(connection, digest, now))

    def _grant(self, connection: Connection, grant: Grant) -> bool:
        is_new = not connection.execute(_DROP_GRANT, {"named": grant.name}).rowcount
        connection.execute(_DROP_SESSIONS, {"named": grant.name})
        values = {name: getattr(grant, name) for name in ("name", "kind", "role", "hash", "made_at", "expires_at")}
        connection.execute(insert(_g).values(values | {"scopes": ",".join(grant.scopes)}))
        told = f"{grant.kind}, {grant.role}"
        audit.append(connection, self._who, grant.made_at, Entry(Act.GRANT, f"access:{grant.name}", detail=told))
        return is_new

    def _revoke(self, connection: Connection, name: str, now: float, may_open: bool) -> bool:
        if not connection.execute(_DROP_GRANT, {"named": name}).rowcount:
            return False
        if not may_open and connection.execute(_ANY).scalar() is None:
            why = "is the last that may enter: without it everybody on this machine may look and act"
            raise UsageError(f"{name}: {why}; set another password first, or say --open-again")
        connection.execute(_DROP_SESSIONS, {"named": name})
        audit.append(connection, self._who, now, Entry(Act.REVOKE, f"access:{name}"))
        return True

    def _enter(self, connection: Connection, digest: str, name: str, now: float, came_from: str) -> None:
        connection.execute(_DROP_ENDED, {"now": now, "idle": now - IDLE_S})
        for oldest in connection.execute(_OLDEST, {"named": name}).scalars().all():
            connection.execute(_DROP_SESSION, {"digest": oldest})
        row = {"hash": digest, "name": name, "made_at": now, "seen_at": now, "expires_at": now + SESSION_S}
        connection.execute(insert(_s).values(row))
        audit.append(connection, self._who, now, Entry(Act.LOGIN, f"access:{name}", detail=f"from {came_from}"))

    def _leave(self, connection: Connection, digest: str, now: float) -> None:
        name = connection.execute(_WHOSE, {"digest": digest}).scalar()
        if name is not None:
            connection.execute(_DROP_SESSION, {"digest": digest})
            audit.append(connection, self._who, now, Entry(Act.LOGOUT, f"access:{name}"))


def _one(rows: Sequence[Sequence[object]]) -> Grant | None:
    return _grant(rows[0]) if rows else None


def _grant(row: Sequence[object]) -> Grant:
    name, kind, role, scopes, digest, made_at, expires_at = row
    found = tuple(Scope(word) for word in str(scopes).split(",") if word)
    return Grant(str(name), str(kind), Role(str(role)), found, str(digest), made_at, expires_at)  # type: ignore[arg-type]
