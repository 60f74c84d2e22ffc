"""Bad input for everything that reads and decides without a network: what is typed, replies, media, keys, sidecars.

Each function takes one input drawn from its dice through the real code, checks that what was accepted is safe, and
says what came of it. Must not: catch what it does not expect.
"""

from __future__ import annotations

import asyncio
import json
import random
from functools import cache, partial
from importlib.resources import files as shipped

from clipledger import sources
from clipledger.core import layout, links, media, parse, query, sidecar, times
from clipledger.core.history import read_steps
from clipledger.core.model import AwemeId, FileKind, MediaType, ObjectKey, Post, Quality, StoredFile
from clipledger.core.ports import KeyTaken
from clipledger.core.scrub import scrub, scrub_text
from clipledger.net.retry_after import RETRY_AFTER_CAP_S, retry_after_s
from clipledger.net.tiklive import judge
from clipledger.storage.keys import key_parts
from clipledger.storage.local import LocalStore
from hostile import naughty
from hostile.sandbox import Sandbox
from hostile.verdicts import ACCEPTED, Corpus, each
from unit import media_files

NOW = 1_780_000_000.0
DAY = "2026-05-28"
ID = AwemeId("7387261234567890123")


def safe(text: str) -> None:
    """Demand that a text can be kept anywhere: encodable, without NUL."""
    assert "\0" not in text, f"a NUL in {text[:80]!r}"
    text.encode()


# What is typed


def typed(place: Sandbox, dice: random.Random) -> str:
    """A source, an option, a duration or a query, as an operator might paste it."""
    reader = dice.randrange(6)
    if reader < 3:
        return _understood(links.understand(naughty.typed(dice), now=NOW))
    text = naughty.text(dice)
    match reader:
        case 3:
            assert times.parse_duration(dice.choice((text, f"{text}h", f"{dice.choice(naughty.NUMBERS)}d"))) > 0
        case 4:
            read_steps(dice.choice((text, f"1h,{text}", ",".join(["1h"] * dice.randrange(2_000)))))
        case 5:
            asked = query.parse(
                dice.choice((text, f"from:{text}", f"since:{text}", f"plays:{text}", f'"{text}', f"{text} OR"))
            )
            for word in asked.words:
                safe(word)
    return ACCEPTED


def _understood(wanted: links.Wanted) -> str:
    match wanted:
        case links.WantedPost():
            assert links.plausible_id(wanted.aweme_id, NOW) and wanted.asked_url.isascii()
        case links.WantedShortLink():
            assert wanted.url.isascii() and wanted.url.startswith(
                ("https://vm.tiktok", "https://vt.tiktok", "https://www.tiktok", "https://tiktok", "https://m.tiktok")
            ), wanted
        case links.WantedSource():
            safe(wanted.subject)
            kind = sources.registry()[wanted.kind]
            written = kind.write(wanted.subject, wanted.options)
            again = links.understand(written, now=NOW)
            assert isinstance(again, links.WantedSource), written
            assert (again.kind, again.subject) == (wanted.kind, wanted.subject), written
    return ACCEPTED


def told(place: Sandbox, dice: random.Random) -> str:
    """A header or a text of another side: Retry-After, an error's words, a redirect's target."""
    text = naughty.text(dice)
    wait = retry_after_s({"retry-after": dice.choice((text, str(dice.choice(naughty.NUMBERS)), "9" * 400))}, NOW)
    assert wait is None or 0 <= wait <= RETRY_AFTER_CAP_S
    links.from_redirect(dice.choice((text, naughty.link(dice), naughty.typed(dice))), NOW)
    shown = links.shown(naughty.typed(dice))
    assert shown.isprintable() and len(shown) <= 80 * 10
    scrub_text(text)
    return ACCEPTED


# Replies


def detail_body(dice: random.Random, aweme_id: str = ID) -> dict[str, object]:
    """Build a whole reply of the usual shape."""
    link = f"https://v16.tiktokcdn.com/{aweme_id}/{'0a' * 16}/76aabbcc/video.mp4?x-expires=1999999999&x-signature=s"
    body: dict[str, object] = {
        "id": aweme_id,
        "region": "US",
        "title": "A title #dance",
        "cover": link,
        "origin_cover": link,
        "duration": 10,
        "play": link,
        "wmplay": link,
        "hdplay": link,
        "size": 1000,
        "music": link,
        "music_info": {"id": "6689804660171082501", "play": link, "title": "t", "author": "a"},
        "create_time": 1779999000,
        "is_ad": False,
        "author": {"id": "53279706535428096", "unique_id": "somebody", "nickname": "Some Body"},
        "images": [link, link] if dice.random() < 0.2 else None,
    }
    return body | {
        f"{name}_count": dice.randrange(10**6) for name in ("play", "digg", "comment", "share", "download", "collect")
    }


