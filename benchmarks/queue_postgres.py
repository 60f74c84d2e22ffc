"""Does a long queue slow PostgreSQL down? Claim and settle with 8 workers at 20,000 and at 2,000,000 pending rows.

    python benchmarks/queue_postgres.py [--many 2000000] [--workers 8] [--rounds 6] [--long 120000] [--peer]

A server of its own with durable settings (fsync and synchronous_commit on) on disk, worker processes that use the
product's own `Queue`: claim 30, settle the 30, again. The two lengths take turns (few, many, many, few), each turn
short enough that the short queue does not run dry; quoted is the median of the turns' ratios. The long run then goes
on until `--long` rows are settled, without a pause in which dead row versions could be cleared away. `--peer` adds
turns of the same work on the barest table there is (SKIP LOCKED, no state, no fence), as a measure of the machine.
Prints JSON; exits 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import psycopg

from clipledger.core.model import AwemeId
from clipledger.db import schema
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from postgres import Server, execute, server_of_my_own

FEW, CLAIM = 20_000, 30
RATE_MIN, P99_MAX_MS, SLOWER_MAX = 5000.0, 50.0, 1.3
TURN = 9_600
"""Rows of one turn: less than half of the short queue."""

LEASE_S = 600.0
ADDED_AT = 1_780_000_000.0
NOW = ADDED_AT + 86_400

SETTINGS = ("fsync=on", "full_page_writes=on", "synchronous_commit=on", "autovacuum_naptime=1min")
SETTINGS += ("shared_buffers=512MB", "max_wal_size=4GB", "max_connections=100")

_FILL = """
INSERT INTO archive_queue (aweme_id, source, state, added_at, due_at)
SELECT (7300000000000000000 + n)::text, '@author' || n %% 5000, 'pending', at, at
FROM (SELECT n, to_timestamp(%s + n / 30 * 0.04) AS at FROM generate_series(1, %s) n) AS pages
"""
_PEER = """
CREATE TABLE peer (id bigint PRIMARY KEY, held_until timestamptz NOT NULL DEFAULT '-infinity', payload text);
CREATE INDEX peer_free ON peer (held_until, id);
"""
_PEER_FILL = "INSERT INTO peer (id, payload) SELECT n, '@author' || n % 5000 FROM generate_series(1, {}) n"
_PEER_CLAIM = """
WITH free AS (
  SELECT id FROM peer WHERE held_until < now() ORDER BY held_until, id LIMIT 30 FOR UPDATE SKIP LOCKED
) UPDATE peer SET held_until = now() + '10 min' FROM free WHERE peer.id = free.id RETURNING peer.id, payload
"""
_PEER_SETTLE = "DELETE FROM peer WHERE id = ANY(%s)"


@dataclass(frozen=True, slots=True)
class Turn:
    """What one stretch of work came to, over all workers; processor time is that of workers and server together."""

    rows_per_s: float
    cpu_us_per_row: float
    p50_ms: float
    p99_ms: float
    worst_ms: float


def main() -> int:
    """Measure, print, judge; or be one of the workers."""
    asked = _asked()
    if asked.worker:
        asyncio.run(_serve(asked.worker))
        return 0
    with server_of_my_own(*SETTINGS, place=asked.place) as server:
        told = _measure(server, asked)
    print(json.dumps(told, indent=2))
    return int(not all(told["holds"].values()))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--many", type=int, default=2_000_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=6, help="turns of each kind")
    parser.add_argument("--long", type=int, default=120_000, help="rows of the long run")
    parser.add_argument("--peer", action="store_true", help="also the barest table")
    parser.add_argument(
        "--place", type=Path, help="a folder on the disk to be measured; else the system's temporary folder"
    )
    parser.add_argument("--worker", metavar="URL", help=argparse.SUPPRESS)
    return parser.parse_args()


def _measure(server: Server, asked: argparse.Namespace) -> dict[str, Any]:
    lengths = {"few": FEW, "many": asked.many}
    _say(f"filling {asked.many} rows")
    for name, rows in lengths.items():
        execute(server.url(), f"CREATE DATABASE {name}")
        schema.create(server.url(name), now=NOW, archive_uuid=name)
        _fill(server.url(name), rows)
    kinds = ["few", "many", *(["peer"] if asked.peer else [])]
    if asked.peer:
        execute(server.url(), "CREATE DATABASE peer")
        execute(server.url("peer"), _PEER)
    with ExitStack() as stack:
        crews = {kind: [stack.enter_context(_worker(server.url(kind))) for _ in range(asked.workers)] for kind in kinds}
        turns = _turns(server, crews, asked.rounds)
        _say(f"long run of {asked.long} rows")
        long = _turn(server, crews["many"], asked.long)
        size = execute(server.url("many"), "SELECT pg_total_relation_size('archive_queue')")[0][0]
        dead = execute(server.url("many"), "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'archive_queue'")
    return _told(asked, turns, long) | {"queue_bytes": size, "dead_rows": dead[0][0]}


def _turns(server: Server, crews: dict[str, list[_Child]], rounds: int) -> dict[str, list[Turn]]:
    done: dict[str, list[Turn]] = {kind: [] for kind in crews}
    for nth in range(-1, rounds):
        for kind in list(crews)[:: 1 if nth % 2 else -1]:
            if kind == "few":
                _fill(server.url(kind), FEW)
            if kind == "peer":
                _fill_peer(server.url(kind), FEW)
            turn = _turn(server, crews[kind], TURN)
            _say(f"{kind:5} {turn}" + (" (warming up)" if nth < 0 else ""))
            if nth >= 0:
                done[kind].append(turn)
    return done


def _told(asked: argparse.Namespace, turns: dict[str, list[Turn]], long: Turn) -> dict[str, Any]:
    medians = {
        kind: Turn(*(round(statistics.median(column), 1) for column in zip(*map(_row, done), strict=True)))
        for kind, done in turns.items()
    }
    slower = _ratio(turns["few"], turns["many"])
    told = {kind: asdict(turn) for kind, turn in medians.items()} | {"long_run": asdict(long)}
    holds = {
        f"at least {RATE_MIN:.0f} rows/s, long run": long.rows_per_s >= RATE_MIN,
        f"p99 of a claim of {CLAIM} below {P99_MAX_MS:.0f} ms, long run": long.p99_ms < P99_MAX_MS,
        f"not slower than at {FEW} rows by more than {SLOWER_MAX}": slower <= SLOWER_MAX,
    }
    more = {"share_of_peer": round(1 / _ratio(turns["peer"], turns["few"]), 2)} if "peer" in turns else {}
    facts = {"rows": {"few": FEW, "many": asked.many, "long_run": asked.long}, "workers": asked.workers}
    return facts | told | {"few_over_many": round(slower, 2)} | more | {"holds": holds}


def _ratio(above: list[Turn], below: list[Turn]) -> float:
    return statistics.median(a.rows_per_s / b.rows_per_s for a, b in zip(above, below, strict=True))


def _row(turn: Turn) -> tuple[float, ...]:
    return (turn.rows_per_s, turn.cpu_us_per_row, turn.p50_ms, turn.p99_ms, turn.worst_ms)


def _fill(url: str, rows: int) -> None:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute("TRUNCATE archive_queue")
        connection.execute(_FILL, (ADDED_AT, rows))
        connection.execute("VACUUM (ANALYZE) archive_queue")
        connection.execute("CHECKPOINT")


def _fill_peer(url: str, rows: int) -> None:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute("TRUNCATE peer")
        connection.execute(_PEER_FILL.format(rows))
        connection.execute("VACUUM (ANALYZE) peer")
        connection.execute("CHECKPOINT")


@dataclass(frozen=True, slots=True)
class _Child:
    ask: IO[str]
    answer: IO[str]


@contextmanager
def _worker(url: str) -> Iterator[_Child]:
    command = [sys.executable, __file__, "--worker", url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield _Child(process.stdin, process.stdout)
        finally:
            process.stdin.close()


def _turn(server: Server, crew: list[_Child], rows: int) -> Turn:
    before_s = server.cpu_s()
    for child in crew:
        print(rows // len(crew), file=child.ask, flush=True)
    told = [json.loads(child.answer.readline()) for child in crew]
    claims = sorted(ms for one in told for ms in one["claims_ms"])
    done = sum(one["rows"] for one in told)
    assert done >= rows // len(crew) * len(crew), f"the queue ran dry: {done} of {rows}"
    took_s = max(one["ended"] for one in told) - min(one["began"] for one in told)
    spots = (claims[len(claims) // 2], claims[len(claims) * 99 // 100], claims[-1])
    cpu_s = server.cpu_s() - before_s + sum(one["cpu_s"] for one in told)
    return Turn(round(done / took_s), round(cpu_s / done * 1e6), *(round(ms, 1) for ms in spots))


async def _serve(url: str) -> None:
    """Do as many rows as each line of stdin asks for; answer with what it took."""
    if url.endswith("/peer"):
        _serve_peer(url)
        return
    async with Database.open(url) as db:
        queue = Queue(db)
        print("ready", flush=True)
        for line in sys.stdin:
            began, used, done, claims = time.monotonic(), time.process_time(), 0, []
            while done < int(line):
                asked_at = time.monotonic()
                jobs = await queue.claim(CLAIM, NOW, LEASE_S, f"worker-{id(queue)}")
                claims.append((time.monotonic() - asked_at) * 1000)
                if not jobs:
                    break
                async with asyncio.TaskGroup() as group:
                    settled = [group.create_task(queue.mark_stored(job, NOW)) for job in jobs]
                assert all(task.result() for task in settled), [AwemeId(job.aweme_id) for job in jobs]
                done += len(jobs)
            _answer(began, used, done, claims)


def _serve_peer(url: str) -> None:
    with closing(psycopg.connect(url)) as connection:
        print("ready", flush=True)
        for line in sys.stdin:
            began, used, done, claims = time.monotonic(), time.process_time(), 0, []
            while done < int(line):
                asked_at = time.monotonic()
                with connection.transaction():
                    held = connection.execute(_PEER_CLAIM).fetchall()
                claims.append((time.monotonic() - asked_at) * 1000)
                if not held:
                    break
                with connection.transaction():
                    connection.execute(_PEER_SETTLE, ([row[0] for row in held],))
                done += len(held)
            _answer(began, used, done, claims)


def _answer(began: float, used_s: float, rows: int, claims_ms: list[float]) -> None:
    told = {"began": began, "ended": time.monotonic(), "cpu_s": time.process_time() - used_s}
    told |= {"rows": rows, "claims_ms": claims_ms}
    print(json.dumps(told), flush=True)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
