"""A sidecar gives back what was written, keeps no signed link, and is refused whole when it was tampered with."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core import parse
from clipledger.core.model import (
    Author,
    AwemeId,
    Counters,
    FileKind,
    MediaType,
    ObjectKey,
    Post,
    Quality,
    Rendition,
    SignedUrl,
    Slide,
    StoredFile,
)
from clipledger.core.sidecar import MAX_BYTES, BadSidecar, Origin, Replaced, read, with_files, write

NOW = 1_780_000_000.123
ID = AwemeId("7387261234567890123")
SECRET = "c0ffee5ec2e7"
SIGNED = f"https://v16.tiktokcdn.com/a/b.mp4?x-expires=1780003600&x-signature={SECRET}"
VIDEO = StoredFile(
    FileKind.VIDEO,
    ObjectKey(f"videos/dt=2026-05-29/author=alice/{ID}.mp4"),
    1234,
    "ab" * 32,
    MediaType.MP4,
    Quality.HD,
)
COVER = StoredFile(FileKind.COVER, ObjectKey(f"covers/dt=2026-05-29/{ID}.jpg"), 99, "cd" * 32, MediaType.JPEG)
POST = Post(
    ID,
    author=Author("107955", "alice", "Älice ✨"),
    title="line one\nline two",
    region="US",
    duration_s=12.5,
    created_at=1_779_999_000,
    counters=Counters(play=2**40, digg=0),
    music_id="7001",
    reply={"id": ID, "title": "line one"},
)

HOSTILE = ["\ud800", "\udfff", "\x00", "\u202e", "\u2028", "\x1b[2J", '"', "\\", "\U0001f3c4", "\r\n", "</script>"]
texts = st.lists(st.sampled_from(HOSTILE) | st.text(st.characters(), max_size=6), max_size=4).map("".join)
counts = st.none() | st.integers(0, 2**62)
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
links = st.builds(SignedUrl, st.just(SIGNED))
posts = st.builds(
    Post,
    aweme_id=st.just(ID),
    author=st.builds(Author, id=st.from_regex(r"[0-9]{0,19}", fullmatch=True), handle=texts, nickname=texts),
    title=texts,
    region=texts,
    duration_s=st.none() | st.floats(0.1, 7 * 86_400),
    created_at=st.none() | st.integers(0, 2**33),
    counters=st.builds(Counters, counts, counts, counts, counts, counts, counts),
    music_id=texts,
    is_ad=st.booleans(),
    thin=st.booleans(),
    pinned=st.booleans(),
    renditions=st.lists(st.builds(Rendition, st.sampled_from(Quality), links), max_size=2).map(tuple),
    slides=st.lists(st.builds(Slide, links, links), max_size=2).map(tuple),
    audio=st.lists(links, max_size=1).map(tuple),
    covers=st.lists(links, max_size=1).map(tuple),
    reply=st.dictionaries(texts, trees, max_size=4),
)
files = st.lists(
    st.builds(
        StoredFile,
        kind=st.sampled_from(FileKind),
        key=st.sampled_from([VIDEO.key, COVER.key]),
        bytes=st.integers(0, 2**50),
        sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
        media_type=st.sampled_from(MediaType),
        rendition=st.none() | st.sampled_from(Quality),
        position=st.integers(0, 99),
    ),
    max_size=3,
)


def written(post: Post = POST, kept: list[StoredFile] | None = None, missing: tuple[str, ...] = ()) -> bytes:
    stored = [VIDEO, COVER] if kept is None else kept
    return write(post, stored, captured_at=NOW, version="1.2.3", missing=missing)


def edited(**fields: Any) -> bytes:
    return json.dumps(json.loads(written()) | fields).encode()


def edited_file(**fields: Any) -> bytes:
    return edited(files=[json.loads(written())["files"][0] | fields])


def _encodable(value: Any) -> Any:
    """Give what UTF-8 can hold of a value: a lone surrogate becomes a question mark."""
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_encodable(key): _encodable(inner) for key, inner in value.items()}
        case list():
            return [_encodable(inner) for inner in value]
    return value


def _indexable(text: str) -> str:
    """Give what every database can hold of a text: no NUL either."""
    return str(_encodable(text)).replace("\0", "\ufffd")


@given(posts, files, st.floats(0, 4e9), st.lists(texts, max_size=2))
def test_a_sidecar_gives_back_what_was_written(
    post: Post, stored: list[StoredFile], captured_at: float, missing: list[str]
) -> None:
    """Whatever strangers put into titles and handles, the index can be rebuilt from the sidecar alone."""
    told = read(write(post, stored, captured_at=captured_at, version="1.2.3", missing=missing))
    assert told.post == replace(
        post,
        author=Author(*map(_indexable, (post.author.id, post.author.handle, post.author.nickname))),
        title=_indexable(post.title),
        region=_indexable(post.region),
        music_id=_indexable(post.music_id),
        reply=_encodable(post.reply),
        renditions=(),
        slides=(),
        audio=(),
        covers=(),
        pinned=False,
    )
    assert told.files == tuple(replace(file, key=_encodable(file.key)) for file in stored)
    assert told.is_photo is post.is_photo
    assert told.missing == tuple(map(_encodable, missing))
    assert abs(told.captured_at - captured_at) <= 0.001


@given(texts, texts, texts)
def test_a_sidecar_is_text_that_any_tool_reads(title: str, handle: str, told: str) -> None:
    """A sidecar is one UTF-8 JSON object, ends with a line break, and holds no NUL, escape or carriage return."""
    body = written(replace(POST, title=title, author=Author("1", handle), reply={told: told}))
    text = body.decode("utf-8")
    assert isinstance(json.loads(text), dict)
    assert text.endswith("}\n")
    assert not any(sign in text for sign in "\x00\x1b\r")


def test_a_sidecar_never_holds_a_link_of_the_post() -> None:
    """The links that were bought stay out of the sidecar: renditions, slides, sound and covers alike."""
    link = SignedUrl(SIGNED)
    renditions = tuple(Rendition(quality, link) for quality in Quality)
    for post in (
        replace(POST, renditions=renditions, audio=(link,), covers=(link,)),
        replace(POST, slides=(Slide(link, link),), audio=(link,), covers=(link,)),
    ):
        body = written(post).decode()
        assert SECRET not in body
        assert "***" not in body


@given(
    st.dictionaries(
        st.sampled_from(["title", "play", "hdplay", "cover", "images", "music", "music_info", "extra", "author"]),
        st.recursive(
            st.just(SIGNED) | st.just(f"/media/{ID}.mp4?expire=1780003600&signature={SECRET}"),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["play", "x"]), inner),
            max_leaves=4,
        ),
    )
)
def test_a_scrubbed_reply_leaves_no_signature_behind(raw: dict[str, Any]) -> None:
    """Wherever the API hides a signed link, the reply that is kept beside the bytes has lost its signature."""
    post = parse.item(raw | {"id": ID}, asked=ID, now=NOW, detail=True)
    kept = json.loads(written(post))["reply"]
    assert set(raw) <= set(kept)
    assert SECRET not in json.dumps(kept)


def test_a_sidecar_holds_the_attribution() -> None:
    """The sidecar names the author, the canonical URL, the moment of capture and the tool, in words people read."""
    told = json.loads(written(missing=("cover",)))
    assert told["author"] == {"id": "107955", "handle": "alice", "nickname": "Älice ✨"}
    assert told["url"] == f"https://www.tiktok.com/@alice/video/{ID}"
    assert told["captured_at"] == "2026-05-28T20:26:40.123Z"
    assert told["tool"] == "clipledger 1.2.3"
    assert (told["aweme_id"], told["type"], told["missing"]) == (ID, "video", ["cover"])
    assert told["reply"] == POST.reply


def test_a_sidecar_lists_its_files() -> None:
    """For every file: key, bytes, sha256, media type and kind; the rendition where there is one; a slide's number."""
    slide = replace(COVER, kind=FileKind.IMAGE, position=2)
    video, cover, image = json.loads(written(kept=[VIDEO, COVER, slide]))["files"]
    assert video == {
        "key": VIDEO.key,
        "kind": "video",
        "bytes": 1234,
        "sha256": "ab" * 32,
        "media_type": "video/mp4",
        "rendition": "hd",
    }
    assert set(cover) == {"key", "kind", "bytes", "sha256", "media_type"}
    assert image["position"] == 2