def named_body(dice: random.Random, aweme_id: str = ID) -> dict[str, object]:
    """Build a reply of the usual shape whose people chose their names and titles to hurt."""
    who = {"unique_id": naughty.text(dice), "nickname": naughty.text(dice)}
    who["id"] = dice.choice(("", "53279706535428096", naughty.number_id(dice)))
    sound = {"id": naughty.text(dice), "play": "", "title": naughty.text(dice)}
    named = {"author": who, "title": naughty.text(dice), "music_info": sound, "region": naughty.text(dice)}
    return detail_body(dice, aweme_id) | named


def hostile_body(dice: random.Random, aweme_id: str = ID) -> bytes:
    """Build a reply about a post, made to hurt."""
    body = named_body(dice, aweme_id) if dice.random() < 0.4 else detail_body(dice, aweme_id)
    if dice.random() < 0.3:
        body |= {name: naughty.link(dice) for name in ("play", "hdplay", "cover", "music")}
    spoilt = naughty.spoil(dice, body, dice.choice((0, 0, 1, 2, 6)))
    if dice.random() < 0.3:
        envelope = {"code": 0, "msg": "success", "data": spoilt}
        spoilt = naughty.spoil(dice, envelope, dice.randrange(3))
    return naughty.encode(dice, spoilt)


def replies(place: Sandbox, dice: random.Random) -> str:
    """A body of the API, decoded, judged and read as each kind of answer there is."""
    body = hostile_body(dice)
    if dice.random() < 0.3:
        page = {
            "videos": [detail_body(dice) for _ in range(dice.randrange(4))],
            "cursor": dice.choice(naughty.NUMBERS),
            "hasMore": True,
        }
        body = naughty.encode(dice, naughty.spoil(dice, page, dice.randrange(6)))
    headers = {"retry-after": naughty.text(dice)}
    reply = judge(dice.choice((200, 200, 200, 404, 400)), headers, body, about_post=True, now=NOW)
    read = dice.choice((_page, _detail, _detail, _detail, _lean, _entity))
    read(reply)
    return ACCEPTED


def _page(reply: object) -> None:
    page = parse.page(reply, now=NOW)
    for post in page.posts:
        kept(post)
    if page.cursor is not None:
        safe(page.cursor)


def _detail(reply: object) -> None:
    kept(parse.detail(reply, asked=ID, now=NOW))


def _lean(reply: object) -> None:
    hint = scrub(reply)
    kept(parse.links_reply(reply, asked=ID, hint=hint if isinstance(hint, dict) else None, now=NOW))


def _entity(reply: object) -> None:
    for read in (parse.user, parse.tag):
        safe(read(reply).name)
    parse.regions(reply)


def kept(post: Post) -> None:
    """Demand that a post fits where it goes: a key, a sidecar that can be read again, any database."""
    for text in (post.title, post.author.handle, post.author.nickname, post.author.id, post.region, post.music_id):
        safe(text)
    author = layout.author_part(post.author.handle, post.author.id)
    key = layout.video_key(DAY, author, post.aweme_id)
    file = StoredFile(FileKind.VIDEO, key, 1, "ab" * 32, MediaType.MP4, Quality.HD)
    body = sidecar.write(post, [file], captured_at=NOW, version="0", missing=[])
    assert len(body) <= sidecar.MAX_BYTES and b"x-signature=s" not in body
    again = sidecar.read_of(body, post.aweme_id)
    assert (again.post.title, again.post.author, again.post.counters) == (post.title, post.author, post.counters)


# Media


@cache
def bodies() -> tuple[tuple[FileKind, bytes], ...]:
    """Give whole files of every kind, small ones and those that ship with the simulator."""
    made = media_files
    small = (
        made.mp4("vide", "soun"),
        made.mp4("vide", moov_first=False, wide=True),
        made.fragmented(told=10.0),
        made.mp4("vide", each=50),
    )
    others = (
        (FileKind.IMAGE, made.jpeg()),
        (FileKind.IMAGE, made.webp()),
        (FileKind.IMAGE, made.png()),
        (FileKind.IMAGE, made.heic()),
    )
    sound = (
        (FileKind.AUDIO, made.mp3(tag=b"x" * 40)),
        (FileKind.AUDIO, made.mp3(xing=True)),
        (FileKind.AUDIO, made.mp4("soun")),
    )
    real = tuple(
        path.read_bytes()
        for path in shipped("clipledger.sim").joinpath("media").iterdir()
        if path.name.endswith(".mp4")
    )
    return (*((FileKind.VIDEO, body) for body in (*small, *small, *real)), *others, *sound)


def films(place: Sandbox, dice: random.Random) -> str:
    """A file, cut where a box ends or damaged anywhere, looked at as any kind that could be wanted."""
    kind, body = dice.choice(bodies())
    if dice.random() < 0.2:
        ends = borders(body)
        body = body[: dice.choice(ends) + dice.choice((0, 0, -1, 1))] if ends else body[: dice.randrange(len(body))]
    else:
        body = naughty.damaged(dice, body)
    wanted = kind if dice.random() < 0.8 else dice.choice(list(FileKind))
    return check(wanted, body, dice.choice((None, 10.0, 0.5, 1e9)))


