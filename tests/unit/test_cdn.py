"""Which links are opened, what the CDN's answers mean, and what reaches a part."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, repeat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.errors import (
    CdnUnavailable,
    ClipledgerError,
    NotMedia,
    RefusedUrl,
    StorageFull,
    Throttled,
    TooLarge,
    TruncatedBody,
    UrlExpired,
)
from clipledger.core.model import SignedUrl
from clipledger.core.ports import Request, Response, Sink
from clipledger.net.cdn import Cdn, FetchLimits
from clipledger.net.wire import CurlWire
from contract.http_peer import Answer, Peer, http_peer

NOW = 1_780_000_000.0
HOSTS = ("tiktokcdn.com", "*.akamaized.net", ".tiktok.com")
API = "https://api.example.com"
BODY = b"\0\0\0\x18ftypmp42" + bytes(5000)


class Noon:
    """A clock that stands still."""

    def now(self) -> float:
        return NOW

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


@dataclass
class Tray:
    """A part in memory that can run out of space."""

    path: Path = Path("/nowhere")
    body: bytearray = field(default_factory=bytearray)
    space: int = 10**9
    sha256: str = ""

    @property
    def size_bytes(self) -> int:
        return len(self.body)

    def write(self, chunk: bytes) -> None:
        if len(self.body) + len(chunk) > self.space:
            raise StorageFull("no space left")
        self.body += chunk

    async def seal(self) -> None:
        raise AssertionError("sealing is the stage's business")


@dataclass
class Notebook:
    """A wire that writes down what it is asked to open, and answers 200 with one byte."""

    opened: list[Request] = field(default_factory=list)

    async def get(self, request: Request, sink: Sink) -> Response:
        self.opened.append(request)
        sink.open(Response(200))
        sink.write(b"z")
        return Response(200, {}, 1)

    async def close(self) -> None:
        return None


def opened(url: str, *, allow_insecure: bool = False, base_url: str = API) -> str:
    """The URL that is really opened for a link."""
    wire = Notebook()
    cdn = Cdn(wire, allowed_hosts=HOSTS, allow_insecure=allow_insecure, base_url=base_url, clock=Noon())
    asyncio.run(cdn.fetch(SignedUrl(url), Tray()))
    [request] = wire.opened
    assert request.public_only is not allow_insecure
    return request.url.reveal()


def refused(url: str, *, allow_insecure: bool = False) -> RefusedUrl:
    wire = Notebook()
    cdn = Cdn(wire, allowed_hosts=HOSTS, allow_insecure=allow_insecure, base_url=API, clock=Noon())
    with pytest.raises(RefusedUrl) as caught:
        asyncio.run(cdn.fetch(SignedUrl(url), Tray()))
    assert wire.opened == []
    return caught.value


# Which links are opened


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://v16.tiktokcdn.com/a/b?x=%2F&sig=a%3D~b", "https://v16.tiktokcdn.com/a/b?x=%2F&sig=a%3D~b"),
        ("https://tiktokcdn.com/a", "https://tiktokcdn.com/a"),
        ("https://a.b.c.akamaized.net/../a//b;c?d;e", "https://a.b.c.akamaized.net/../a//b;c?d;e"),
        ("HTTPS://V16.TikTokCDN.com./A", "https://v16.tiktokcdn.com/A"),
        ("https://v16.tiktokcdn.com:443/a", "https://v16.tiktokcdn.com/a"),
        ("https://v16.tiktokcdn.com", "https://v16.tiktokcdn.com/"),
        ("https://v16.tiktokcdn.com/a#b", "https://v16.tiktokcdn.com/a"),
        ("https://v16.tiktokcdn.com/é a?ü", "https://v16.tiktokcdn.com/%C3%A9%20a?%C3%BC"),
        (" https://v16.tiktokcdn.com/a\n", "https://v16.tiktokcdn.com/a"),
        ("//v16.tiktokcdn.com/a", "https://v16.tiktokcdn.com/a"),
        ("/video/media/play/1.mp4", "https://api.example.com/video/media/play/1.mp4"),
        ("video/media/play/1.mp4?a=b", "https://api.example.com/video/media/play/1.mp4?a=b"),
        ("https://api.example.com/video/1.mp4", "https://api.example.com/video/1.mp4"),
        ("https:///a.evil.com", "https://api.example.com/a.evil.com"),
    ],
)
def test_a_link_of_the_cdn_is_opened_as_it_is_signed(url: str, expected: str) -> None:
    """A link to an allowed host, or relative to the API, is opened with its path and query untouched."""
    assert opened(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        " ",
        "http://v16.tiktokcdn.com/a",
        "ftp://v16.tiktokcdn.com/a",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "data:video/mp4,abc",
        "https://evil.com/a",
        "https://eviltiktokcdn.com/a",
        "https://tiktokcdn.com.evil.com/a",
        "https://tiktokcdn.com@evil.com/a",
        "https://tiktokcdn.com:443@evil.com/a",
        "https://evil.com@tiktokcdn.com/a",
        "https://user:pass@v16.tiktokcdn.com/a",
        "https://@v16.tiktokcdn.com/a",
        "https://evil.com\\@v16.tiktokcdn.com/a",
        "https://evil.com\\.tiktokcdn.com/a",
        "https://evil.com#.tiktokcdn.com/a",
        "https://evil.com?.tiktokcdn.com/a",
        "https://evil.com/.tiktokcdn.com",
        "https://tiktokcdn.com%2eevil.com/a",
        "https://evil.com%2f.tiktokcdn.com/a",
        "https://evil.com%00.tiktokcdn.com/a",
        "https://evil.com\x00.tiktokcdn.com/a",
        "https://evil.com\n.tiktokcdn.com/a",
        "https://evil.com\t.tiktokcdn.com/a",
        "https://v16.tiktokcdn.com/\\evil.com/a",
        "https://v16.tiktokcdn.com/a\r\nHost: evil.com",
        "https://evil.com\u3002tiktokcdn.com/a",
        "https://evil.com／.tiktokcdn.com/a",
        "https://ｔiktokcdn.com/a",
        "https://тiktokcdn.com/a",
        "https://a..tiktokcdn.com/a",
        "https://.tiktokcdn.com/a",
        "https://v16.tiktokcdn.com../a",
        "https://v16.tiktokcdn.com:8443/a",
        "https://v16.tiktokcdn.com:80/a",
        "https://v16.tiktokcdn.com:0/a",
        "https://v16.tiktokcdn.com:99999/a",
        "https://v16.tiktokcdn.com:x/a",
        "https://api.example.com:444/a",
        "http://api.example.com/a",
        "https://127.0.0.1/a",
        "https://[::1]/a",
        "https://[::1/a",
        "https://[v1.tiktokcdn.com]/a",
        "https://localhost/a",
        "https://169.254.169.254/latest/meta-data",
        "https://2130706433/a",
        "//evil.com/a",
        "https://v16.tiktokcdn.com/" + "a" * 8192,
        "https://v16.tiktokcdn.com/" + "é" * 2000,
    ],
)
def test_a_link_elsewhere_is_never_opened(url: str) -> None:
    """Another scheme, host or port, in whatever disguise, is refused before anything is sent."""
    error = refused(url)
    assert "aaaa" not in error.detail
    assert "pass" not in error.detail


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/a", "http://localhost:1/a", "http://[::1]:9/a", "http://v16.tiktokcdn.com:81/a"]
)
def test_a_simulator_is_reached_only_when_allowed(url: str) -> None:
    """http, loopback and other ports are for simulators: opened with `allow_insecure`, refused without."""
    assert opened(url, allow_insecure=True) == url
    refused(url)


@pytest.mark.parametrize(
    "url",
    ["http://evil.com/a", "http://10.0.0.1/a", "http://127.0.0.1.evil.com/a", "http://127.1/a", "ftp://127.0.0.1/a"],
)
def test_a_simulator_opens_no_other_door(url: str) -> None:
    """With `allow_insecure` the allow-list still holds for everything that is not this machine."""
    refused(url, allow_insecure=True)


@given(
    st.text(alphabet="htps:/\\@.?#%[]0:evil-tiktokcdn.com\u3002 \t", max_size=60),
    st.sampled_from(["", "https://", "https://tiktokcdn.com", "//", "https://evil.com"]),
)
def test_no_text_leads_out_of_the_allow_list(tail: str, head: str) -> None:
    """Whatever a link is made of, what is opened has an allowed host, https and no user, or nothing is opened."""
    try:
        url = opened(head + tail)
    except RefusedUrl:
        return
    host = url.removeprefix("https://").partition("/")[0].partition("?")[0]
    assert url.startswith("https://")
    assert host == "api.example.com" or f".{host}".endswith((".tiktokcdn.com", ".akamaized.net", ".tiktok.com"))


def test_a_link_that_is_past_is_not_opened() -> None:
    """A link whose own date has passed, or passes while one connects, is resolved anew without asking the CDN."""

    async def play() -> None:
        wire = Notebook()
        cdn = Cdn(wire, allowed_hosts=HOSTS, allow_insecure=False, base_url=API, clock=Noon())
        for expires_at in (0.0, NOW - 1, NOW, NOW + 2):
            with pytest.raises(UrlExpired):
                await cdn.fetch(SignedUrl("https://v16.tiktokcdn.com/a", expires_at), Tray())
        assert wire.opened == []
        await cdn.fetch(SignedUrl("https://v16.tiktokcdn.com/a", NOW + 2.1), Tray())
        assert len(wire.opened) == 1

    asyncio.run(play())


# What the answers mean


@dataclass
class Fetched:
    """How a fetch over real sockets ended."""

    found: Response | ClipledgerError
    part: Tray
    peer: Peer


def fetched(
    answer: Answer,
    *,
    limits: FetchLimits | None = None,
    part: Tray | None = None,
    more: Callable[[Peer], None] | None = None,
) -> Fetched:
    """Have `answer` given at `/hidden`, and fetch that."""
    tray = part or Tray()

    async def play() -> Fetched:
        wire = CurlWire()
        async with http_peer() as peer:
            url = peer.serve(answer, "/hidden")
            if more:
                more(peer)
            cdn = Cdn(wire, allowed_hosts=HOSTS, allow_insecure=True, base_url=API, clock=Noon(), limits=limits)
            try:
                return Fetched(await cdn.fetch(SignedUrl(f"{url}?hidden"), tray), tray, peer)
            except ClipledgerError as error:
                assert "hidden" not in "".join(traceback.format_exception_only(error)) + repr(error) + error.detail
                return Fetched(error, tray, peer)
            finally:
                await wire.close()

    return asyncio.run(play())


def test_a_download_fills_its_part() -> None:
    """Every byte of a 200 reaches the part, with the headers a browser would send and never the key."""
    end = fetched(Answer(body=BODY, headers=(("Content-Type", "video/mp4"),)))
    assert isinstance(end.found, Response)
    assert (end.found.status, end.found.received, bytes(end.part.body)) == (200, len(BODY), BODY)
    headers = end.peer.heads()[0][1]
    assert sorted(headers) == ["accept", "accept-encoding", "host", "referer", "user-agent"]
    assert headers["referer"] == "https://www.tiktok.com/"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("Mozilla/5.0")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (201, CdnUnavailable), (204, CdnUnavailable), (206, CdnUnavailable), (300, CdnUnavailable),
        (304, CdnUnavailable),
        (400, CdnUnavailable), (401, UrlExpired), (403, UrlExpired), (404, UrlExpired), (405, CdnUnavailable),
        (410, UrlExpired), (416, CdnUnavailable), (429, Throttled), (451, CdnUnavailable), (500, CdnUnavailable),
        (502, CdnUnavailable), (503, CdnUnavailable),
    ],
)  # fmt: skip
def test_a_refusal_says_what_to_do_and_leaves_the_part_alone(status: int, kind: type[ClipledgerError]) -> None:
    """A dead link is resolved again, a limit waits, the rest is tried later; no error page gets into a part."""
    body = b"" if status in (204, 304) else b"<html>hidden</html>"
    end = fetched(Answer(status=status, body=body, declared=None if status in (204, 304) else -1))
    assert type(end.found) is kind
    assert end.part.body == b""
    assert str(status) in str(end.found)
    assert "127.0.0.1" in str(end.found)


def test_a_limit_of_the_cdn_tells_its_wait() -> None:
    """A Retry-After of the CDN is passed on."""
    end = fetched(Answer(status=429, headers=(("Retry-After", "17"),)))
    assert isinstance(end.found, Throttled)
    assert end.found.retry_after_s == 17.0


@pytest.mark.parametrize("answer", [Answer(), Answer(declared=None), Answer(body=[], chunked=True)])
def test_an_empty_file_is_no_media(answer: Answer) -> None:
    """A 200 without a single byte is not a video."""
    end = fetched(answer)
    assert isinstance(end.found, NotMedia)
    assert end.found.detail == "0 bytes"


SMALL = FetchLimits(max_bytes=1000, deadline_s=0.3)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(body=b"abc", declared=10, ending="close"), TruncatedBody),
        (Answer(body=[b"abc"], chunked=True, ending="close"), TruncatedBody),
        (Answer(body=b"abc", declared=10, ending="reset"), CdnUnavailable),
        (Answer(body=b"abc", declared=10, ending="hang"), CdnUnavailable),
        (Answer(raw=b""), CdnUnavailable),
        (Answer(raw=b"nonsense\r\n\r\n"), CdnUnavailable),
        (Answer(body=repeat(b"z" * 100), chunked=True), TooLarge),
        (Answer(body=b"z" * 1001), TooLarge),
        (Answer(headers=(("X-Fat", "z" * 100_000),)), CdnUnavailable),  # tells nothing of the post's size
        (Answer(status=403, body=repeat(b"z" * 100), chunked=True), UrlExpired),
        (Answer(status=403, body=b"z", declared=100, ending="reset"), UrlExpired),
        (Answer(status=500, body=b"z", declared=100, ending="hang"), CdnUnavailable),
    ],
)
def test_a_broken_download_is_named(answer: Answer, kind: type[ClipledgerError]) -> None:
    """Short, silent, endless, fat or nonsense: each has its name; an error page's status outranks how it ended."""
    assert type(fetched(answer, limits=SMALL).found) is kind


