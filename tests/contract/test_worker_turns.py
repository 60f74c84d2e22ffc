"""A worker on a real queue: what it knows of its own jobs stays true, however close one follows the other."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from clipledger.core.errors import CdnUnavailable, LeaseLost
from clipledger.core.lifecycle import Policy
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from clipledger.worker import Caps, Worker
from contract.archives import NOW, vid
from contract.queues import add, with_queue

pytestmark = pytest.mark.usefixtures("backend")


def test_a_post_that_is_claimed_again_with_its_own_verdict_is_under_way(tmp_path: Path) -> None:
    """During an outage a probe may go back and come again in one commit: its lease is renewed all the same."""

    async def act(queue: Queue, db: Database) -> None:
        written, broken, tries = threading.Event(), asyncio.Event(), 0
        loop, renewed, troubles, looks = asyncio.get_running_loop(), list[int](), list[object](), 0
        loop.set_exception_handler(lambda _, told: troubles.append(told))

        async def capture(attempt: Any) -> None:
            nonlocal tries
            if attempt.job.aweme_id == vid(2):
                await broken.wait()
                for _ in range(5):  # by then the other one's verdict waits for the writer
                    await asyncio.sleep(0)
                raise LeaseLost
            tries += 1
            if tries == 1:
                group.create_task(db.write(lambda _: written.wait(20)))
                await asyncio.sleep(0.02)
                broken.set()
                raise CdnUnavailable
            await asyncio.sleep(0.02)
            renewed.append(worker.in_flight)
            raise LeaseLost

        async def nothing(*_: object, **__: object) -> None:
            return None

        async def admit(_: int) -> None:
            nonlocal looks
            looks += 1
            if looks == 2:  # the next claim is written behind the verdict
                loop.call_later(0.1, written.set)

        async def close() -> int:
            return 0

        guard: Any = SimpleNamespace(admit=admit, close=close, excuses=lambda _: True, delivered=lambda *_, **__: None)
        clock: Any = SimpleNamespace(now=lambda: NOW + 1, sleep=asyncio.sleep)
        download: Any = SimpleNamespace(act=capture)
        events: Any = SimpleNamespace(emit=lambda *_, **__: None)
        worker = Worker(
            "one", queue, guard, download, clock, events, Policy(),
            slots=2, lease_s=60, caps=Caps(), jitter=lambda: 0.5, check_room=nothing,
        )  # fmt: skip
        await add(queue, 1, 2)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            await worker.work(nothing)  # type: ignore[arg-type]
        assert (renewed, troubles, worker.in_flight) == ([1], [], 0)

    with_queue(tmp_path, act)
