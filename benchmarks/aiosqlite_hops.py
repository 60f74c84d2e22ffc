"""Compare two ways to run the queue's SQL from asyncio: one hop to a thread a transaction, or one a statement.

Ours (`db.database`) hands a whole transaction to a thread. SQLAlchemy's asyncio over aiosqlite hands each
statement to one and comes back. Both run the same functions of `db.intake`, `db.leases` and `db.settling` on
the same schema with the same pragmas: ids are added, claimed and marked stored, `batch` rows a transaction.
The two take turns, so what else the machine does falls on both; what counts is the ratio, not the seconds.

aiosqlite is no dependency of clipledger: run this in an environment of its own, with

    python -m venv ../hops && ../hops/bin/pip install . aiosqlite greenlet
    ../hops/bin/python benchmarks/aiosqlite_hops.py /dev/shm

The folder is where the databases go. On a RAM disk the hops alone are measured, on a disk what a user would wait
for; report both.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event

from clipledger.core.model import AwemeId
from clipledger.db import intake, leases, schema, settling
from clipledger.db.database import Database
from clipledger.db.settling import Stood

try:
    from sqlalchemy.ext.asyncio import create_async_engine
except ImportError:
    sys.exit("needs aiosqlite and greenlet: see the head of this file")

ROWS, ROUNDS = 400, 15
BATCHES = (1, 10, 100)
NOW = 1_780_012_800.0
PRAGMAS = ("busy_timeout = 10000", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")

Write = Callable[[Callable[[Connection], Any]], Awaitable[Any]]


async def work(write: Write, batch: int) -> None:
    """Take ROWS ids from first sight to stored, `batch` a transaction."""
    for start in range(0, ROWS, batch):
        asked = [(AwemeId(str(7_000_000_000_000_000_000 + start + n)), None) for n in range(batch)]
        await write(lambda connection, asked=asked: intake.add_by_hand(connection, asked, "by-hand", 0, NOW))
    for _ in range(0, ROWS, batch):
        jobs = await write(lambda connection: leases.claim(connection, batch, NOW, 60.0, "bench"))
        stood = [Stood(job.aweme_id, job.token, NOW) for job in jobs]
        await write(lambda connection, stood=stood: settling.mark_stored(connection, stood))


async def ours(file: Path, batch: int) -> None:
    """Run the work through `Database.write`."""
    async with Database.open(file) as db:
        await work(db.write, batch)


async def theirs(file: Path, batch: int) -> None:
    """Run the same work through an AsyncEngine over aiosqlite."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{file}", pool_size=1, max_overflow=0)
    event.listen(engine.sync_engine, "connect", _prepare)
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))

    async def write(fn: Callable[[Connection], Any]) -> Any:
        async with engine.begin() as connection:
            return await connection.run_sync(fn)

    try:
        await work(write, batch)
    finally:
        await engine.dispose()


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def measure(way: Callable[[Path, int], Awaitable[None]], batch: int, folder: Path) -> tuple[float, float]:
    """Give wall and CPU seconds of one round on a database of its own."""
    file = folder / f"{time.perf_counter_ns()}.db"
    schema.create(file, now=NOW, archive_uuid="bench")
    wall, cpu = time.perf_counter(), time.process_time()
    asyncio.run(way(file, batch))
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Print a table of medians and of the median ratio between neighbours in time."""
    print(f"{ROWS} ids added, claimed, stored; median of {ROUNDS} interleaved rounds; SQLite WAL, synchronous=FULL")
    print("batch   ours ms wall/cpu   aiosqlite ms wall/cpu   ratio wall   ratio cpu")
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as name:
        folder = Path(name)
        for way in (ours, theirs):
            measure(way, 100, folder)  # first imports and compiled statements are nobody's
        for batch in BATCHES:
            pairs = [_pair(nth, batch, folder) for nth in range(ROUNDS)]
            mine, other = ([_median_ms(pair[side][unit] for pair in pairs) for unit in (0, 1)] for side in (0, 1))
            wall, cpu = (statistics.median(pair[1][unit] / pair[0][unit] for pair in pairs) for unit in (0, 1))
            print(f"{batch:>5}  {mine[0]:>8} /{mine[1]:>7}  {other[0]:>12} /{other[1]:>8}  {wall:>11.2f}  {cpu:>10.2f}")


def _median_ms(seconds: Iterable[float]) -> int:
    return round(statistics.median(seconds) * 1000)


def _pair(nth: int, batch: int, folder: Path) -> tuple[tuple[float, float], tuple[float, float]]:
    if nth % 2:
        other = measure(theirs, batch, folder)
        return measure(ours, batch, folder), other
    return measure(ours, batch, folder), measure(theirs, batch, folder)


if __name__ == "__main__":
    main()
