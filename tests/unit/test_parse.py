"""What the API says is read for what it means, odd as it may be; what it cannot mean is refused with a sample."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core import parse
from clipledger.core.errors import MalformedReply, Reason
from clipledger.core.model import Author, AwemeId, Counters, Post, Quality, SignedUrl

NOW = 1_780_000_000.0
ID = AwemeId("7387261234567890123")
OTHER = AwemeId("7387261234567890124")
SIGNED = (
    "https://v16m-default.akamaized.net/" + "0a" * 16 + "/66aabbcc/video/tos/x/?mime_type=video_mp4&vl=&sig=SECRET1"
)
IMAGE = "https://p16-sign.tiktokcdn-us.com/obj/tos/pic~tplv.jpeg?x-expires=1770000000&x-signature=SECRET2%3D"


def detail_body(**changes: Any) -> dict[str, Any]:
    """Build a detail body of the usual shape."""
    body: dict[str, Any] = {
        "id": ID,
        "aweme_id": "v09044g40000abc",
        "region": "US",
        "title": "A title",
        "cover": IMAGE,
        "origin_cover": "https://p19.tiktokcdn-us.com/origin.jpeg?x-expires=1770000000&x-signature=SECRET3",
        "duration": 10,
        "play": SIGNED,
        "wmplay": "https://v19.tiktokcdn-us.com/wm?expire=1770000001&signature=SECRET4",
        "hdplay": "https://v16.tiktokcdn-us.com/hd?VExpiration=1770000002&VSignature=SECRET5",
        "size": 2953029,
        "wm_size": 0,
        "hd_size": "2004627",
        "music": "https://v16-ies-music.tiktokcdn-us.com/tune",
        "music_info": {"id": "6689804660171082501", "play": "https://v16-ies-music.tiktokcdn-us.com/tune2"},
        "play_count": 156615,
        "digg_count": "34778",
        "comment_count": None,
        "share_count": 2**31 + 5,
        "collect_count": -1,
        "create_time": 1719980800,
        "is_ad": False,
        "author": {"id": "53279706535428096", "unique_id": "somebody", "nickname": "Some Body"},
        "images": None,
    }
    return {key: value for key, value in {**body, **changes}.items() if value is not ...}


def read(**changes: Any) -> Post:
    return parse.detail(detail_body(**changes), asked=ID, now=NOW)


def links(post: Post) -> list[tuple[Quality, str]]:
    return [(rendition.quality, rendition.link.reveal()) for rendition in post.renditions]


def test_a_usual_detail_is_read_whole() -> None:
    """Everything the API says of a post is in the archive's record of it."""
    post = read()
    assert post.aweme_id == ID
    assert post.author == Author("53279706535428096", "somebody", "Some Body")
    assert (post.title, post.region, post.duration_s, post.created_at) == ("A title", "US", 10.0, 1719980800)
    assert post.counters == Counters(156615, 34778, None, 2**31 + 5, None, None)
    assert post.music_id == "6689804660171082501"
    assert [r.quality for r in post.renditions] == [Quality.HD, Quality.STANDARD, Quality.WATERMARKED]
    assert [r.size_hint for r in post.renditions] == [2004627, 2953029, None]
    assert [r.link.expires_at for r in post.renditions] == [1770000002.0, float(0x66AABBCC), 1770000001.0]
    assert [link.reveal()[-5:] for link in post.audio] == ["/tune", "tune2"]
    assert [link.reveal() for link in post.covers] == [detail_body()["origin_cover"], IMAGE]
    assert not (post.is_photo or post.is_ad or post.pinned or post.thin)


