"""The database: opening, one durable commit for many, and failures that keep to themselves."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from clipledger.core.errors import ClipledgerError, StorageFull, StorageUnavailable
from clipledger.db import sqlite
from clipledger.db.database import BATCH_MAX, Database
from clipledger.db.meta import Meta
from clipledger.db.tables import meta, source_cursors
from contract.archives import (
    JumpingLoop,
    commits,
    in_archive,
    in_jumping_time,
    is_postgres,
    judge_at_commit,
    new_archive,
    on_sqlite,
    raw,
)

pytestmark = pytest.mark.usefixtures("backend")


def _keep(connection: Connection, rows: list[str]) -> list[str]:
    connection.execute(insert(meta), [{"key": row, "value": "kept"} for row in rows])
    return rows


async def _keys(db: Database) -> set[str]:
    rows = await db.read(lambda connection: connection.execute(select(meta.c.key)).scalars().all())
    return set(rows) - {"archive_uuid", "created_at"}


def test_many_writers_share_one_commit(tmp_path: Path) -> None:
    """Two hundred tasks that write at the same moment cost one commit, not two hundred."""

    async def act(db: Database) -> None:
        keep = db.batched(_keep)
        with commits() as seen:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(keep(f"k{n}")) for n in range(200)]
        assert [task.result() for task in tasks] == [f"k{n}" for n in range(200)]
        assert len(seen) == 1
        assert len(await _keys(db)) == 200

    in_archive(tmp_path, act)


def test_a_lone_write_waits_for_company(tmp_path: Path) -> None:
    """What is written within a moment of an idle time shares one commit, though it does not come at once."""

    async def act(db: Database) -> None:
        keep = db.batched(_keep)
        with commits() as seen:
            async with asyncio.TaskGroup() as group:
                for n in range(4):
                    group.create_task(keep(f"k{n}"))
                    for _ in range(3):
                        await asyncio.sleep(0)
        assert len(seen) == 1

    in_archive(tmp_path, act)


def test_writes_gather_while_a_commit_is_under_way(tmp_path: Path) -> None:
    """What is written while the disk is busy waits together and becomes the next commit."""
    began, gate = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        began.set()
        gate.wait(60)
        _keep(connection, ["slow"])

    async def act(db: Database) -> None:
        keep = db.batched(_keep)
        with commits() as seen:
            async with asyncio.TaskGroup() as group:
                group.create_task(db.write(slow))
                await asyncio.to_thread(began.wait, 60)
                for n in range(50):
                    group.create_task(keep(f"k{n}"))
                for _ in range(5):
                    await asyncio.sleep(0)
                gate.set()
        assert len(seen) == 2

    in_archive(tmp_path, act)


def test_a_commit_is_bounded(tmp_path: Path) -> None:
    """However many writes wait, one transaction takes a bounded number of them."""
    sizes: list[int] = []

    def count(connection: Connection, rows: list[int]) -> list[int]:
        sizes.append(len(rows))
        return rows

    async def act(db: Database) -> None:
        submit = db.batched(count)
        async with asyncio.TaskGroup() as group:
            for n in range(BATCH_MAX * 2 + 1):
                group.create_task(submit(n))

    in_archive(tmp_path, act)
    assert sizes == [BATCH_MAX, BATCH_MAX, 1]


def test_a_write_is_durable_when_it_returns(tmp_path: Path) -> None:
    """When a write returns, another process sees it."""

    async def act(db: Database) -> None:
        await db.write(lambda connection: _keep(connection, ["mine"]))
        assert raw(tmp_path, "SELECT value FROM meta WHERE key = 'mine'") == [("kept",)]
        if not is_postgres():
            assert raw(tmp_path, "PRAGMA journal_mode") == [("wal",)]

    in_archive(tmp_path, act)


@on_sqlite
def test_every_connection_syncs_fully_and_keeps_foreign_keys(tmp_path: Path) -> None:
    """A commit reaches the disk itself, and rows cannot point at sources that are not there."""

    def pragmas(connection: Connection) -> tuple[int, int, int]:
        ask = connection.exec_driver_sql
        return tuple(ask(f"PRAGMA {name}").scalar_one() for name in ("synchronous", "foreign_keys", "busy_timeout"))  # type: ignore[return-value]

    async def act(db: Database) -> None:
        assert await db.write(pragmas) == (2, 1, 10_000)
        assert await db.read(pragmas) == (2, 1, 10_000)

    in_archive(tmp_path, act)


def test_an_error_keeps_to_its_own_writer(tmp_path: Path) -> None:
    """One bad write among many fails alone; its neighbours in the same commit stand."""

    async def act(db: Database) -> None:
        keep = db.batched(_keep)
        await keep("taken")
        outcomes: dict[str, str] = {}

        async def attempt(key: str) -> None:
            try:
                outcomes[key] = await keep(key)
            except Exception as error:  # noqa: BLE001 the kind is what is asserted
                outcomes[key] = type(error).__name__

        with commits() as seen:
            async with asyncio.TaskGroup() as group:
                for key in ("a", "taken", "b"):
                    group.create_task(attempt(key))
        assert outcomes == {"a": "a", "b": "b", "taken": "IntegrityError"}
        assert len(seen) == 1
        assert await _keys(db) == {"taken", "a", "b"}

    in_archive(tmp_path, act)


def test_a_commit_that_fails_is_told_to_everybody(tmp_path: Path) -> None:
    """When the commit itself fails nobody is told that their write stands, and the next commit works."""

    def orphan(connection: Connection) -> None:
        for told in judge_at_commit():
            connection.exec_driver_sql(told)
        connection.execute(insert(source_cursors), [{"source": "nobody", "cursor": "1"}])

    async def act(db: Database) -> None:
        told: list[str] = []

        async def attempt(work: Callable[[Connection], object]) -> None:
            try:
                await db.write(work)
            except IntegrityError as error:
                told.append(str(error.orig))

        async with asyncio.TaskGroup() as group:
            group.create_task(attempt(lambda connection: _keep(connection, ["innocent"])))
            group.create_task(attempt(orphan))
        assert len(told) == 2 and "foreign key constraint" in told[0].lower() and told[0] == told[1]
        assert await _keys(db) == set()
        await db.write(lambda connection: _keep(connection, ["later"]))
        assert await _keys(db) == {"later"}

    in_archive(tmp_path, act)


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """A write that fails half-way is undone whole, while another in the same commit stands."""

    def half(connection: Connection) -> None:
        _keep(connection, ["half"])
        raise ValueError("on purpose")

    async def act(db: Database) -> None:
        async def fail() -> None:
            with pytest.raises(ValueError, match="on purpose"):
                await db.write(half)

        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            group.create_task(db.write(lambda connection: _keep(connection, ["whole"])))
        assert await _keys(db) == {"whole"}

    in_archive(tmp_path, act)


def test_a_batch_with_too_few_answers_is_an_error(tmp_path: Path) -> None:
    """A write that forgot an answer fails loudly instead of giving one task another's."""

    async def act(db: Database) -> None:
        forgetful = db.batched(lambda _connection, rows: rows[1:])
        with pytest.raises(ValueError, match="shorter"):
            await forgetful("x")

    in_archive(tmp_path, act)


