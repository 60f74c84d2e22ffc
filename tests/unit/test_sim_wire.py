"""The world's own wire keeps the port's promises, in simulated seconds."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from clipledger.core.model import Secret
from clipledger.core.ports import Limits, Request, Response, WireError
from clipledger.sim.faults import FaultPlan
from clipledger.sim.timeloop import SimClock, TimeLoop, run
from clipledger.sim.wire import SimWire
from clipledger.sim.world import World
from sim_calls import BROWSER, START

API = "https://api.tikliveapi.com"
KEY = {"X-Api-Key": "sim-key"}


class Bytes:
    """A sink that remembers."""

    def __init__(self) -> None:
        self.opened: list[Response] = []
        self.body = b""

    def open(self, response: Response) -> None:
        self.opened.append(response)

    def write(self, chunk: bytes) -> None:
        self.body += chunk


class Client:
    """A world, its wire and a clock, inside the loop."""

    def __init__(self, clock: SimClock, faults: str) -> None:
        self.clock = clock
        plan = FaultPlan.parse(faults)
        self.world = World(7, 200, start=START, now=clock.now, faults=plan, base_url=API, real_hosts=True)
        self.wire = SimWire(self.world)
        self.sink = Bytes()

    async def get(self, url: str, headers: dict[str, str], limits: Limits | None = None, **more: Any) -> Response:
        secrets = tuple((name, Secret(value)) for name, value in headers.items())
        self.sink = Bytes()
        return await self.wire.get(Request(Secret(url), secrets, limits or Limits(30.0), **more), self.sink)

    async def detail(self, kind: str = "video") -> Any:
        post_id = next(i for i in self.world.ids() if (t := self.world.truth(i)).alive and t.kind == kind)
        await self.get(f"{API}/post-detail/?url={post_id}", KEY)
        return json.loads(self.sink.body)


def failing(faults: str, key: str = "play", limits: Limits | None = None) -> tuple[str, float, int]:
    """Fetch a video under a fault; give the WireError's kind, the seconds it took, the bytes that came."""

    async def main(clock: SimClock) -> tuple[str, float, int]:
        client = Client(clock, faults)
        link = (await client.detail())[key]
        begun = clock.now()
        try:
            await client.get(link, BROWSER, limits)
        except WireError as error:
            return error.kind, clock.now() - begun, len(client.sink.body)
        return "", clock.now() - begun, len(client.sink.body)

    return run(main, epoch=START)


def test_a_file_arrives_whole_and_takes_its_time() -> None:
    """A download gives every byte in pieces, its length in the headers, and takes simulated seconds, not real ones."""

    async def main(clock: SimClock) -> None:
        client = Client(clock, "calm")
        seconds = []
        for post_id in [i for i in client.world.ids() if client.world.truth(i).alive][:60]:
            await client.get(f"{API}/post-detail/?url={post_id}", KEY)
            begun = clock.now()
            response = await client.get(json.loads(client.sink.body)["play"], BROWSER)
            seconds.append(clock.now() - begun)
            assert response.status == 200 and response.received == len(client.sink.body)
            assert response.headers["content-length"] == str(response.received) and len(client.sink.opened) == 1
        assert min(seconds) < 1.5 and 10 < max(seconds) < 13
        assert len(client.world.ledger.served) == 60 and client.world.ledger.open_most["cdn"] == 1

    run(main, epoch=START)


@pytest.mark.parametrize(
    ("faults", "limits", "kind"),
    [
        ("truncated=1", Limits(30), "short"),
        ("cdn_reset=1", Limits(30), "reset"),
        ("fat_headers=1", Limits(30), "headers"),
        ("endless=1", Limits(1000, max_bytes=2**20), "too_large"),
        ("calm", Limits(30, max_bytes=1000), "too_large"),
        ("chunked=1", Limits(30, max_bytes=1000), "too_large"),
        ("stall=1:900", Limits(600, floor_bytes_per_s=1000, floor_window_s=20), "stall"),
        ("stall=1:900", Limits(60), "timeout"),
        ("stall=1:5", Limits(60), "short"),
        ("slow_body=1:900", Limits(600, floor_bytes_per_s=1000, floor_window_s=20), "stall"),
        ("slow_body=1:900", Limits(20), "timeout"),
        ("slow_body=1:2000", Limits(600, floor_bytes_per_s=1000, floor_window_s=20), ""),
        ("truncated_unsaid=1", Limits(30), ""),
        ("chunked=1", Limits(30), ""),
    ],
)
def test_an_exchange_breaks_as_the_port_says(faults: str, limits: Limits, kind: str) -> None:
    """Each way of breaking off has its word, comes within the deadline, and a body without a length just ends."""
    told, seconds, received = failing(faults, limits=limits)
    assert told == kind and seconds <= limits.deadline_s and received <= limits.max_bytes
    if kind == "stall":
        assert 20 <= seconds < 50
    if kind == "timeout":
        assert seconds == limits.deadline_s


