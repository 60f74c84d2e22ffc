"""How many posts are worked on at a time, once the process ran out of file descriptors: half, then slowly more again.

Must not: count descriptors, or decide what happens to a post.
"""

from __future__ import annotations

ONCE_S = 5.0
"""What is under way runs out together: that is one event, not one for each."""


class Easing:
    """The slots in use out of `slots`. `allowed` is at least 1."""

    def __init__(self, slots: int) -> None:
        self.allowed, self._slots = slots, slots
        self._calm = 0
        self._eased_at = float("-inf")

    def ran_out(self, in_flight: int, now: float) -> bool:
        """Halve what is under way; say whether this is news."""
        self._calm = 0
        if now - self._eased_at < ONCE_S:
            return False
        self._eased_at, self.allowed = now, max(1, min(self.allowed, in_flight) // 2)
        return True

    def succeeded(self) -> None:
        """Allow one more after as many successes as are allowed at a time."""
        self._calm += 1
        if self._calm >= self.allowed:
            self.allowed, self._calm = min(self.allowed + 1, self._slots), 0
