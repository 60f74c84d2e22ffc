"""The pace: no window of 60 s holds more calls than the limit, over all processes, and a 429 stops everybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from clipledger.core.pace import PAUSE_CAP_S, Reservation, interval_s
from clipledger.db.database import Database
from clipledger.db.paces import PaceRow
from clipledger.limits import Limiter
from contract.archives import LoopClock, commits, in_jumping_time, new_archive

pytestmark = pytest.mark.usefixtures("backend")

Act = Callable[[list[Limiter]], Awaitable[None]]


@asynccontextmanager
async def _limiters(path: Path, count: int, per_minute: int, clock: LoopClock) -> AsyncIterator[list[Limiter]]:
    async with AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(Database.open(path)) for _ in range(count)]
        yield [Limiter(PaceRow(db, "api"), per_minute, clock) for db in doors]


def with_limiters(
    folder: Path, act: Act, *, count: int = 1, per_minute: int = 200, clock: LoopClock | None = None
) -> None:
    """Run `act` with the limiters of `count` processes on one new archive, in jumping time."""

    async def main() -> None:
        async with _limiters(new_archive(folder), count, per_minute, clock or LoopClock()) as limiters:
            await act(limiters)

    in_jumping_time(main())


def _now() -> float:
    return asyncio.get_running_loop().time()


def test_no_minute_ever_holds_more_than_the_limit(tmp_path: Path) -> None:
    """Four processes with eight callers each make 200 calls in every minute, never 201, and each gets its share."""
    calls: list[tuple[float, int]] = []

    async def act(limiters: list[Limiter]) -> None:
        async def call(number: int) -> None:
            for _ in range(20):
                await limiters[number % 4].permit()
                calls.append((_now(), number % 4))

        async with asyncio.TaskGroup() as group:
            for number in range(32):
                group.create_task(call(number))

    with_limiters(tmp_path, act, count=4)
    times = sorted(at for at, _ in calls)
    assert len(times) == 640
    assert max(sum(at <= other <= at + 60 for other in times) for at in times) <= 200
    assert times[-1] <= 640 * interval_s(200) + 1, "the limit is used up"
    half = [process for _, process in calls[:320]]
    assert all(60 <= half.count(process) <= 100 for process in range(4))


def test_callers_are_served_in_order(tmp_path: Path) -> None:
    """Whoever waits longest goes first."""
    served: list[int] = []

    async def act(limiters: list[Limiter]) -> None:
        async def call(number: int) -> None:
            await limiters[0].permit()
            served.append(number)

        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(call(number))

    with_limiters(tmp_path, act)
    assert served == list(range(20))


def test_permits_are_reserved_together(tmp_path: Path) -> None:
    """At a high rate a hundred waiting calls cost a few writes to the shared row, not a hundred."""

    async def act(limiters: list[Limiter]) -> None:
        with commits() as seen:
            async with asyncio.TaskGroup() as group:
                for _ in range(100):
                    group.create_task(limiters[0].permit())
        assert len(seen) <= 3

    with_limiters(tmp_path, act, per_minute=6000)


def test_an_idle_caller_is_not_kept_waiting(tmp_path: Path) -> None:
    """After a quiet time the first call goes at once, and nothing was saved up for a burst."""
    times: list[float] = []

    async def act(limiters: list[Limiter]) -> None:
        await limiters[0].permit()
        await asyncio.sleep(300)
        for _ in range(3):
            await limiters[0].permit()
            times.append(_now())

    with_limiters(tmp_path, act)
    assert times[0] == pytest.approx(300, abs=0.01)
    assert all(0.3 <= later - earlier < 0.31 for earlier, later in pairwise(times))


def test_many_callers_go_in_groups(tmp_path: Path) -> None:
    """At the usual rate four calls go together, of one process or two, and no later than they would alone."""
    times: list[float] = []

    async def act(limiters: list[Limiter]) -> None:
        async def call(limiter: Limiter) -> None:
            await limiter.permit()
            times.append(_now())

        async with asyncio.TaskGroup() as group:
            for nth in range(40):
                group.create_task(call(limiters[nth % 2]))

    with_limiters(tmp_path, act, count=2)
    moments = {round(at, 2) for at in times}
    assert len(moments) <= 40 // 4 + 3 and times[-1] <= 40 * interval_s(200) + 4 * interval_s(200)


@pytest.mark.parametrize("answer_s", [0.05, 0.5, 1.1, 1.6, 2.2])
def test_going_in_groups_costs_no_call(tmp_path: Path, answer_s: float) -> None:
    """Eight open calls, as many as a process makes, use up the rate however long the answers take."""
    calls: list[float] = []

    async def act(limiters: list[Limiter]) -> None:
        async def caller() -> None:
            while _now() < 120:
                await limiters[0].permit()
                calls.append(_now())
                await asyncio.sleep(answer_s)

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(caller())

    with_limiters(tmp_path, act)
    assert sum(60 <= at < 120 for at in calls) >= 196
    assert max(sum(at <= other <= at + 60 for other in calls) for at in calls) <= 200


def test_one_caller_beside_many_goes_with_them(tmp_path: Path) -> None:
    """Where another process keeps the pace busy a lone call waits for the next group, not for a gap."""
    lone: list[float] = []

    async def act(limiters: list[Limiter]) -> None:
        async def keep_busy() -> None:
            for _ in range(20):
                await limiters[0].permit()

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(keep_busy())
            for _ in range(10):
                await asyncio.sleep(1)
                began = _now()
                await limiters[1].permit()
                lone.append(_now() - began)

    with_limiters(tmp_path, act, count=2)
    assert max(lone) < 3 * 4 * interval_s(200)


def test_a_permit_that_was_not_used_in_time_is_taken_anew(tmp_path: Path) -> None:
    """A call whose row took long to write is not sent at a moment that is past; one whose row stood at once is."""
    times: list[float] = []

    async def act(limiters: list[Limiter]) -> None:
        for wait_s in (0.0, 0.3, 0.5, 3.0):
            moment = await limiters[0].permit()
            await asyncio.sleep(wait_s)
            asked_at = _now()
            await limiters[0].still(moment)
            times.append(_now() - asked_at)

    with_limiters(tmp_path, act, per_minute=20)
    assert times[:2] == [0, 0] and times[2] == pytest.approx(2.53, abs=0.01) and 0 < times[3] < 3.03


def test_a_429_stops_every_process(tmp_path: Path) -> None:
    """When one process is throttled all of them wait: five seconds, doubling, or as long as the API asks."""
    times: list[float] = []

    async def act(limiters: list[Limiter]) -> None:
        one, other = limiters
        await one.permit()
        await one.throttled(None, 0.0)
        await other.permit()
        times.append(_now())
        await other.throttled(None, 0.0)
        await one.permit()
        times.append(_now())
        await one.throttled(60.0, 0.0)
        await other.permit()
        times.append(_now())

    with_limiters(tmp_path, act, count=2)
    assert times == [pytest.approx(5, abs=0.01), pytest.approx(15, abs=0.02), pytest.approx(75, abs=0.03)]


def test_waiting_callers_heed_a_429(tmp_path: Path) -> None:
    """Calls that were about to be sent when another was throttled wait for the pause to end."""
    times: list[float] = []

    async def act(limiters: list[Limiter]) -> None:
        async def call() -> None:
            await limiters[0].permit()
            times.append(_now())

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(call())
            await asyncio.sleep(0.4)
            await limiters[0].throttled(None, 0.0)

    with_limiters(tmp_path, act)
    assert [at for at in times if at < 0.4] == times[:2]
    assert all(at >= 5.4 - 1e-6 for at in times[2:])  # a date of today, as a float, is good to 2.4e-7 s
    assert times[-1] < 7


def test_a_burst_of_429s_is_one_throttling(tmp_path: Path) -> None:
    """Eight calls throttled at the same moment pause as long as one; success ends the doubling."""

    async def act(limiters: list[Limiter]) -> None:
        limiter = limiters[0]
        await limiter.permit()
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(limiter.throttled(None, 0.0))
        await limiter.succeeded()  # of a call sent before the pause: says nothing
        await limiter.permit()
        assert _now() == pytest.approx(5, abs=0.01)
        await limiter.throttled(None, 0.0)
        await limiter.permit()
        assert _now() == pytest.approx(15, abs=0.02)
        with commits() as seen:
            await limiter.succeeded()
            await limiter.succeeded()
        assert len(seen) == 1
        await limiter.throttled(None, 0.0)
        await limiter.permit()
        assert _now() == pytest.approx(20, abs=0.03)

    with_limiters(tmp_path, act)


def test_a_long_retry_after_is_not_cut_short(tmp_path: Path) -> None:
    """A 429 that asks for less, or for nothing, does not shorten the pause that another one asked for."""

    async def act(limiters: list[Limiter]) -> None:
        await limiters[0].throttled(60.0, 0.0)
        await limiters[0].throttled(None, 0.0)
        await limiters[0].permit()
        assert _now() == pytest.approx(60, abs=0.01)

    with_limiters(tmp_path, act)


def test_a_cancelled_caller_holds_nobody_up(tmp_path: Path) -> None:
    """Callers that give up while they wait leave their turn to the next, at every stage of waiting."""
    times: list[float] = []

    async def act(limiters: list[Limiter]) -> None:
        async def call() -> None:
            await limiters[0].permit()
            times.append(_now())

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call()) for _ in range(12)]
            for number in (0, 3, 4):
                tasks[number].cancel()
            await asyncio.sleep(0.5)
            for number in (2, 5, 9):
                tasks[number].cancel()

    with_limiters(tmp_path, act)
    assert len(times) == 7, "of 12 callers 5 gave up before their turn"
    assert times[-1] < 12 * interval_s(200) + 0.1


def test_a_late_permit_is_thrown_away(tmp_path: Path) -> None:
    """A process that slept too long does not use the moment it missed; it asks for a new one."""

    class Oversleeper(LoopClock):
        def __init__(self) -> None:
            self.oversleep_s = 3.0

        async def sleep(self, seconds: float) -> None:
            over, self.oversleep_s = self.oversleep_s, 0.0
            await asyncio.sleep(seconds + over)

    times: list[float] = []

    async def act(limiters: list[Limiter]) -> None:
        async def call() -> None:
            await limiters[0].permit()
            times.append(_now())

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(call())

    with_limiters(tmp_path, act, clock=Oversleeper())
    assert len(times) == 4
    assert all(later - earlier >= 0.3 for earlier, later in pairwise(times))


def test_an_early_timer_is_waited_out(tmp_path: Path) -> None:
    """A timer that fires a little early never makes a call too early."""

    class Earlybird(LoopClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.sleep(seconds * 0.9 if seconds > 0.01 else seconds)

    times: list[float] = []

    async def act(limiters: list[Limiter]) -> None:
        for _ in range(4):
            await limiters[0].permit()
            times.append(_now())

    with_limiters(tmp_path, act, clock=Earlybird())
    assert all(later - earlier >= 0.3 for earlier, later in pairwise(times))


@pytest.mark.parametrize("lag_s", [0.3, 0.45, 3.0])
@pytest.mark.parametrize("throttled", [False, True])
def test_a_slow_database_keeps_nobody_from_calling(tmp_path: Path, lag_s: float, throttled: bool) -> None:
    """Where a reservation takes longer than its moment may be missed by, the next ones lie so much further ahead."""

    class Slow(PaceRow):
        async def reserve(self, permits: int, now: float, per_minute: int) -> tuple[Reservation, int]:
            taken, throttles = await super().reserve(permits, now, per_minute)
            await asyncio.sleep(lag_s)
            return taken, 1 if throttled else throttles

    async def main() -> None:
        async with Database.open(new_archive(tmp_path)) as db:
            limiter = Limiter(Slow(db, "api"), 200, LoopClock())
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                for _ in range(8):
                    group.create_task(limiter.permit())

    in_jumping_time(main())


def test_a_pause_that_a_wrong_clock_wrote_is_not_waited_for(tmp_path: Path) -> None:
    """A 429 that a machine with the wrong date met stops nobody until that date."""

    async def act(limiters: list[Limiter]) -> None:
        row = limiters[0]._row
        await row.throttle(_now() + 10 * 365 * 86_400, None, 0.0)
        began = _now()
        await limiters[1].permit()
        assert _now() - began < 10
        until, throttles = await row.throttle(_now(), None, 0.0)
        assert until - _now() <= PAUSE_CAP_S and throttles == 2

    with_limiters(tmp_path, act, count=2)
