"""The world behind a real port: framing, breaking off, bad requests, and a clean stop."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from clipledger.sim.faults import FaultPlan
from clipledger.sim.server import SimServer
from clipledger.sim.world import World
from sim_calls import BROWSER, KEY, Now, call, living, make

_SERVE = "import asyncio; from clipledger.sim.server import serve; asyncio.run(serve({}))"


def served(world: World, act: Any) -> Any:
    """Serve a world and let `act(world)` talk to it from a thread, as a client of another process would."""

    async def main() -> Any:
        async with SimServer(world):
            return await asyncio.to_thread(act, world)

    return asyncio.run(main())


def get(world: World, url: str, headers: dict[str, str] = KEY) -> tuple[int, dict[str, str], bytes]:
    """GET over a connection of its own."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", urlsplit(world.base_url).port or 0, timeout=60)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


def play(world: World) -> str:
    """Resolve a living video and give its link."""
    link: str = json.loads(get(world, f"/post-detail/?url={living(world, 'video')[0]}")[2])["play"]
    return link


def books(world: World) -> Any:
    """Ask the server for its ledger: what it hears of was booked before."""
    return json.loads(get(world, "/_sim/ledger", {})[2])


def raw(world: World, request: bytes, *, size: int = -1) -> bytes:
    """Send bytes and read what comes until the connection ends, or `size` bytes."""
    with socket.create_connection(("127.0.0.1", urlsplit(world.base_url).port or 0), timeout=60) as peer:
        peer.sendall(request)
        got = b""
        while size < 0 or len(got) < size:
            piece = peer.recv(65536)
            if not piece:
                break
            got += piece
        return got


def test_links_point_to_the_port_and_give_the_true_bytes() -> None:
    """A client that resolves and fetches over the port gets the bytes that the world calls true, and the books know."""

    def act(world: World) -> None:
        for post_id in living(world, "video")[:10]:
            reply = json.loads(get(world, f"/post-detail/?url={post_id}")[2])
            assert reply["play"].startswith(world.base_url + "/cdn/")
            status, _, body = get(world, reply["play"], BROWSER)
            true = {file.ref.rendition: file for file in world.true_files(post_id)}
            assert status == 200 and len(body) == true["standard"].bytes == reply["size"]
        told = books(world)
        assert told["credits"] == len(told["served"]) == 10 and told["open_most"] == {"api": 1, "cdn": 1}

    served(make(60), act)


def test_a_connection_is_kept_and_closed_as_asked() -> None:
    """Requests may come all at once on one connection; `Connection: close` and HTTP/1.0 end it."""

    def act(world: World) -> None:
        one = b"GET /region-list/ HTTP/1.1\r\nHost: x\r\nX-Api-Key: sim-key\r\n"
        got = raw(world, (one + b"\r\n") * 3 + one + b"Connection: close\r\n\r\n")
        assert got.count(b"HTTP/1.1 200 OK") == 4 and got.count(b"Connection: close") == 1
        assert raw(world, b"GET /region-list/ HTTP/1.0\r\n\r\n").endswith(
            b'{"message":"Please sign up to tikliveapi.com"}'
        )

    served(make(10), act)


@pytest.mark.parametrize("faults", ["chunked=1", "no_length=1", "calm"])
def test_every_framing_carries_the_same_bytes(faults: str) -> None:
    """Chunked, ended by closing or counted, the file is the same."""

    def act(world: World) -> tuple[dict[str, str], bytes]:
        status, headers, body = get(world, play(world), BROWSER)
        assert status == 200 and len(books(world)["served"]) == 1
        return headers, body

    headers, body = served(make(60, faults), act)
    assert body == served(make(60), act)[1]
    framing = {"chunked=1": "transfer-encoding", "no_length=1": "connection", "calm": "content-length"}
    assert framing[faults] in headers and ("content-length" in headers) is (faults == "calm")


