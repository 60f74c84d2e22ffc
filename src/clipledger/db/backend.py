"""What every database has to answer, whichever it is: how it is opened, and which of its failures pass.

`sqlite.py` and `postgres.py` answer it; `engine.py` picks. Must not: know a dialect or a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from sqlalchemy import Connection, Engine

from clipledger.core.errors import StorageUnavailable

WRITES = {"clipledger_writes": True}
"""Execution options that mark the engine whose transactions write."""

CONNECTIONS = 3
"""One writer and two readers."""

BUSY_TIMEOUT_S = 10.0
"""How long another process's lock is waited for; ours hold theirs for milliseconds."""


class DamagedValue(Exception):
    """A column holds what this program never writes there: a damaged file, or a hand that edited it."""


def in_order(after: str, keys: Sequence[str]) -> Sequence[str]:
    """Give the next keys of a walk, each behind the one before; DamagedValue where an index has them otherwise.

    Such a walk would leave rows out, or go round for ever.
    """
    if (keys and keys[0] <= after) or any(one > other for one, other in pairwise(keys)):
        raise DamagedValue("an index is out of order")
    return keys


class Passing(StorageUnavailable):
    """A failure that may be over when the whole transaction is run again. `reconnect`: on other connections."""

    def __init__(self, detail: str, *, reconnect: bool = False) -> None:
        super().__init__(detail)
        self.reconnect = reconnect


@dataclass(slots=True, eq=False)
class Engines:
    """One pool, twice: transactions that read one snapshot, and transactions that write."""

    reading: Engine
    writing: Engine
    _kept: Connection | None = None
    _is_stale: bool = False

    @contextmanager
    def writer(self) -> Iterator[Connection]:
        """Give the one connection that writes, the same until something is raised. For one thread at a time.

        It is not given back in between: what SQLite holds of the file it drops when another connection wrote last.
        """
        if self._is_stale:
            self._is_stale = False
            self._let_go()
        if self._kept is None:
            self._kept = self.writing.connect()
        try:
            yield self._kept
        except BaseException:
            self._let_go()
            raise

    def dispose(self) -> None:
        """Close the connections; the next use opens new ones. The writer's is closed when its thread comes for it."""
        self._is_stale = True
        self.reading.dispose()

    def close(self) -> None:
        """Close all of them, when nobody uses one any more."""
        self._let_go()
        self.reading.dispose()

    def _let_go(self) -> None:
        """Close it for good. Its pool may have been replaced since; and a read left half-way, whose old state of the
        file it would go on showing, ends with it alone: in Python 3.11 the pool's reset does not end one.
        """
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.invalidate()
            kept.close()


class Backend(Protocol):
    """One archive's database, not yet opened. `shown` is for people: no password, no secret."""

    @property
    def shown(self) -> str:
        """Say where the database is."""
        ...

    @property
    def is_server(self) -> bool:
        """Say whether it is a process of its own, far away: answers to COMMIT get lost, clocks differ."""
        ...

    def engines(self) -> Engines:
        """Make the engines; connects to nothing yet."""
        ...

    def check_there(self) -> None:
        """Raise Misconfigured where connecting would make an empty database."""
        ...

    def lock_schema(self, connection: Connection) -> None:
        """Keep every other process from changing the schema until the transaction ends."""
        ...

    def size_bytes(self) -> int:
        """Tell how much `scrub` has to rewrite; 0 where it does nothing."""
        ...

    def scrub(self, connection: Connection) -> bool:
        """Rewrite the database's files so that nothing deleted is left in them; False when a reader is in the way.

        A server's files are not ours to rewrite: does nothing there, and gives True.
        """
        ...

    def go_on_counting(self, connection: Connection, table: str, column: str) -> None:
        """Let a column that counts by itself go on after the rows that were put in with their numbers."""
        ...
