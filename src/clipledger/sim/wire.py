"""The world without sockets: `core.ports.Wire` over a `World`, under real or simulated time.

It keeps the port's contract as libcurl does: deadline, byte and header caps, floor speed, refused
addresses, a body that ends short. Must not: know what is fetched, or be kinder than the socket.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import deque

from clipledger.core.ports import Request, Response, Sink, WireError
from clipledger.sim.latency import Latency
from clipledger.sim.reply import Ask, Ending, Framing, Reply
from clipledger.sim.world import World

_PIECE = 16 * 2**10
_STEP_S = 1.0


class SimWire:
    """Gets from a world. Time is the running loop's; `latency` is drawn from the world's seed."""

    def __init__(self, world: World, *, latency: Latency | None = None) -> None:
        self._world = world
        self._latency = latency or Latency()
        self._closed = False

    async def get(self, request: Request, sink: Sink) -> Response:
        """Answer from the world into the sink; raises WireError as the port promises."""
        if self._closed:
            raise RuntimeError("the wire is closed")
        try:
            async with asyncio.timeout(request.limits.deadline_s) as deadline:
                return await self._exchange(request, sink)
        except TimeoutError:
            if deadline.expired():
                raise WireError("timeout", "deadline") from None
            raise

    async def close(self) -> None:
        """End the wire; a second time does nothing."""
        self._closed = True

    async def _exchange(self, request: Request, sink: Sink) -> Response:
        reply = self._world.answer(self._asked(request))
        ledger = self._world.ledger
        ledger.opened(reply.door)
        try:
            return await self._render(reply, request, sink)
        finally:
            ledger.closed(reply.door)

    def _asked(self, request: Request) -> Ask:
        headers = {name.lower(): value.reveal() for name, value in request.headers}
        try:
            ask = Ask.of("GET", request.url.reveal(), headers)
        except ValueError:
            raise WireError("protocol", "not a URL") from None
        if request.public_only and _is_private(ask.host):
            raise WireError("refused_address")
        if not self._world.knows_host(ask.host):
            self._world.ledger.fetches["foreign"] += 1
            raise WireError("dns", "unknown host")
        return ask

    async def _render(self, reply: Reply, request: Request, sink: Sink) -> Response:
        seed = self._world.scene.seed
        await asyncio.sleep(reply.wait_s + self._latency.before(seed, reply))
        if reply.mute:
            raise WireError("reset" if reply.ending is Ending.RESET else "short")
        headers = _headers(reply)
        if sum(len(name) + len(value) + 4 for name, value in headers.items()) > request.limits.max_header_bytes:
            raise WireError("headers", "over their cap")
        sink.open(Response(reply.status, headers))
        received = await self._body(reply, request, sink)
        self._world.delivered(reply)
        return Response(reply.status, headers, received)

    async def _body(self, reply: Reply, request: Request, sink: Sink) -> int:
        """Hand over the body at its speed and return its bytes; raises WireError where it breaks."""
        speed = self._latency.speed(self._world.scene.seed, reply)
        limits, flow = request.limits, _Flow(request.limits.floor_bytes_per_s, request.limits.floor_window_s)
        if reply.framing is Framing.LENGTH and reply.declared_bytes > limits.max_bytes:
            raise WireError("too_large", "declared")
        received = 0
        for piece in reply.pieces(_PIECE if speed is None else max(1, min(_PIECE, int(speed * _STEP_S)))):
            if speed is not None:
                await flow.wait(len(piece) / speed)
            received += len(piece)
            if received > limits.max_bytes:
                raise WireError("too_large")
            flow.got(len(piece))
            sink.write(piece)
        if reply.ending is Ending.STALL:
            await flow.wait(reply.hold_s)
        if reply.whole or (reply.framing is Framing.CLOSE and reply.ending is not Ending.RESET):
            return received
        raise WireError("reset" if reply.ending is Ending.RESET else "short")


class _Flow:
    """Watches the floor: fewer than `floor` bytes/s over the last `window_s` seconds is a stall. `floor` 0: never."""

    def __init__(self, floor: int, window_s: float) -> None:
        self._least, self._window_s = floor * window_s, window_s
        self._now, self._recent = 0.0, 0
        self._log: deque[tuple[float, int]] = deque()

    def got(self, size: int) -> None:
        """Count bytes that arrived."""
        self._log.append((self._now, size))
        self._recent += size

    async def wait(self, seconds: float) -> None:
        """Let time pass; raises WireError once it has been too slow for too long."""
        while seconds > 0:
            step = min(seconds, _STEP_S) if self._least else seconds
            await asyncio.sleep(step)
            seconds -= step
            self._now += step
            while self._log and self._log[0][0] <= self._now - self._window_s:
                self._recent -= self._log.popleft()[1]
            if self._now >= self._window_s and self._recent < self._least:
                raise WireError("stall")


def _headers(reply: Reply) -> dict[str, str]:
    headers = {name.lower(): value for name, value in reply.headers}
    if reply.framing is Framing.LENGTH:
        headers["content-length"] = str(reply.declared_bytes)
    return headers


def _is_private(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        return False
