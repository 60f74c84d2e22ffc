"""The queue against a dict that obeys the same rules: any order of calls leaves both the same."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason, Settlement
from clipledger.core.model import AwemeId, Job, State
from clipledger.db.books import Books
from clipledger.db.database import Database
from clipledger.db.leases import CRASHES_ALONE
from clipledger.db.queue import Queue
from contract.archives import NOW, JumpingLoop, is_postgres, new_archive, remove_archive, vid

pytestmark = pytest.mark.usefixtures("backend")

LEASE_S = 60.0
CRASHES_MAX = 3
Result = TypeVar("Result")


@dataclass
class Video:
    """What the model knows of one video."""

    added: float
    due: float
    priority: int
    state: State = State.PENDING
    attempts: int = 0
    token: int = 0
    crashes: int = 0
    suspect_at: float | None = None
    lease: float | None = None
    not_founds: int = 0


class QueueMachine(RuleBasedStateMachine):
    """Every rule does the same to the queue and to the model, and compares what each answers."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=JumpingLoop)
        self.folder = Path(tempfile.mkdtemp(prefix="clipledger-test-"))
        self.stack = AsyncExitStack()
        self.now = NOW
        self.videos: dict[AwemeId, Video] = {}
        self.jobs: list[Job] = []

    @initialize()
    def open(self) -> None:
        """Start with an empty archive."""
        self.db = self.run(self.stack.enter_async_context(Database.open(new_archive(self.folder))))
        self.queue = Queue(self.db)

    def teardown(self) -> None:
        """Check the ledger's laws on what was left, and remove it."""

        async def findings() -> list[object]:
            return [finding async for finding in Books(self.db).check()]

        try:
            assert self.run(findings()) == []
        finally:
            self.run(self.stack.aclose())
            self.runner.close()
            remove_archive(self.folder)
            shutil.rmtree(self.folder)

    def run(self, what: Coroutine[object, object, Result]) -> Result:
        """Run one call to its end."""
        return self.runner.run(what)

    @rule(numbers=st.lists(st.integers(0, 12), max_size=6), priority=st.integers(-1, 1))
    def add(self, numbers: list[int], priority: int) -> None:
        """Add ids by hand."""
        ids = [vid(n) for n in numbers]
        new = {i for i in ids if i not in self.videos}
        out = self.run(self.queue.add_by_hand([(i, None) for i in ids], "hand", priority, self.now))
        assert (out.new, out.known) == (len(new), len(set(ids)) - len(new))
        self.videos |= {i: Video(self.now, self.now, priority) for i in new}

    @rule(seconds=st.sampled_from([0.001, 1.0, 59.0, 61.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now = round(self.now + seconds, 3)

    @rule(n=st.integers(1, 5), alone=st.booleans())
    def claim(self, n: int, alone: bool) -> None:
        """Claim, and compare who was chosen and in which order."""
        due = [
            i
            for i, v in self.videos.items()
            if self._claimable(v) and v.due <= self.now and (v.crashes >= CRASHES_ALONE) == alone
        ]
        due.sort(key=lambda i: (self.videos[i].priority, self.videos[i].due, i), reverse=True)
        jobs = self.run(self.queue.claim(n, self.now, LEASE_S, "w", alone=alone))
        assert [job.aweme_id for job in jobs] == due[:n]
        for job in jobs:
            video = self.videos[job.aweme_id]
            video.state, video.lease = State.RUNNING, self.now + LEASE_S
            video.attempts, video.token = video.attempts + 1, video.token + 1
            assert (job.attempts, job.token, job.not_founds) == (video.attempts, video.token, video.not_founds)
        self.jobs += jobs

    @staticmethod
    def _claimable(video: Video) -> bool:
        return video.state is State.PENDING and video.suspect_at is None

    def _held(self, job: Job) -> Video | None:
        video = self.videos[job.aweme_id]
        return video if video.state is State.RUNNING and video.token == job.token else None

    @rule(
        pick=st.integers(0, 100),
        state=st.sampled_from([State.PENDING, State.DEAD]),
        burn=st.booleans(),
        gone=st.booleans(),
    )
    def settle(self, pick: int, state: State, burn: bool, gone: bool) -> None:
        """Settle any job ever claimed, stale ones too."""
        if not self.jobs:
            return
        job = self.jobs[pick % len(self.jobs)]
        suspect = gone and state is State.PENDING
        due = self.now + 30
        end = Settlement(job.aweme_id, job.token, state, due, burn, Reason.NOT_FOUND, "told", CallReason.RETRY, suspect)
        video = self._held(job)
        assert self.run(self.queue.settle(end, self.now)) == (video is not None)
        if video is None:
            return
        video.state, video.due, video.lease = state, due, None
        video.attempts -= not burn
        video.suspect_at = self.now if suspect else None

    @rule(pick=st.integers(0, 100))
    def renew(self, pick: int) -> None:
        """Lengthen the lease of any job ever claimed."""
        if not self.jobs:
            return
        job = self.jobs[pick % len(self.jobs)]
        video = self._held(job)
        lost = self.run(self.queue.renew([job], self.now, LEASE_S))
        assert lost == (set() if video else {job.aweme_id})
        if video:
            video.lease = self.now + LEASE_S

    @rule()
    def release_expired(self) -> None:
        """Sweep lost leases."""
        lost = [v for v in self.videos.values() if v.lease is not None and v.lease < self.now]
        released = self.run(self.queue.release_expired(self.now, CRASHES_MAX))
        for video in lost:
            video.crashes, video.lease, video.due = video.crashes + 1, None, self.now
            video.state = State.DEAD if video.crashes >= CRASHES_MAX else State.PENDING
        dead = sum(v.state is State.DEAD for v in lost)
        assert (released.given_back, released.dead) == (len(lost) - dead, dead)

    @rule()
    def give_back(self) -> None:
        """Stop the worker in order."""
        running = [v for v in self.videos.values() if v.state is State.RUNNING]
        assert self.run(self.queue.give_back("w", self.now)) == len(running)
        for video in running:
            video.state, video.lease, video.due, video.attempts = State.PENDING, None, self.now, video.attempts - 1

    @rule(age=st.sampled_from([0.0, 30.0]))
    def confirm(self, age: float) -> None:
        """Confirm suspicions of a certain age."""
        believed = [v for v in self.videos.values() if v.suspect_at is not None and v.suspect_at <= self.now - age]
        assert self.run(self.queue.confirm_suspects(self.now - age, self.now)) == len(believed)
        for video in believed:
            video.state, video.suspect_at, video.attempts = State.DEAD, None, video.attempts + 1

    @rule(count=st.booleans())
    def acquit(self, count: bool) -> None:
        """Acquit every suspect."""
        acquitted = [v for v in self.videos.values() if v.suspect_at is not None]
        assert self.run(self.queue.acquit_suspects(self.now, self.now, count=count)) == len(acquitted)
        for video in acquitted:
            video.suspect_at, video.due, video.not_founds = None, self.now, video.not_founds + count

    @rule(numbers=st.none() | st.lists(st.integers(0, 12), max_size=4))
    def retry(self, numbers: list[int] | None) -> None:
        """Put some or all back to work."""
        ids = None if numbers is None else [vid(n) for n in numbers]
        chosen = [v for i, v in self.videos.items() if ids is None or i in ids]
        dead = [v for v in chosen if v.state is State.DEAD]
        waiting = [v for v in chosen if v.state is State.PENDING and (v.due > self.now or v.suspect_at is not None)]
        assert self.run(self.queue.retry(ids, self.now)) == len(dead) + len(waiting)
        for video in dead:
            video.state, video.attempts, video.crashes, video.not_founds = State.PENDING, 0, 0, 0
        for video in dead + waiting:
            video.due, video.suspect_at = self.now, None

    @invariant()
    def rows_are_the_models(self) -> None:
        """Every row is what the model says; the dead and only they have letters; counts agree."""
        for aweme_id, video in self.videos.items():
            row = self.run(self.queue.row(aweme_id))
            assert row is not None
            assert (row.state, row.attempts, row.token, row.crashes, row.not_founds) == (
                video.state,
                video.attempts,
                video.token,
                video.crashes,
                video.not_founds,
            )
            assert (row.lease_until, row.suspect_at, row.added_at) == (video.lease, video.suspect_at, video.added)
            if video.state is State.PENDING:
                assert row.due_at == pytest.approx(video.due, abs=0.0006)
        letters = {failure.aweme_id for failure in self.run(self.queue.failures(100))}
        assert letters == {i for i, v in self.videos.items() if v.state is State.DEAD}
        due = [v.due for v in self.videos.values() if self._claimable(v)]
        assert self.run(self.queue.due_count(self.now, 100)) == sum(at <= self.now for at in due)
        assert self.run(self.queue.next_due_at()) == min(due, default=None)


def _machine(examples: int, steps: int) -> type:
    case = type("Case", (QueueMachine,), {}).TestCase
    case.settings = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    return case


def test_any_short_history_keeps_the_books() -> None:
    """Whatever workers and operators do in whatever order, every video is where the rules say."""
    _machine(6, 12)().runTest()


@pytest.mark.slow
def test_any_long_history_keeps_the_books() -> None:
    """The same over many long histories."""
    _machine(10 if is_postgres() else 150, 40)().runTest()