def test_an_endless_error_page_is_not_read() -> None:
    """An error page is read to 64 KiB at most, whatever a download may weigh."""
    sent = count()
    end = fetched(Answer(status=403, body=(b"z" * 1024 for _ in sent), chunked=True))
    assert type(end.found) is UrlExpired
    assert next(sent) < 20_000  # KiB, most of them on their way when the connection ended


def test_a_full_disk_is_told_as_one() -> None:
    """What the part raises ends the download and comes out unchanged."""
    end = fetched(Answer(body=repeat(b"z" * 1000), chunked=True), part=Tray(space=50_000))
    assert type(end.found) is StorageFull
    assert len(end.part.body) <= 50_000


def test_a_cdn_that_is_not_there_is_unavailable() -> None:
    """A refused connection, an unknown name and an address that is not public are told apart."""

    async def play(url: str, allow_insecure: bool) -> ClipledgerError:
        wire = CurlWire(proxy="")
        hosts = (*HOSTS, "nowhere.invalid", "127.0.0.1")
        cdn = Cdn(wire, allowed_hosts=hosts, allow_insecure=allow_insecure, base_url=API, clock=Noon())
        with pytest.raises(ClipledgerError) as caught:
            await cdn.fetch(SignedUrl(url), Tray())
        await wire.close()
        assert "hidden" not in str(caught.value)
        return caught.value

    assert type(asyncio.run(play("http://127.0.0.1:1/hidden", True))) is CdnUnavailable
    assert type(asyncio.run(play("https://nowhere.invalid/hidden", False))) is CdnUnavailable
    assert type(asyncio.run(play("https://127.0.0.1/hidden", False))) is RefusedUrl


