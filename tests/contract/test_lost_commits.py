"""PostgreSQL's passing failures: whole transactions are run again, and a commit whose answer was lost counts once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Connection, event, text

from clipledger.core.errors import StorageUnavailable
from clipledger.db import commits
from clipledger.db.database import Database
from contract.archives import NOW, new_archive, on, raw
from cutting_proxy import Cut, CuttingProxy, cutting_proxy
from postgres import execute, shared_server

_ADD = text("INSERT INTO meta VALUES ('n', '1') ON CONFLICT (key) DO UPDATE SET value = meta.value::int + 1")
_READ = "SELECT value::int FROM meta WHERE key = 'n'"
_CUT_OURS = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE application_name = 'clipledger' AND datname = current_database()"""


@pytest.fixture(autouse=True)
def _on_postgres() -> Iterator[None]:
    with on("postgres"):
        yield


def _add_one(connection: Connection) -> str:
    connection.execute(_ADD)
    return "added"


def _through_proxy(folder: Path, act: Callable[[Database, CuttingProxy], Awaitable[None]]) -> None:
    """Run `act` on a new archive that is reached through a proxy."""
    name = urlsplit(str(new_archive(folder))).path

    async def main(proxy: CuttingProxy) -> None:
        async with Database.open(f"postgresql://tester@127.0.0.1:{proxy.port}{name}", patience_s=20) as db:
            await db.write(_add_one)
            await act(db, proxy)

    with cutting_proxy(shared_server().port) as proxy:
        asyncio.run(main(proxy))


@pytest.mark.parametrize("how", [Cut.BEFORE, Cut.AFTER])
@pytest.mark.parametrize("at_once", [1, 5])
def test_a_commit_whose_answer_is_lost_counts_once(tmp_path: Path, how: Cut, at_once: int) -> None:
    """When the connection dies in the middle of a commit, each write stands exactly once, whoever was faster."""

    async def act(db: Database, proxy: CuttingProxy) -> None:
        proxy.cut_next(how)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(db.write(_add_one)) for _ in range(at_once)]
        assert [task.result() for task in tasks] == ["added"] * at_once
        assert proxy.cuts == 1

    _through_proxy(tmp_path, act)
    assert raw(tmp_path, _READ) == [(1 + at_once,)]


def test_a_commit_that_arrives_late_counts_once(tmp_path: Path) -> None:
    """When the server gets the COMMIT only after we asked what became of it, the write still stands exactly once."""

    async def act(db: Database, proxy: CuttingProxy) -> None:
        proxy.cut_next(Cut.LATE)
        async with asyncio.TaskGroup() as group:
            writing = group.create_task(db.write(_add_one))
            await asyncio.get_running_loop().run_in_executor(None, _somebody_waits, tmp_path)
            proxy.late()
            assert await writing == "added"

    _through_proxy(tmp_path, act)
    assert raw(tmp_path, _READ) == [(2,)]


def _somebody_waits(folder: Path) -> None:
    waiting = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        " AND query LIKE 'INSERT INTO commits%'"
    )
    for _ in range(1000):
        if raw(folder, waiting) == [(1,)]:
            return
    raise AssertionError("nobody asked what became of the commit")


def test_a_serialization_failure_is_run_again_whole(tmp_path: Path) -> None:
    """A transaction that the server cannot order among others is run again from its beginning."""
    url, runs = new_archive(tmp_path), list[int]()
    read, changed = threading.Event(), threading.Event()

    def slow(connection: Connection) -> int:
        count = int(connection.execute(text(_READ)).scalar_one())
        runs.append(count)
        read.set()
        changed.wait(60)
        connection.execute(text("UPDATE meta SET value = :n WHERE key = 'n'"), {"n": str(count + 10)})
        return count

    async def main() -> None:
        async with Database.open(url) as one, Database.open(url) as other:
            await other.write(_add_one)
            event.listen(one._engines.writing, "before_cursor_execute", _strictly, retval=True)
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(one.write(slow))
                await asyncio.get_running_loop().run_in_executor(None, read.wait, 10)
                await other.write(_add_one)
                changed.set()
                assert await writing == 2

    asyncio.run(main())
    assert runs == [1, 2]
    assert raw(tmp_path, _READ) == [(12,)]


def _strictly(_connection: object, _cursor: object, sql: str, values: object, *_more: object) -> tuple[str, object]:
    return sql.replace("READ COMMITTED", "SERIALIZABLE"), values


