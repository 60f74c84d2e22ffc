"""Chance without state: every roll is a hash of the seed and of what is rolled for.

The answer for an id therefore never depends on the order in which things were asked.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

T = TypeVar("T")


def roll(seed: int, *what: object) -> float:
    """Return a number in [0, 1) that belongs to (seed, what) for ever."""
    return number(seed, *what) / 2.0**64


def number(seed: int, *what: object) -> int:
    """Return 64 random-looking bits that belong to (seed, what) for ever."""
    text = "/".join([str(seed), *map(str, what)])
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def pick(options: Sequence[T], unit: float) -> T:
    """Choose by a roll in [0, 1)."""
    return options[int(unit * len(options))]


class Draw:
    """Sixteen rolls for the price of one: `draw[k]` is in [0, 1)."""

    __slots__ = ("_words",)

    def __init__(self, seed: int, *what: object) -> None:
        text = "/".join([str(seed), *map(str, what)])
        self._words: tuple[int, ...] = struct.unpack(">16I", blake2b(text.encode(), digest_size=64).digest())

    def __getitem__(self, which: int) -> float:
        return self._words[which] / 2.0**32