def test_a_photo_post_is_told_as_one() -> None:
    """A photo post's sidecar says so, in `type` and in its canonical URL."""
    post = replace(POST, slides=(Slide(SignedUrl(SIGNED)),))
    told = json.loads(written(post))
    assert (told["type"], told["url"]) == ("photo", f"https://www.tiktok.com/@alice/photo/{ID}")
    assert read(written(post)).is_photo


def test_an_author_without_a_handle_still_has_a_url() -> None:
    """A post whose author is unknown has a URL that TikTok accepts."""
    told = json.loads(written(replace(POST, author=Author())))
    assert told["url"] == f"https://www.tiktok.com/@_/video/{ID}"


def test_writing_is_repeatable() -> None:
    """The same post written twice gives the same bytes, so a repeated upload finds its own sidecar."""
    assert written() == written(replace(POST))


def test_a_sidecar_can_always_be_read_back() -> None:
    """A reply of absurd size is left out rather than making a sidecar that is too large to be read."""
    huge = replace(POST, reply={str(n): "x" * 10_000 for n in range(2 * MAX_BYTES // 10_000)})
    body = written(huge)
    assert len(body) <= MAX_BYTES
    assert read(body) == replace(read(written()), post=replace(POST, reply={}))


@given(st.binary(max_size=200) | texts.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_other_bytes_are_no_sidecar(body: bytes) -> None:
    """Bytes that are no sidecar are refused with a reason, never with a crash."""
    with pytest.raises(BadSidecar):
        read(body)


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_a_damaged_sidecar_is_refused_or_read(at: int, junk: bytes) -> None:
    """A sidecar with a few bytes overwritten is read or refused, never a crash: `verify` goes on to the next id."""
    body = written()
    place = at % len(body)
    damaged = body[:place] + junk + body[place + len(junk) :]
    try:
        read(damaged)
    except BadSidecar as error:
        assert "\n" not in str(error)


@given(
    st.sampled_from(sorted(set(json.loads(written())) - {"format", "tool", "url"})),
    st.sampled_from([None, True, 7, 1.5, "text", [], {}, ["x"], [7], [None], {"x": 1}, float("inf"), 10**30]),
)
def test_an_edited_sidecar_is_refused_or_has_the_right_shape(name: str, value: object) -> None:
    """A field edited into something else never reaches the index as another kind of value."""
    try:
        told = read(edited(**{name: value}))
    except BadSidecar:
        return
    plain = (told.post.title, told.post.region, told.post.music_id, told.post.aweme_id)
    assert all(type(text) is str for text in plain)
    assert type(told.post.is_ad) is type(told.post.thin) is bool
    assert type(told.post.reply) is dict
    hash((told.post.author, told.post.counters, told.files, told.captured_at))


@pytest.mark.parametrize(
    "body",
    [
        edited(format=2),
        edited(format="1"),
        edited(type="poem"),
        edited(captured_at="2026-05-29"),
        edited(captured_at="yesterday"),
        edited(author={"id": "1", "handle": "a", "nickname": "b", "admin": "yes"}),
        edited(author={"id": "1", "handle": "a", "nickname": "b", "admin": ["yes"]}),
        edited(author={"id": "1", "handle": "a"}),
        edited(counters=dict.fromkeys((*Counters.__slots__, "sold"), 1)),
        edited(missing=["audio", 7]),
        edited(missing=[["audio"]]),
        edited(counters=dict.fromkeys(Counters.__slots__, "12")),
        edited(files=[{}]),
        edited_file(kind="poem"),
        edited_file(key=["a"]),
        edited_file(key=None),
        edited_file(bytes="12"),
        edited_file(bytes=True),
        edited_file(bytes=float("inf")),
        edited_file(sha256={}),
        edited_file(media_type="text/poem"),
        edited_file(rendition="8k"),
        edited_file(position=float("inf")),
        edited_file(position="first"),
        edited_file(position=-1),
        edited_file(position=10_000),
        edited_file(bytes=-1),
        edited_file(bytes=2**63),
        edited_file(key=""),
        edited_file(key="../../etc/passwd"),
        edited_file(key=VIDEO.key.replace(ID, "7387261234567890124")),
        edited_file(sha256="AB" * 32),
        edited_file(sha256="ab" * 31),
        edited(counters=dict.fromkeys(Counters.__slots__, 2**63)),
        edited(counters=dict.fromkeys(Counters.__slots__, -1)),
        edited(create_time=10**30),
        edited(duration=float("inf")),
        edited(duration=float("nan")),
        edited(duration=10**400),
        edited(captured_at="0001-01-01T00:00:00Z"),
        edited(captured_at="9999-12-31T23:59:59-23:59"),
        b"[" * 100_000,
        b'{"format": ' + b"1" * 5000 + b"}",
    ],
)
def test_a_tampered_sidecar_is_refused(body: bytes) -> None:
    """A sidecar of another format, or with a field that cannot be, is named as no sidecar."""
    with pytest.raises(BadSidecar):
        read(body)


def test_texts_that_a_database_refuses_are_mended() -> None:
    """A NUL or half a surrogate pair that an editor left in a title does not keep the post out of the index."""
    told = read(edited(title="a\0b\ud800", author={"id": "1", "handle": "a\0", "nickname": "\udfff"}))
    assert told.post.title == "a\ufffdb\ufffd"
    assert told.post.author == Author("1", "a\ufffd", "\ufffd")


def test_a_refusal_says_what_is_wrong() -> None:
    """The reason names the field that is not what it should be."""
    with pytest.raises(BadSidecar, match="title"):
        read(edited(title=None))
    with pytest.raises(BadSidecar, match="another format"):
        read(edited(format=2))


def test_where_it_came_from_and_what_was_replaced_come_back() -> None:
    """The source, the discovery and the bytes of before are read as written; older sidecars tell none of them."""
    origin = Origin("@alice", NOW - 60, "https://www.tiktok.com/@alice/video/1")
    new_key = ObjectKey(f"videos/dt=2026-05-29/author=alice/{ID}.t9.mp4")
    old = Replaced(NOW, FileKind.VIDEO, VIDEO.key, 1234, "ab" * 32, new_key, 1235, "ef" * 32)
    body = write(POST, [VIDEO], captured_at=NOW, version="1", missing=[], origin=origin, replaced=[old])
    assert (read(body).origin, read(body).replaced) == (origin, (old,))
    before = write(POST, [VIDEO], captured_at=NOW, version="1", missing=[])
    assert (read(before).origin, read(before).replaced) == (None, ())
    told = json.loads(before)
    assert not {"source", "added_at", "asked_url", "replaced"} & set(told)


def test_a_sidecar_with_other_files_keeps_all_else() -> None:
    """After a repair the sidecar lists the new file and the history; the reply and what a later program added stay."""
    body = write(POST, [VIDEO, COVER], captured_at=NOW, version="1", missing=["audio"])
    told = json.loads(body) | {"of_a_later_program": [1, 2]}
    new = replace(VIDEO, sha256="ef" * 32, bytes=7)
    old = Replaced(NOW, FileKind.VIDEO, VIDEO.key, 1234, "ab" * 32, VIDEO.key, 7, "ef" * 32)
    again = with_files(json.dumps(told).encode(), [new, COVER], [old])
    found = read(again)
    assert found.files == (new, COVER) and found.replaced == (old,) and found.missing == ("audio",)
    assert {name: value for name, value in json.loads(again).items() if name not in ("files", "replaced")} == {
        name: value for name, value in told.items() if name != "files"
    }


@pytest.mark.parametrize("odd", [{"source": 5}, {"source": "@a", "added_at": "soon"}, {"replaced": [{"at": 1}]}])
def test_an_odd_origin_or_history_is_refused(odd: dict[str, Any]) -> None:
    """What a stranger wrote into a sidecar's history never comes into the index as it is."""
    body = json.loads(write(POST, [VIDEO], captured_at=NOW, version="1", missing=[]))
    with pytest.raises(BadSidecar):
        read(json.dumps(body | odd).encode())
