"""Queue, catalog, ledger and one source against a dict that obeys the same rules: a machine that Hypothesis plays.

Two workers, in any order: claims, verdicts, stale verdicts, deaths, crashes of the process between two transactions,
paid calls under a cap. Every rule does the same to the archive and to the model and compares what each answers; after
every step all tables are held against the model. Used by the tests and by `benchmarks/stateful.py`.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from clipledger.core.errors import CapReached, Reason
from clipledger.core.layout import sidecar_key, video_key
from clipledger.core.lifecycle import CallReason, Settlement
from clipledger.core.model import (
    Author,
    AwemeId,
    Counters,
    FileKind,
    Job,
    MediaType,
    Post,
    State,
    StoredFile,
)
from clipledger.core.times import utc_day
from clipledger.db.books import Books
from clipledger.db.catalog import Catalog, Record, SidecarFile
from clipledger.db.credits import CallIn, CallOutcome, Credits
from clipledger.db.database import Database
from clipledger.db.leases import CRASHES_ALONE
from clipledger.db.queue import Queue
from clipledger.db.retries import Recheck
from clipledger.db.sources import SourceIn, SourceJob, Sources
from contract.archive_model import CRASHES_MAX, LIST, Call, Model, Video, claimable, everything, expected
from contract.archives import NOW, JumpingLoop, archive_at, new_archive, page_of, remove_archive, vid

LEASE_S = 60.0
CAP = 12
GONE = (Reason.NOT_FOUND, Reason.PRIVATE)
_MEMORY = Path("/dev/shm")
Result = TypeVar("Result")

_numbers = st.lists(st.integers(0, 12), max_size=6)
_pick = st.integers(0, 1000)
_workers = st.sampled_from(["w1", "w2"])


class ArchiveMachine(RuleBasedStateMachine):
    """The rules. `steps` counts them over all machines of this process."""

    steps: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=JumpingLoop)
        place = _MEMORY if _MEMORY.is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="clipledger-test-", dir=place))
        self.stack = AsyncExitStack()
        self.model = Model()
        self.jobs: list[Job] = []
        self.pages: list[SourceJob] = []

    @initialize()
    def open(self) -> None:
        """Start with an empty archive."""
        new_archive(self.folder)
        self._open()
        self.run(self.sources.register(SourceIn(LIST, "user", "a", NOW)))

    def _open(self) -> None:
        self.db = self.run(self.stack.enter_async_context(Database.open(archive_at(self.folder))))
        self.queue, self.catalog, self.sources = Queue(self.db), Catalog(self.db), Sources(self.db)
        self.credits = Credits(self.db)

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

    # Coming in

    @rule(numbers=_numbers, priority=st.integers(-1, 1))
    def add(self, numbers: list[int], priority: int) -> None:
        """Add ids by hand."""
        ids = [vid(n) for n in numbers]
        new = self._met(ids, priority)
        out = self.run(self.queue.add_by_hand([(i, None) for i in ids], "hand", priority, self.model.now))
        assert (out.new, out.known) == (new, len(set(ids)) - new)

    @rule(numbers=_numbers, worker=_workers, stale=st.booleans(), pick=_pick)
    def page(self, numbers: list[int], worker: str, stale: bool, pick: int) -> None:
        """Read a page of a list; under a lease that was lost its ids are kept and its cursor is not."""
        now = self.model.now
        claimed = self.run(self.sources.claim_due(now, LEASE_S, worker))
        if claimed is not None:
            self.pages.append(claimed)
        if not self.pages:
            return
        job = self.pages[pick % len(self.pages)] if stale else self.pages[-1]
        held = job is self.pages[-1]
        following = f"c{len(self.model.calls)}-{int(now)}"
        ids = [vid(n) for n in numbers]
        new = self._met(ids, 0)
        posts_shown = [Post(aweme_id, counters=Counters(play=1)) for aweme_id in ids]
        out = self.run(
            self.queue.add_page(page_of(posts_shown, source=LIST, token=job.token, now=now, following=following))
        )
        assert (out.new, out.known, out.lease_lost) == (new, len(set(ids)) - new, not held)
        if held:
            assert out.progress is not None
            self.model.cursor = out.progress.cursor

    def _met(self, ids: Sequence[AwemeId], priority: int) -> int:
        new = {i for i in ids if i not in self.model.videos}
        self.model.videos |= {i: Video(self.model.now, self.model.now, priority) for i in new}
        return len(new)

    @rule(seconds=st.sampled_from([0.001, 1.0, 59.0, 61.0, 3600.0, 90_000.0]))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.model.now = self.model.later(seconds)

    @rule(anew=st.integers(0, 9))
    def crash(self, anew: int) -> None:
        """Lose every connection between two transactions; now and then another process opens the archive."""
        self.db._engines.dispose()
        if anew == 0:
            self._open()

    # Handed out

    @rule(n=st.integers(1, 5), alone=st.booleans(), worker=_workers)
    def claim(self, n: int, alone: bool, worker: str) -> None:
        """Claim, and compare who was chosen and in which order."""
        now, videos = self.model.now, self.model.videos
        due = [i for i, v in videos.items() if claimable(v) and v.due <= now and (v.crashes >= CRASHES_ALONE) == alone]
        due.sort(key=lambda i: (videos[i].priority, videos[i].due, i), reverse=True)
        jobs = self.run(self.queue.claim(n, now, LEASE_S, worker, alone=alone))
        assert [job.aweme_id for job in jobs] == due[:n]
        for job in jobs:
            video = videos[job.aweme_id]
            video.state, video.lease, video.worker = State.RUNNING, self.model.later(LEASE_S), worker
            video.attempts, video.token = video.attempts + 1, video.token + 1
            assert (job.attempts, job.token, job.not_founds, job.throttles, job.storage_key) == (
                video.attempts,
                video.token,
                video.not_founds,
                video.throttles,
                video.key,
            )
        self.jobs += jobs

    def _job(self, pick: int) -> tuple[Job, Video | None] | None:
        """Pick any job ever handed out, the latest ones more often; with its video while the lease is held."""
        if not self.jobs:
            return None
        recent = self.jobs[-8:] if pick % 2 else self.jobs
        job = recent[pick // 2 % len(recent)]
        video = self.model.videos[job.aweme_id]
        return job, video if video.state is State.RUNNING and video.token == job.token else None

    @rule(pick=_pick)
    def renew(self, pick: int) -> None:
        """Lengthen the lease of any job ever claimed."""
        if (picked := self._job(pick)) is None:
            return
        job, video = picked
        assert self.run(self.queue.renew([job], self.model.now, LEASE_S)) == (set() if video else {job.aweme_id})
        if video:
            video.lease = self.model.later(LEASE_S)

    @rule(spare=st.sampled_from([(), ("w1",), ("w2",), ("w1", "w2")]))
    def release_expired(self, spare: tuple[str, ...]) -> None:
        """Sweep lost leases, but for those of workers that live."""
        now = self.model.now
        lost = [
            (i, v)
            for i, v in self.model.videos.items()
            if v.lease is not None and v.lease < now and v.worker not in spare
        ]
        released = self.run(self.queue.release_expired(now, CRASHES_MAX, spare=spare))
        assert (released.given_back, released.dead) == self.model.crash(lost)

    @rule(worker=_workers)
    def worker_dies(self, worker: str) -> None:
        """Take back all that a dead worker held."""
        lost = [(i, v) for i, v in self.model.videos.items() if v.state is State.RUNNING and v.worker == worker]
        released = self.run(self.queue.release_worker(worker, self.model.now, CRASHES_MAX))
        assert (released.given_back, released.dead) == self.model.crash(lost)
        self.model.forget_calls(worker)

    @rule(worker=_workers)
    def give_back(self, worker: str) -> None:
        """Stop a worker in order."""
        running = self.model.running_of(worker)
        assert self.run(self.queue.give_back(worker, self.model.now)) == len(running)
        for video in running:
            video.let_go(State.PENDING, self.model.now)
            video.attempts -= 1
        self.model.forget_calls(worker)

    # Paid for

    @rule(pick=_pick, capped=st.booleans())
    def buy(self, pick: int, capped: bool) -> None:
        """Write a call down before it is sent; above the day's cap nothing is written."""
        if (picked := self._job(pick)) is None or picked[1] is None or picked[1].worker is None:
            return
        job, worker, day = picked[0], picked[1].worker, utc_day(self.model.now)
        call = CallIn("/post-detail/", job.aweme_id, job.source, CallReason.FIRST, worker, job.token)
        try:
            seq = self.run(self.credits.intend(call, self.model.now, CAP if capped else None))
        except CapReached:
            assert capped and self.model.spent(day) + 1 > CAP
            return
        assert not capped or self.model.spent(day) < CAP
        self.model.calls.append(Call(seq, job.aweme_id, job.token, worker, day, self.model.now))

    @rule(pick=_pick, outcome=st.sampled_from([CallOutcome.OK, CallOutcome.GONE, CallOutcome.UNKNOWN]))
    def answered(self, pick: int, outcome: CallOutcome) -> None:
        """Settle a call; a call that was settled stays as it is."""
        if not self.model.calls:
            return
        call, cost = self.model.calls[pick % len(self.model.calls)], int(outcome is not CallOutcome.GONE)
        is_open = call.outcome is CallOutcome.SENT
        assert self.run(self.credits.settle(call.seq, outcome, cost, self.model.now)) == is_open
        if is_open:
            call.outcome, call.credits = outcome, cost

    @rule(age=st.sampled_from([0.0, 60.0]))
    def abandon(self, age: float) -> None:
        """Take calls without an answer for lost."""
        before = self.model.now - age
        lost = [c for c in self.model.calls if c.outcome is CallOutcome.SENT and c.at < before]
        assert self.run(self.credits.abandon(before, self.model.now)) == len(lost)
        for call in lost:
            call.outcome = CallOutcome.UNKNOWN

    # Settled

    @rule(
        pick=_pick,
        other=_pick,
        state=st.sampled_from([State.PENDING, State.PENDING, State.DEAD]),
        burn=st.booleans(),
        reason=st.sampled_from([Reason.NOT_FOUND, Reason.PRIVATE, Reason.TRUNCATED]),
        throttled=st.booleans(),
    )
    def settle(self, pick: int, other: int, state: State, burn: bool, reason: Reason, throttled: bool) -> None:
        """Settle two jobs ever claimed in one commit, stale ones and the same one twice too."""
        picked = [found for number in (pick, other) if (found := self._job(number)) is not None]
        suspect = state is State.PENDING and reason in GONE
        due = self.model.later(30)
        ends = [
            Settlement(j.aweme_id, j.token, state, due, burn, reason, "told", CallReason.RETRY, suspect, throttled)
            for j, _ in picked
        ]

        async def together() -> list[bool]:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.queue.settle(end, self.model.now)) for end in ends]
            return [task.result() for task in tasks]

        verdicts = self.run(together())
        for (job, _), verdict in zip(picked, verdicts, strict=True):
            video = self.model.videos[job.aweme_id]
            held = video.state is State.RUNNING and video.token == job.token
            assert verdict == held
            if held:
                video.let_go(state, due)
                video.attempts -= not burn
                video.throttles += throttled
                video.suspect_at, video.suspect_reason = (self.model.now, reason) if suspect else (None, None)
                if state is State.DEAD:
                    video.letter = (reason, self.model.now)

    @rule(pick=_pick, author=st.sampled_from(["alice", "bob"]))
    def resolve(self, pick: int, author: str) -> None:
        """Fix a post's place; the first one stays."""
        if (picked := self._job(pick)) is None:
            return
        job, video = picked
        key = video_key("2026-05-28", author, job.aweme_id)
        assert self.run(self.queue.mark_resolved(job, self.model.now, author, key)) == (video is not None)
        if video is not None:
            video.resolved = self.model.now if video.resolved is None else video.resolved
            video.key = video.key or key

    @rule(pick=_pick)
    def store(self, pick: int) -> None:
        """Note that the sidecar stands, of a post that has its place and was paid for."""
        if (picked := self._job(pick)) is None:
            return
        job, video = picked
        known = self.model.videos[job.aweme_id]
        if known.key is None or not any(call.aweme_id == job.aweme_id for call in self.model.calls):
            return
        assert self.run(self.queue.mark_stored(job, self.model.now)) == (video is not None)
        if video is not None:
            video.state, video.lease, video.worker = State.STORED, None, None

    @rule(numbers=_numbers)
    def index(self, numbers: list[int]) -> None:
        """Index a batch of posts: those that are stored, and no others."""
        ids = sorted({vid(n) for n in numbers})
        batch = [_record(i, self.model.now) for i in ids]
        ready = [v for i in ids if (v := self.model.videos.get(i)) is not None and v.state is State.STORED]
        assert self.run(self.catalog.record(batch, self.model.now)) == len(ready)
        for video in ready:
            video.state, video.archived = State.ARCHIVED, self.model.now

    @rule(pick=_pick)
    def unstore(self, pick: int) -> None:
        """Put a post back whose sidecar is not there."""
        if (picked := self._job(pick)) is None:
            return
        video = self.model.videos[picked[0].aweme_id]
        stored = video.state is State.STORED
        assert self.run(self.queue.unstore(picked[0].aweme_id, "gone", self.model.now)) == stored
        if stored:
            video.let_go(State.PENDING, self.model.now)

    # Suspected, put back

    @rule(age=st.sampled_from([0.0, 30.0]))
    def confirm(self, age: float) -> None:
        """Confirm suspicions of a certain age."""
        now = self.model.now
        believed = [v for v in self._suspects() if v.suspect_at is not None and v.suspect_at <= now - age]
        assert self.run(self.queue.confirm_suspects(now - age, now)) == len(believed)
        for video in believed:
            assert video.suspect_reason is not None
            video.letter = (video.suspect_reason, now)
            video.state, video.suspect_at, video.suspect_reason = State.DEAD, None, None
            video.attempts += 1

    def _suspects(self) -> list[Video]:
        return [v for v in self.model.videos.values() if v.suspect_at is not None]

    @rule(count=st.booleans(), every_s=st.sampled_from([0.0, 3600.0]))
    def acquit(self, count: bool, every_s: float) -> None:
        """Acquit every suspect; counted not more often than so."""
        now = self.model.now
        acquitted = self._suspects()
        assert self.run(self.queue.acquit_suspects(now, now, count=count, every_s=every_s)) == len(acquitted)
        for video in acquitted:
            first = video.first_not_found
            if count and (first is None or now - first >= video.not_founds * every_s):
                self._note(video)
            video.suspect_at, video.suspect_reason, video.due = None, None, now

    @staticmethod
    def _note(video: Video) -> None:
        video.not_founds += 1
        video.first_not_found = video.suspect_at if video.first_not_found is None else video.first_not_found

    @rule(numbers=_numbers)
    def ask_again(self, numbers: list[int]) -> None:
        """Have some suspects asked a second time."""
        ids = sorted({vid(n) for n in numbers})
        asked = [v for i in ids if (v := self.model.videos.get(i)) is not None and v.suspect_at is not None]
        assert self.run(self.queue.recheck_suspects(ids, self.model.now)) == len(asked)
        for video in asked:
            self._note(video)
            video.suspect_at, video.suspect_reason, video.due = None, None, self.model.now

    @rule(reason=st.sampled_from(sorted(GONE)), nth=st.integers(0, 1))
    def recheck_gone(self, reason: Reason, nth: int) -> None:
        """Ask for posts again that died as gone for one reason a day ago."""
        before = self.model.now - 86_400
        chosen = []
        for video in self.model.videos.values():
            if video.state is State.DEAD and video.letter is not None and video.letter[0] == reason:
                died = video.letter[1] if video.first_died is None else video.first_died
                if video.rechecks == nth and died <= before:
                    chosen.append((video, died))
        assert self.run(self.queue.recheck_gone([Recheck(reason, nth, before)], self.model.now)) == len(chosen)
        for video, died in chosen:
            crashes = video.crashes
            video.anew(self.model.now)
            video.crashes, video.rechecks, video.first_died = crashes, nth + 1, died

    @rule(numbers=st.none() | st.lists(st.integers(0, 12), max_size=4))
    def retry(self, numbers: list[int] | None) -> None:
        """Put some or all back to work."""
        now = self.model.now
        ids = None if numbers is None else [vid(n) for n in numbers]
        chosen = [v for i, v in self.model.videos.items() if ids is None or i in ids]
        dead = [v for v in chosen if v.state is State.DEAD]
        waiting = [v for v in chosen if v.state is State.PENDING and (v.due > now or v.suspect_at is not None)]
        assert self.run(self.queue.retry(ids, now)) == len(dead) + len(waiting)
        for video in dead:
            video.anew(now)
        for video in waiting:
            video.due, video.suspect_at, video.suspect_reason = now, None, None

    @rule(numbers=_numbers)
    def refund(self, numbers: list[int]) -> None:
        """Give attempts back after an outage, to each as often as it is named."""
        ids = [vid(n) for n in numbers if vid(n) in self.model.videos]
        self.run(self.queue.refund(ids))
        for aweme_id in ids:
            video = self.model.videos[aweme_id]
            if video.state in (State.PENDING, State.RUNNING) and video.attempts > 0:
                video.attempts -= 1

    # Held against the model

    @invariant()
    def tables_are_the_models(self) -> None:
        """Every row is what the model says; the dead and only they have letters, the archived a post; days add up."""
        ArchiveMachine.steps += 1
        found = self.run(self.db.read(partial(everything, now=self.model.now)))
        for told, wanted in zip(found, expected(self.model), strict=True):
            assert told == wanted


def _record(aweme_id: AwemeId, now: float) -> Record:
    key = video_key("2026-05-28", "alice", aweme_id)
    sidecar = sidecar_key("2026-05-28", "alice", aweme_id, False)
    file = StoredFile(FileKind.VIDEO, key, 10, "ab" * 32, MediaType.MP4)
    told = Post(aweme_id, Author("1", "alice"), "a #dance", counters=Counters(play=2))
    return Record(told, key, sidecar, 10, "ab" * 32, [file], SidecarFile(5, "cd" * 32), now, False)


def case(examples: int, steps: int, *, shrink: bool = True, machine: type[ArchiveMachine] = ArchiveMachine) -> type:
    """Make a test case that plays so many histories of so many steps each."""
    phases = [Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if shrink else [])]
    made: type = type("Case", (machine,), {}).TestCase  # type: ignore[attr-defined]
    made.settings = settings(  # type: ignore[attr-defined]
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    return made
