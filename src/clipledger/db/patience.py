"""How long transactions are run again when the database fails in a way that passes, and after which pauses.

Must not: wait, or know what failed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PATIENCE_S = 60.0
"""A restart takes seconds, a failover less than a minute; what lasts longer is for the operator to know."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
"""The longest pause bounds how long a database that is back again goes unnoticed."""


@dataclass(slots=True)
class Tries:
    """What became of one transaction so far; times are the loop's."""

    failures: int = 0
    failing_since: float | None = None


class Patience:
    """The patience of one opened database: `limit_s` with an outage, and as long with any one transaction.

    An outage is one for all: who begins in its last second does not wait another `limit_s`.
    `jitter` gives numbers from 0 to 1.
    """

    def __init__(self, limit_s: float, jitter: Callable[[], float]) -> None:
        self._limit_s, self._jitter = limit_s, jitter
        self._failing_since: float | None = None

    def succeeded(self) -> None:
        """Note that the database answers."""
        self._failing_since = None

    def pause_s(self, tries: Tries, now: float) -> float | None:
        """Count one more failure of a transaction; give the pause before it is run again, None for no more."""
        self._failing_since = now if self._failing_since is None else self._failing_since
        tries.failing_since = now if tries.failing_since is None else tries.failing_since
        left_s = self._limit_s - (now - min(self._failing_since, tries.failing_since))
        pause_s = min(FIRST_PAUSE_S * 2.0**tries.failures, LONGEST_PAUSE_S) * (0.5 + 0.5 * self._jitter())
        tries.failures += 1
        return min(pause_s, left_s) if left_s > 0 else None
