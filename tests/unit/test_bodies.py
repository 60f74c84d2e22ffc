"""What is sent to a store: read as a file is, and never silently short."""

from __future__ import annotations

import hashlib

import pytest

from clipledger.storage.bodies import Offer, of_bytes

WHOLE = bytes(range(256)) * 40


def test_a_body_is_read_as_a_file() -> None:
    """In pieces, whole, again from any place, and no further than its range."""
    body = of_bytes(WHOLE).piece(100, 5000, "0f")
    assert body.read(10) == WHOLE[100:110] and body.tell() == 10
    assert body.read() == WHOLE[110:5100] and body.read() == body.read(5) == b""
    assert body.seek(-4, 2) == 4996 and body.read(100) == WHOLE[5096:5100]
    assert body.seek(0) == 0 and body.readall() == WHOLE[100:5100] and len(body) == 5000


def test_a_part_that_is_shorter_than_told_is_an_error() -> None:
    """Nobody waits for bytes that will not come, and nothing short is taken for whole."""
    offer = Offer(
        "part", len(WHOLE), hashlib.sha256(WHOLE).hexdigest(), lambda offset, n: WHOLE[:7000][offset : offset + n]
    )
    body = offer.body()
    assert body.read(8000) == WHOLE[:7000]
    with pytest.raises(OSError, match="shorter"):
        body.read(8000)
