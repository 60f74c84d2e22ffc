"""How often somebody may try to log in. Pure: moments come as arguments; what is remembered is bounded.

Must not: know a password or a request.
"""

from __future__ import annotations

from collections import deque

TRIES = 5
"""Failures from one address, in `WINDOW_S`, before it has to wait."""

TRIES_OF_NAME = 50
"""Failures against one name, from everywhere together: guessing from many addresses."""

WINDOW_S = 900.0

_KEYS_MAX = 10_000


class Turnstile:
    """Failures of the last quarter of an hour, by address and by name."""

    def __init__(self) -> None:
        self._failures: dict[str, deque[float]] = {}

    def wait_s(self, address: str, name: str, now: float) -> float:
        """Say how long it is until another try is allowed; 0 when it is now."""
        return max(self._wait_s(f"from {address}", TRIES, now), self._wait_s(f"as {name}", TRIES_OF_NAME, now))

    def failed(self, address: str, name: str, now: float) -> None:
        """Take note of a failure."""
        for key in (f"from {address}", f"as {name}"):
            if key not in self._failures and len(self._failures) >= _KEYS_MAX:
                self._failures.pop(next(iter(self._failures)))
            self._failures.setdefault(key, deque(maxlen=TRIES_OF_NAME)).append(now)

    def succeeded(self, address: str, name: str) -> None:
        """Forget the failures of an address that got in, and those against the name that it got in by."""
        for key in (f"from {address}", f"as {name}"):
            self._failures.pop(key, None)

    def _wait_s(self, key: str, tries: int, now: float) -> float:
        failures = self._failures.get(key)
        if failures is None:
            return 0.0
        while failures and now - failures[0] >= WINDOW_S:
            failures.popleft()
        if not failures:
            del self._failures[key]
            return 0.0
        return failures[-tries] + WINDOW_S - now if len(failures) >= tries else 0.0
