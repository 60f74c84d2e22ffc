"""Bad input over real sockets: links that lead inside, and servers that do not keep to any rule.

A trap listens on the loopback; nothing that is allowed public addresses only may ever reach it. Must not: look up a
name, since the machine that runs this may have no names to give.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import cache
from urllib.parse import urlsplit

import pytest

from clipledger.core.errors import ClipledgerError
from clipledger.core.model import ApiCall, ApiKey, Secret, SignedUrl
from clipledger.core.ports import Limits, Request, Response, Sink, WireError
from clipledger.net import tiklive
from clipledger.net.cdn import Cdn, FetchLimits
from clipledger.net.hosts import is_literal
from clipledger.net.wire import CurlWire
from clipledger.settings import Cdn as CdnSettings
from clipledger.storage.spool import Spool
from contract.archives import NOW, vid
from contract.http_peer import Answer, Peer, http_peer
from hostile import naughty, reading
from hostile.sandbox import Sandbox
from hostile.verdicts import ACCEPTED, SLOWEST_S, Corpus, Feed, Verdict, refused

_AT_ONCE = 24
_LIMITS = FetchLimits(max_bytes=2**20, deadline_s=1.5, floor_bytes_per_s=512, floor_window_s=1.0, connect_s=1.0)
_API = "https://api.tikliveapi.com"


class _Still:
    """A clock that stands still."""

    def now(self) -> float:
        return NOW

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


class _Unnamed:
    """A wire that knows no names but `localhost`: literal addresses go to the real one."""

    def __init__(self, wire: CurlWire) -> None:
        self._wire = wire

    async def get(self, request: Request, sink: Sink) -> Response:
        try:
            host = urlsplit(request.url.reveal()).hostname or ""
        except ValueError:
            host = "localhost"  # no URL at all: the real wire must say so
        if host == "localhost" or is_literal(host) or not any(sign.isalpha() for sign in host.replace("0x", "")):
            return await self._wire.get(request, sink)
        raise WireError("dns", "no names here")

    async def close(self) -> None:
        await self._wire.close()


class _Drop:
    """A sink that keeps nothing."""

    def open(self, response: Response) -> None:
        """Take note of nothing."""

    def write(self, chunk: bytes) -> None:
        """Drop a chunk."""


@asynccontextmanager
async def _trap() -> AsyncIterator[tuple[int, list[str]]]:
    caught: list[str] = []

    async def met(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caught.append("reached")
        writer.close()

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], caught
    finally:
        server.close()
        await server.wait_closed()


def _together(act: Callable[[Sandbox, str, list[int]], Awaitable[list[Verdict]]]) -> Feed:
    def feed(place: Sandbox, seed: str, numbers: Iterable[int]) -> Iterator[Verdict]:
        async def main() -> list[Verdict]:
            return await act(place, seed, list(numbers))

        yield from asyncio.run(main())

    return feed


async def _judged(number: int, act: Awaitable[str]) -> Verdict:
    began, fault = time.perf_counter(), ""
    try:
        outcome = await act
    except ClipledgerError as error:
        outcome = refused(error)
        fault = "" if error.detail.isprintable() else f"a detail that is not fit to print: {error.detail!r}"
    except WireError as error:
        outcome = f"refused: WireError {error.kind}"
    except Exception as bug:  # noqa: BLE001 whatever else leaves is a finding
        outcome, fault = "fault", f"{type(bug).__name__}: {str(bug)[:300]!r}"
    seconds = time.perf_counter() - began
    if seconds > SLOWEST_S:
        fault = fault or f"took {seconds:.1f} s ({outcome})"
    return Verdict(number, "fault" if fault else outcome, seconds, fault)


async def urls(place: Sandbox, seed: str, numbers: list[int]) -> list[Verdict]:
    """Give a media link to the CDN's own checks, or past them to the wire, with public addresses only."""
    async with _trap() as (port, caught):
        wire = _Unnamed(CurlWire(proxy=""))
        hosts = [*CdnSettings().allowed_hosts, "localhost", "127.0.0.1"]  # type: ignore[call-arg]
        cdn = Cdn(wire, allowed_hosts=hosts, allow_insecure=False, base_url=_API, clock=_Still())
        spool, found = Spool(place.folder / "spool"), []
        for number in numbers:
            dice = random.Random(f"{seed}/{number}")

            async def fetched(number: int = number, dice: random.Random = dice) -> str:
                if dice.random() < 0.5:
                    async with spool.open(vid(number), 1, 1) as part:
                        await cdn.fetch(SignedUrl(naughty.link(dice)), part)
                else:
                    scheme, host = dice.choice(("http", "https", "file", "ftp", "gopher")), dice.choice(naughty.HOSTS)
                    url = f"{scheme}://{host}:{port}/x" if dice.random() < 0.8 else naughty.link(dice)
                    await wire.get(Request(Secret(url), limits=Limits(2.0, 1.0), public_only=True), _Drop())
                return ACCEPTED

            verdict = await _judged(number, fetched())
            if verdict.outcome == ACCEPTED or caught:
                verdict = Verdict(number, "fault", verdict.seconds, f"something was opened: {caught}")
                caught.clear()
            found.append(verdict)
        await wire.close()
    return found


