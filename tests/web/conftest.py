"""An archive for each test of the web."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from web.visiting import MEMORY, archived


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give an archive made by the simulator, in memory where the machine has some."""
    with tempfile.TemporaryDirectory(prefix="clipledger-web-", dir=MEMORY) as place:
        yield archived(Path(place) / "archive")
