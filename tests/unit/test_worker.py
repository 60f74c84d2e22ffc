"""The worker's own order: whatever ends its group of jobs, each of them is accounted for and it comes to an end."""

from __future__ import annotations

import asyncio
from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest

from clipledger.core.lifecycle import Policy, Settlement
from clipledger.core.model import AwemeId, Job
from clipledger.worker import Caps, Worker

KILLER, NEIGHBOUR = (Job(AwemeId(f"71{index:017}"), 1, "hand", 1, 0.0, "2026-01-01", "first") for index in (1, 2))


class Race:
    """A queue that hands out the neighbour in the very moment in which the killer's bug shows."""

    def __init__(self) -> None:
        self.batches, self.shown = deque([[KILLER], [NEIGHBOUR]]), asyncio.Event()
        self.settled: list[Settlement] = []

    async def claim(self, *_: object, **__: object) -> list[Job]:
        batch = self.batches.popleft()
        if batch == [NEIGHBOUR]:
            await self.shown.wait()
        return batch

    async def settle(self, settlement: Settlement, _: float) -> bool:
        self.settled.append(settlement)
        return True

    async def act(self, attempt: Any) -> None:
        assert attempt.job == KILLER, "the neighbour was cancelled before its first step"
        self.shown.set()
        raise ZeroDivisionError


def test_a_job_that_is_cut_before_its_first_step_is_given_back() -> None:
    """A bug that shows while the next ones are claimed ends the process; it waits for none that never began."""

    async def nothing(*_: object) -> None:
        return None

    async def play() -> Race:
        race = Race()
        double: Any = race
        guard: Any = SimpleNamespace(admit=nothing)
        clock: Any = SimpleNamespace(now=lambda: 1.0, sleep=asyncio.sleep)
        events: Any = SimpleNamespace(emit=nothing)
        worker = Worker(
            "one", double, guard, double, clock, events, Policy(),
            slots=8, lease_s=60, caps=Caps(), jitter=lambda: 0.5, check_room=nothing,
        )  # fmt: skip
        async with asyncio.timeout(20):
            with pytest.raises(ExceptionGroup) as caught:
                await worker.work(nothing)  # type: ignore[arg-type]
        assert caught.group_contains(ZeroDivisionError)
        assert worker.in_flight == 0
        return race

    [settlement] = asyncio.run(play()).settled
    assert (settlement.aweme_id, settlement.burn) == (NEIGHBOUR.aweme_id, False)