# Redirects


def hop(location: str, status: int = 302) -> Answer:
    return Answer(status=status, headers=(("Location", location),), body=b"<html>moved</html>")


def chain(length: int) -> Callable[[Peer], None]:
    def build(peer: Peer) -> None:
        for number in range(1, length):
            peer.serve(hop(f"/{number + 1}"), f"/{number}")
        peer.serve(Answer(body=BODY), f"/{length}")

    return build


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(status: int) -> None:
    """A redirect to an allowed host leads to the file; the page that redirects leaves nothing in the part."""
    end = fetched(hop("/1", status), more=chain(1))
    assert (bytes(end.part.body), len(end.peer.asked)) == (BODY, 2)


def test_redirects_are_bounded() -> None:
    """Three redirects are followed, a fourth is not, nor is a circle."""
    assert fetched(hop("/1"), more=chain(3)).part.body == BODY
    assert type(fetched(hop("/1"), more=chain(4)).found) is CdnUnavailable
    circle = fetched(hop("/hidden"))
    assert type(circle.found) is CdnUnavailable
    assert len(circle.peer.asked) == 4


@pytest.mark.parametrize(
    ("location", "kind"),
    [
        ("http://evil.com/hidden", RefusedUrl),
        ("http://10.0.0.1/hidden", RefusedUrl),
        ("http://169.254.169.254/hidden", RefusedUrl),
        ("//evil.com/hidden", RefusedUrl),
        ("http://127.0.0.1@evil.com/hidden", RefusedUrl),
        ("file:///etc/hidden", RefusedUrl),
        ("http://[hidden", RefusedUrl),
        ("", RefusedUrl),
    ],
)
def test_a_redirect_elsewhere_is_refused(location: str, kind: type[ClipledgerError]) -> None:
    """A redirect is held to the same list as a link."""
    end = fetched(hop(location))
    assert type(end.found) is kind
    assert (len(end.peer.asked), end.part.body) == (1, b"")