def test_the_envelope_is_taken_off() -> None:
    """The enveloped form of an answer is read like the flat one."""
    flat = detail_body()
    for body in ({"code": 0, "msg": "success", "processed_time": 0.3, "data": flat}, {"data": flat}):
        assert parse.detail(body, asked=ID, now=NOW) == parse.detail(flat, asked=ID, now=NOW)


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ({"id": ID, "video_id": OTHER}, ID),
        ({"video_id": ID}, ID),
        ({"aweme_id": ID}, ID),
        ({"aweme_id": "v09044g4", "video_id": f" {ID} "}, ID),
        ({"id": "107955", "video_id": ID}, ID),
        ({"id": int(ID)}, ID),
        ({"id": float(ID), "video_id": ID}, ID),
        ({"id": "", "video_id": None, "aweme_id": ""}, None),
        ({"id": float(ID)}, None),
        ({"id": True}, None),
        ({"id": "9223372036854775807"}, None),
        ({"id": "1" * 5000}, None),
    ],
)
def test_identity_is_decided_as_written(ids: dict[str, Any], found: str | None) -> None:
    """The post id is the first that can be one; the media's own uri is never taken for it."""
    entry = {**detail_body(id=..., aweme_id=...), **ids}
    page = parse.page({"videos": [entry], "cursor": 1, "hasMore": True}, now=NOW)
    assert [post.aweme_id for post in page.posts] == ([found] if found else [])
    assert page.bad_items == (0 if found else 1)


def test_a_detail_without_an_id_is_the_post_that_was_asked_for() -> None:
    """Older bodies name no post: the URL asked for does."""
    assert read(id=..., aweme_id=...).aweme_id == ID
    assert read(id=float(ID), aweme_id="").aweme_id == ID


def test_a_detail_of_another_post_is_stored_under_neither() -> None:
    """An answer about another video never lands in this one's file."""
    with pytest.raises(MalformedReply) as refused:
        read(id=OTHER)
    assert refused.value.reason is Reason.WRONG_ID
    assert OTHER in refused.value.detail and "SECRET" not in refused.value.sample


@pytest.mark.parametrize("body", [None, 7, "text", [], {}, {"message": "?"}, {"id": ID}, {"code": 0, "data": []}])
def test_an_unknown_detail_is_refused_with_a_sample(body: Any) -> None:
    """A changed API is noticed at once, and the operator sees what it sends now."""
    with pytest.raises(MalformedReply) as refused:
        parse.detail(body, asked=ID, now=NOW)
    assert refused.value.reason is Reason.MALFORMED
    assert json.loads(refused.value.sample) == body


def test_samples_are_short_and_hold_no_signature() -> None:
    """What is kept of an unknown body can be sent to a bug tracker."""
    body = {"surprise": [{"url": SIGNED, "x-api-key": "KEY1"}] * 500}
    with pytest.raises(MalformedReply) as refused:
        parse.detail(body, asked=ID, now=NOW)
    assert len(refused.value.sample) == parse.SAMPLE_MAX
    assert "SECRET" not in refused.value.sample and "KEY1" not in refused.value.sample


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"title": None}, "title", ""),
        ({"title": ...}, "title", ""),
        ({"title": 5}, "title", "5"),
        ({"title": " kept \n"}, "title", " kept \n"),
        ({"title": "a\ud83d b\x00"}, "title", "a\ufffd b\ufffd"),
        ({"title": "x" * 20_000}, "title", "x" * 10_000),
        ({"region": None}, "region", ""),
        ({"duration": 0}, "duration_s", None),
        ({"duration": ...}, "duration_s", None),
        ({"duration": 10.5}, "duration_s", 10.5),
        ({"duration": "10.5"}, "duration_s", 10.5),
        ({"duration": float("nan")}, "duration_s", None),
        ({"duration": -3}, "duration_s", None),
        ({"duration": 10**30}, "duration_s", None),
        ({"create_time": "1719980800"}, "created_at", 1719980800),
        ({"create_time": 0}, "created_at", 1719980788),
        ({"create_time": None}, "created_at", 1719980788),
        ({"create_time": NOW + 90_000}, "created_at", 1719980788),
        ({"author": "somebody"}, "author", Author(handle="somebody")),
        ({"author": "@somebody"}, "author", Author(handle="somebody")),
        ({"author": "Some Body"}, "author", Author(nickname="Some Body")),
        ({"author": None}, "author", Author()),
        ({"author": {"unique_id": "x"}}, "author", Author(handle="x")),
        ({"author": {"id": 107955, "unique_id": None}}, "author", Author(id="107955")),
        ({"author": {"id": 1e17, "uniqueId": "x"}}, "author", Author(handle="x")),
        ({"music_info": None}, "music_id", ""),
        ({"music_info": "odd"}, "music_id", ""),
        ({"music_info": {"id": 107955}}, "music_id", "107955"),
        ({"is_ad": True}, "is_ad", True),
        ({"is_ad": "false"}, "is_ad", False),
        ({"is_top": 1}, "pinned", True),
        ({"is_top": "1"}, "pinned", True),
        ({"is_top": 0}, "pinned", False),
        ({"cover": "", "origin_cover": None}, "covers", ()),
        ({"music": "", "music_info": None}, "audio", ()),
    ],
)
def test_odd_fields_are_read_for_what_they_mean(changes: dict[str, Any], field: str, value: object) -> None:
    """No null, number in quotes or missing field stops the capture of a post."""
    assert getattr(read(**changes), field) == value


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (0, 0),
        (2**40, 2**40),
        ("12", 12),
        ("1.0", 1),
        (3.0, 3),
        (None, None),
        ("", None),
        ("many", None),
        (True, None),
        (-1, None),
        (10**30, None),
        ("9" * 400, None),
        ([], None),
        (float("inf"), None),
        ("१२", None),
    ],
)
def test_counters_are_numbers_or_unknown(raw: object, count: int | None) -> None:
    """A counter that cannot be one is unknown, never 0 and never a crash."""
    assert read(play_count=raw).counters.play == count


