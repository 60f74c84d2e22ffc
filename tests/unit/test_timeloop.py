"""Simulated time: a day in milliseconds, the same every time, and a crash at any step."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clipledger.sim.timeloop import Deadlock, OutOfTime, SimClock, SimulatedCrash, TimeLoop, bury, run


async def _busy(clock: SimClock) -> list[Any]:
    """Do a little of everything: tasks, timers, a timeout, a lock, a queue, an executor."""
    log: list[Any] = []
    lock, queue = asyncio.Lock(), asyncio.Queue[int](2)

    async def put() -> None:
        for number in range(5):
            await queue.put(number)
            await clock.sleep(0.5)

    async def take(name: str) -> None:
        while True:
            async with asyncio.timeout(2.0), lock:
                got = await queue.get()
            log.append((clock.now(), name, got, await asyncio.to_thread(str, got)))

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(put())
            group.create_task(take("a"))
            group.create_task(take("b"))
    except* TimeoutError:
        log.append((clock.now(), "nobody puts any more"))
    return log


def test_a_simulated_day_takes_milliseconds() -> None:
    """Twenty-four hours of a worker that looks every minute pass in a blink, and end at the second."""

    async def day(clock: SimClock) -> float:
        for _ in range(24 * 60):
            await clock.sleep(60)
        return clock.now()

    begun = time.perf_counter()
    assert run(day, epoch=1_780_000_000.0) == 1_780_086_400.0
    assert time.perf_counter() - begun < 60.0  # the clock jumps: no measure of speed


def test_equal_runs_leave_equal_traces() -> None:
    """The same program leaves the same trace, step by step; another program another."""
    loops = [TimeLoop(traced=True) for _ in range(3)]
    first, second = run(_busy, loop=loops[0]), run(_busy, loop=loops[1])
    assert (
        first == second and first[-1][1] == "nobody puts any more" and [row[2] for row in first[:-1]] == [0, 1, 2, 3, 4]
    )
    run(lambda clock: clock.sleep(3), loop=loops[2])
    assert loops[0].trace == loops[1].trace != loops[2].trace and loops[0].steps == loops[1].steps > 20


def test_timers_fire_in_their_order_and_at_their_time() -> None:
    """Sleepers wake in the order of their times, equal times in the order of falling asleep."""

    async def main(clock: SimClock) -> list[tuple[float, int]]:
        woken = []

        async def sleeper(which: int, seconds: float) -> None:
            await clock.sleep(seconds)
            woken.append((clock.now(), which))

        async with asyncio.TaskGroup() as group:
            for which, seconds in enumerate((3, 1, 2, 1, 0)):
                group.create_task(sleeper(which, seconds))
        return woken

    assert run(main) == [(0, 4), (1, 1), (1, 3), (2, 2), (3, 0)]


def test_a_deadline_cuts_at_its_second_and_cleans_up() -> None:
    """asyncio.timeout and a failing TaskGroup end what they hold, `finally` included, at the simulated second."""
    ended = []

    async def hang() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(asyncio.get_running_loop().time())

    async def main(clock: SimClock) -> float:
        try:
            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                group.create_task(hang())
                group.create_task(hang())
        except TimeoutError:
            return clock.now()
        return -1.0

    assert run(main, epoch=100.0) == 130.0 and ended == [30.0, 30.0]


def test_a_function_for_an_executor_runs_inline_between_the_steps_of_others() -> None:
    """Another task may run before and after such a function, its error reaches who awaits, and no thread is started."""
    log = []

    async def main(_clock: SimClock) -> None:
        async def other() -> None:
            for k in range(6):
                log.append(k)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as group:
            group.create_task(other())
            await asyncio.sleep(0)
            await asyncio.to_thread(log.append, "ran")
            log.append("woke")
            with pytest.raises(ZeroDivisionError):
                await asyncio.get_running_loop().run_in_executor(None, lambda: 1 // 0)

    run(main)
    assert log.index("ran") > 0 and log.index("woke") - log.index("ran") == 2


def test_a_call_that_is_cancelled_in_time_never_runs() -> None:
    """Cancelling before its step keeps an executor's function from running."""
    ran = []

    async def main(_clock: SimClock) -> None:
        future = asyncio.get_running_loop().run_in_executor(None, ran.append, 1)
        future.cancel()
        await asyncio.sleep(1)

    run(main)
    assert not ran


def test_waiting_for_ever_is_told_at_once() -> None:
    """A program that waits for what cannot come stops with the names of those who wait."""

    async def main(_clock: SimClock) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait(), name="forlorn")

    with pytest.raises(Deadlock, match="forlorn"):
        run(main)


def test_a_program_that_never_ends_is_stopped() -> None:
    """A time limit ends a run that goes on for ever, and cleans up after it."""
    ended = []

    async def main(clock: SimClock) -> None:
        try:
            while True:
                await clock.sleep(10)
        finally:
            await clock.sleep(5)
            ended.append(clock.now())

    with pytest.raises(OutOfTime, match="3600"):
        run(main, limit_s=3600.0)
    assert ended == [3605.0]


@pytest.mark.slow
def test_a_crash_falls_at_any_step_and_nothing_is_tidied(tmp_path: Path) -> None:
    """Killed after n steps, a program has written what it had written by then; its `finally` did not run."""
    part = tmp_path / "part"

    async def main(clock: SimClock) -> str:
        try:
            for k in range(5):
                await asyncio.to_thread(part.write_text, str(k))
                await clock.sleep(1)
        finally:
            part.unlink()
        return "done"

    left = []
    steps = 0
    while True:
        try:
            assert run(main, crash_after=steps) == "done"
            break
        except SimulatedCrash as crash:
            assert crash.loop.steps == steps
            left.append(part.read_text() if part.exists() else None)
        part.unlink(missing_ok=True)
        steps += 1
    assert left[0] is None and set(left) == {None, "0", "1", "2", "3", "4"}
    found = [text for text in left if text is not None]
    assert found == sorted(found) and left.count("3") > 1, "a later crash leaves more behind"
    bury()


@pytest.mark.slow
def test_what_a_kernel_would_release_is_released_at_a_crash() -> None:
    """What was given to `at_crash` runs, last first, once, and only at a crash."""
    released: list[str] = []

    async def main(clock: SimClock) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, TimeLoop)
        for name in ("lock", "connection"):
            loop.at_crash(_release(released, name))
        await clock.sleep(9)

    with pytest.raises(SimulatedCrash, match=r"9\.000 s"):
        run(main, crash_after=1)
    assert released == ["connection", "lock"]
    run(main)
    assert released == ["connection", "lock"]
    bury()


def _release(into: list[str], name: str) -> Callable[[], None]:
    return lambda: into.append(name)


def test_deadlines_that_were_kept_do_not_pile_up() -> None:
    """A long run with a deadline around every act keeps a handful of timers, not one per act."""
    loop = TimeLoop()

    async def main(clock: SimClock) -> int:
        most = 0
        for _ in range(3000):
            async with asyncio.timeout(86_400):
                await clock.sleep(0.01)
            most = max(most, len(loop._scheduled))
        return most

    assert run(main, loop=loop) < 400
