"""What is kept of an answer can be shown to anybody: no signature, no key, no matter how it is hidden."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core import scrub

SIGNED = (
    "https://v16m-default.akamaized.net/" + "0a" * 16 + "/66aabbcc/video/tos/x/?mime_type=video_mp4&vl=&sig=SECRET1"
)
IMAGE = "https://p16-sign.tiktokcdn-us.com/obj/tos/pic~tplv.jpeg?x-expires=1770000000&x-signature=SECRET2%3D"
ALIKE = ("my signature = love", "signature=dish", "v = 3; x-ray=fun", "token: gold", "max-expires=never", "tv-token=x")

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("url", "at"),
    [
        (SIGNED, float(0x66AABBCC)),
        (SIGNED.replace("/", "\\/"), float(0x66AABBCC)),
        ("https://h/v?a=0&expire=1770000000&signature=x", 1770000000.0),
        ("https://h/v?VExpiration=1770000000&VSignature=x", 1770000000.0),
        ("https://h/v?x-expires=1770000000&x-signature=x", 1770000000.0),
        ("https://h/v?Expires=1770000000000", 1770000000.0),
        (SIGNED + "&x-expires=1700000000", 1700000000.0),
        ("https://h/v?expire=1", None),
        ("https://h/v?notexpire=1770000000", None),
        ("https://h/v", None),
        ("https://h/" + "0a" * 16 + "/00000001/v", None),
        ("https://h/" + "0a" * 16 + "/66aabbcc0/v", None),
        ("", None),
    ],
)
def test_every_form_of_link_tells_when_it_dies(url: str, at: float | None) -> None:
    """A link that has died is not opened; the shorter of two dates is believed."""
    assert scrub.expiry(url) == at


def test_a_reply_is_kept_without_its_signatures() -> None:
    """No signed link and no key is ever written anywhere, however deep it hides in the answer."""
    nested = {"url": [SIGNED], "json": json.dumps({"u": SIGNED, "n": [IMAGE]}).replace("/", "\\/")}
    hidden = {"user": "https://u:SECRET6@h/x#SECRET7", "rel": "/play/1.mp4?sign=SECRET8", "X-Api-Key": "SECRET9"}
    text = {"t": "see https://h/v?q=SECRET10, or ?a=1&x-signature=SECRET11 or x-api-key: SECRET12 thanks"}
    more = {"//h/p?SECRET13": "https%3A%2F%2Fh%2Fp%3Fx-signature%3DSECRET14", "e": "//h/p?t=SECRET15"}
    kept = scrub.scrub(
        {
            "play": SIGNED,
            "cover": IMAGE,
            "title": "A title",
            "play_count": 156615,
            "comment_count": None,
            "extra": nested,
            **hidden,
            **text,
            **more,
        }
    )
    written = json.dumps(kept)
    assert "SECRET" not in written and "66aabbcc" not in written
    assert kept["play"] == "https://v16m-default.akamaized.net/-/-/video/tos/x/"
    assert kept["cover"] == "https://p16-sign.tiktokcdn-us.com/obj/tos/pic~tplv.jpeg"
    assert (kept["user"], kept["rel"], kept["X-Api-Key"]) == ("https://h/x", "/play/1.mp4", "-")
    assert kept["title"] == "A title" and kept["play_count"] == 156615 and kept["comment_count"] is None
    assert json.loads(kept["extra"]["json"])["n"] == [kept["cover"]]


@pytest.mark.parametrize(
    "text",
    [
        "see h/x;x-signature=SECRET",
        "VSignature=SECRET and more",
        "h/x?a=1;VExpiration=1770000000;VSignature=SECRET",
        "(x-amz-signature=SECRET)",
        "x-tos-security-token%3DSECRET",
        "h/x%3Bx-signature%3DSECRET",
        "https://h/x;x-signature=SECRET",
    ],
)
def test_a_signature_is_cut_wherever_it_stands(text: str) -> None:
    """A signature pasted without the link it belongs to, or behind a semicolon, is not kept either."""
    kept = scrub.scrub_text(text)
    assert "SECRET" not in kept and scrub.scrub_text(kept) == kept
    assert kept[:3] == text[:3]


def test_words_are_left_alone() -> None:
    """What people wrote is kept to the letter."""
    for text in ("50% off? #deal @you", "a/b//c", "who & what?", "key = value", "日本語 🐈", "", "1 / 2", *ALIKE):
        assert scrub.scrub(text) == scrub.scrub_text(text) == text


def test_scrubbing_keeps_the_shape_and_bounds_the_size() -> None:
    """A hostile answer cannot fill the disk or break the record of a post."""
    deep: Any = "end"
    for _ in range(500):
        deep = [deep]
    kept = scrub.scrub({"deep": deep, "long": "x" * 20_000, "nan": float("nan"), "big": 10**5000, "odd": object()})
    assert len(kept["long"]) == 10_000 and kept["nan"] is kept["big"] is kept["odd"] is None
    depth = 0
    while kept["deep"] is not None:
        kept["deep"], depth = kept["deep"][0], depth + 1
    assert depth == scrub.DEPTH_MAX - 1
    assert scrub.scrub({"a": [1, 2.5, True, None, "x"]}) == {"a": [1, 2.5, True, None, "x"]}


@given(_json)
def test_what_is_kept_can_always_be_stored(value: Any) -> None:
    """Any answer, scrubbed, is valid JSON in UTF-8 without NUL; scrubbing it again changes nothing."""
    kept = scrub.scrub(value)
    written = json.dumps(kept, allow_nan=False, ensure_ascii=False).encode()
    assert b"\\u0000" not in written and scrub.scrub(json.loads(written)) == json.loads(written)


@pytest.mark.parametrize(
    "text",
    [
        "\\" * 2**20,
        "https:" * 2**17,
        "?a-" * 2**18,
        "/" + "0" * 2**20,
        "x-api-key " * 2**16,
        "x-" * 2**19,
        "v" * 2**20,
        ";a-" * 2**18,
        "?" * 2**20,
    ],
)
def test_hostile_text_is_scrubbed_quickly(text: str) -> None:
    """A megabyte made to hurt costs less than a second."""
    begun = time.perf_counter()
    scrub.scrub_text(text)
    scrub.scrub(text)
    assert time.perf_counter() - begun < 60.0  # it ends: no measure of speed