def test_equal_links_are_not_tried_twice() -> None:
    """A watermarked link that is the plain one does not pass for a watermarked file."""
    post = read(wmplay=SIGNED, cover=IMAGE, origin_cover=IMAGE)
    assert [quality for quality, _ in links(post)] == [Quality.HD, Quality.STANDARD]
    assert post.covers == (SignedUrl(IMAGE),)


def test_empty_links_are_no_links() -> None:
    """A rendition without a link is not tried."""
    assert links(read(hdplay="", wmplay=None, play="  ")) == []
    assert links(read(hdplay=..., wmplay=...)) == [(Quality.STANDARD, SIGNED)]


def test_relative_links_are_kept_as_they_came() -> None:
    """A link relative to the API is joined by who opens it."""
    assert links(read(play="/video/media/play/1.mp4", hdplay=..., wmplay=...)) == [
        (Quality.STANDARD, "/video/media/play/1.mp4")
    ]


def test_list_items_have_no_hd() -> None:
    """What a list shows is never taken for the best there is."""
    page = parse.page({"videos": [detail_body(id=..., video_id=ID)], "hasMore": 0}, now=NOW)
    assert [quality for quality, _ in links(page.posts[0])] == [Quality.STANDARD, Quality.WATERMARKED]


def test_a_photo_post_keeps_its_sound_out_of_video() -> None:
    """The play links of a photo post are its sound: they never become an MP4."""
    post = read(
        images=[IMAGE, IMAGE + "2"],
        music="https://a/s2",
        duration=0,
        play="https://a/s?mime_type=audio_mpeg",
        hdplay="",
        wmplay="https://a/s2",
    )
    assert post.is_photo and post.renditions == () and post.duration_s is None
    assert [slide.image.reveal() for slide in post.slides if slide.image] == [IMAGE, IMAGE + "2"]
    assert [link.reveal() for link in post.audio] == [
        "https://a/s?mime_type=audio_mpeg",
        "https://a/s2",
        detail_body()["music_info"]["play"],
    ]


def test_live_slides_stand_beside_their_images() -> None:
    """A slide that moves is captured as video, the others as pictures, in their order."""
    post = read(images=["https://a/1", None, "https://a/3"], live_images=[None, "https://a/2v", "https://a/3v"])
    seen = [(s.image and s.image.reveal(), s.video and s.video.reveal()) for s in post.slides]
    assert seen == [("https://a/1", None), (None, "https://a/2v"), ("https://a/3", "https://a/3v")]


