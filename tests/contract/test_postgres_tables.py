"""The tables on PostgreSQL: made as declared, told how to be vacuumed, read along their indexes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event

from clipledger.db.database import Database
from clipledger.db.queue import Queue
from clipledger.db.tables import metadata
from contract.archives import NOW, in_archive, on, raw, vid
from contract.queues import add, claim


@pytest.fixture(autouse=True)
def _on_postgres() -> Iterator[None]:
    with on("postgres"):
        yield


def is_ordinary(name: str | None, kind: str, _parents: object) -> bool:
    """The search index is made by hand, differently on each database; what finds through it is tried elsewhere."""
    return not (kind == "table" and name == "post_search")


def test_the_server_holds_the_tables_as_declared(tmp_path: Path) -> None:
    """What the migrations make on a server is what the program reads and writes, column by column."""

    async def act(db: Database) -> None:
        def differences(connection: Connection) -> list[object]:
            context = MigrationContext.configure(connection, opts={"include_name": is_ordinary})
            return list(compare_metadata(context, metadata))

        assert await db.read(differences) == []

    in_archive(tmp_path, act)


def test_every_busy_table_is_vacuumed_in_time(tmp_path: Path) -> None:
    """The tables whose rows change all the time do not wait for a fifth of them to be dead."""

    async def act(_db: Database) -> None:
        told = dict(raw(tmp_path, "SELECT relname, reloptions::text FROM pg_class WHERE reloptions IS NOT NULL"))
        assert {"archive_queue", "credits", "sightings", "sources", "commits", "limits"} <= set(told)
        assert "autovacuum_vacuum_scale_factor=0.01" in str(told["archive_queue"])

    in_archive(tmp_path, act)


def test_a_claim_reads_the_due_index(tmp_path: Path) -> None:
    """Claiming stays a walk along one index, however long the queue is and whatever waits in it."""
    asked: list[tuple[str, dict[str, object]]] = []

    async def act(db: Database) -> None:
        queue = Queue(db)
        await queue.add_by_hand([(vid(n), None) for n in range(3000)], "hand", 0, NOW + 3600)
        await add(queue, *range(3000, 3100))
        await claim(queue, 50)
        raw(tmp_path, "ANALYZE")
        for engine in (db._engines.reading, db._engines.writing):
            event.listen(engine, "before_cursor_execute", lambda _c, _k, sql, values, *_: asked.append((sql, values)))
        await claim(queue, 30)
        await queue.backlog(NOW, 60, 100)
        await queue.next_due_at()
        await queue.release_expired(NOW, 3)
        told = [(sql, values) for sql, values in asked if re.match("(WITH|SELECT|UPDATE).* archive_queue", sql, re.S)]

        def explain(connection: Connection) -> list[str]:
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # it is cheaper only while the table is small
            return [
                "\n".join(connection.exec_driver_sql("EXPLAIN " + sql, values).scalars())  # type: ignore[arg-type]
                for sql, values in told
            ]

        plans = await db.write(explain)
        assert len(plans) >= 4
        assert [plan for plan in plans if "Seq Scan on archive_queue" in plan] == []
        claims = [plan for plan in plans if plan.startswith("Update")]
        assert all("using archive_queue_due" in plan and "Sort" not in plan for plan in claims)

    in_archive(tmp_path, act)
