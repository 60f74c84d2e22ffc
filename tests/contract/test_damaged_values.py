"""A database file that a failing disk or an editor changed is told in one line, never as a bug of ours."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from clipledger.cli.output import Context
from clipledger.core.errors import Misconfigured
from clipledger.db.database import Database
from clipledger.db.queue import Queue
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