def test_a_redirect_without_a_target_is_an_outage() -> None:
    """A redirect that does not say where to is the CDN's fault."""
    assert type(fetched(Answer(status=302)).found) is CdnUnavailable


@dataclass
class Weaker(Notebook):
    """A wire whose every answer redirects to the same place over http."""

    async def get(self, request: Request, sink: Sink) -> Response:
        self.opened.append(request)
        sink.open(Response(302))
        return Response(302, {"location": request.url.reveal().replace("https:", "http:")})


def test_a_redirect_never_weakens_the_scheme() -> None:
    """From https no redirect leads to http, not even where http is allowed."""
    wire = Weaker()
    cdn = Cdn(wire, allowed_hosts=HOSTS, allow_insecure=True, base_url=API, clock=Noon())
    with pytest.raises(RefusedUrl):
        asyncio.run(cdn.fetch(SignedUrl("https://v16.tiktokcdn.com/a"), Tray()))
    assert len(wire.opened) == 1


# Short links


def target_of(answer: Answer) -> tuple[str | ClipledgerError | None, Peer]:
    async def play() -> tuple[str | ClipledgerError | None, Peer]:
        wire = CurlWire()
        async with http_peer() as peer:
            cdn = Cdn(wire, allowed_hosts=(), allow_insecure=True, base_url=API, clock=Noon())
            try:
                return await cdn.redirect_target(peer.serve(answer, "/ZMabc/")), peer
            except ClipledgerError as error:
                return error, peer
            finally:
                await wire.close()

    return asyncio.run(play())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (hop("https://www.tiktok.com/@a/video/7387261234567890123?_r=1"), "https://www.tiktok.com/@a/video/7387261234567890123?_r=1"),
        (hop("https://www.tiktok.com/tag/caf\u00e9".encode().decode("latin-1")), "https://www.tiktok.com/tag/caf%C3%A9"),
        (Answer(body=b"no such link"), None),
        (Answer(status=404, body=b"no such link"), None),
        (Answer(status=302), None),
        (hop(""), None),
        (hop("snssdk1233://aweme/detail/1"), None),
        (hop("http://[broken"), None),
        (hop("https://www.tiktok.com/" + "a" * 9000), None),
    ],
)  # fmt: skip
def test_a_short_link_tells_where_it_leads(answer: Answer, expected: str | None) -> None:
    """A short link costs one request without a key and gives the address it stands for, or nothing."""
    found, peer = target_of(answer)
    assert found == expected
    assert len(peer.asked) == 1
    assert "x-api-key" not in peer.heads()[0][1]