def test_a_cancelled_writer_takes_nobody_with_it(tmp_path: Path) -> None:
    """Cancelling one task while its commit is under way leaves the others' work and its own standing."""
    began, gate = threading.Event(), threading.Event()

    def keep(connection: Connection, rows: list[str]) -> list[str]:
        began.set()
        gate.wait(60)
        return _keep(connection, rows)

    async def act(db: Database) -> None:
        submit = db.batched(keep)
        async with asyncio.TaskGroup() as group:
            first = group.create_task(submit("first"))
            second = group.create_task(submit("second"))
            await asyncio.get_running_loop().run_in_executor(None, began.wait, 5)
            waiting = group.create_task(submit("waiting"))
            late = group.create_task(submit("late"))
            await asyncio.sleep(0)
            first.cancel()
            waiting.cancel()
            await asyncio.sleep(0)
            gate.set()
        assert first.cancelled() and waiting.cancelled()
        assert (second.result(), late.result()) == ("second", "late")
        assert await _keys(db) == {"first", "second", "late"}

    in_archive(tmp_path, act)


def test_closing_finishes_what_was_submitted(tmp_path: Path) -> None:
    """A write submitted before closing is on the disk afterwards, even if its task was cancelled in flight."""
    path = new_archive(tmp_path)
    began = threading.Event()

    def keep(connection: Connection) -> None:
        began.set()
        _keep(connection, ["last"])

    async def main() -> None:
        async with Database.open(path) as db, asyncio.TaskGroup() as group:
            task = group.create_task(db.write(keep))
            await asyncio.get_running_loop().run_in_executor(None, began.wait, 5)
            task.cancel()

    asyncio.run(main())
    assert raw(tmp_path, "SELECT value FROM meta WHERE key = 'last'") == [("kept",)]


def test_closing_waits_for_whoever_still_waits(tmp_path: Path) -> None:
    """A task whose write was still queued when the database began to close gets its answer."""
    path = new_archive(tmp_path)
    began, gate = threading.Event(), threading.Event()

    def slow(connection: Connection) -> None:
        began.set()
        gate.wait(60)
        _keep(connection, ["slow"])

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            async with Database.open(path) as db:
                group.create_task(db.write(slow))
                await asyncio.get_running_loop().run_in_executor(None, began.wait, 5)
                queued = group.create_task(db.write(lambda connection: _keep(connection, ["queued"])))
                await asyncio.sleep(0)
                asyncio.get_running_loop().call_later(0.01, gate.set)
            assert queued.done() or await queued == ["queued"]

    asyncio.run(main())


