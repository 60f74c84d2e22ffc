"""Two processes that write at once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from clipledger.db.database import Database
from contract.archives import in_archive


def test_what_a_write_has_read_stays_true_until_it_commits(tmp_path: Path) -> None:
    """A worker that looks before it writes decides on what is still so: nobody else writes in between."""

    def look_then_write(connection: Connection) -> int:
        before = connection.execute(text("SELECT count(*) FROM meta")).scalar_one()
        told = pytest.raises(sqlite3.OperationalError, match="locked")
        with closing(sqlite3.connect(tmp_path / "clipledger.db", timeout=0.05)) as other, told:
            other.execute("INSERT INTO meta(key, value) VALUES ('between', '1')")
        connection.execute(text("INSERT INTO meta(key, value) VALUES ('count', :n)"), {"n": str(before)})
        return int(before)

    async def act(db: Database) -> None:
        before = await db.write(look_then_write)
        rows = await db.read(lambda connection: connection.execute(text("SELECT count(*) FROM meta")).scalar_one())
        assert rows == before + 1

    in_archive(tmp_path, act)
