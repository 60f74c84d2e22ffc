"""What the tests of the queue share: ids in, jobs out, and the usual verdicts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason, Settlement
from clipledger.core.model import Job, State
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from contract.archives import NOW, in_archive, raw, vid

Act = Callable[[Queue, Database], Awaitable[None]]


def with_queue(folder: Path, act: Act) -> None:
    """Run `act` on the queue of a new archive."""
    in_archive(folder, lambda db: act(Queue(db), db))


async def add(queue: Queue, *numbers: int, now: float = NOW, priority: int = 0) -> None:
    """Queue ids by hand."""
    await queue.add_by_hand([(vid(n), None) for n in numbers], "hand", priority, now)


async def claim(queue: Queue, n: int = 1, now: float = NOW, worker: str = "w") -> list[Job]:
    """Claim under a lease of 60 s."""
    return await queue.claim(n, now, 60.0, worker)


def ended(job: Job, **change: object) -> Settlement:
    """Settle a job as a retry after a short body, with changes."""
    plain = Settlement(
        job.aweme_id, job.token, State.PENDING, NOW + 100, True, Reason.TRUNCATED, "short", CallReason.RETRY
    )
    return replace(plain, **change)  # type: ignore[arg-type]


def suspected(job: Job) -> Settlement:
    """Settle a job as said to be gone."""
    return ended(job, burn=False, suspect=True, reason=Reason.NOT_FOUND, call_reason=CallReason.RECHECK)


def numbers(jobs: list[Job]) -> list[int]:
    """Name jobs by their numbers."""
    return [int(job.aweme_id) - int(vid(0)) for job in jobs]


def all_rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    """Read the database past our own code."""
    return raw(folder, sql)