def test_a_deadlock_is_broken_and_both_go_through(tmp_path: Path) -> None:
    """Two processes that lock the same rows the other way round both succeed, one of them at its second try."""
    url, meeting, runs = new_archive(tmp_path), threading.Barrier(2), list[str]()

    def lock_both(first: str, second: str) -> Callable[[Connection], None]:
        def work(connection: Connection) -> None:
            runs.append(first)
            for name in (first, second):
                change = "INSERT INTO meta VALUES (:k, '1') ON CONFLICT (key) DO UPDATE SET value = meta.value::int + 1"
                connection.execute(text(change), {"k": name})
                if name == first and len(runs) <= 2:
                    meeting.wait(60)

        return work

    async def main() -> None:
        async with Database.open(url) as one, Database.open(url) as other, asyncio.TaskGroup() as group:
            group.create_task(one.write(lock_both("a", "b")))
            group.create_task(other.write(lock_both("b", "a")))

    asyncio.run(main())
    assert len(runs) == 3
    assert raw(tmp_path, "SELECT key, value FROM meta WHERE key IN ('a', 'b') ORDER BY key") == [("a", "2"), ("b", "2")]


def test_readers_go_on_after_their_connections_were_cut(tmp_path: Path) -> None:
    """Reads and writes go on when the server ends every connection, and nobody notices."""
    url = str(new_archive(tmp_path))

    async def main() -> None:
        async with Database.open(url) as db:
            await db.write(_add_one)
            for _ in range(3):
                assert raw(tmp_path, _CUT_OURS)
                read = [db.read(lambda c: c.execute(text(_READ)).scalar_one()) for _ in range(2)]
                assert [await each for each in read] == [1, 1]
            await db.write(_add_one)

    asyncio.run(main())
    assert raw(tmp_path, _READ) == [(2,)]


def test_a_database_that_takes_no_writes_is_waited_for(tmp_path: Path) -> None:
    """During a failover, while the server takes no writes, a write waits; it goes through when one does again."""
    url = str(new_archive(tmp_path))
    name = urlsplit(url).path[1:]

    async def main() -> None:
        async with Database.open(url) as db:
            await db.write(_add_one)
            execute(url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            raw(tmp_path, _CUT_OURS)
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(db.write(_add_one))
                done, _ = await asyncio.wait([writing], timeout=0.5)
                assert not done
                execute(url + "?options=-cdefault_transaction_read_only%3Doff", f"ALTER DATABASE {name} RESET ALL")

    asyncio.run(main())
    assert raw(tmp_path, _READ) == [(2,)]


def test_patience_ends_for_all_at_once(tmp_path: Path) -> None:
    """A database that stays away is reported after the patience, and at once to whoever comes later."""
    url = str(new_archive(tmp_path))

    async def main(proxy: CuttingProxy) -> None:
        way = f"postgresql://tester@127.0.0.1:{proxy.port}{urlsplit(url).path}"
        async with Database.open(way, patience_s=0.3) as db:
            await db.write(_add_one)
            proxy.close()
            loop = asyncio.get_running_loop()
            for least_s, most_s in ((0.2, 5.0), (0.0, 0.2)):
                began = loop.time()
                with pytest.raises(StorageUnavailable, match=r"cannot be reached|closed the connection"):
                    await db.write(_add_one)
                assert least_s <= loop.time() - began <= most_s

    with cutting_proxy(shared_server().port) as proxy:
        asyncio.run(main(proxy))


def test_a_writer_that_waits_can_be_stopped(tmp_path: Path) -> None:
    """A run that is cut while the database is away ends within seconds, not after the whole patience."""
    url = str(new_archive(tmp_path))

    async def main(proxy: CuttingProxy) -> None:
        loop = asyncio.get_running_loop()
        way = f"postgresql://tester@127.0.0.1:{proxy.port}{urlsplit(url).path}"
        async with Database.open(way, patience_s=600) as db:
            await db.write(_add_one)
            proxy.close()
            async with asyncio.TaskGroup() as group:
                writing = group.create_task(db.write(_add_one))
                await asyncio.wait([writing], timeout=0.3)
                writing.cancel()
            began = loop.time()
        assert loop.time() - began < 5

    with cutting_proxy(shared_server().port) as proxy:
        asyncio.run(main(proxy))


def test_notes_of_writers_long_gone_are_dropped(tmp_path: Path) -> None:
    """The notes of processes that ended are swept, a bounded number at a time; those of the living stay."""
    url = str(new_archive(tmp_path))
    old = "INSERT INTO commits SELECT 'w' || n, 1, '2020-01-01' FROM generate_series(1, 5) AS n"

    async def main() -> None:
        async with Database.open(url) as db:
            raw(tmp_path, old)
            assert await db.write(lambda connection: commits.forget(connection, NOW, 3)) == 3
            assert await db.write(lambda connection: commits.forget(connection, NOW, 3)) == 2
            assert await db.write(lambda connection: commits.forget(connection, NOW, 3)) == 0

    asyncio.run(main())
    assert raw(tmp_path, "SELECT number FROM commits") == [(3,)]