@pytest.mark.parametrize(
    ("faults", "error"),
    [("truncated=1", http.client.IncompleteRead), ("cdn_reset=1", ConnectionError), ("truncated_unsaid=1", None)],
)
def test_a_body_breaks_off_as_the_plan_says(faults: str, error: type[Exception] | None) -> None:
    """A short body, a reset in its middle and a quiet early close look to a client like what they are."""

    def act(world: World) -> None:
        link = play(world)
        if error:
            with pytest.raises(error):
                get(world, link, BROWSER)
        else:
            assert 0 < len(get(world, link, BROWSER)[2]) < world.true_files(living(world, "video")[0])[-5].bytes
        assert not books(world)["served"]

    served(make(60, faults), act)


def test_an_api_that_resets_says_nothing() -> None:
    """A reset API call ends without a status line."""

    def act(world: World) -> None:
        with pytest.raises(ConnectionError):
            get(world, "/region-list/")

    served(make(10, "reset=1"), act)


def test_compression_is_real_and_only_for_who_asks() -> None:
    """A client that accepts gzip gets gzip, another plain JSON."""

    def act(world: World) -> None:
        _, headers, body = get(world, "/region-list/", KEY | {"Accept-Encoding": "gzip, br"})
        assert headers["content-encoding"] == "gzip" and b"Germany" in gzip.decompress(body)
        assert b"Germany" in get(world, "/region-list/")[2]

    served(make(10, "gzip=1"), act)


def test_a_silent_answer_holds_nobody_who_leaves_and_no_stop() -> None:
    """A client that gives up on a stalled body frees its connection at once, and the server stops without waiting."""

    async def main() -> float:
        world = make(60, "stall=1:3600,timeout=0:1")
        async with SimServer(world) as server:
            link = await asyncio.to_thread(play, world)
            port = urlsplit(server.base_url).port or 0
            head = "".join(f"{name}: {value}\r\n" for name, value in BROWSER.items())
            request = f"GET {link.removeprefix(server.base_url)} HTTP/1.1\r\n{head}\r\n".encode()
            got = await asyncio.to_thread(_hang_up, port, request)
            assert got.startswith(b"HTTP/1.1 200")
            for _ in range(200):
                await asyncio.to_thread(get, world, "/_sim/control", {})
                if not world.ledger.open_now["cdn"]:
                    break
            assert not world.ledger.open_now["cdn"]
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request)
            await reader.readuntil(b"\r\n\r\n")
            begun = time.perf_counter()
        writer.close()
        return time.perf_counter() - begun

    assert asyncio.run(main()) < 2.0


def _hang_up(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60) as peer:
        peer.sendall(request)
        return peer.recv(1000)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\n", b"hello\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n", b"GET http://[ HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n: empty\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ],
)  # fmt: skip
def test_a_bad_request_is_told_so_and_harms_nobody(request_bytes: bytes) -> None:
    """Garbage on a connection gives status 400 and ends that connection; the next client is served."""

    def act(world: World) -> None:
        assert raw(world, request_bytes).startswith(b"HTTP/1.1 400 ")
        assert get(world, "/region-list/")[0] == 200

    served(make(10), act)


@pytest.mark.parametrize("start", [b"", b"GET / HT", b"POST /_sim/control HTTP/1.1\r\nContent-Length: 10\r\n\r\nrpm"])
def test_a_client_that_leaves_early_harms_nobody(start: bytes) -> None:
    """A connection dropped before, in or behind the request is forgotten."""

    def act(world: World) -> None:
        socket.create_connection(("127.0.0.1", urlsplit(world.base_url).port or 0)).close()
        with socket.create_connection(("127.0.0.1", urlsplit(world.base_url).port or 0)) as peer:
            peer.sendall(start)
        assert get(world, "/region-list/")[0] == 200

    served(make(10), act)


