"""What many tasks ask of one transaction: done together, told apart.

Work of one kind gets the rows of all who asked for it in one call. What raises is one asker's, and the others must not
notice. Must not: open or end a transaction of its own, wait, or know a table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import cast

from sqlalchemy import Connection, NestedTransaction, Transaction

from clipledger.core.errors import StorageFull
from clipledger.db.backend import Passing
from clipledger.db.engine import storage_error

Work = Callable[[Connection, Sequence[object]], Sequence[object]]
"""Takes the rows of many tasks; gives one result for each, in their order."""


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """One submitted write or read, and the future its task waits on."""

    work: Work
    row: object
    answer: asyncio.Future[object]


@dataclass(frozen=True, slots=True)
class Done:
    """What one write came to."""

    result: object = None
    error: Exception | None = None


def together(connection: Connection, batch: Sequence[Ask], whole: Transaction) -> list[Done]:
    """Do the writes of many tasks in the open transaction, those of one kind together.

    What raises undoes them all: [] then, but the error where there is only one to tell it to.
    """
    with (isolated := _Isolated(lambda: whole)):
        return all_of(connection, batch)
    return [Done(error=isolated.error)] if len(batch) == 1 else []


def all_of(connection: Connection, asks: Sequence[Ask]) -> list[Done]:
    """Do what many tasks ask, what is of one kind together; the first that raises ends it."""
    done: dict[Ask, Done] = {}
    for work, alike in _kinds(asks).items():
        done.update(zip(alike, map(Done, work(connection, [ask.row for ask in alike])), strict=True))
    return [done[ask] for ask in asks]


def apart(connection: Connection, batch: Sequence[Ask], _whole: Transaction) -> list[Done]:
    """Do the same where something raises: in savepoints, so that only the write at fault is undone."""
    done: dict[Ask, Done] = {}
    for work, asks in _kinds(batch).items():
        done.update(zip(asks, _attempt(connection, work, asks), strict=True))
    return [done[ask] for ask in batch]


def _kinds(batch: Sequence[Ask]) -> dict[Work, list[Ask]]:
    kinds: dict[Work, list[Ask]] = {}
    for ask in batch:
        kinds.setdefault(ask.work, []).append(ask)
    return kinds


def _attempt(connection: Connection, work: Work, asks: Sequence[Ask]) -> list[Done]:
    with (isolated := _Isolated(connection.begin_nested)):
        results = work(connection, [ask.row for ask in asks])
        return [Done(result) for _, result in zip(asks, results, strict=True)]
    if len(asks) == 1:
        return [Done(error=isolated.error)]
    return [done for ask in asks for done in _attempt(connection, work, (ask,))]


def tell(asks: Sequence[Ask], lost: BaseException | None, done: asyncio.Future[list[Done]]) -> None:
    """Answer who still waits: with what their part came to, or with what the whole was lost to."""
    outcomes = [Done(error=cast(Exception, lost))] * len(asks) if lost else done.result()
    for ask, outcome in zip(asks, outcomes, strict=True):
        if ask.answer.done():
            continue
        if outcome.error is not None:
            ask.answer.set_exception(outcome.error)
        else:
            ask.answer.set_result(outcome.result)


class Caught:
    """Keeps what a read raised, unless it is the database's own trouble, which is everybody's."""

    error: Exception | None = None

    def __enter__(self) -> None: ...

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _at: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or isinstance(error, Passing | StorageFull):
            return False
        self.error = error
        return True


class _Isolated:
    """A savepoint, or the transaction of one write alone, that undoes what raised and keeps the error for who asked.

    A failure of the database itself is not one caller's: it passes, and ends the transaction.
    """

    def __init__(self, begin: Callable[[], Transaction]) -> None:
        self._begin = begin
        self.error: Exception | None = None

    def __enter__(self) -> None:
        self._scope = self._begin()

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _at: TracebackType | None
    ) -> bool:
        if error is None:
            if isinstance(self._scope, NestedTransaction):
                self._scope.commit()
            return False
        if not isinstance(error, Exception) or storage_error(error) is not None:
            return False
        self._scope.rollback()
        self.error = error
        return True
