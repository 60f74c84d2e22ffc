"""Slowing down when descriptors run out, amounts of bytes, and the reserve of free space."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from clipledger.core.errors import StorageFull, UsageError
from clipledger.core.sizes import parse_size, shown_size
from clipledger.net import descriptors
from clipledger.stages.easing import ONCE_S, Easing
from clipledger.storage.room import AUTO_BYTES, Room


def test_running_out_of_descriptors_halves_the_work_once_and_lets_it_grow_again() -> None:
    """Twenty posts that run out together halve the work once; then it grows by one after each round of successes."""
    easing = Easing(20)
    assert easing.ran_out(20, 100.0) and easing.allowed == 10
    assert not any(easing.ran_out(20 - n, 100.1) for n in range(20)) and easing.allowed == 10
    for _ in range(10):
        easing.succeeded()
    assert easing.allowed == 11
    for n in range(1, 9):
        assert easing.ran_out(easing.allowed, 100.0 + n * ONCE_S)
    assert easing.allowed == 1
    for _ in range(1000):
        easing.succeeded()
    assert easing.allowed == 20


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *[("0", 0), ("17", 17), ("2K", 2000), ("2KiB", 2048), ("256 MiB", 2**28), ("3tb", 3 * 10**12)],
        *[("", None), ("-1", None), ("1.5G", None), ("1XB", None), ("٣", None), ("9" * 19, None)],
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int | None) -> None:
    """Plain bytes, thousands and 1024s are read; anything else is refused with what would be right."""
    if size is None:
        with pytest.raises(UsageError, match="MiB"):
            parse_size(text)
    else:
        assert parse_size(text) == size


def test_sizes_are_told_in_thousands() -> None:
    """What is told is short."""
    assert [shown_size(n) for n in (5, 1500, 2.5e6, 3e9)] == ["5 bytes", "1.5 kB", "2.5 MB", "3.0 GB"]


def disk(free: int, whole: int, inodes: int = 10**6, free_inodes: int = 10**6) -> os.statvfs_result:
    return os.statvfs_result((1, 1, whole, free, free, inodes, free_inodes, free_inodes, 0, 255))


@pytest.mark.parametrize(
    ("reserve", "found", "word"),
    [
        (None, disk(AUTO_BYTES, 10**12), None),
        (None, disk(AUTO_BYTES - 1, 10**12), "storage.reserve"),
        (None, disk(60_000, 10**6), None),  # a small disk keeps a twentieth
        (None, disk(49_999, 10**6), "storage.reserve"),
        (2**30, disk(2**30 - 1, 2**40), "storage.reserve"),
        (2**30, disk(10**6, 10**6), "storage.reserve"),  # what an operator wrote counts as it is
        (0, disk(0, 10**6), None),
        (None, disk(2**30, 2**40, 10**6, 999), "999 inodes"),
        (None, disk(2**30, 2**40, 100, 6), None),
        (None, disk(2**30, 2**40, 0, 0), None),  # a file system that counts no inodes
        (None, disk(0, 0), None),  # one that tells nothing at all
    ],
)
def test_a_reserve_of_space_and_inodes_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reserve: int | None, found: os.statvfs_result, word: str | None
) -> None:
    """Below the reserve nothing more is begun: 256 MiB, on a small disk a twentieth, or as the operator says."""
    monkeypatch.setattr(os, "statvfs", lambda _: found)
    check = Room([tmp_path / "not" / "there"], reserve).check()
    if word is None:
        asyncio.run(check)
    else:
        with pytest.raises(StorageFull, match=word):
            asyncio.run(check)


def test_a_process_knows_when_its_descriptors_are_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that the next descriptor comes close to means that connections fail for want of one."""
    assert not descriptors.ran_out()
    monkeypatch.setattr(descriptors.resource, "getrlimit", lambda _: (3, 3))
    assert descriptors.ran_out()
