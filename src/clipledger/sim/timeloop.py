"""An event loop whose time is made up: when nothing is ready it jumps to the next timer.

A simulated day costs as long as its work. Everything runs in this one thread, one callback a
step, functions for executors included, so equal inputs give equal runs, step by step.
Must not: be used with real sockets, threads or subprocesses; nobody waits for them here.
"""

from __future__ import annotations

import asyncio
import gc
import heapq
import sys
import warnings
from collections import deque
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(RuntimeError):
    """Nothing is ready and no timer is set, yet the main coroutine waits: it would wait for ever."""


class OutOfTime(RuntimeError):
    """The simulated time limit passed before the main coroutine ended."""


class SimulatedCrash(BaseException):
    """The process died at this step. `loop` is what is left of it."""

    def __init__(self, loop: TimeLoop) -> None:
        super().__init__(f"crashed at step {loop.steps}, {loop.time():.3f} s in")
        self.loop = loop


class TimeLoop(asyncio.SelectorEventLoop):
    """The loop. `time()` starts at 0; `steps` counts callbacks run; `trace` hashes them when `traced`.

    `run_in_executor` (and `asyncio.to_thread`) runs the function in this thread at a later step of
    its own: other tasks may run before it and after it, as with a real executor, and a crash may
    fall on either side. A call that is cancelled before its step never runs.
    """

    # Of BaseEventLoop, whose `_run_once` is replaced below.
    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool

    def __init__(self, *, limit_s: float | None = None, traced: bool = False) -> None:
        super().__init__()
        self.steps = 0
        self._now, self._dropped = 0.0, 0
        self._limit_s = limit_s
        self._crash_at: int | None = None
        self._releases: list[Callable[[], object]] = []
        self._trace, self._traced = blake2b(digest_size=16) if traced else None, traced

    def time(self) -> float:
        """Return simulated seconds since the loop was made."""
        return self._now

    @property
    def trace(self) -> str:
        """Return a hash of every step so far: when, and whose callback. '' unless traced."""
        return self._trace.hexdigest() if self._trace else ""

    def crash_after(self, steps: int) -> None:
        """Let the process die before it runs one step more than `steps` from now: see `crashed`."""
        self._crash_at = self.steps + steps

    def at_crash(self, release: Callable[[], object]) -> None:
        """Have something released on a crash that a kernel would release: a file lock, a database connection."""
        self._releases.append(release)

    def run_in_executor(self, _executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run a function at a step of its own; the future is that step's task."""
        return self.create_task(_call(func, args))

    def abandon(self) -> None:
        """Leave everything where it stands, as a killed process would.

        No task is cancelled and no `finally`, `with` or `except` of any runs: the tasks are kept
        alive, suspended, until `bury`. What does run is what was given to `at_crash`, last first.
        What the process had open stays open: files, and their locks unless released there.
        """
        left = asyncio.all_tasks(self)
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        _abandoned.append((tuple(self._ready), tuple(self._scheduled), left))
        self.close()
        for release in reversed(self._releases):
            release()

    def _run_once(self) -> None:
        """Run one callback; before it, move time on if nothing is ready."""
        if not self._ready:
            if self._stopping:
                return
            self._jump()
        while self._scheduled and self._scheduled[0]._when <= self._now:  # type: ignore[attr-defined]
            self._ready.append(heapq.heappop(self._scheduled))
        handle = self._ready.popleft()
        if handle.cancelled():
            return
        if self._crash_at is not None and self.steps >= self._crash_at:
            raise SimulatedCrash(self)
        self.steps += 1
        if self._traced and self._trace:
            self._trace.update(f"{self._now!r} {_name(handle)}\n".encode())
        handle._run()

    def _jump(self) -> None:
        while self._scheduled and self._scheduled[0].cancelled():
            heapq.heappop(self._scheduled)
        if not self._scheduled:
            raise Deadlock(f"nothing is ready and no timer is set at {self._now:.3f} s; waiting: {self._waiting()}")
        when = self._scheduled[0].when()
        if self._limit_s is not None and when > self._limit_s:
            raise OutOfTime(f"not done after {self._limit_s:.0f} simulated seconds; waiting: {self._waiting()}")
        self._now = max(self._now, when)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Sweep the timers when most are cancelled: deadlines that were kept, in the main."""
        self._dropped += 1
        if self._dropped > 100 + len(self._scheduled) // 2:
            self._scheduled[:] = [timer for timer in self._scheduled if not timer.cancelled()]
            heapq.heapify(self._scheduled)
            self._dropped = 0

    def _waiting(self) -> str:
        names = sorted(f"{task.get_name()} in {_where(task)}" for task in asyncio.all_tasks(self))
        return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


_abandoned: list[object] = []


def bury() -> None:
    """Free what crashed runs left behind, once their folders are no longer of interest.

    Only now do the `finally` blocks of their tasks run, up to their next await; what they raise is
    dropped. Without it every crash keeps its world in memory.
    """
    hook, sys.unraisablehook = sys.unraisablehook, lambda _unraisable: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a call that never had its step is a crash's, no mistake
            _abandoned.clear()
            gc.collect()
    finally:
        sys.unraisablehook = hook


class SimClock:
    """`core.ports.Clock` over a loop: unix seconds that start at `epoch`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch: float = 0.0) -> None:
        self._loop, self._epoch = loop, epoch

    def now(self) -> float:
        """Return simulated unix seconds."""
        return self._epoch + self._loop.time()

    def jump(self, seconds: float) -> None:
        """Let the wall clock jump, as when a machine slept: no timer knows of it."""
        self._epoch += seconds

    async def sleep(self, seconds: float) -> None:
        """Sleep in simulated time."""
        await asyncio.sleep(seconds)


def run(
    main: Callable[[SimClock], Coroutine[Any, Any, T]],
    *,
    epoch: float = 0.0,
    limit_s: float | None = None,
    crash_after: int | None = None,
    loop: TimeLoop | None = None,
) -> T:
    """Run `main(clock)` to its end in simulated time and return what it returns.

    Raises Deadlock, OutOfTime (both after cancelling what is left), or SimulatedCrash at step
    `crash_after` (nothing is cancelled: see `TimeLoop.abandon`). Give a `loop` to read its
    `steps` and `trace` afterwards.
    """
    loop = loop or TimeLoop(limit_s=limit_s)
    clock = SimClock(loop, epoch)
    if crash_after is not None:
        loop.crash_after(crash_after)
    try:
        return loop.run_until_complete(main(clock))
    except SimulatedCrash:
        loop.abandon()
        raise
    finally:
        if not loop.is_closed():
            _wind_up(loop)


def _wind_up(loop: TimeLoop) -> None:
    """Cancel what is left, let it clean up within a simulated hour, and close."""
    loop._limit_s, loop._crash_at = loop.time() + 3600.0, None
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    try:
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop._traced = False  # how many generators are left depends on when garbage was collected, not on the play
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


async def _call(func: Callable[..., T], args: tuple[Any, ...]) -> T:
    return func(*args)


def _name(handle: asyncio.Handle) -> str:
    callback: Any = handle._callback  # type: ignore[attr-defined]
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return f"task {_where(owner)}"
    return str(getattr(callback, "__qualname__", type(callback).__name__))


def _where(task: asyncio.Task[Any]) -> str:
    return str(getattr(task.get_coro(), "__qualname__", "?"))