@pytest.mark.parametrize("live", [None, "x", [], {}])
def test_missing_live_slides_are_no_matter(live: object) -> None:
    """A photo post without live slides is read from its images alone."""
    assert len(read(images=["https://a/1"], live_images=live).slides) == 1


def test_photo_posts_of_a_new_shape_are_not_taken_for_video() -> None:
    """Should `images` change its shape, no sound is stored as a film, and the sample shows the new shape."""
    for images in ({"0": "https://a/1"}, [{"url": "https://a/1?x-signature=S"}], [None, {"url_list": []}], [7], [""]):
        with pytest.raises(MalformedReply) as caught:
            read(images=images)
        assert "images" in caught.value.sample and "S" not in caught.value.sample.split("images")[1][:60]


@pytest.mark.parametrize("odd", [{"url_list": ["https://a/1"]}, ["https://a/1"], 7])
@pytest.mark.parametrize("where", ["images", "live_images"])
def test_a_slide_that_cannot_be_read_is_no_missing_one(where: str, odd: object) -> None:
    """One readable slide does not make a post whole whose others changed their shape: it is asked for again."""
    told = {"images": [None, "https://a/2"], "live_images": [None, "https://a/2v"]}
    assert len(read(**told).slides) == 2
    told[where] = [odd, told[where][1]]  # type: ignore[list-item]
    with pytest.raises(MalformedReply, match="slides"):
        read(**told)


@pytest.mark.parametrize("images", [None, [], "", 0])
def test_a_video_may_say_that_it_has_no_slides(images: object) -> None:
    """A video whose `images` is empty is a video."""
    assert not read(images=images).is_photo and links(read(images=images))


def test_what_people_write_is_kept_without_signatures() -> None:
    """A signed link in a caption or a name is not written anywhere either; the rest of the words is."""
    signed = "look https://v16.tiktokcdn.com/" + "0a" * 16 + "/66aabbcc/v/?a=1&signature=SECRET at 10/10, ok?"
    post = read(title=signed, author={"id": "1", "unique_id": "a", "nickname": signed})
    for text in (post.title, post.author.nickname):
        assert "SECRET" not in text and "0a0a" not in text
        assert text.startswith("look https://v16.tiktokcdn.com/") and text.endswith(" at 10/10, ok?")


@pytest.mark.parametrize("where", ["images", "live_images"])
def test_the_most_slides_that_a_post_may_have(where: str) -> None:
    """A post of 9,999 slides is read, one of 10,000 is refused with a clear reason: their names have four digits."""
    assert len(read(**{"images": ["https://a/1"], where: ["https://a/1"] * 9_999}).slides) == 9_999
    with pytest.raises(MalformedReply, match="more than 9999 slides"):
        read(**{"images": ["https://a/1"], where: ["https://a/1"] * 10_000})


@pytest.mark.parametrize(
    ("fields", "cursor", "more"),
    [
        ({"cursor": "1639312724000", "hasMore": True}, "1639312724000", True),
        ({"cursor": 30, "hasMore": 1}, "30", True),
        ({"cursor": 0, "hasMore": 0}, "0", False),
        ({"cursor": 30.0, "hasMore": "true"}, "30", True),
        ({"cursor": "", "hasMore": True}, None, True),
        ({"cursor": None, "hasMore": True}, None, True),
        ({"cursor": True, "hasMore": "0"}, None, False),
        ({"cursor": "x" * 600, "hasMore": True}, None, True),
        ({"cursor": 30}, "30", True),
        ({"cursor": 30, "has_more": False}, "30", False),
        ({}, None, False),
    ],
)
def test_cursors_are_opaque_text(fields: dict[str, Any], cursor: str | None, more: bool) -> None:
    """Each kind of cursor leads on, and the end of a list is seen in each of its spellings."""
    page = parse.page({"videos": [detail_body()], **fields}, now=NOW)
    assert (page.cursor, page.has_more) == (cursor, more)


