"""Who may do what over the web: roles, scopes, and when a session ends.

Must not: hash a secret or read a clock; rows are in `db.access`, the checks of a request in `web.guard`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from clipledger.core.errors import UsageError
from clipledger.core.links import shown

NAME_MAX = 60
PASSWORD_MIN = 10
"""Characters; what is longer than `PASSWORD_MAX` would only keep the hash busy."""

PASSWORD_MAX = 1000

IDLE_S = 7 * 86_400.0
"""A session that nobody used for so long has ended."""

SESSION_S = 30 * 86_400.0
"""No session lasts longer."""


class Role(StrEnum):
    """What a visitor may do: look; also run the archive; also decide what leaves it for good."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Say whether whoever has this role may do what `needed` is asked for."""
        order = tuple(Role)
        return order.index(self) >= order.index(needed)


class Scope(StrEnum):
    """What a token opens: the API, the feeds, the files of posts. A password opens everything."""

    API = "api"
    FEEDS = "feeds"
    MEDIA = "media"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever a request comes from. `name` is for the audit log; `csrf` what the visitor's forms must hold."""

    name: str
    role: Role
    csrf: str = ""


def read_name(text: str) -> str:
    """Read the name of a grant; raises UsageError."""
    if not text or len(text) > NAME_MAX or not all(c.isalnum() or c in "._-@" for c in text):
        raise UsageError(f"'{shown(text)}': a name is up to {NAME_MAX} letters, digits, dots, dashes, _ or @")
    return text


def read_role(text: str) -> Role:
    """Read a role; raises UsageError that names them all."""
    try:
        return Role(text)
    except ValueError:
        raise UsageError(f"--role {shown(text)!r}: use one of {', '.join(Role)}") from None


def read_scopes(text: str) -> tuple[Scope, ...]:
    """Read scopes with commas between; raises UsageError that names them all."""
    try:
        found = tuple(dict.fromkeys(Scope(word.strip()) for word in text.split(",")))
    except ValueError:
        raise UsageError(f"--scope {shown(text)!r}: use {', '.join(Scope)}, with commas between") from None
    return found


def write_scopes(scopes: Iterable[Scope]) -> str:
    """Write scopes with commas between."""
    return ",".join(scopes)


def check_password(text: str) -> str:
    """Refuse a password that is too short to last, or too long to hash; raises UsageError."""
    if not PASSWORD_MIN <= len(text) <= PASSWORD_MAX:
        raise UsageError(f"a password has {PASSWORD_MIN} to {PASSWORD_MAX} characters")
    return text
