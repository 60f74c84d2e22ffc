"""The promises of `ports.Wire`, kept by every wire we have, and those that only sockets can break.

The first half asks a wire for `Answer`s and nothing else: another wire joins by one entry in
`WIRES`. The second half is about libcurl, descriptors, certificates and proxies.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest

from clipledger.core.model import Secret
from clipledger.core.ports import Limits, Request, Response, Wire, WireError
from clipledger.net.wire import CurlWire
from contract.http_peer import Answer, Peer, SealedPeer, http_peer

LIMITS = Limits(deadline_s=20.0)


@dataclass(frozen=True, slots=True)
class Scene:
    """A wire, and somebody it can ask: `serve` gives the URL at which an answer waits."""

    wire: Wire
    serve: Callable[[Answer], str]
    arrived: asyncio.Event
    left: asyncio.Event

    def get(self, answer: Answer, tray: Tray, limits: Limits = LIMITS, **headers: str) -> Coroutine[Any, Any, Response]:
        return self.wire.get(asking(self.serve(answer), limits, **headers), tray)


@contextlib.asynccontextmanager
async def curl_scene() -> AsyncIterator[Scene]:
    async with http_peer() as peer, closing(CurlWire()) as wire:
        yield Scene(wire, peer.serve, peer.arrived, peer.left)


WIRES: dict[str, Callable[[], AbstractAsyncContextManager[Scene]]] = {"curl": curl_scene}


@pytest.fixture(params=WIRES.values(), ids=WIRES.keys())
def scene(request: pytest.FixtureRequest) -> Callable[[], AbstractAsyncContextManager[Scene]]:
    return request.param


@contextlib.asynccontextmanager
async def closing(wire: CurlWire) -> AsyncIterator[CurlWire]:
    faults: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(repr(context)))
    try:
        yield wire
    finally:
        await wire.close()
    assert not [fault for fault in faults if "_Transfers" in fault]  # what it raises inside the loop, nobody else sees


def asking(
    url: str, limits: Limits = LIMITS, *, public_only: bool = False, once: bool = False, **headers: str
) -> Request:
    pairs = tuple((name.replace("_", "-"), Secret(value)) for name, value in headers.items())
    return Request(Secret(url), pairs, limits, public_only, once)


@dataclass
class Tray:
    """A sink that keeps everything, and fails where it is told to."""

    opened: list[Response] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    fail_open: BaseException | None = None
    fail_write: BaseException | None = None

    def open(self, response: Response) -> None:
        assert not self.body, "opened after the first chunk"
        self.opened.append(response)
        if self.fail_open:
            raise self.fail_open

    def write(self, chunk: bytes) -> None:
        assert self.opened, "written to before it was opened"
        self.body += chunk
        if self.fail_write:
            raise self.fail_write


MakeScene = Callable[[], AbstractAsyncContextManager[Scene]]


def outcome(scene: MakeScene, answer: Answer, limits: Limits = LIMITS, **headers: str) -> tuple[Response, Tray]:
    async def play() -> tuple[Response, Tray]:
        async with scene() as on:
            tray = Tray()
            return await on.get(answer, tray, limits, **headers), tray

    return asyncio.run(play())


def failure(scene: MakeScene, answer: Answer, limits: Limits = LIMITS, **headers: str) -> tuple[WireError, Tray]:
    async def play() -> tuple[WireError, Tray]:
        async with scene() as on:
            tray = Tray()
            with pytest.raises(WireError) as caught:
                await on.get(answer, tray, limits, **headers)
            return caught.value, tray

    return asyncio.run(play())


# What every wire keeps


def test_an_answer_arrives_whole(scene: MakeScene) -> None:
    """Status, headers and every byte of a body reach the sink, which is opened once and first."""
    body = os.urandom(300_000)
    answer = Answer(body=body, headers=(("X-Told", "first"), ("x-told", "last"), ("Content-Type", "video/mp4")))
    response, tray = outcome(scene, answer)
    assert (response.status, response.received, bytes(tray.body)) == (200, len(body), body)
    assert response.headers["x-told"] == "last"
    assert response.headers["content-type"] == "video/mp4"
    assert [(seen.status, seen.headers) for seen in tray.opened] == [(200, response.headers)]


@pytest.mark.parametrize(
    "answer", [Answer(), Answer(status=204, declared=None), Answer(body=[], chunked=True, trailers=(("X-T", "1"),))]
)
def test_an_empty_body_still_opens_the_sink(scene: MakeScene, answer: Answer) -> None:
    """An answer without a body is told to the sink all the same, once."""
    response, tray = outcome(scene, answer)
    assert (response.received, len(tray.opened), tray.opened[0].status) == (0, 1, answer.status)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=[b"abc", b"def"], chunked=True),
        Answer(body=[b"abc", b"def"], chunked=True, trailers=(("X-T", "1"),)),
        Answer(body=b"abcdef", declared=None),
        Answer(body=b"abcdef", interim=(100, 103, 103)),
    ],
    ids=["chunked", "trailers", "no length", "interim"],
)
def test_every_framing_of_a_body_is_understood(scene: MakeScene, answer: Answer) -> None:
    """Chunked, ended by the connection or preceded by interim answers: the bytes and the status are the same."""
    response, tray = outcome(scene, answer)
    assert (response.status, bytes(tray.body), len(tray.opened)) == (200, b"abcdef", 1)
    assert not {"x-interim", "x-t"} & set(response.headers)


@pytest.mark.parametrize("status", [302, 403, 404, 429, 500, 503])
def test_a_refusal_is_an_answer(scene: MakeScene, status: int) -> None:
    """Any status comes back with its headers and body; a redirect is told, never followed."""
    answer = Answer(status=status, body=b"no", headers=(("Location", "http://127.0.0.1:1/elsewhere"),))
    response, tray = outcome(scene, answer)
    assert (response.status, bytes(tray.body)) == (status, b"no")
    assert response.headers["location"].endswith("/elsewhere")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(body=b"abc", declared=10, ending="close"), "short"),
        (Answer(body=[b"abc"], chunked=True, ending="close"), "short"),
        (Answer(body=b"abc", declared=10, ending="reset"), "reset"),
        (Answer(body=[b"abc"], chunked=True, ending="reset"), "reset"),
        (Answer(raw=b""), "reset"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\nX-Half: "), "reset"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\nX-Whole: yes\r\n"), "reset"),
        (Answer(raw=b"HTTP/1.1 103 Early Hints\r\n\r\n"), "reset"),
        (Answer(raw=b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nabc"), "reset"),
        (Answer(raw=b"SSH-2.0-OpenSSH_9.9\r\n\r\n"), "protocol"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc"), "protocol"),
        (Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 9\r\n\r\nabc"), "protocol"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_answer_is_never_taken_for_a_whole_one(scene: MakeScene, answer: Answer, kind: str) -> None:
    """Cut off, reset or no HTTP at all: the wire says which, and what had come is not called complete."""
    error, tray = failure(scene, answer)
    assert error.kind == kind
    assert bytes(tray.body) in (b"", b"abc")


def test_a_silent_peer_meets_the_deadline(scene: MakeScene) -> None:
    """A peer that says nothing holds an exchange for its deadline and no longer."""
    error, tray = failure(scene, Answer(declared=10, ending="hang"), Limits(deadline_s=0.2))
    assert (error.kind, len(tray.body)) == ("timeout", 0)


def test_a_body_that_hangs_meets_the_deadline(scene: MakeScene) -> None:
    """A body that stops half way meets the same deadline; what came before it was handed over."""
    error, tray = failure(scene, Answer(body=b"abc", declared=10, ending="hang"), Limits(deadline_s=0.3))
    assert (error.kind, bytes(tray.body)) == ("timeout", b"abc")


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [Answer(body=b"abc", declared=10, ending="hang"), Answer(body=repeat(b"z"), declared=10**6, drip_s=0.05)],
    ids=["hang", "drip"],
)
def test_a_crawling_body_is_a_stall(scene: MakeScene, answer: Answer) -> None:
    """Bytes that come slower than the floor end the exchange long before its deadline, as a stall."""
    limits = Limits(deadline_s=20.0, floor_bytes_per_s=1000, floor_window_s=1.0)
    error, _ = failure(scene, answer, limits)
    assert error.kind == "stall"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"z" * 1001),
        Answer(body=b"z" * 1001, declared=None),
        Answer(body=repeat(b"z" * 700), declared=None),
        Answer(body=repeat(b"z" * 700), chunked=True),
    ],
    ids=["declared", "undeclared", "endless", "endless chunks"],
)
def test_a_body_over_the_cap_is_cut(scene: MakeScene, answer: Answer) -> None:
    """No peer makes us take more than the cap, whether it tells a length, hides it or never ends."""
    error, tray = failure(scene, answer, Limits(deadline_s=20.0, max_bytes=1000))
    assert error.kind == "too_large"
    assert len(tray.body) <= 1000


def test_a_body_of_exactly_the_cap_passes(scene: MakeScene) -> None:
    """The cap is the last size that is allowed."""
    response, _ = outcome(scene, Answer(body=b"z" * 1000), Limits(deadline_s=20.0, max_bytes=1000))
    assert response.received == 1000


def test_a_packed_bomb_is_measured_unpacked(scene: MakeScene) -> None:
    """A small body that unpacks to a hundred megabytes is cut at the cap."""
    bomb = gzip.compress(bytes(10**8), 1)
    answer = Answer(body=bomb, headers=(("Content-Encoding", "gzip"),))
    error, tray = failure(scene, answer, Limits(deadline_s=20.0, max_bytes=10**6), accept_encoding="gzip")
    assert error.kind == "too_large"
    assert len(bomb) < 10**6 >= len(tray.body)


def test_only_what_was_asked_for_is_unpacked(scene: MakeScene) -> None:
    """With `gzip` a packed body arrives unpacked; with `identity` its bytes are left as they came."""
    packed = gzip.compress(b"hello " * 100)
    answer = Answer(body=packed, headers=(("Content-Encoding", "gzip"),))
    _, unpacked = outcome(scene, answer, accept_encoding="gzip")
    _, untouched = outcome(scene, answer, accept_encoding="identity")
    assert (bytes(unpacked.body), bytes(untouched.body)) == (b"hello " * 100, packed)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nX: " + b"z" * 10_000_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-Header: zzzzzzzz\r\n" * 500_000 + b"\r\n",
        b"HTTP/1.1 103 Early Hints\r\nX: z\r\n\r\n" * 100_000,
    ],
    ids=["one line", "many lines", "interim for ever"],
)
def test_megabytes_of_headers_are_cut(scene: MakeScene, raw: bytes) -> None:
    """Ten megabytes of headers, in whatever form, are not read."""
    error, tray = failure(scene, Answer(raw=raw))
    assert (error.kind, tray.opened) == ("headers", [])


@pytest.mark.parametrize(("size", "kind"), [(800, None), (1100, "headers")])
def test_headers_have_a_cap_of_their_own(scene: MakeScene, size: int, kind: str | None) -> None:
    """Headers are measured together, name and value, against the cap that the request sets."""
    answer = Answer(headers=tuple((f"X-{number}", "z" * (size // 10 - 7)) for number in range(10)))
    limits = Limits(deadline_s=20.0, max_header_bytes=1000)
    if kind is None:
        assert outcome(scene, answer, limits)[0].status == 200
    else:
        assert failure(scene, answer, limits)[0].kind == kind


class FullDisk(Exception):
    """What a sink might raise."""


@pytest.mark.parametrize("where", ["fail_open", "fail_write"])
def test_what_a_sink_raises_comes_out_as_it_is(scene: MakeScene, where: str) -> None:
    """A full disk ends the download at once and is reported as a full disk; the wire stays usable."""

    async def play() -> None:
        async with scene() as on:
            full = FullDisk("no space")
            with pytest.raises(FullDisk) as caught:
                await on.get(Answer(body=repeat(b"z" * 1000), chunked=True), Tray(**{where: full}))
            assert caught.value is full
            await on.left.wait()
            assert (await on.get(Answer(body=b"ok"), Tray())).received == 2

    asyncio.run(play())


def test_cancelling_ends_an_exchange_at_once(scene: MakeScene) -> None:
    """Whoever stops waiting stops the transfer: the peer sees the connection end."""

    async def play() -> None:
        async with scene() as on, asyncio.timeout(5), asyncio.TaskGroup() as group:
            running = group.create_task(on.get(Answer(body=b"z", declared=10, ending="hang"), Tray()))
            await on.arrived.wait()
            running.cancel()
            await on.left.wait()

    asyncio.run(play())


def test_closing_ends_what_is_under_way(scene: MakeScene) -> None:
    """Closing the wire breaks its exchanges off, and it opens no more of them; closing twice is no fault."""

    async def play() -> None:
        async with scene() as on, asyncio.timeout(5), asyncio.TaskGroup() as group:
            tray = Tray()
            running = group.create_task(expect(on.get(Answer(ending="hang", declared=5), tray)))
            await on.arrived.wait()
            await on.wire.close()
            await on.wire.close()
            assert (await running).kind == "reset"
            assert (await expect(on.get(Answer(), tray))).kind == "connect"
            assert tray.opened == []

    async def expect(exchange: Coroutine[Any, Any, Response]) -> WireError:
        with pytest.raises(WireError) as caught:
            await exchange
        return caught.value

    asyncio.run(play())


def test_many_exchanges_share_the_wire(scene: MakeScene) -> None:
    """Two hundred requests at once, more than there are connections, all get their own bytes."""

    async def play() -> None:
        async with scene() as on, asyncio.TaskGroup() as group:
            trays = [Tray() for _ in range(200)]
            for number, tray in enumerate(trays):
                group.create_task(on.get(Answer(body=b"%03d" % number * 1000), tray))
        assert [bytes(tray.body[:3]) for tray in trays] == [b"%03d" % number for number in range(200)]
        assert {len(tray.body) for tray in trays} == {3000}

    asyncio.run(play())


def test_a_private_address_is_refused(scene: MakeScene) -> None:
    """A link that leads to this machine or its network is not opened unless that was asked for."""

    async def play() -> None:
        async with scene() as on:
            tray = Tray()
            with pytest.raises(WireError) as caught:
                await on.wire.get(asking(on.serve(Answer()), public_only=True), tray)
            assert (caught.value.kind, tray.opened, on.arrived.is_set()) == ("refused_address", [], False)

    asyncio.run(play())


SECRETS = ("hidden-path", "hidden-query", "hidden-header", "hidden-reply")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"abc", declared=10, ending="close"),
        Answer(ending="reset", declared=10),
        Answer(ending="hang", declared=10),
        Answer(body=b"z" * 2000),
        Answer(raw=b"HTTP/1.1 hidden-reply\r\nX-Half: hidden-reply"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: hidden-reply\r\n\r\n"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: hidden-reply\r\n\r\n"),
        Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Encoding: hidden-reply\r\n\r\nabc"),
    ],
)
def test_an_error_names_no_secret(scene: MakeScene, answer: Answer) -> None:
    """Nothing of a link beyond its host, and no header of ours or theirs, gets into an error."""

    async def play() -> str:
        async with scene() as on:
            url = on.serve(answer).rpartition("/")
            on_hidden_path = f"{url[0]}/{url[2]}?hidden-query=hidden-path"
            limits = Limits(deadline_s=0.3, max_bytes=1000)
            with pytest.raises(WireError) as caught:
                await on.wire.get(
                    asking(on_hidden_path, limits, X_Api_Key="hidden-header", Accept_Encoding="gzip"), Tray()
                )
            return f"{caught.value!r} {caught.value} {caught.value.detail}"

    told = asyncio.run(play())
    assert not [secret for secret in SECRETS if secret in told]


# What only sockets can break


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def turns_until(fulfilled: Callable[[], bool]) -> None:
    """Let the event loop go round, a bounded number of times; no clock is involved."""
    for _ in range(1000):
        if fulfilled():
            return
        await asyncio.sleep(0)


Play = Callable[[CurlWire, Peer], Coroutine[Any, Any, None]]


def on_sockets(play: Play, *, tls: ssl.SSLContext | None = None, **wire: Any) -> None:
    """Play against a peer of one's own; afterwards no descriptor may be left."""

    async def run() -> None:
        before = descriptors()
        async with http_peer(tls) as peer, closing(CurlWire(**wire)) as ours:
            await play(ours, peer)
        await turns_until(lambda: descriptors() == before)  # the peer's own ends take a few turns
        assert descriptors() == before

    asyncio.run(run())


