"""The connection that writes is kept; when something went wrong it is closed for good, and none is left at the end."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, CursorResult, insert, select, text

from clipledger.core.errors import StorageFull, StorageUnavailable
from clipledger.db.database import Database
from clipledger.db.tables import meta
from contract.archives import in_archive, is_postgres, new_archive, on_sqlite, raw

pytestmark = pytest.mark.usefixtures("backend")

_OPEN = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'clipledger'
AND pid <> pg_backend_pid()"""


@pytest.fixture
def nobody_tidies() -> Iterator[None]:
    """Keep the search for garbage from closing what was forgotten."""
    gc.disable()
    yield
    gc.enable()


def _add(connection: Connection) -> None:
    connection.execute(insert(meta).values(key=f"k{os.urandom(8).hex()}", value="kept"))


def _full(_connection: Connection) -> None:
    raise StorageFull("the disk that holds the database is full")


def _left_open(folder: Path) -> int:
    """Count the connections of this process to the archive's database."""
    if is_postgres():
        return int(str(raw(folder, _OPEN)[0][0]))
    links = (fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())
    return sum(os.path.realpath(fd).startswith(str(folder / "clipledger.db")) for fd in links)


@pytest.mark.usefixtures("nobody_tidies")
def test_no_connection_outlives_the_database(tmp_path: Path) -> None:
    """When a reader met a full disk all connections are made anew; with the database they are closed, the writer's too.

    A database file that is put back from a backup would meet the log of the one before.
    """
    where = new_archive(tmp_path)

    async def main() -> None:
        async with Database.open(where) as db:
            await db.write(_add)
            with pytest.raises(StorageFull):
                await db.read(_full)
            await db.read(lambda connection: connection.execute(select(meta.c.key)).all())

    asyncio.run(main())
    assert _left_open(tmp_path) == 0


def test_one_connection_writes(tmp_path: Path) -> None:
    """Transactions that write are all on one connection, until the database was found lost."""
    seen: list[object] = []

    def note(connection: Connection) -> None:
        seen.append(connection.connection.dbapi_connection)

    async def act(db: Database) -> None:
        for _ in range(3):
            await db.write(note)
            await db.read(lambda connection: connection.execute(select(meta.c.key)).all())
        with pytest.raises(StorageFull):
            await db.read(_full)
        await db.write(note)

    in_archive(tmp_path, act)
    assert len({id(each) for each in seen[:3]}) == 1 and seen[3] is not seen[0]


@on_sqlite
def test_a_read_left_half_way_by_a_write_ends_with_its_connection(tmp_path: Path) -> None:
    """It fails the next write, since another process wrote meanwhile; after that nobody sees the old state."""
    held: list[CursorResult[object]] = []

    def leave(connection: Connection) -> None:
        held.append(connection.execute(text("SELECT key FROM meta UNION ALL SELECT value FROM meta")))
        held[-1].fetchone()

    async def act(db: Database) -> None:
        await db.write(leave)
        raw(tmp_path, "INSERT INTO meta VALUES ('another', 'process')")
        with pytest.raises(StorageUnavailable):
            await db.write(_add)
        await db.write(_add)
        for _ in range(4):
            keys = await db.read(lambda connection: connection.execute(select(meta.c.key)).scalars().all())
            assert "another" in keys

    in_archive(tmp_path, act)
