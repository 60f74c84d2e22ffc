"""A database file that a failing disk or an editor changed is told in one line, never as a bug of ours."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from clipledger.cli.output import Context
from clipledger.core.errors import Misconfigured
from clipledger.core.times import iso_time
from clipledger.db.catalog import Catalog
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from clipledger.db.search_index import SearchIndex
from contract.archives import NOW, new_archive, raw, vid
from contract.queues import add, with_queue


@pytest.mark.parametrize("value", ["never", "2026-13-40T00:00:00Z", "", 7, b"\xff\x00"])
@pytest.mark.parametrize("writing", [False, True], ids=["read", "write"])
def test_a_moment_that_is_none_is_damage(tmp_path: Path, value: object, writing: bool) -> None:
    """Where a date of the database is garbage, what reads it stops with the advice to restore a backup."""

    async def act(queue: Queue, db: Database) -> None:
        await add(queue, 1)
        raw(tmp_path, "UPDATE archive_queue SET added_at = ?", value)
        with pytest.raises(Misconfigured, match=r"damaged.*restore it from a backup"):
            if writing:
                await queue.claim(1, NOW, 60.0, "w")
            else:
                await queue.row(vid(1))

    with_queue(tmp_path, act)


_QUEUED = "INSERT INTO archive_queue (aweme_id, source, state, added_at, due_at) VALUES (?, 'hand', ?, ?, ?)"
_POSTED = (
    "INSERT INTO posts (aweme_id, author_id, author_handle, title, region, storage_key, sidecar_key, bytes,"
    " archived_at, counters_at) VALUES (?, '1', 'a', '', 'US', 'k', 's', 1, ?, ?)"
)
_BACKWARDS = "UPDATE sqlite_schema SET sql = replace(sql, 'PRIMARY KEY (aweme_id)', 'PRIMARY KEY (aweme_id DESC)')"


def test_an_index_out_of_order_is_damage(tmp_path: Path) -> None:
    """Where an index is damaged, a walk over all posts stops and says so: it would leave some out, or never end."""

    async def main() -> None:
        async with Database.open(file) as db:
            walks = {
                "retry": partial(Queue(db).retry, None, NOW),
                "verify, verify --media": partial(Catalog(db).next_archived, "", 1000),
                "reindex": SearchIndex(db).prove,
            }
            for name, walk in walks.items():
                with pytest.raises(Misconfigured, match=r"damaged.*out of order"):
                    pytest.fail(f"{name}: {await walk()}")

    file = Path(new_archive(tmp_path))
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        at = iso_time(NOW)
        rows = [(vid(n), "archived" if n % 2 else "dead", at, at) for n in range(2000)]
        other.execute("BEGIN")
        other.executemany(_QUEUED, rows)
        other.executemany(_POSTED, [(aweme_id, at, at) for aweme_id, *_ in rows])
        other.execute("COMMIT")
        other.execute("PRAGMA writable_schema = ON")
        assert other.execute(_BACKWARDS).rowcount
    asyncio.run(main())


def test_text_that_is_none_is_damage(tmp_path: Path) -> None:
    """Bytes in a text column that are no UTF-8, as a failing disk leaves them, are told as damage."""

    async def act(queue: Queue, db: Database) -> None:
        await add(queue, 1)
        raw(tmp_path, "UPDATE archive_queue SET state = CAST(? AS TEXT)", b"pen\xffing")
        with pytest.raises(Misconfigured, match="damaged"):
            await queue.row(vid(1))

    with_queue(tmp_path, act)


def test_bytes_in_a_text_column_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A document of --json can be written whatever somebody put into the database."""
    Context(json=True).document({"why": b"a\xff"})
    assert json.loads(capsys.readouterr().out).items() >= {"why": "a\\xff"}.items()


def test_a_schema_that_is_garbage_is_damage(tmp_path: Path) -> None:
    """A table's definition with bytes in it that are no text is damage too, whatever the library calls it."""
    file = Path(new_archive(tmp_path))
    body = file.read_bytes()
    file.write_bytes(body.replace(b"CREATE TABLE archive_queue", b"CREATE TABLE \xbd\xd7\xa7hive_queue"))

    async def main() -> None:
        async with Database.open(file):
            raise AssertionError("it was opened")

    with pytest.raises(Misconfigured, match="damaged"):
        asyncio.run(main())
