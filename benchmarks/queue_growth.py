"""Does the queue stay as quick as it grows? A page of 30 and a claim of 100 among few rows and among many, in turns.

    python benchmarks/queue_growth.py [--few 100000] [--many 10000000] [--rounds 60] [--json FILE]

SQLite, as the default install has it, on the disk of the temporary folder; ten million rows take some minutes and
three gigabytes to lay down. Each round inserts one page and claims once in either file. Exits 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable
from contextlib import AsyncExitStack, closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from clipledger.db import schema
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from contract.archives import NOW, page_of, post
from race import keep
from timing import spread

PAGE, CLAIM = 30, 100
_FIRST = 7_300_000_000_000_000_000
_FILL = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ? - 1)
INSERT INTO archive_queue (aweme_id, source, state, added_at, due_at)
SELECT CAST(? + i * 7 AS TEXT), '@a', 'pending', '2026-05-28T00:00:00.000Z', '2026-05-28T00:00:00.000Z' FROM n
"""


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=100_000)
    parser.add_argument("--many", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clipledger-growth-") as place:
        files = [_laid_down(Path(place) / f"{rows}.db", rows) for rows in (asked.few, asked.many)]
        told = asyncio.run(_measure(files, asked.rounds))
    report = []
    for what in ("page", "claim"):
        few, many = (spread(each[what]) for each in told)
        report.append({"figure": f"{what} at {asked.many:,} rows against {asked.few:,}", "must": 2.5, "aim": 1.2,
                       "measured": many.median / few.median, "reached": many.median / few.median <= 2.5})  # fmt: skip
        print(f"{what}: {few} ms among few, {many} ms among many")
        print("{verdict} {figure}: {measured:.2f} (must {must}, aim {aim})".format(
            verdict="ok  " if report[-1]["reached"] else "MISS", **report[-1]))  # fmt: skip
    if asked.json:
        keep(asked.json, "queue", {"ratios": report})
    return int(any(not line["reached"] for line in report))


def _laid_down(file: Path, rows: int) -> Path:
    began = time.perf_counter()
    schema.create(file, now=NOW, archive_uuid="growth")
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(_FILL, (rows, _FIRST))
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    print(f"{rows:,} rows laid down in {time.perf_counter() - began:.0f} s", flush=True)
    return file


async def _measure(files: list[Path], rounds: int) -> list[dict[str, list[float]]]:
    told: list[dict[str, list[float]]] = [{"page": [], "claim": []} for _ in files]
    async with AsyncExitStack() as opened:
        queues = [Queue(await opened.enter_async_context(Database.open(file))) for file in files]
        for nth in range(rounds + 5):
            page = [post(10**12 + nth * PAGE + at, 1, 2, 3, 4, 5, 6) for at in range(PAGE)]
            for queue, each in zip(queues, told, strict=True):
                took = await _ms(queue.add_page(page_of(page, following=str(nth), used=str(nth - 1))))
                claimed = await _ms(queue.claim(CLAIM, NOW + 1e6, 60.0, "bench"))
                if nth >= 5:
                    each["page"].append(took)
                    each["claim"].append(claimed)
    return told


async def _ms(act: Awaitable[object]) -> float:
    began = time.perf_counter()
    await act
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    sys.exit(main())
