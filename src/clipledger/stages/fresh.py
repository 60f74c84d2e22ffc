"""Sidecars that this process has just published, kept until the index has taken them in: no file is read back for it.

What is handed over is what stands under the key, byte for byte, or it is not handed over. Bounded in bytes: whoever
finds nothing here reads the store. Must not: outlive the process, or be the only place where anything is.
"""

from __future__ import annotations

from clipledger.core.model import ObjectKey

BYTES_MAX = 8 * 2**20
"""A thousand sidecars of the usual size: ten times what one transaction of the index takes in."""


class Fresh:
    """Bodies by key; the oldest go first when there are too many."""

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        self._left, self._bodies = bytes_max, dict[ObjectKey, bytes]()

    def keep(self, key: ObjectKey, body: bytes) -> None:
        """Keep a body that was just put under a key, in place of nothing else."""
        self.take(key)
        self._bodies[key] = body
        self._left -= len(body)
        while self._left < 0:
            self.take(next(iter(self._bodies)))

    def take(self, key: ObjectKey) -> bytes | None:
        """Hand a body over for good; None when it is not here."""
        body = self._bodies.pop(key, None)
        self._left += len(body or b"")
        return body
