"""The exit codes of the contract, each with the name that `--json` prints."""

from __future__ import annotations

from enum import IntEnum

from clipledger.core.errors import (
    ArchiveInUse,
    ClipledgerError,
    CreditsExhausted,
    Misconfigured,
    Outage,
    Paused,
    StorageFull,
    StorageUnavailable,
    UsageError,
)


class Exit(IntEnum):
    """How a command ended. `word` is its name in JSON."""

    OK = 0
    BUG = 1
    USAGE = 2
    UNFINISHED = 3
    MISCONFIGURED = 4
    CAP = 5
    STORAGE = 6
    DAMAGED = 7
    OUTAGE = 8
    IN_USE = 9
    INTERRUPTED = 130

    @property
    def word(self) -> str:
        """Give the name in lower case: `ok`, `unfinished`, `in_use` ..."""
        return self.name.lower()


_OF_ERROR: tuple[tuple[type[ClipledgerError], Exit], ...] = (
    (UsageError, Exit.USAGE),
    (Misconfigured, Exit.MISCONFIGURED),
    (CreditsExhausted, Exit.CAP),
    (StorageFull, Exit.STORAGE),
    (StorageUnavailable, Exit.STORAGE),
    (Outage, Exit.OUTAGE),
    (Paused, Exit.OUTAGE),
    (ArchiveInUse, Exit.IN_USE),
)


def exit_of(error: ClipledgerError) -> Exit:
    """Say how a command ends that met `error`; anything without a code of its own is a bug."""
    return next((code for kind, code in _OF_ERROR if isinstance(error, kind)), Exit.BUG)