def test_strange_calls_are_answered() -> None:
    """Unknown paths, other methods, odd parameters and forged links get an answer, never silence."""

    def act(world: World) -> None:
        for path in (
            "/",
            "/nope/",
            "/post-detail",
            "/post-detail/?url=%ff%fe&url=2",
            "/cdn/",
            "/cdn/x/y",
            "/t/",
            "/_sim/x",
        ):
            assert get(world, path)[0] in (200, 302, 404), path
        assert raw(world, b"DELETE /region-list/ HTTP/1.0\r\nX-Api-Key: sim-key\r\n\r\n").startswith(b"HTTP/1.1 405 ")
        for link in ("/cdn/v16.tiktokcdn.com/" + "0" * 32 + "/", "/video/media/play/7387261234567890123.mp4"):
            assert get(world, link, BROWSER)[0] == 404

    served(make(10), act)


def test_switches_can_be_posted() -> None:
    """The control door takes its words from the query or from a posted form."""

    def act(world: World) -> None:
        form = b"outage=not_found&rpm=7"
        head = b"POST /_sim/control?burst=9 HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(form)
        assert b"not_found_outage" in raw(world, head + form)
        plan = world.scene.plan
        assert (plan.rpm, plan.burst, plan.share("not_found_outage", 0)) == (7, 9, 1.0)

    served(make(10), act)


def test_the_port_and_the_process_answer_alike() -> None:
    """In hostile weather a reply over the port is the reply that the world gives in process, call by call."""
    plan = "http_500=0.1,empty_body=0.1,throttle_429=0.1,enveloped=0.3,unsized=0.3,string_numbers=0.5,deleted=0.2"
    twin = make(40, plan, now=Now())

    def act(world: World) -> None:
        twin.base_url = world.base_url
        for post_id in list(world.ids()):
            twin_reply = call(twin, "/post-detail/", url=post_id)
            status, _, body = get(world, f"/post-detail/?url={post_id}")
            assert (status, body) == (twin_reply.status, twin_reply.body)
        assert world.ledger.digest() == twin.ledger.digest()

    served(make(40, plan, now=Now()), act)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_announces_itself_and_stops_when_told(number: signal.Signals) -> None:
    """`serve` prints one JSON line when it is ready and ends with status 0 on SIGTERM and SIGINT, in mid-stall too."""
    code = _SERVE.format("seed=3, posts=50, faults='hostile,stall=1:3600', rpm=100")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-X", "dev", "-c", code], text=True, **pipes) as child:
        assert child.stdout and child.stderr
        told = json.loads(child.stdout.readline())
        assert told["api_key"] == "sim-key" and told["posts"] == 50 and FaultPlan.parse(told["faults"]).rpm == 100
        port = urlsplit(told["base_url"]).port or 0
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.sendall(b"GET /region-list/ HTTP/1.1\r\nX-Api-Key: sim-key\r\n\r\n")
            os.kill(child.pid, number)
            assert child.wait(60) == 0
        assert child.stdout.read() == "" and child.stderr.read() == ""


@pytest.mark.slow
def test_it_serves_thousands_of_small_replies_a_second() -> None:
    """A resolve costs the server a fraction of a millisecond, so that the client is what a benchmark measures.

    Counted in processor time: by the clock it tells how busy the machine is.
    """
    code = _SERVE.format("seed=3, posts=2000")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        told = json.loads(child.stdout.readline())
        port = urlsplit(told["base_url"]).port or 0
        world = json.loads(raw_get(port, "/_sim/world"))
        paths = [f"/post-detail/?url={post['id']}" for post in world["posts"]]
        begun = _cpu_s(child.pid)
        clients = [threading.Thread(target=_ask_all, args=(port, paths[k::4])) for k in range(4)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        each_s = (_cpu_s(child.pid) - begun) / len(paths)
        child.terminate()
    assert each_s < 0.001, f"{each_s * 1000:.2f} ms"


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def raw_get(port: int, path: str) -> bytes:
    """GET without a world at hand."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path)
    body = connection.getresponse().read()
    connection.close()
    return body


def _ask_all(port: int, paths: list[str]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for path in paths:
            peer.sendall(f"GET {path} HTTP/1.1\r\nX-Api-Key: sim-key\r\n\r\n".encode())
            got = peer.recv(65536)
            head, _, body = got.partition(b"\r\n\r\n")
            left = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]) - len(body)
            while left > 0:
                left -= len(peer.recv(65536))
