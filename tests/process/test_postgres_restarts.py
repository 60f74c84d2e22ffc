"""PostgreSQL dies under load, fails over, and is reached through a pooler: work goes on, each write counts once."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Connection, text

from clipledger.db import schema
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from contract.archives import NOW, new_archive, on, vid
from postgres import as_user, execute, free_port, run_program, server_of_my_own, shared_server, wait_until

pytestmark = pytest.mark.slow

RESTARTS = int(os.environ.get("CLIPLEDGER_TEST_RESTARTS", "4"))
"""How often the server is killed; what a release must show is 20."""

RESUMES_S = 10.0
TASKS = 8
_ADD = text("INSERT INTO meta VALUES (:k, '1') ON CONFLICT (key) DO UPDATE SET value = meta.value::int + 1")


class _Load:
    """Tasks that each count up a row of their own and claim and settle videos, as fast as they are acknowledged."""

    def __init__(self, db: Database) -> None:
        self._db, self._queue = db, Queue(db)
        self._over = False
        self.acknowledged = [0] * TASKS
        self.claimed: list[str] = []

    async def run(self, disturb: Callable[[], Awaitable[None]]) -> None:
        async with asyncio.TaskGroup() as group:
            for nth in range(TASKS):
                group.create_task(self._count(nth))
            group.create_task(self._claim())
            try:
                await disturb()
            finally:
                self._over = True

    async def progress(self) -> None:
        """Return once a write that began now is acknowledged."""
        await self._db.write(lambda connection: connection.execute(_ADD, {"k": "progress"}))

    async def _count(self, nth: int) -> None:
        while not self._over:
            await self._db.write(lambda connection: connection.execute(_ADD, {"k": f"task-{nth}"}))
            self.acknowledged[nth] += 1

    async def _claim(self) -> None:
        number = 0
        while not self._over:
            await self._queue.add_by_hand([(vid(number), None)], "hand", 0, NOW)
            for job in await self._queue.claim(5, NOW, 60.0, "w"):
                assert await self._queue.mark_stored(job, NOW)
                self.claimed.append(job.aweme_id)
            number += 1


def _holds(load: _Load, url: str) -> None:
    """Hold what was acknowledged against what the server has, exactly."""
    counted = dict(execute(url, "SELECT key, value::int FROM meta WHERE key LIKE 'task-%%'"))
    assert counted == {f"task-{nth}": count for nth, count in enumerate(load.acknowledged)}
    assert len(load.claimed) == len(set(load.claimed)), "claimed twice"
    stored = {row[0] for row in execute(url, "SELECT aweme_id FROM archive_queue WHERE state = 'stored'")}
    assert stored == set(load.claimed)
    assert execute(url, "SELECT count(*) FROM archive_queue WHERE state <> 'stored' AND token > 0") == [(0,)]


async def _in_thread(act: Callable[[], None]) -> None:
    await asyncio.get_running_loop().run_in_executor(None, act)


def test_a_server_killed_again_and_again_loses_nothing(tmp_path: Path) -> None:
    """PostgreSQL killed with -9 under load and started again: work resumes within 10 s, no write is lost or doubled."""
    waits: list[float] = []

    with server_of_my_own() as server:
        url = server.url("postgres")
        schema.create(url, now=NOW, archive_uuid="0f0e")

        async def main() -> None:
            loop = asyncio.get_running_loop()

            async def disturb() -> None:
                for _ in range(RESTARTS):
                    for _ in range(8):
                        await load.progress()
                    await _in_thread(server.kill)
                    await _in_thread(server.start)
                    began = loop.time()
                    await load.progress()
                    waits.append(loop.time() - began)

            async with Database.open(url) as db:
                load = _Load(db)
                await load.run(disturb)
            _holds(load, url)
            print(f"{RESTARTS} kills, {sum(load.acknowledged)} writes; resumed after {sorted(waits)} s")

        asyncio.run(main())
    assert len(waits) == RESTARTS and max(waits) < RESUMES_S


def test_a_standby_that_is_promoted_takes_over(tmp_path: Path) -> None:
    """Of two servers in one URL the first dies, the second is promoted: the same process goes on, nothing is lost."""
    settings = ("synchronous_standby_names = '*'", "synchronous_commit = 'remote_apply'")
    with server_of_my_own() as first, server_of_my_own(copy_of=first) as second:
        for setting in settings:
            execute(first.url(), f"ALTER SYSTEM SET {setting}")
        execute(first.url(), "SELECT pg_reload_conf()")
        first.wait_for_standby()
        url = f"postgresql://tester@127.0.0.1:{first.port},127.0.0.1:{second.port}/postgres"
        schema.create(url, now=NOW, archive_uuid="0f0e")

        async def main() -> None:
            async def disturb() -> None:
                for _ in range(20):
                    await load.progress()
                await _in_thread(first.kill)
                await _in_thread(second.promote)
                for _ in range(20):
                    await load.progress()

            async with Database.open(url) as db:
                load = _Load(db)
                await load.run(disturb)
            _holds(load, second.url())

        asyncio.run(main())


@contextmanager
def _bouncer(folder: Path) -> Iterator[int]:
    """Run pgbouncer in front of the session's server, handing out connections by transaction; give its port."""
    program, port = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin"), free_port()
    if program is None:
        pytest.skip("pgbouncer is not installed: apt-get install pgbouncer")
    place = Path(tempfile.mkdtemp(prefix="clipledger-bouncer-"))
    place.chmod(0o755)
    (place / "users").write_text('"tester" ""\n')
    (place / "ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={shared_server().port}\n[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = trust\n"
        f"auth_file = {place}/users\npool_mode = transaction\ndefault_pool_size = 2\nserver_reset_query_always = 1\n"
    )
    with subprocess.Popen([program, "-q", place / "ini"], stderr=subprocess.DEVNULL, **as_user()) as process:
        try:
            wait_until(lambda: _answers(port))
            yield port
        finally:
            process.terminate()
    shutil.rmtree(place)


def _answers(port: int) -> bool:
    return run_program("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)) == 0


def test_a_pooler_by_transaction_is_no_obstacle(tmp_path: Path) -> None:
    """Behind pgbouncer in transaction mode, with fewer connections than we open, everything works."""
    with on("postgres"):
        name = urlsplit(str(new_archive(tmp_path))).path
        with _bouncer(tmp_path) as port:
            url = f"postgresql://tester@127.0.0.1:{port}{name}"
            assert schema.create(url, now=NOW, archive_uuid="other") == "0f0e"
            schema.migrate(url)

            async def main() -> None:
                async def disturb() -> None:
                    for _ in range(20):
                        await load.progress()
                        await db.read(lambda connection: _several(connection))

                async with Database.open(url) as db, Database.open(url) as other:
                    load = _Load(db)
                    async with asyncio.TaskGroup() as group:
                        group.create_task(load.run(disturb))
                        for n in range(20):
                            await Queue(other).row(vid(n))
                            await other.write(lambda connection: _several(connection))
                _holds(load, url)

            asyncio.run(main())


def _several(connection: Connection) -> None:
    for _ in range(8):  # more often than a driver that prepares statements waits before it does
        connection.execute(text("SELECT count(*) FROM archive_queue WHERE state = :s"), {"s": "pending"})