async def media_servers(place: Sandbox, seed: str, numbers: list[int]) -> list[Verdict]:
    """Download from a server that does what it likes."""
    spool = Spool(place.folder / "spool")

    async def fetch(wire: CurlWire, peer: Peer, number: int, url: str) -> str:
        cdn = Cdn(wire, allowed_hosts=[], allow_insecure=True, base_url=peer.origin, clock=_Still(), limits=_LIMITS)
        async with spool.open(vid(number), 1, 1) as part:
            got = await cdn.fetch(SignedUrl(url), part)
            assert got.status == 200 and 0 < part.size_bytes <= _LIMITS.max_bytes
        return ACCEPTED

    return await _served(seed, numbers, fetch, paths=False)


async def api_servers(place: Sandbox, seed: str, numbers: list[int]) -> list[Verdict]:
    """Call an API that does what it likes."""

    async def call(wire: CurlWire, peer: Peer, number: int, url: str) -> str:
        base = url.removesuffix("/post-detail/")
        api = tiklive.TikLive(wire, ApiKey("hostile-key-1"), base, _Still(), allow_insecure=True)
        reply = await api.call(ApiCall("/post-detail/", (("url", "x"),)))
        assert json.dumps(reply)
        return ACCEPTED

    with pytest.MonkeyPatch.context() as shorter:  # the API's own deadline is 30 s: too long for thousands of inputs
        shorter.setattr(tiklive, "LIMITS", replace(tiklive.LIMITS, deadline_s=_LIMITS.deadline_s))
        return await _served(seed, numbers, call, paths=True)


async def _served(
    seed: str, numbers: list[int], ask: Callable[[CurlWire, Peer, int, str], Awaitable[str]], *, paths: bool
) -> list[Verdict]:
    wire, found = CurlWire(proxy="", connections=_AT_ONCE), list[Verdict]()
    async with http_peer() as peer:
        for start in range(0, len(numbers), _AT_ONCE):
            async with asyncio.TaskGroup() as group:
                tasks = []
                for number in numbers[start : start + _AT_ONCE]:
                    answer = _answer(random.Random(f"{seed}/{number}"), number, is_api=paths)
                    url = peer.serve(answer, f"/{number}/post-detail/" if paths else f"/{number}")
                    tasks.append(group.create_task(_judged(number, ask(wire, peer, number, url))))
            found += [task.result() for task in tasks]
            peer.answers.clear()
            peer.asked.clear()
        await wire.close()
    return found


@cache
def _bombs() -> tuple[bytes, ...]:
    once = gzip.compress(b"\0" * 40_000_000)
    return once, gzip.compress(once), gzip.compress(b'{"a":' * 200_000)


@dataclass(frozen=True, slots=True)
class _Mood:
    """What one answer is made of: the dice, a body that would do, and the number of the input."""

    dice: random.Random
    good: bytes
    number: int


