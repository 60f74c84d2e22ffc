"""Sidecars handed to the index without being read back: the very bytes, once, and never too many."""

from __future__ import annotations

from clipledger.core.model import ObjectKey
from clipledger.stages.fresh import Fresh

A, B, C = (ObjectKey(f"videos/{name}.json") for name in "abc")


def test_what_was_put_is_handed_over_once() -> None:
    """The index gets the bytes that stand under the key; asked again it reads the store."""
    fresh = Fresh()
    fresh.keep(A, b"one")
    assert fresh.take(A) == b"one"
    assert fresh.take(A) is None


def test_the_latest_bytes_count() -> None:
    """A post captured twice in one process is recorded as it stands now."""
    fresh = Fresh()
    fresh.keep(A, b"one")
    fresh.keep(A, b"two")
    assert fresh.take(A) == b"two"


def test_too_many_push_out_the_oldest() -> None:
    """An index that cannot keep up costs no memory: what is pushed out is read from the store."""
    fresh = Fresh(bytes_max=10)
    for key in (A, B, C):
        fresh.keep(key, b"12345")
    assert [fresh.take(key) for key in (A, B, C)] == [None, b"12345", b"12345"]
