"""Where scenarios are played: in memory where the machine has room there, each test in a place of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipledger.sim.timeloop import bury

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 2 * 2**30


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder for one archive, not there yet; free what crashed runs left when the test is over."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    with tempfile.TemporaryDirectory(dir=_MEMORY if roomy else tmp_path, ignore_cleanup_errors=True) as place:
        yield Path(place) / "archive"
        bury()
