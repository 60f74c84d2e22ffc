"""Who may do what over the web: roles, and what a secret of access looks like.

Must not: hash a password or read a clock; rows are in `db.access`, the checks of a request in `web.guard`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a visitor may do: look; also run the archive; also decide who may, and what leaves it."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Say whether whoever has this role may do what `needed` is asked for."""
        order = tuple(Role)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever a request comes from. `name` is for the audit log; `csrf` what the visitor's forms must hold."""

    name: str
    role: Role
    csrf: str = ""