async def error_of(wire: CurlWire, request: Request) -> WireError:
    with pytest.raises(WireError) as caught:
        await wire.get(request, Tray())
    return caught.value


def test_a_connection_serves_many_requests() -> None:
    """A hundred requests in a row, errors among them, cost one connection."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        for number in range(100):
            url = peer.serve(Answer(status=403 if number % 10 == 0 else 200, body=b"z" * 5000))
            await wire.get(asking(url), Tray())
        assert peer.dialled == 1

    on_sockets(play)


def test_a_request_is_sent_once() -> None:
    """A kept connection that breaks under a request is a reset: a call that may have been paid is not made again."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        for _ in range(3):
            await wire.get(asking(peer.serve(Answer(body=b"ok"))), Tray())
            broken = asking(peer.serve(Answer(raw=b""), "/broken"), once=True)
            assert (await error_of(wire, broken)).kind == "reset"
        assert [target for target, _ in peer.heads()].count("/broken") == 3

    on_sockets(play)


def test_cancelled_and_broken_exchanges_leave_no_descriptor() -> None:
    """Cancelled, refused, reset or failed by its sink: the client's end of the connection is gone at once."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        before = descriptors()
        hang = asking(peer.serve(Answer(body=b"z", declared=10, ending="hang")))
        running = [asyncio.get_running_loop().create_task(wire.get(hang, Tray())) for _ in range(10)]
        await turns_until(lambda: peer.dialled == 10)
        assert descriptors() == before + 20
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        assert descriptors() == before + 10  # what is left is the peer's own
        with contextlib.suppress(FullDisk):
            await wire.get(
                asking(peer.serve(Answer(body=repeat(b"z" * 1000), chunked=True))), Tray([], fail_open=FullDisk())
            )
        await error_of(wire, asking(peer.serve(Answer(ending="reset", declared=3))))

    on_sockets(play)


def test_a_cancel_before_the_first_byte_leaves_nothing() -> None:
    """A request that is cancelled before it began, or while it connects, leaves no trace."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        for turns in range(6):
            request = asking(peer.serve(Answer(ending="hang", declared=1)))
            task = asyncio.get_running_loop().create_task(wire.get(request, Tray()))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        assert (await wire.get(asking(peer.serve(Answer(body=b"ok"))), Tray())).received == 2

    on_sockets(play)