def check(kind: FileKind, body: bytes, duration_s: float | None) -> str:
    """Have the bytes judged as a download's part would be."""
    media.check(kind, lambda at, n: body[at : at + n], len(body), duration_s=duration_s)
    return ACCEPTED


_NESTING = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf", b"mvex", b"edts", b"udta"}


def borders(body: bytes, start: int = 0, end: int | None = None) -> list[int]:
    """List where boxes begin and end, those inside others too."""
    found, at, end = [], start, len(body) if end is None else end
    while at + 8 <= end:
        size, kind, header = int.from_bytes(body[at : at + 4], "big"), body[at + 4 : at + 8], 8
        if size == 1:
            size, header = int.from_bytes(body[at + 8 : at + 16], "big"), 16
        if not header <= size <= end - at:
            break
        found += [at, at + header, at + size]
        if kind in _NESTING:
            found += borders(body, at + header, at + size)
        at += size
    return sorted(set(found))


# Keys


def keys(place: Sandbox, dice: random.Random) -> str:
    """A handle made into a key, or a key as a listing shows it, used on a real folder."""
    store = LocalStore(place.folder / "keys")
    if dice.random() < 0.5:
        author = layout.author_part(naughty.text(dice), dice.choice(("", naughty.number_id(dice), naughty.text(dice))))
        build = dice.choice(
            (
                partial(layout.video_key, DAY, author, ID),
                partial(layout.sidecar_key, DAY, author, ID, True),
                partial(layout.photo_key, DAY, author, ID, dice.randrange(1, 10_000), MediaType.WEBP),
                partial(layout.audio_key, DAY, author, ID, False, MediaType.MP3),
            )
        )
        key = build()
        assert layout.parse_key(key) is not None and len(author) <= layout.PART_BYTES_MAX
        asyncio.run(_used(store, key))
        return ACCEPTED
    key = ObjectKey(_listed_key(dice))
    parts = layout.parse_key(key)
    if parts is not None:
        key_parts(key)
    asyncio.run(_used(store, key))
    return ACCEPTED


def _listed_key(dice: random.Random) -> str:
    pieces = [
        dice.choice((naughty.text(dice), "videos", "..", f"dt={DAY}", "author=a", f"{ID}.mp4"))
        for _ in range(dice.randrange(1, 6))
    ]
    key = "/".join(pieces)
    return dice.choice((key, f"videos/dt={DAY}/author={naughty.text(dice)}/{ID}.mp4", "/" + key, key + "/"))


async def _used(store: LocalStore, key: ObjectKey) -> None:
    await store.put_bytes(key, b"hostile", MediaType.JSON)
    assert await store.stat(key) is not None
    assert await store.read(key, 100) == b"hostile"
    assert [stat.key async for stat in store.walk(key)] == [key]
    await store.delete(key)


# Sidecars


def sidecars(place: Sandbox, dice: random.Random) -> str:
    """A sidecar that somebody edited, or wrote by hand."""
    found = sidecar.read(hostile_sidecar(dice))
    for text in (found.post.title, found.post.author.handle, found.post.region, found.post.music_id):
        safe(text)
    for file in found.files:
        key_parts(file.key)
        assert 0 <= file.bytes < 2**63 and 0 <= file.position < 2**31
    for count in (
        *(getattr(found.post.counters, name) for name in found.post.counters.__slots__),
        found.post.created_at,
    ):
        assert count is None or 0 <= count < 2**63
    times.iso_time(found.captured_at)
    return ACCEPTED


def hostile_sidecar(dice: random.Random, whole: bytes | None = None) -> bytes:
    """Edit a sidecar, this one or a small one, as nobody should."""
    if whole is None:
        post = parse.detail(detail_body(dice) | {"images": None}, asked=ID, now=NOW)
        files = [
            StoredFile(FileKind.VIDEO, layout.video_key(DAY, "alice", ID), 1234, "ab" * 32, MediaType.MP4, Quality.HD),
            StoredFile(FileKind.COVER, layout.cover_key(DAY, ID, MediaType.JPEG), 99, "cd" * 32, MediaType.JPEG),
        ]
        whole = sidecar.write(post, files, captured_at=NOW, version="0", missing=[])
    tree = json.loads(whole)
    if dice.random() < 0.7:
        where = dice.choice((tree, tree["author"], tree["counters"], *tree["files"]))
        where[dice.choice(list(where))] = dice.choice(
            (naughty.value(dice), dice.choice(naughty.NUMBERS), naughty.text(dice))
        )
    return naughty.encode(dice, naughty.spoil(dice, tree, dice.choice((0, 0, 0, 1, 2, 5))))


CORPORA = (
    Corpus("typed", 150, each(typed)),
    Corpus("told", 30, each(told)),
    Corpus("replies", 180, each(replies)),
    Corpus("media", 250, each(films)),
    Corpus("keys", 60, each(keys, ValueError, KeyTaken)),
    Corpus("sidecars", 80, each(sidecars)),
)
