"""Seats wherever Ray has room: one actor a seat. The only file that knows Ray.

Ray places, watches and connects; it holds no state that matters. Must not: hand a secret to Ray's own
tables (an actor's constructor arguments are kept there), start a dashboard, or report usage to anybody.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from clipledger.core.errors import Misconfigured
from clipledger.fleet.errand import Errand
from clipledger.fleet.seat import Ended, Seat
from clipledger.fleet.seats import SeatsLost

T = TypeVar("T")

LOCAL = "local"

CPUS = 0.1
"""What a seat asks of Ray: little, since Ray is to spread the seats and not to ration them."""

ANSWER_S = 30.0
"""How long Ray is given for an answer before it counts as lost."""

KNOCK_S = 5.0

JOIN_S = 120.0
"""How long joining may take: Ray starts processes for it, here or behind its client's port."""

STORE_BYTES = 80 * 2**20
"""Ray's shared memory on a machine that this program starts it on: nothing of ours goes through it."""

_EASY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "20",  # a head that is gone for longer is lost
    "RAY_kill_child_processes_on_worker_exit": "false",  # ours stop by themselves, in good order
}
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""What makes Ray on one machine listen on 127.0.0.1 alone, on Linux too."""

_LOOPBACK_HOSTS = ("127.0.0.1:", "localhost:")


@dataclass(frozen=True, slots=True)
class _Taken:
    actor: Any
    end: Any


class RaySeats:
    """Seats in a Ray cluster. `connect` first; every call to Ray is made in one thread of its own."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._thread = ThreadPoolExecutor(1, "clipledger-ray")
        self._numbers = itertools.count(1)
        self._taken: dict[str, _Taken] = {}
        self._ray: Any = None
        self._actor: Any = None

    async def connect(self) -> None:
        """Join the cluster, or with `local` start Ray on this machine alone; SeatsLost when it cannot be reached."""
        self._ray = _imported(alone=self._address == LOCAL or self._address.startswith(_LOOPBACK_HOSTS))
        await self._ask(self._join, JOIN_S)
        self._actor = self._ray.remote(Seat)

    async def start(self, errand: Errand) -> str:
        """Place an actor and have it run the errand."""
        name = f"seat-{next(self._numbers)}"
        self._taken[name] = await self._ask(lambda: self._seated(errand))
        return name

    async def ended(self) -> dict[str, Ended]:
        """Tell which ended since the last look."""
        return await self._ask(self._reap)

    async def stop(self, seat: str, *, cut: bool) -> None:
        """Ask the process in a seat to stop."""
        if (taken := self._taken.get(seat)) is not None:
            await self._ask(lambda: taken.actor.stop.remote(cut=cut))

    async def close(self) -> None:
        """Leave the cluster; Ray ends the actors, and their processes stop as they see it."""
        try:
            await self._ask(self._ray.shutdown)
        finally:
            self._thread.shutdown(wait=False)

    async def _ask(self, question: Callable[[], T], patience_s: float = ANSWER_S) -> T:
        try:
            async with asyncio.timeout(patience_s):
                return await asyncio.get_running_loop().run_in_executor(self._thread, question)
        except TimeoutError:
            raise SeatsLost(f"Ray did not answer within {patience_s:.0f} s") from None
        except (ConnectionError, self._ray.exceptions.RaySystemError) as error:
            raise SeatsLost(_line(error)) from None

    def _join(self) -> None:
        quiet = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.ERROR}
        if self._address == LOCAL:
            self._ray.init(address=LOCAL, include_dashboard=False, object_store_memory=STORE_BYTES, num_gpus=0, **quiet)
        else:
            _knock(self._address)
            try:
                self._ray.init(address=self._address, **({} if "://" in self._address else quiet))
            except (ValueError, RuntimeError) as error:
                raise SeatsLost(f"no Ray at {self._address}: {_line(error)}") from None

    def _seated(self, errand: Errand) -> _Taken:
        seat = self._actor.options(
            num_cpus=CPUS, max_concurrency=2, max_restarts=0, scheduling_strategy="SPREAD"
        ).remote()
        # The errand goes in the call, not in the constructor: Ray's head keeps constructor arguments.
        return _Taken(seat, seat.work.remote(errand))

    def _reap(self) -> dict[str, Ended]:
        ends = {taken.end: name for name, taken in self._taken.items()}
        if not ends:
            return {}
        ready, _ = self._ray.wait(list(ends), num_returns=len(ends), timeout=0)
        over = {ends[end]: self._result(end) for end in ready}
        for name in over:
            self._ray.kill(self._taken.pop(name).actor)
        return over

    def _result(self, end: Any) -> Ended:
        try:
            ended: Ended = self._ray.get(end)
        except (self._ray.exceptions.RayActorError, self._ray.exceptions.WorkerCrashedError) as error:
            return Ended(None, _line(error))
        return ended


def _imported(*, alone: bool) -> ModuleType:
    for name, value in (_EASY | (_LOOPBACK if alone else {})).items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise Misconfigured("a fleet needs Ray: pip install 'clipledger[cluster]'") from None
    logging.getLogger("ray").setLevel(logging.ERROR)
    return ray


def _knock(address: str) -> None:
    """Raise SeatsLost at once where nobody listens: Ray itself would try for half a minute."""
    place = urlsplit(address if "://" in address else f"ray://{address}")
    if place.hostname is None or place.port is None:
        return  # auto: Ray knows where
    try:
        socket.create_connection((place.hostname, place.port), KNOCK_S).close()
    except OSError as error:
        raise SeatsLost(f"no Ray at {address}: {error.strerror or error}") from None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