def test_a_refused_connection_is_told_as_such() -> None:
    """Nobody listening there: `connect`, with the host and without the path."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        error = await error_of(wire, asking("http://127.0.0.1:1/hidden-path?hidden-query"))
        assert error.kind == "connect"
        assert "127.0.0.1" in error.detail
        assert "hidden" not in str(error)

    on_sockets(play)


def test_an_unknown_name_is_told_as_such() -> None:
    """A host that has no address: `dns`, with its name and without the path."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        error = await error_of(wire, asking("http://nowhere.invalid/hidden-path?hidden-query"))
        assert error.kind == "dns"
        assert "nowhere.invalid" in error.detail
        assert "hidden" not in str(error)

    on_sockets(play, proxy="")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "gopher://127.0.0.1/",
        "http://",
        "http://a b/",
        "http://\n/",
        "http://[::1",
        "",
    ],
)
def test_only_http_is_spoken(url: str) -> None:
    """A file, another protocol or a URL that is none is refused before anything is opened."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        assert (await error_of(wire, asking(url))).kind == "protocol"

    on_sockets(play)


def test_no_line_can_be_slipped_into_a_request() -> None:
    """A header or a URL with a line break is not sent."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        url = peer.serve(Answer())
        for request in (asking(url, X_Api_Key="a\r\nX-Other: b"), asking(f"{url}\r\nX-Other: b"), asking(f"{url}/é")):
            assert (await error_of(wire, request)).kind == "protocol"
        assert peer.asked == []

    on_sockets(play)


