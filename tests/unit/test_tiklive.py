"""What every kind of answer of the API means, and that the key goes nowhere but to the API."""

from __future__ import annotations

import asyncio
import gzip
import json
import pickle
import time
import traceback
from collections.abc import Mapping
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.errors import (
    ApiUnavailable,
    ClipledgerError,
    CreditsExhausted,
    Gone,
    MalformedReply,
    Misconfigured,
    Reason,
    Throttled,
)
from clipledger.core.model import ApiCall, ApiKey
from clipledger.net.retry_after import RETRY_AFTER_CAP_S, retry_after_s
from clipledger.net.tiklive import TikLive, judge
from clipledger.net.wire import CurlWire
from contract.http_peer import Answer, Peer, http_peer

NOW = 1_780_000_000.0
KEY = "kEy-0123456789abcdef"


def verdict(
    body: object, *, status: int = 200, about_post: bool = True, headers: Mapping[str, str] | None = None
) -> object:
    """What `judge` returns or raises; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    try:
        return judge(status, headers or {}, raw, about_post=about_post, now=NOW)
    except ClipledgerError as error:
        return error


def error(body: object, **how: object) -> ClipledgerError:
    found = verdict(body, **how)  # type: ignore[arg-type]
    assert isinstance(found, ClipledgerError), found
    return found


@pytest.mark.parametrize(
    "body",
    [
        {"id": "7387261234567890123", "play": "https://cdn/x", "message": "a title of this name"},
        {"videos": [], "cursor": "0", "hasMore": False},
        {"videos": [{"video_id": "1"}], "cursor": 3, "hasMore": 1, "message": "success"},
        {"video": "https://cdn/x", "video_hd": ""},
        {"user": {"id": "1"}, "stats": {}, "status": "ok"},
        {"US": "United States", "DE": "Germany"},
    ],
)
def test_a_success_comes_back_flat(body: dict[str, object]) -> None:
    """A success is handed on as it is, flat or wrapped in `{code, msg, data}`."""
    assert verdict(body) == body
    assert verdict({"code": 0, "msg": "success", "processed_time": 0.1, "data": body}) == body


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, ApiUnavailable), (302, ApiUnavailable), (400, ApiUnavailable), (401, Misconfigured),
        (402, CreditsExhausted), (403, Misconfigured), (404, ApiUnavailable), (405, ApiUnavailable),
        (408, ApiUnavailable), (418, ApiUnavailable), (429, Throttled), (500, ApiUnavailable), (502, ApiUnavailable),
        (503, ApiUnavailable), (520, ApiUnavailable), (599, ApiUnavailable),
    ],
)  # fmt: skip
def test_a_status_means_the_same_whatever_the_body(status: int, kind: type[ClipledgerError]) -> None:
    """A refused key stops, empty credits stop, a limit waits, everything else is tried again."""
    for body in (b"", b"<html>no</html>", b"\xff\xfe"):
        assert type(error(body, status=status)) is kind
        assert type(error(body, status=status, about_post=False)) is kind
    if status not in (400, 404, 405, 408, 418):
        for told in ({"videos": []}, {"status": "error", "message": "Not found post"}, {"message": "no balance"}):
            assert type(error(told, status=status)) is kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"status": "error", "message": "Not found post"}, Gone),
        ({"detail": "Not found."}, Gone),
        ({}, Gone),
        ({"message": "Not found"}, Gone),
        (b"<p>Not found post</p>", Gone),
        (b"<h1>404 Not Found</h1><p>nginx</p>", ApiUnavailable),
        (b"", ApiUnavailable),
        (b"[]", ApiUnavailable),
        ({"message": "no Route matched with those values"}, ApiUnavailable),
        ({"message": "Api-Key is not available"}, Misconfigured),
        ({"message": "Your balance is not enough"}, CreditsExhausted),
    ],
)
def test_a_404_is_believed_only_when_the_api_itself_says_it(body: object, kind: type[ClipledgerError]) -> None:
    """A 404 about a post means that the post is gone only in the API's own words: a web server's page does not."""
    found = error(body, status=404)
    assert type(found) is kind
    if kind is Gone:
        assert found.reason is Reason.NOT_FOUND


def test_a_404_of_a_list_is_an_outage() -> None:
    """A list that answers 404 is a broken API, unless it says in its own words that there is no such user."""
    assert type(error({"detail": "Not found."}, status=404, about_post=False)) is ApiUnavailable
    assert type(error({"message": "Not found"}, status=404, about_post=False)) is ApiUnavailable
    assert type(error({"status": "error", "message": "Not found user"}, status=404, about_post=False)) is Gone


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Please sign up to tikliveapi.com", Misconfigured),
        ("Api-Key is not available", Misconfigured),
        ("API KEY IS NOT AVAILABLE", Misconfigured),
        ("Invalid api_key", Misconfigured),
        ("Insufficient balance", CreditsExhausted),
        ("You have 0 credits left.", CreditsExhausted),
        ("Monthly quota exceeded", CreditsExhausted),
        ("Plan EXHAUSTED, please renew", CreditsExhausted),
        ("Please purchase a package", CreditsExhausted),
        ("Api-Key has no credit", CreditsExhausted),
        ("Free Api Limit: 1 request/second.", Throttled),
        ("Rate limit reached", Throttled),
        ("Too Many Requests: quota per minute", Throttled),
        ("Too many attempts", Throttled),
        ("Api-Key rate limit", Throttled),
        ("Something went wrong", ApiUnavailable),
        ("Creditworthy", ApiUnavailable),
        ("video unlimited", ApiUnavailable),
        ("This post has an age limit", ApiUnavailable),
        ("limited to mature audience", ApiUnavailable),
        ("Url parsing is failed! Please check url.", ApiUnavailable),
        ("", ApiUnavailable),
    ],
)
def test_what_a_message_says_of_the_account(message: str, kind: type[ClipledgerError]) -> None:
    """A refused key, an empty balance and a limit are told apart by their words; anything else is only tried again."""
    for body in (
        {"message": message},
        {"message": message, "data": None},
        {"status": "error", "message": message},
        {"code": -1, "msg": message, "processed_time": 0},
        {"code": 0, "msg": "success", "data": {"status": "error", "message": message}},
        {"code": -1, "msg": message, "data": {"hint": "none"}},
    ):
        found = error(body)
        assert type(found) is kind
        assert message in found.detail
        if kind is ApiUnavailable:
            assert found.reason is Reason.API_MESSAGE


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Not found post", Reason.NOT_FOUND),
        ("post not found", Reason.NOT_FOUND),
        ("This video is private", Reason.PRIVATE),
        ("Private video not found", Reason.PRIVATE),
        ("Not available in your region", Reason.REGION),
        ("blocked in your country", Reason.REGION),
        ("region is required", None),
        ("Invalid country", None),
        ("nothing found", None),
        ("Something broke", None),
    ],
)
@pytest.mark.parametrize("about_post", [True, False])
def test_what_an_error_says_of_the_post(message: str, reason: Reason | None, about_post: bool) -> None:
    """Not found, private and out of region are reasons of their own; an unknown message never makes a row dead."""
    for body in ({"status": "error", "message": message}, {"code": -1, "msg": message}):
        found = error(body, about_post=about_post)
        if reason is None:
            assert (type(found), found.reason) == (ApiUnavailable, Reason.API_MESSAGE)
        else:
            assert (type(found), found.reason) == (Gone, reason)
    assert type(error({"message": message}, about_post=about_post)) is ApiUnavailable


def test_a_key_error_says_what_to_do() -> None:
    """Whoever reads that the key was refused learns where it is set."""
    for found in (error({"message": "Api-Key is not available"}), error(b"", status=401), error(b"", status=403)):
        assert "key refused" in found.detail
        assert "TIKLIVEAPI_KEY" in found.detail


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \n",
        b"<!doctype html><html>",
        b"{",
        b'{"videos": [',
        b"Bad Gateway",
        b"\x00\x01",
        b"\xff\xfe\xfd",
        b"1.2.3",
    ],
)
def test_an_unreadable_body_is_an_outage(body: bytes) -> None:
    """Empty, HTML, cut off or no text at all with status 200: the API is unwell, the post is not."""
    assert type(error(body)) is ApiUnavailable


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"text"', b"true", b'[{"id": "1"}]', b"NaN"])
def test_json_that_is_no_object_is_a_shape_we_do_not_know(body: bytes) -> None:
    """A reply of another shape is kept as such, with a sample, and burns no attempt."""
    found = error(body)
    assert isinstance(found, MalformedReply)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' + b"1" * 5000 + b"}",
        b'{"a":-' + b"9" * 100_000 + b"}",
        b"[" * 100_000,
        b"[" * 5000 + b"]" * 5000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b'{"a":"\\ud800","b":' + b"[" * 200 + b"]" * 200 + b"}",
    ],
    ids=["digits", "many digits", "open", "closed", "objects", "hundred", "surrogate"],
)
def test_a_body_built_to_do_harm_is_malformed(body: bytes) -> None:
    """Numbers without end and endless nesting become an error of ours, never a crash."""
    found = error(body)
    assert isinstance(found, MalformedReply)
    assert len(found.sample) <= 5000
    assert pickle.loads(pickle.dumps(str(found)))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"id":"1","title":"\\ud83d"}', "\ud83d"),
        (b'{"id":"1","title":"\xff"}', "\ufffd"),
        (b'\xef\xbb\xbf{"id":"1","title":"bom"}', "bom"),
        (b'{"id":"1","title":"x","size":1e999}', "x"),
        (b'{"id":"1","title":"x","size":NaN}', "x"),
        (b'{"id":"1","title":"x","play_count":123456789012345678901234567890}', "x"),
    ],
)
def test_an_odd_reply_is_still_read(body: bytes, expected: str) -> None:
    """Half an emoji, broken UTF-8, a byte order mark or a number out of range cost no post."""
    found = verdict(body)
    assert isinstance(found, Mapping)
    assert (found["id"], found["title"]) == ("1", expected)


def test_a_message_is_passed_on_fit_to_be_kept() -> None:
    """A message of theirs becomes one short line of ours, without signatures and without half an emoji."""
    message = "bad\r\n\x1b[31m \ud800 https://v16.tiktokcdn.com/x?signature=hidden&expire=1 " + "long " * 100
    found = error({"status": "error", "message": message})
    assert len(found.detail) <= 200
    assert "hidden" not in found.detail
    assert found.detail.isprintable()
    assert found.detail.encode()


@given(st.binary(max_size=200), st.sampled_from([200, 204, 400, 404, 500]), st.booleans())
def test_no_bytes_crash_it(body: bytes, status: int, about_post: bool) -> None:
    """Whatever arrives, the verdict is an object or one of our errors."""
    assert isinstance(verdict(body, status=status, about_post=about_post), Mapping | ClipledgerError)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["error", "Not found post"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["code", "msg", "message", "status", "data", "id", "videos", "error"])
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(json_values, st.sampled_from([200, 404]), st.booleans())
def test_no_json_crashes_it(body: object, status: int, about_post: bool) -> None:
    """Whatever JSON arrives, in whatever shape, the verdict is an object or one of our errors with a bounded detail."""
    found = verdict(body, status=status, about_post=about_post)
    assert isinstance(found, Mapping | ClipledgerError)
    if isinstance(found, ClipledgerError):
        assert len(found.detail) <= 300


# Retry-After


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("30", 30.0), (" 7 ", 7.0), ("0", 0.0), ("1.5", 1.5), ("301", RETRY_AFTER_CAP_S),
        ("99999999", RETRY_AFTER_CAP_S),
        (formatdate(NOW + 60, usegmt=True), 60.0), (formatdate(NOW - 60, usegmt=True), 0.0),
        (formatdate(NOW + 9999), RETRY_AFTER_CAP_S),
        ("", None), ("soon", None), ("-5", None), ("²", None), ("٣", None),
        ("Jan 99999 May 23:59 +99999999999 :", None), ("1e3", None), ("nan", None), ("9" * 5000, None),
        ("Fri, 99 Foo 2026 99:99:99 GMT", None), ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)  # fmt: skip
def test_how_long_to_stay_away(text: str, wait_s: float | None) -> None:
    """Seconds and dates are obeyed up to five minutes; garbage is as good as nothing."""
    assert retry_after_s({"retry-after": text}, NOW) == wait_s
    throttled = error(b"", status=429, headers={"retry-after": text})
    assert isinstance(throttled, Throttled)
    assert throttled.retry_after_s == wait_s


def test_a_date_without_a_zone_is_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this machine stands does not change how long we wait."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert retry_after_s({"retry-after": formatdate(NOW + 60)}, NOW) == 60.0
    monkeypatch.undo()
    time.tzset()


def test_a_limit_without_a_wait_tells_none() -> None:
    """The API documents no Retry-After; a missing one is not invented."""
    assert retry_after_s({}, NOW) is None


@given(st.text(max_size=60))
def test_no_retry_after_crashes_it(text: str) -> None:
    """Any header value gives a wait between nothing and the cap."""
    wait_s = retry_after_s({"retry-after": text}, NOW)
    assert wait_s is None or 0 <= wait_s <= RETRY_AFTER_CAP_S


# Over the wire


class Noon:
    """A clock that stands still."""

    def now(self) -> float:
        return NOW

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here sleeps")


CALL = ApiCall("/search-video/", (("keyword", "café & co"), ("count", "30"), ("cursor", "")))


def asked(answer: Answer, call: ApiCall = CALL, key: str = KEY) -> tuple[object, Peer]:
    """Give `answer` to a call over real sockets; return what the call returned or raised."""

    async def play() -> tuple[object, Peer]:
        wire = CurlWire()
        async with http_peer() as peer:
            peer.serve(answer, call.path)
            api = TikLive(wire, ApiKey(key), peer.origin, Noon(), allow_insecure=True)
            try:
                return await api.call(call), peer
            except ClipledgerError as error:
                return error, peer
            finally:
                await wire.close()

    return asyncio.run(play())


def test_a_call_is_asked_as_the_api_wants_it() -> None:
    """A GET of the path with its query in order, the key in its header, and gzip unpacked."""
    body = gzip.compress(b'{"videos":[],"cursor":"0","hasMore":false}')
    found, peer = asked(Answer(body=body, headers=(("Content-Encoding", "gzip"),)))
    assert found == {"videos": [], "cursor": "0", "hasMore": False}
    target, headers = peer.heads()[0]
    assert target == "/search-video/?keyword=caf%C3%A9+%26+co&count=30&cursor="
    assert headers["x-api-key"] == KEY
    assert peer.asked[0].startswith(b"GET ")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=b"{", declared=100, ending="close"),
        Answer(declared=1, ending="reset"),
        Answer(raw=b""),
        Answer(raw=b"nonsense\r\n\r\n"),
        Answer(body=b"z", declared=17 * 2**20),
    ],
)
def test_a_broken_exchange_is_an_outage(answer: Answer) -> None:
    """Whatever breaks on the way is the API being unavailable: never a setting, never a dead post."""
    found, _ = asked(answer)
    assert type(found) is ApiUnavailable
    assert "/search-video/" in str(found)
    assert "caf" not in str(found)


def test_an_api_that_is_not_there_is_an_outage() -> None:
    """A refused connection, an address that is not public, a host without one: all are tried again."""

    async def play(base_url: str, allow_insecure: bool, kind: str) -> None:
        wire = CurlWire(proxy="")
        with pytest.raises(ApiUnavailable, match=kind):
            await TikLive(wire, ApiKey(KEY), base_url, Noon(), allow_insecure=allow_insecure).call(CALL)
        await wire.close()

    asyncio.run(play("http://127.0.0.1:1", True, "connect"))
    asyncio.run(play("https://127.0.0.1:1", False, "refused_address"))
    asyncio.run(play("https://nowhere.invalid", False, "dns"))


def test_the_key_never_follows_a_redirect() -> None:
    """A redirect, even to the same host, is an outage: the key is not sent a second time."""
    found, peer = asked(Answer(status=302, headers=(("Location", "/elsewhere"),)))
    assert type(found) is ApiUnavailable
    assert len(peer.asked) == 1


ECHOES = [
    Answer(body=json.dumps({"message": f"Api-Key {KEY} is not available"}).encode()),
    Answer(body=json.dumps({"status": "error", "message": f"{KEY}: no"}).encode()),
    Answer(body=f"[{json.dumps(KEY)}]".encode()),
    Answer(body=b"[" * 5000 + KEY.encode()),
    Answer(body=KEY.encode()),
    Answer(status=401, body=KEY.encode(), headers=(("X-Echo", KEY),)),
    Answer(status=404, body=json.dumps({"message": KEY}).encode()),
    Answer(status=429, headers=(("Retry-After", KEY),)),
    Answer(raw=f"HTTP/1.1 {KEY}\r\n\r\n".encode()),
    Answer(body=b"z", declared=9, ending="reset"),
]


@pytest.mark.parametrize("answer", ECHOES)
def test_the_key_is_in_no_error(answer: Answer) -> None:
    """An API that echoes the key gets it into no message, sample, repr or traceback of ours."""
    found, peer = asked(answer)
    assert isinstance(found, ClipledgerError)
    told = "".join(traceback.format_exception(found)) + repr(found) + found.detail + repr(vars(found))
    assert KEY not in told
    assert peer.heads()[0][1]["x-api-key"] == KEY


def test_the_key_is_in_no_reply_that_is_kept() -> None:
    """Replies are archived, so a key echoed in one, plain or escaped, is taken out first."""
    key = "abc/def+ghi/jkl="
    body = json.dumps({"id": "1", "echo": key}).replace("/", "\\/").encode() + b" "
    found, _ = asked(Answer(body=body), key=key)
    assert isinstance(found, Mapping)
    assert (found["id"], found["echo"]) == ("1", "-")
    api = TikLive(CurlWire(), ApiKey(KEY), "https://api.example.com", Noon())
    assert KEY not in repr(api) + repr(vars(api))


@pytest.mark.parametrize(
    ("key", "told"),
    [(None, "set TIKLIVEAPI_KEY or TIKLIVEAPI_KEY_FILE"), ("", "set TIKLIVEAPI_KEY"), ("a\nb", "copy it")],
)
def test_a_missing_key_is_told_before_anything_is_sent(key: str | None, told: str) -> None:
    """Without a usable key no call is made, and the message says what to set."""

    async def play() -> None:
        wire = CurlWire()
        async with http_peer() as peer:
            secret = None if key is None else ApiKey(key)
            with pytest.raises(Misconfigured, match=told):
                await TikLive(wire, secret, peer.origin, Noon(), allow_insecure=True).call(CALL)
            assert peer.asked == []
        await wire.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    "base_url", ["http://api.example.com", "ftp://x", "https://", "api.example.com", "https://u:p@x", "https://x/?a=b"]
)
def test_the_base_url_must_be_sealed(base_url: str) -> None:
    """The key goes over https only, unless insecure addresses were allowed for a simulator."""
    with pytest.raises(Misconfigured, match="base_url"):
        TikLive(CurlWire(), None, base_url, Noon())
