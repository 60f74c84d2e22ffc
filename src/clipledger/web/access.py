"""Who is asking: passwords, tokens, sessions. Passwords are hashed with argon2id, in a thread, two at a time.

Must not: let anybody in without a row in the database, or keep a secret longer than it takes to hash it.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from base64 import b64decode
from binascii import Error as NotBase64
from hashlib import sha256

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from clipledger.archive import Archive, acting
from clipledger.core.access import PASSWORD_MAX, Role, Scope, Visitor
from clipledger.db.access import PASSWORD, TOKEN, Access, Grant
from clipledger.web.turnstile import Turnstile

TOKEN_PREFIX = "clipledger_"  # noqa: S105 - how a token begins: secret scanners know it by that
OPEN = Visitor("local", Role.ADMIN)
"""Whoever is on this machine, as long as nobody set a password."""

_SECRET_BYTES = 32
# OWASP's second choice for argon2id (19 MiB, two passes, one lane): two at a time stay below 40 MiB.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_NOBODY = _HASHER.hash(secrets.token_urlsafe(16))
_AT_ONCE = 2


class TooOften(Exception):
    """Too many failures: try again in `wait_s`."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"{wait_s:.0f} s")
        self.wait_s = wait_s


class Doorman:
    """Tells who a secret belongs to, and begins and ends sessions."""

    def __init__(self, archive: Archive) -> None:
        self._clock, self.access = archive.clock, Access(archive.db, acting())
        self._turnstile, self._hashing = Turnstile(), asyncio.Semaphore(_AT_ONCE)

    async def is_open(self) -> bool:
        """Say whether nobody ever set a password or made a token."""
        return await self.access.is_open()

    async def of_session(self, cookie: str) -> Visitor | None:
        """Tell whose session a cookie is."""
        return _visitor(await self.access.by_session(digest(cookie), self._clock.now()), csrf_of(cookie))

    async def of_token(self, token: str, scope: Scope | None) -> Visitor | None:
        """Tell whose token it is, if it opens that scope."""
        found = await self.access.by_token(digest(token), self._clock.now())
        return _visitor(found) if found is not None and scope in found.scopes else None

    async def log_in(self, name: str, secret: str, address: str) -> str | None:
        """Begin a session and give its cookie; None when they do not fit, `TooOften` for too many tries."""
        now = self._clock.now()
        if (wait_s := self._turnstile.wait_s(address, name, now)) > 0:
            raise TooOften(wait_s)
        # Counted before it is tried: many at once are no way around.
        self._turnstile.failed(address, name, now)
        if not await self._fits(await self.access.named(name), secret, now):
            return None
        self._turnstile.succeeded(address, name)
        cookie = new_secret()
        await self.access.enter(digest(cookie), name, now, address)
        return cookie

    async def log_out(self, cookie: str) -> None:
        """End a session."""
        await self.access.leave(digest(cookie), self._clock.now())

    async def _fits(self, grant: Grant | None, secret: str, now: float) -> bool:
        if len(secret) > PASSWORD_MAX:
            return False
        if grant is not None and grant.expires_at is not None and grant.expires_at <= now:
            grant = None
        if grant is not None and grant.kind != PASSWORD:
            grant = None  # a session opens everything, a token its scopes alone
        known = _NOBODY if grant is None else grant.hash  # for nobody, too: the time must not tell who there is
        async with self._hashing:
            fits = await asyncio.to_thread(_verify, known, secret)
        return fits and grant is not None


def password_grant(name: str, role: Role, password: str, now: float) -> Grant:
    """Make the row of a password; takes a twentieth of a second."""
    return Grant(name, PASSWORD, role, tuple(Scope), _HASHER.hash(password), now, None)


def token_grant(name: str, role: Role, scopes: tuple[Scope, ...], now: float, lasts_s: float) -> tuple[Grant, str]:
    """Make the row of a new token, and the token, which is shown once."""
    token = TOKEN_PREFIX + new_secret()
    return Grant(name, TOKEN, role, scopes, digest(token), now, now + lasts_s), token


def new_secret() -> str:
    """Draw what nobody can guess."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def digest(secret: str) -> str:
    """Hash a long random secret for the database; no salt is needed for what cannot be guessed."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def csrf_of(cookie: str) -> str:
    """Derive what the forms of a cookie's pages must hold; the cookie itself no script can read."""
    return hmac.new(cookie.encode("utf-8", "surrogatepass"), b"csrf", sha256).hexdigest()


def token_in(authorization: str) -> str | None:
    """Read a token out of an Authorization header: Bearer, or the password of Basic, which feed readers can send."""
    kind, _, rest = authorization.partition(" ")
    match kind.lower():
        case "bearer":
            return rest.strip()
        case "basic":
            try:
                return b64decode(rest.strip(), validate=True).decode().partition(":")[2]
            except (NotBase64, UnicodeDecodeError, ValueError):
                return None
    return None


def _verify(known: str, secret: str) -> bool:
    try:
        return _HASHER.verify(known, secret)
    except VerificationError:
        return False


def _visitor(grant: Grant | None, csrf: str = "") -> Visitor | None:
    return Visitor(grant.name, grant.role, csrf) if grant is not None else None
