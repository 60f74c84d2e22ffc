"""Amounts of bytes as people write them: `200MB`, `1GiB`. Must not: read a disk."""

from __future__ import annotations

import re

from clipledger.core.errors import UsageError

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}
_SIZE = re.compile(r"(\d{1,18})\s*([KMGT]I?|)B?", re.ASCII)


def parse_size(text: str) -> int:
    """Read a number of bytes, plain or with K, M, G, T (thousands) or Ki, Mi, Gi, Ti (1024s); UsageError else."""
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None:
        raise UsageError(f"{text!r} is no size: write a number of bytes, or one with K, M, G, T, KiB, MiB, GiB or TiB")
    return int(match[1]) * _UNITS[match[2]]


def shown_size(count: float) -> str:
    """Write bytes for people, in thousands."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:.0f} bytes"