_ENDLESS = itertools.repeat(b"z" * 16_384)
_GARBAGE = (b"", b"\0" * 99, b"HTTP/1.1", b"HTTP/1.1 200\r\n", b"SSH-2.0-x\r\n", b"HTTP/9.9 -1 x\r\n\r\n")
_CHUNKS = (b"zz\r\n", b"fffffffffffffffff\r\n", b"5\r\nabc", b"-1\r\n\r\n")
_STATUSES = (204, 206, 304, 400, 402, 403, 404, 410, 416, 429, 500, 503, 599, 999)
_WAITS = ("-1", "9" * 40, "soon", "nan", "Fri, 31 Dec 9999 23:59:59 GMT")


def _lying_length(mood: _Mood) -> Answer:
    told = mood.dice.choice((0, 1, len(mood.good) + 1, 2**40, 2**64, -5))
    return Answer(body=mood.good, declared=told, ending="close")


def _endless(mood: _Mood) -> Answer:
    return mood.dice.choice((Answer(body=_ENDLESS, chunked=True), Answer(body=_ENDLESS, declared=None)))


def _flood_of_headers(mood: _Mood) -> Answer:
    many = tuple((f"X-{n}", "y" * 1000) for n in range(mood.dice.choice((70, 10_000))))
    return Answer(headers=mood.dice.choice((many, (("X-Long", "y" * mood.dice.choice((70_000, 10_000_000))),))))


def _bomb(mood: _Mood) -> Answer:
    return Answer(body=mood.dice.choice(_bombs()), headers=(("Content-Encoding", "gzip"),))


def _falsely_packed(mood: _Mood) -> Answer:
    coding = mood.dice.choice(("gzip", "br", "zstd", "deflate", "x"))
    return Answer(body=mood.good, headers=(("Content-Encoding", coding),))


def _redirect(mood: _Mood) -> Answer:
    inward = naughty.link(mood.dice).replace("\r", "").replace("\n", "")
    to = mood.dice.choice((inward, f"/{mood.number}", "//127.0.0.1:1/x")).encode("utf-8", "replace").decode("latin-1")
    return Answer(status=mood.dice.choice((301, 302, 303, 307, 308)), headers=(("Location", to[:9000]),))


def _no_http(mood: _Mood) -> Answer:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + mood.dice.choice(_CHUNKS)
    return Answer(raw=mood.dice.choice((chunked, mood.dice.choice(_GARBAGE), mood.dice.randbytes(300))))


def _broken_off(mood: _Mood) -> Answer:
    ending = mood.dice.choice(("hang", "reset", "close"))
    return Answer(body=(mood.good[:100], mood.good[100:-1]), declared=len(mood.good), ending=ending)


def _drip(mood: _Mood) -> Answer:
    return Answer(body=itertools.repeat(b"z"), declared=10**6, drip_s=0.2)


def _odd_status(mood: _Mood) -> Answer:
    wait = mood.dice.choice(_WAITS)
    return Answer(status=mood.dice.choice(_STATUSES), body=mood.good, headers=(("Retry-After", wait),))


def _interim(mood: _Mood) -> Answer:
    return Answer(interim=(100, 103, 103), body=mood.good)


def _trailers(mood: _Mood) -> Answer:
    return Answer(body=mood.good, chunked=True, trailers=tuple((f"T{n}", "y" * 1000) for n in range(200)))


def _damaged(mood: _Mood) -> Answer:
    return Answer(body=naughty.damaged(mood.dice, mood.good))


def _honest(mood: _Mood) -> Answer:
    return Answer(body=mood.good)


_MOODS = (
    _lying_length, _endless, _flood_of_headers, _bomb, _falsely_packed, _redirect, _no_http, _broken_off, _drip,
    _odd_status, _interim, _trailers, _damaged, _damaged, _honest, _honest,
)  # fmt: skip


def _answer(dice: random.Random, number: int, *, is_api: bool) -> Answer:
    good = reading.hostile_body(dice) if is_api else dice.choice(reading.bodies())[1]
    return dice.choice(_MOODS)(_Mood(dice, good, number))


CORPORA = (
    Corpus("links", 60, _together(urls)),
    Corpus("media servers", 30, _together(media_servers), batch=240),
    Corpus("API servers", 16, _together(api_servers), batch=240),
)
