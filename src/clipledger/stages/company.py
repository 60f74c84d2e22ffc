"""Who succeeds meanwhile: tells a post's own trouble from everybody's.

A 429 means that all must slow down. But a post that meets one again and again while others get through
is alone with it. Must not: decide what follows (`core.lifecycle`), or outlive the process.
"""

from __future__ import annotations

from clipledger.core.model import AwemeId

OTHERS = 3
"""So many others must have got through since a post was refused last: one or two may have been let in by chance."""

_REFUSED_MAX = 10_000
"""Refusals remembered; the oldest are forgotten."""


class Company:
    """Count who gets through, and when each refused post was refused last."""

    def __init__(self) -> None:
        self._successes = 0
        self._refused: dict[AwemeId, int] = {}

    def succeeded(self) -> None:
        """Note that somebody got through."""
        self._successes += 1

    def is_alone(self, aweme_id: AwemeId) -> bool:
        """Note that a post was refused; say whether others got through since its last refusal, or since we began."""
        others = self._successes - self._refused.pop(aweme_id, 0)
        self._refused[aweme_id] = self._successes
        if len(self._refused) > _REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
        return others >= OTHERS