def test_a_closed_database_refuses(tmp_path: Path) -> None:
    """Writing after the database was closed is an error, not a wait for ever."""
    path = new_archive(tmp_path)

    async def main() -> None:
        async with Database.open(path) as db:
            pass
        with pytest.raises(RuntimeError, match="closed"):
            await db.write(lambda _connection: None)

    asyncio.run(main())


def test_no_thread_is_left(tmp_path: Path) -> None:
    """An archive that was opened, used and closed leaves no thread running."""
    before = threading.active_count()
    in_archive(tmp_path, lambda db: Meta(db).set("a", "b"))
    assert threading.active_count() == before


def test_simulated_time_needs_no_thread(tmp_path: Path) -> None:
    """On a loop that runs SQL in line the database starts no thread at all."""
    path = new_archive(tmp_path)
    before = threading.active_count()

    async def main() -> None:
        async with Database.open(path) as db:
            assert isinstance(asyncio.get_running_loop(), JumpingLoop)
            keep = db.batched(_keep)
            with commits() as seen:
                async with asyncio.TaskGroup() as group:
                    for n in range(20):
                        group.create_task(keep(f"k{n}"))
            assert len(seen) == 1
            assert len(await _keys(db)) == 20
            assert threading.active_count() == before

    in_jumping_time(main())


def test_a_reader_sees_one_moment(tmp_path: Path) -> None:
    """A report reads one consistent moment, however much is written meanwhile."""
    read_once, written = threading.Event(), threading.Event()

    def twice(connection: Connection) -> tuple[int, int]:
        count = len(connection.execute(select(meta.c.key)).all())
        read_once.set()
        written.wait(60)
        return count, len(connection.execute(select(meta.c.key)).all())

    async def act(db: Database) -> None:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(db.read(twice))
            await asyncio.get_running_loop().run_in_executor(None, read_once.wait, 5)
            await db.write(lambda connection: _keep(connection, ["new"]))
            written.set()
        assert reading.result() == (2, 2)

    in_archive(tmp_path, act)


@on_sqlite
def test_a_lock_that_is_never_released_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that another process keeps locked is reported as unavailable, and works again afterwards."""
    monkeypatch.setattr(sqlite, "_PRAGMAS", ("PRAGMA busy_timeout = 50", *sqlite._PRAGMAS[1:]))

    async def act(db: Database) -> None:
        other = sqlite3.connect(tmp_path / "clipledger.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="locked"):
            await db.write(lambda connection: _keep(connection, ["a"]))
        other.execute("ROLLBACK")
        other.close()
        await db.write(lambda connection: _keep(connection, ["a"]))
        assert await _keys(db) == {"a"}

    in_archive(tmp_path, act)


@on_sqlite
def test_a_full_disk_is_told_to_everybody_and_forgotten_when_it_is_gone(tmp_path: Path) -> None:
    """A full disk fails every write of the commit as storage full; once there is space, writing goes on."""

    def fill(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.execute(insert(meta), [{"key": "big", "value": "x" * 2**22}])

    async def act(db: Database) -> None:
        told: list[ClipledgerError] = []

        async def attempt(work: Callable[[Connection], object]) -> None:
            try:
                await db.write(work)
            except ClipledgerError as error:
                told.append(error)

        async with asyncio.TaskGroup() as group:
            group.create_task(attempt(lambda connection: _keep(connection, ["small"])))
            group.create_task(attempt(fill))
        assert [type(error) for error in told] == [StorageFull, StorageFull]
        assert await _keys(db) == set()
        await db.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count = 1073741823").scalar())
        await db.write(lambda connection: _keep(connection, ["later"]))
        assert await _keys(db) == {"later"}

    in_archive(tmp_path, act)


@on_sqlite
def test_a_read_only_database_is_storage_full(tmp_path: Path) -> None:
    """A database that cannot be written is reported like a disk that cannot."""

    async def act(db: Database) -> None:
        await db.write(lambda connection: connection.exec_driver_sql("PRAGMA query_only = ON"))
        with pytest.raises(StorageFull, match="read-only"):
            await db.write(lambda connection: _keep(connection, ["a"]))

    in_archive(tmp_path, act)


def test_a_read_that_fails_fails_alone(tmp_path: Path) -> None:
    """Reads share a snapshot when many ask at once; one that is wrong takes no other with it."""

    def wrong(_connection: Connection) -> int:
        raise LookupError("mine")

    async def act(db: Database) -> None:
        async with asyncio.TaskGroup() as group:
            right = [group.create_task(db.read(lambda connection: len(_all_keys(connection)))) for _ in range(40)]
            failing = group.create_task(_failure_of(db.read(wrong)))
        assert {task.result() for task in right} == {2}
        assert isinstance(failing.result(), LookupError)

    in_archive(tmp_path, act)


async def _failure_of(reading: Awaitable[object]) -> Exception | None:
    try:
        await reading
    except LookupError as error:
        return error
    return None


def _all_keys(connection: Connection) -> list[str]:
    return list(connection.execute(select(meta.c.key)).scalars())
