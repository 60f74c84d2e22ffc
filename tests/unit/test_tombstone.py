"""Tombstones: what was taken out is told to a database made anew, and nothing else is taken for one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.model import ObjectKey
from clipledger.core.tombstone import BadTombstone, RemovedFile, Tombstone, decode, encode, key_of, key_of_post

STONE = Tombstone("7400000000000000001", "", "asked to", "letter 7", "", "ann@desk", 1.78e9, 1.78e9 + 5, ())
WORDS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=50)


@given(WORDS, WORDS, st.lists(st.builds(RemovedFile, WORDS, WORDS, st.integers(0, 2**50)), max_size=4))
def test_a_tombstone_is_read_as_it_was_written(reason: str, request: str, files: list[RemovedFile]) -> None:
    """Any reason, reference and list of files comes back, and the same tombstone is the same bytes."""
    stone = Tombstone("", "66", reason, request, "old", "ann@desk", 1.78e9, 1.79e9, tuple(files))
    assert decode(key_of(stone), encode(stone)) == stone and encode(stone) == encode(stone)


def test_posts_and_authors_have_names_of_their_own() -> None:
    """A post's and an author's tombstone never stand under one name."""
    assert key_of(STONE) == key_of_post(STONE.aweme_id) == "removals/7400000000000000001.json"
    author = Tombstone("", STONE.aweme_id, "", "", "", "", 0.0, 0.0)
    assert key_of(author) == "removals/author=7400000000000000001.json"


@pytest.mark.parametrize(
    "change",
    [
        {"format": "clipledger-removal/9"},
        {"aweme_id": "7400000000000000002"},
        {"aweme_id": ""},
        {"aweme_id": 7400000000000000001},
        {"asked_at": "soon"},
        {"asked_at": None},
        {"files": [{"sha256": "ab"}]},
        {"files": 7},
        {"reason": "with \0"},
        {"reason": "\ud800"},
        {"aweme_id": "x y"},
        {"author_id": "66"},
        {"asked_at": "9999-12-31T23:59:59-23:59"},
        {"asked_at": "2099-01-01T00:00:00Z", "purge_at": "2099-01-02T00:00:00Z"},
        {"purge_at": "2020-01-01T00:00:00Z"},
        {"files": [{"sha256": "ab", "kind": "video", "bytes": 10**30}]},
        {"files": [{"sha256": "ab", "kind": "video", "bytes": -1}]},
        {"files": [{"sha256": "ab", "kind": "video", "bytes": float("inf")}]},
    ],
)
def test_what_is_no_tombstone_is_refused(change: dict[str, object]) -> None:
    """Another format, another's name, a missing or mistyped field: refused, and said so."""
    body = json.dumps(json.loads(encode(STONE)) | change).encode()
    with pytest.raises(BadTombstone):
        decode(key_of(STONE), body)


def test_a_tombstone_without_a_format_is_refused() -> None:
    """What does not say what it is, is not taken for one, and not for one that went away."""
    told = json.loads(encode(STONE))
    del told["format"]
    with pytest.raises(BadTombstone):
        decode(key_of(STONE), json.dumps(told).encode())


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff\xfe", b"{" * 100_000, b'{"format": "clipledger-removal/1"}'])
def test_garbage_is_refused(body: bytes) -> None:
    """Whatever stands in the folder, reading it is safe."""
    with pytest.raises(BadTombstone):
        decode(ObjectKey("removals/7400000000000000001.json"), body)