def test_bad_items_are_counted_and_the_others_kept() -> None:
    """One broken entry costs nothing but itself, and it is told."""
    entries = [None, 5, "x", [], {}, {"id": "v0904"}, detail_body(), {"video_id": OTHER}]
    page = parse.page({"videos": entries, "cursor": 1, "hasMore": True}, now=NOW)
    assert ([post.aweme_id for post in page.posts], page.bad_items) == ([ID, OTHER], 6)


@pytest.mark.parametrize("body", [{}, {"videos": None}, {"videos": {}}, {"cursor": 1, "hasMore": False}, [], None])
def test_a_list_without_videos_is_never_an_empty_list(body: Any) -> None:
    """A source is not closed because an answer was broken."""
    with pytest.raises(MalformedReply):
        parse.page(body, now=NOW)
    assert parse.page({"videos": []}, now=NOW).posts == ()


def test_the_smaller_endpoint_gives_links_and_the_list_gives_the_rest() -> None:
    """In lean mode a post has two links, the list's metadata, and says that it is thin."""
    hint = parse.page({"videos": [detail_body(id=..., video_id=ID)]}, now=NOW).posts[0].reply
    body = {"video": SIGNED, "video_hd": ""}
    post = parse.links_reply(body, asked=ID, hint=hint, now=NOW)
    assert links(post) == [(Quality.STANDARD, SIGNED)]
    assert post.thin and (post.audio, post.covers, post.slides) == ((), (), ())
    assert (post.title, post.author.handle, post.counters.play, post.duration_s) == (
        "A title",
        "somebody",
        156615,
        10.0,
    )
    assert "SECRET" not in json.dumps(post.reply) and "video" in post.reply
    bare = parse.links_reply({"video": "", "video_hd": SIGNED}, asked=ID, hint=None, now=NOW)
    assert links(bare) == [(Quality.HD, SIGNED)] and bare.title == ""
    other = parse.links_reply(body, asked=ID, hint={**hint, "video_id": OTHER}, now=NOW)
    assert other.aweme_id == ID and other.title == ""


def test_the_smaller_endpoint_is_checked_too() -> None:
    """An unknown body or another post's links are refused in lean mode as well."""
    with pytest.raises(MalformedReply):
        parse.links_reply({"url": SIGNED}, asked=ID, hint=None, now=NOW)
    with pytest.raises(MalformedReply) as refused:
        parse.links_reply({"video": SIGNED, "id": OTHER}, asked=ID, hint=None, now=NOW)
    assert refused.value.reason is Reason.WRONG_ID
    assert parse.is_photo_hint({"images": ["https://a/1"]})
    assert not parse.is_photo_hint({"images": None}) and not parse.is_photo_hint(None)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(sorted(detail_body())), _json)
def test_no_field_can_break_the_reading(field: str, value: Any) -> None:
    """Whatever one field holds, the post is read or the answer refused; nothing else happens."""
    body = {**detail_body(), field: value}
    page = parse.page({"videos": [body], "cursor": value, "hasMore": value}, now=NOW)
    assert len(page.posts) + page.bad_items == 1
    try:
        post = parse.detail(body, asked=ID, now=NOW)
    except MalformedReply:
        return
    assert post.aweme_id == ID
    json.dumps(post.reply, allow_nan=False)


@given(_json)
def test_no_body_can_break_the_readers(body: Any) -> None:
    """Any JSON at all gives a value or a MalformedReply."""
    for reader in (
        lambda: parse.page(body, now=NOW),
        lambda: parse.detail(body, asked=ID, now=NOW),
        lambda: parse.links_reply(body, asked=ID, hint=None, now=NOW),
        lambda: parse.user(body),
        lambda: parse.tag(body),
        lambda: parse.regions(body),
    ):
        try:
            reader()
        except MalformedReply as refused:
            assert len(refused.sample) <= parse.SAMPLE_MAX