@pytest.mark.parametrize(("faults", "kind", "seconds"), [("reset=1", "reset", 1.0), ("timeout=1", "timeout", 30.0)])
def test_an_api_that_breaks_off_says_nothing(faults: str, kind: str, seconds: float) -> None:
    """A reset or a silent API gives no status at all; the credit may be gone all the same."""

    async def main(clock: SimClock) -> None:
        client = Client(clock, faults)
        for k in range(12):
            begun = clock.now()
            with pytest.raises(WireError) as caught:
                await client.get(f"{API}/region-list/?", KEY)
            assert caught.value.kind == kind and clock.now() - begun <= seconds, k
        assert client.sink.opened == [] and 0 < client.world.ledger.credits < 12

    run(main, epoch=START)


def test_only_public_hosts_of_the_world_are_reached() -> None:
    """A private address is refused when only public ones are allowed, and a stranger's host has no address."""

    async def main(clock: SimClock) -> None:
        client = Client(clock, "calm")
        for url, kind in (("http://127.0.0.1:9/x", "refused_address"), ("https://elsewhere.example/x", "dns")):
            with pytest.raises(WireError) as caught:
                await client.get(url, BROWSER)
            assert caught.value.kind == kind
        assert client.world.ledger.fetches["foreign"] == 1
        client.world.base_url = "http://127.0.0.1:9"
        assert (await client.get("http://127.0.0.1:9/region-list/", KEY, public_only=False)).status == 200

    run(main, epoch=START)


def test_a_sink_that_refuses_ends_the_exchange() -> None:
    """An exception of the sink comes out as it is, and nothing is booked as served."""

    class Full(Bytes):
        def write(self, chunk: bytes) -> None:
            raise OSError(28, "disk full")

    async def main(clock: SimClock) -> None:
        client = Client(clock, "calm")
        link = (await client.detail())["play"]
        secrets = tuple((name, Secret(value)) for name, value in BROWSER.items())
        with pytest.raises(OSError, match="disk full"):
            await client.wire.get(Request(Secret(link), secrets), Full())
        assert not client.world.ledger.served and client.world.ledger.open_now["cdn"] == 0

    run(main, epoch=START)


def test_a_run_against_the_world_replays_exactly() -> None:
    """The same seed and weather give the same books and the same steps, twenty clients at once."""

    def play(seed: int) -> tuple[str, str]:
        loop = TimeLoop(traced=True)

        async def main(clock: SimClock) -> str:
            client = Client(clock, "hostile")
            plan = FaultPlan.parse("hostile")
            client.world = World(seed, 150, start=START, now=clock.now, faults=plan, base_url=API, real_hosts=True)
            client.wire = SimWire(client.world)

            async def one(post_id: str) -> None:
                sink, secrets = Bytes(), (("X-Api-Key", Secret("sim-key")),)
                try:
                    await client.wire.get(Request(Secret(f"{API}/post-detail/?url={post_id}"), secrets), sink)
                except WireError:
                    return

            ids = list(client.world.ids())
            for at in range(0, len(ids), 20):
                async with asyncio.TaskGroup() as group:
                    for post_id in ids[at : at + 20]:
                        group.create_task(one(post_id))
            assert client.world.ledger.open_most["api"] == 20
            return client.world.ledger.digest()

        return run(main, epoch=START, loop=loop), loop.trace

    assert play(3) == play(3) != play(4)