def test_a_request_carries_what_it_was_given_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Headers arrive as given and the path as written; no cookie comes back, no password file is read."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("HOME", str(tmp_path))

    async def play(wire: CurlWire, peer: Peer) -> None:
        peer.serve(Answer(headers=(("Set-Cookie", "id=1; Path=/"),)), "/a/../b")
        for _ in range(2):
            await wire.get(asking(f"{peer.origin}/a/../b?x=%2F&y=1", X_Api_Key="abc", Referer="https://r/"), Tray())
        target, headers = peer.heads()[1]
        assert target == "/a/../b?x=%2F&y=1"
        assert sorted(headers) == ["accept", "host", "referer", "user-agent", "x-api-key"]
        assert (headers["x-api-key"], headers["user-agent"]) == ("abc", "somebody/1")

    on_sockets(play, user_agent="somebody/1")


def test_a_private_connection_is_not_reused_for_a_public_link() -> None:
    """A connection to this machine that is still open does not let a public-only request through."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        await wire.get(asking(peer.serve(Answer())), Tray())
        for url in (peer.serve(Answer()), peer.serve(Answer()).replace("127.0.0.1", "[::ffff:127.0.0.1]")):
            assert (await error_of(wire, asking(url, public_only=True))).kind == "refused_address"
        assert (peer.dialled, len(peer.asked)) == (1, 1)
        assert (await wire.get(asking(peer.serve(Answer(body=b"ok"))), Tray())).received == 2

    on_sockets(play)


def test_a_private_address_is_not_even_dialled() -> None:
    """A refused address sees no connection at all, and a length over the cap costs no byte of the body."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        assert (await error_of(wire, asking(peer.serve(Answer()), public_only=True))).kind == "refused_address"
        await turns_until(lambda: peer.dialled > 0)
        assert peer.dialled == 0
        tray = Tray()
        with pytest.raises(WireError, match="too_large"):
            await wire.get(asking(peer.serve(Answer(body=b"z" * 11)), Limits(deadline_s=5.0, max_bytes=10)), tray)
        assert tray.opened == []

    on_sockets(play)