def test_a_short_link_may_be_relative() -> None:
    """A target without a host is on the short link's own."""
    found, peer = target_of(hop("/@a/video/1"))
    assert found == f"{peer.origin}/@a/video/1"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(status=301, headers=(("Location", "https://www.tiktok.com/x"),), body=repeat(b"z" * 1000), chunked=True),
        Answer(status=301, headers=(("Location", "https://www.tiktok.com/x"),), body=b"z", declared=9, ending="reset"),
    ],
)
def test_a_short_links_body_does_not_matter(answer: Answer) -> None:
    """An endless or broken page behind a short link is dropped; the address was in its headers."""
    assert target_of(answer)[0] == "https://www.tiktok.com/x"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(Answer(status=429), Throttled), (Answer(status=503), CdnUnavailable), (Answer(raw=b""), CdnUnavailable)],
)
def test_a_short_link_that_fails_is_tried_again(answer: Answer, kind: type[ClipledgerError]) -> None:
    """A limit or an outage is not taken for a link that leads nowhere."""
    assert type(target_of(answer)[0]) is kind


@pytest.mark.parametrize(
    "url",
    [
        "https://bit.ly/x",
        "http://vm.tiktok.com/x",
        "https://vm.tiktok.com.evil.com/x",
        "https://vm.tiktok.com:81/x",
        "/x",
        "",
        "vm.tiktok.com/x",
    ],
)
def test_only_tiktoks_short_links_are_opened(url: str) -> None:
    """Somebody else's short links, and CDN hosts, are not asked."""
    wire = Notebook()
    cdn = Cdn(wire, allowed_hosts=("evil.com", "bit.ly"), allow_insecure=False, base_url=API, clock=Noon())
    with pytest.raises(RefusedUrl):
        asyncio.run(cdn.redirect_target(url))
    assert wire.opened == []
