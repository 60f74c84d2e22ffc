"""What is too much for each run of the suite is played in turns: the commit picks a share, another one each time.

CLIPLEDGER_TEST_TURN picks by any other text; so a run can be had again, or made to play something else.
"""

from __future__ import annotations

import os
import subprocess
import zlib
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@cache
def turn() -> str:
    """Name the turn: CLIPLEDGER_TEST_TURN, else the commit; '' where neither is known."""
    if (asked := os.environ.get("CLIPLEDGER_TEST_TURN")) is not None:
        return asked
    told = subprocess.run(
        ["git", "-c", "safe.directory=*", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=False
    )
    return told.stdout.decode().strip()


def is_picked(name: str, *, of: int) -> bool:
    """Say whether this turn is one of a name's: about one turn in `of` is."""
    return zlib.crc32(f"{turn()} {name}".encode()) % of == 0