def test_connections_are_bounded() -> None:
    """With two connections allowed, twenty requests at once still use two."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(wire.get(asking(peer.serve(Answer(body=b"z" * 10_000))), Tray()))
        assert peer.dialled == 2

    on_sockets(play, connections=2)


def test_waiting_for_a_connection_counts_against_the_deadline() -> None:
    """A request that finds every connection taken gives up in its own time, not in theirs."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        hang = asking(peer.serve(Answer(ending="hang", declared=1)))
        holder = asyncio.get_running_loop().create_task(wire.get(hang, Tray()))
        await peer.arrived.wait()
        async with asyncio.timeout(5):
            error = await error_of(wire, asking(peer.serve(Answer()), Limits(deadline_s=0.2)))
        assert error.kind in ("timeout", "connect")
        holder.cancel()
        await asyncio.wait([holder])

    on_sockets(play, connections=1)


def test_the_environments_proxy_is_used_but_not_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy set in the environment carries what goes outside; loopback is asked directly; `no_proxy` is obeyed."""

    async def play(_: CurlWire, peer: Peer) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", peer.origin)
        monkeypatch.setenv("no_proxy", "direct.invalid")
        peer.answers["http://media.invalid/clip"] = Answer(body=b"carried")
        async with closing(CurlWire()) as wire:
            tray = Tray()
            await wire.get(asking("http://media.invalid/clip", public_only=True), tray)
            assert bytes(tray.body) == b"carried"
            assert (await error_of(wire, asking("http://direct.invalid/clip"))).kind == "dns"
            await wire.get(asking(peer.serve(Answer(), "/direct")), Tray())
            assert [target for target, _ in peer.heads()] == ["http://media.invalid/clip", "/direct"]
            refused = await error_of(wire, asking("http://10.0.0.1/clip", public_only=True))
            assert refused.kind == "refused_address"

    on_sockets(play)


# Certificates


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate for 127.0.0.1 that nobody trusts of themselves."""

    certificate: Path
    context: ssl.SSLContext


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Identity]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl command: certificates were NOT tested")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    ask = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=peer -addext"
    parts = [openssl, *ask.split(), "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(parts, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    yield Identity(certificate, context)


def test_a_trusted_certificate_is_accepted(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that SSL_CERT_FILE vouches for works, for this host name and no other."""
    monkeypatch.setenv("SSL_CERT_FILE", str(identity.certificate))

    async def play(wire: CurlWire, peer: Peer) -> None:
        tray = Tray()
        await wire.get(asking(peer.serve(Answer(body=b"sealed"))), tray)
        assert bytes(tray.body) == b"sealed"
        error = await error_of(wire, asking(peer.serve(Answer(), "/hidden").replace("127.0.0.1", "localhost")))
        assert error.kind == "tls"
        assert "hidden" not in str(error)

    on_sockets(play, tls=identity.context)


def test_an_unknown_certificate_is_refused(identity: Identity) -> None:
    """A server that nobody vouches for is not spoken to, not even with loopback allowed."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        error = await error_of(wire, asking(peer.serve(Answer(), "/hidden"), X_Api_Key="hidden"))
        assert (error.kind, peer.asked) == ("tls", [])
        assert "hidden" not in str(error)

    on_sockets(play, tls=identity.context)


def test_a_plain_answer_to_a_sealed_request_is_refused() -> None:
    """An https link to a server without TLS fails as such."""

    async def play(wire: CurlWire, peer: Peer) -> None:
        url = peer.serve(Answer(raw=b"HTTP/1.1 200 OK\r\n\r\n")).replace("http:", "https:")
        assert (await error_of(wire, asking(url, Limits(deadline_s=0.5)))).kind in ("tls", "timeout")

    on_sockets(play)


# HTTP/2


@pytest.fixture
def sealed(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    monkeypatch.setenv("SSL_CERT_FILE", str(identity.certificate))
    identity.context.set_alpn_protocols(["h2"])
    yield identity.context
    identity.context.set_alpn_protocols(["http/1.1"])


def on_http2(play: Callable[[CurlWire, SealedPeer], Coroutine[Any, Any, None]], sealed: ssl.SSLContext) -> None:
    async def run() -> None:
        before = descriptors()
        peer = SealedPeer()
        async with http_peer(sealed, peer), closing(CurlWire()) as wire:
            await play(wire, peer)
        await turns_until(lambda: descriptors() == before)
        assert descriptors() == before

    asyncio.run(run())


def test_http2_is_spoken_where_it_is_offered(sealed: ssl.SSLContext) -> None:
    """Over TLS a server that offers HTTP/2 gets it: many answers over one connection."""

    async def play(wire: CurlWire, peer: SealedPeer) -> None:
        for _ in range(10):
            tray = Tray()
            response = await wire.get(asking(f"{peer.origin}/x"), tray)
            assert (response.status, bytes(tray.body)) == (200, peer.DATA)
        assert peer.dialled == 1

    on_http2(play, sealed)


def test_a_broken_http2_stream_is_a_reset(sealed: ssl.SSLContext) -> None:
    """A stream that is reset half way is no complete answer; the connection goes on to serve others."""

    async def play(wire: CurlWire, peer: SealedPeer) -> None:
        peer.ending = "reset"
        error = await error_of(wire, asking(f"{peer.origin}/hidden"))
        assert error.kind == "reset"
        assert "hidden" not in str(error)
        peer.ending = "whole"
        assert (await wire.get(asking(f"{peer.origin}/x"), Tray())).received == 5000

    on_http2(play, sealed)


def test_cancelling_ends_an_http2_stream(sealed: ssl.SSLContext) -> None:
    """Cancelling one of several streams ends that one alone."""

    async def play(wire: CurlWire, peer: SealedPeer) -> None:
        peer.ending = "hang"
        tray = Tray()
        running = asyncio.get_running_loop().create_task(wire.get(asking(f"{peer.origin}/x"), tray))
        await turns_until(lambda: len(tray.body) == 5000)
        running.cancel()
        await asyncio.wait([running])
        peer.ending = "whole"
        assert (await wire.get(asking(f"{peer.origin}/x"), Tray())).received == 5000
        await asyncio.wait_for(peer.left.wait(), 5)
        assert peer.resets == peer.dialled == 1

    on_http2(play, sealed)


# A public address

PUBLIC_PLAY = """
import asyncio, os
from contract.test_wire import Answer, CurlWire, Peer, Tray, asking, closing, descriptors, http_peer

async def play():
    before = descriptors()
    peer = Peer(host="8.8.8.8")
    async with http_peer(None, peer), closing(CurlWire()) as wire:
        asked = [asking(peer.serve(Answer(body=b"hi")), public_only=True) for _ in range(20)]
        for request in asked:
            tray = Tray()
            await wire.get(request, tray)
            assert bytes(tray.body) == b"hi"
        assert peer.dialled == 1
        assert not [fd for fd in range(256) if fd > 2 and inheritable(fd)]
        async with asyncio.TaskGroup() as group:
            for request in asked:
                group.create_task(wire.get(request, Tray()))
    for _ in range(1000):
        await asyncio.sleep(0)
    assert descriptors() == before, (before, descriptors())

def inheritable(fd):
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False

asyncio.run(play())
"""


@pytest.mark.slow
def test_a_public_address_is_reached() -> None:
    """With public addresses only, a public one is reached, its connection reused, and no descriptor is left behind."""
    command = 'ip link set lo up && ip addr add 8.8.8.8/32 dev lo && exec "$0" -W error -c "$1"'
    probe = "command -v ip && command -v unshare && unshare -rn ip link set lo up"
    if subprocess.run(["sh", "-c", probe], capture_output=True, check=False).returncode:
        pytest.skip("no network namespaces here: the way to a public address was NOT tested")
    subprocess.run(
        ["unshare", "-rn", "sh", "-c", command, sys.executable, PUBLIC_PLAY],
        check=True,
        timeout=30,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
