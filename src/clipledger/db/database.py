"""Run SQL for many tasks at once; let writes submitted together share one durable commit.

SQL runs in threads: one that writes, two that read snapshots. While a commit is on its way to the
disk, later writes gather and make the next one. A transaction that failed in a way that passes is run
again, whole. Must not: know a table or a dialect, or start anything but those threads. Reaches them only
through the loop's `run_in_executor`, which a simulated loop runs in line; pauses are the loop's too.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from sqlalchemy import Connection, Transaction

from clipledger.core.errors import StorageFull
from clipledger.db import schema
from clipledger.db.backend import CONNECTIONS, Passing
from clipledger.db.commits import CommitNotes
from clipledger.db.engine import backend_of, storage_errors
from clipledger.db.patience import PATIENCE_S, Patience, Tries
from clipledger.db.sharing import Ask, Caught, Done, Work, all_of, apart, tell, together

OPENING_S = 5.0
"""How long an unreachable database is waited for at the start: long enough for a restart, short for a typing error."""

BATCH_MAX = 256
"""Writes in one commit, at most: bounds how long one transaction holds the lock."""

COMMIT_EVERY_S = 0.005
"""Commits begin at least so long after one another. Under load more writes share one, whose statements cost the same
for one row and for twenty."""

LONE_S = 0.002
"""A lone write waits so long for company: calls that go together at the API's rate come here one after another. On a
disk a commit takes several times as long."""

LOOKS_MAX = 16
"""Reads of one snapshot, at most: bounds how long one waits for those before it."""

READERS = CONNECTIONS - 1

Row = TypeVar("Row")
Result = TypeVar("Result")
_Write = Callable[[Connection, Sequence[Ask], Transaction], list[Done]]


@dataclass(slots=True, eq=False)
class _Effort:
    """The writes of one transaction, however often it is run. `done`: what they come to, if the commit stands."""

    batch: Sequence[Ask]
    done: list[Done] | None = None
    tries: Tries = field(default_factory=Tries)


class Database:
    """The archive's database. Made by `Database.open`, which also closes it.

    Every method raises `StorageUnavailable` (SQLite: locked for longer than 10 s; PostgreSQL: lost for
    longer than `patience_s`), `StorageFull` (no space, read-only, failing disk) or `Misconfigured`
    (damaged, refused). A work function runs in another thread, must touch nothing but its connection,
    and may be run again after a roll-back.
    """

    def __init__(
        self, where: str | Path, *, patience_s: float = PATIENCE_S, jitter: Callable[[], float] = lambda: 0.5
    ) -> None:
        self.backend = backend_of(where)
        self._engines = self.backend.engines()
        self._notes = CommitNotes(uuid.uuid4().hex) if self.backend.is_server else None
        self._patience = Patience(patience_s, jitter)
        self._writer = ThreadPoolExecutor(1, "clipledger-writer")
        self._readers = ThreadPoolExecutor(READERS, "clipledger-reader")
        self._looks: deque[Ask] = deque()
        self._looking = 0
        self._asks: deque[Ask] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._began_at = float("-inf")
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls, where: str | Path, *, patience_s: float = PATIENCE_S, jitter: Callable[[], float] = lambda: 0.5
    ) -> AsyncIterator[Database]:
        """Open an existing archive's database; Misconfigured when it is none, or of another schema.

        A server that cannot be reached is waited for `OPENING_S`, then StorageUnavailable; later on for `patience_s`.
        `jitter` (0 to 1) spreads the pauses of several processes.
        """
        db = cls(where, patience_s=patience_s, jitter=jitter)
        try:
            db.backend.check_there()
            await db._run(schema.check, Patience(min(OPENING_S, patience_s), jitter))
            yield db
        finally:
            await db._close()

    async def read(self, fn: Callable[[Connection], Result]) -> Result:
        """Run `fn` on one snapshot of the database, shared with those who asked while the readers were busy."""
        return cast(Result, await self._ask(lambda connection, _rows: (fn(connection),), None))

    def gathered(
        self, fn: Callable[[Connection, Sequence[Row]], Sequence[Result]]
    ) -> Callable[[Row], Awaitable[Result]]:
        """Make a read of one row out of `fn`, which gets the rows of all tasks that share the snapshot in one call."""
        work = cast(Work, fn)

        async def ask(row: Row) -> Result:
            return cast(Result, await self._ask(work, row))

        return ask

    async def write(self, fn: Callable[[Connection], Result]) -> Result:
        """Run `fn` in a transaction shared with others; return once it is durable.

        What `fn` raises is rolled back alone and raised here. A cancelled caller's write is left
        out if its transaction has not begun; else it stands, unless the database is lost meanwhile.
        """
        return cast(Result, await self._submit(lambda connection, _rows: (fn(connection),), None))

    async def scrub(self) -> bool:
        """Leave nothing deleted in the database's files; False when it was not done, see `Backend.scrub`.

        Nothing else is written meanwhile, by this process or another. Takes as long as copying the file.
        """

        def rewrite() -> bool:
            with storage_errors(), self._engines.writer() as connection:
                return self.backend.scrub(connection)

        return await asyncio.get_running_loop().run_in_executor(self._writer, rewrite)

    def batched(
        self, fn: Callable[[Connection, Sequence[Row]], Sequence[Result]]
    ) -> Callable[[Row], Awaitable[Result]]:
        """Make a write of one row out of `fn`, which gets the rows of many tasks in one call.

        `fn` returns one result per row, in order. When it raises, each row is tried again by
        itself, so that only the row at fault fails.
        """
        work = cast(Work, fn)

        async def submit(row: Row) -> Result:
            return cast(Result, await self._submit(work, row))

        return submit

    async def _ask(self, work: Work, row: object) -> object:
        if self._closed:
            raise RuntimeError("the database is closed")
        loop = asyncio.get_running_loop()
        look = Ask(work, row, loop.create_future())
        self._looks.append(look)
        if self._looking < READERS:
            self._looking += 1
            loop.call_soon(self._look_next, loop)
        return await look.answer

    def _look_next(self, loop: asyncio.AbstractEventLoop) -> None:
        looks: list[Ask] = []
        while self._looks and len(looks) < LOOKS_MAX:
            look = self._looks.popleft()
            if not look.answer.done():  # cancelled while it waited
                looks.append(look)
        if looks:
            self._look(loop, looks, Tries())
        else:
            self._looking -= 1

    def _look(self, loop: asyncio.AbstractEventLoop, looks: Sequence[Ask], tries: Tries) -> None:
        if self._closed:
            for look in looks:
                look.answer.cancel()
            return
        seen = loop.run_in_executor(self._readers, self._read_all, looks)
        seen.add_done_callback(lambda future: self._saw(loop, looks, tries, future))

    def _saw(
        self, loop: asyncio.AbstractEventLoop, looks: Sequence[Ask], tries: Tries, seen: asyncio.Future[list[Done]]
    ) -> None:
        lost = seen.exception()
        pause_s = self._pause_s(lost, tries, loop)
        if pause_s is not None and not all(look.answer.done() for look in looks):
            loop.call_later(pause_s, self._look, loop, looks, tries)
            return
        tell(looks, lost, seen)
        # The tasks just woken run before this does: what they ask next shares the next snapshot.
        loop.call_soon(self._look_next, loop)

    def _pause_s(self, lost: BaseException | None, tries: Tries, loop: asyncio.AbstractEventLoop) -> float | None:
        """Say after which pause a transaction is run again; None for never, since it stands or is lost for good."""
        if isinstance(lost, Passing):
            self._leave(lost)
            return self._patience.pause_s(tries, loop.time())
        if isinstance(lost, StorageFull):
            self._engines.dispose()  # a connection opened on a read-only disk stays read-only
        elif lost is None:
            self._patience.succeeded()
        return None

    async def _run(self, fn: Callable[[Connection], Result], patience: Patience) -> Result:
        loop, tries = asyncio.get_running_loop(), Tries()
        while True:
            try:
                result = await loop.run_in_executor(self._readers, self._read, fn)
            except Passing as error:
                self._leave(error)
                pause_s = patience.pause_s(tries, loop.time())
                if pause_s is None:
                    raise
            except StorageFull:
                self._engines.dispose()
                raise
            else:
                patience.succeeded()
                return result
            await asyncio.sleep(pause_s)

    async def _submit(self, work: Work, row: object) -> object:
        if self._closed:
            raise RuntimeError("the database is closed")
        loop = asyncio.get_running_loop()
        ask = Ask(work, row, loop.create_future())
        self._asks.append(ask)
        if self._idle.is_set():
            self._idle.clear()
            self._commit_soon(loop, LONE_S)
        return await ask.answer

    def _commit_soon(self, loop: asyncio.AbstractEventLoop, at_least_s: float = 0.0) -> None:
        if not self._asks:
            self._idle.set()
            return
        wait_s = max(self._began_at + COMMIT_EVERY_S - loop.time(), at_least_s)
        if wait_s > 0:
            loop.call_later(wait_s, self._commit_next, loop)
        else:
            loop.call_soon(self._commit_next, loop)

    def _commit_next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._began_at = loop.time()
        batch: list[Ask] = []
        while self._asks and len(batch) < BATCH_MAX:
            ask = self._asks.popleft()
            if not ask.answer.done():  # cancelled while it waited
                batch.append(ask)
        if not batch:
            self._idle.set()
            return
        self._try(loop, _Effort(batch))

    def _try(self, loop: asyncio.AbstractEventLoop, effort: _Effort) -> None:
        committed = loop.run_in_executor(self._writer, self._commit, effort)
        committed.add_done_callback(lambda future: self._settle(loop, effort, future))

    def _settle(self, loop: asyncio.AbstractEventLoop, effort: _Effort, committed: asyncio.Future[list[Done]]) -> None:
        lost = committed.exception()
        pause_s = self._pause_s(lost, effort.tries, loop)
        if pause_s is not None and not all(ask.answer.done() for ask in effort.batch):
            loop.call_later(pause_s, self._try, loop, effort)
            return
        tell(effort.batch, lost, committed)
        # The tasks just woken run before this does: what they write next shares the next commit.
        loop.call_soon(self._commit_soon, loop)

    def _read(self, fn: Callable[[Connection], Result]) -> Result:
        with storage_errors(), self._engines.reading.connect() as connection, connection.begin():
            return fn(connection)

    def _read_all(self, looks: Sequence[Ask]) -> list[Done]:
        """Answer reads from one snapshot; when one of them raises, each from its own, so that only that one fails."""
        if len(looks) > 1:
            with Caught():
                return self._read(lambda connection: all_of(connection, looks))
        return [self._read_alone(look) for look in looks]

    def _read_alone(self, look: Ask) -> Done:
        with (caught := Caught()):
            return self._read(lambda connection: all_of(connection, (look,))[0])
        return Done(error=caught.error)

    def _commit(self, effort: _Effort) -> list[Done]:
        with storage_errors(), self._engines.writer() as connection:
            if effort.done is not None and self._stands(connection):
                return effort.done
            # What raises is rare: it has all of them run again, each kind and then each row undone by itself.
            return self._transact(connection, effort, together) or self._transact(connection, effort, apart)

    def _transact(self, connection: Connection, effort: _Effort, write: _Write) -> list[Done]:
        effort.done = None
        with connection.begin() as whole:
            if self._notes is not None:
                self._notes.note(connection)
            done = write(connection, effort.batch, whole)
            effort.done = done if whole.is_active else None  # kept, should only the answer to COMMIT be lost
        return done

    def _stands(self, connection: Connection) -> bool:
        assert self._notes is not None
        with connection.begin():
            return self._notes.stands(connection)

    def _leave(self, error: Passing) -> None:
        """Drop the connections that led to a database that is gone, or to one that takes no writes."""
        if error.reconnect:
            self._engines.dispose()

    async def _close(self) -> None:
        self._closed = True
        try:
            await self._idle.wait()
        finally:
            while self._looks:
                self._looks.popleft().answer.cancel()
            self._writer.shutdown()
            self._readers.shutdown()
            self._engines.close()
