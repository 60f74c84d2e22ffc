"""Where scenarios are played: in memory where the machine has room there, each test in a place of its own.

A module that asks for `backend` has its tests played on both databases. CLIPLEDGER_TEST_DATABASE=postgres plays all of
them on PostgreSQL.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipledger.sim.play import Play
from clipledger.sim.timeloop import bury
from contract.archives import drop_database, new_database

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 2 * 2**30


ALL_ON = os.environ.get("CLIPLEDGER_TEST_DATABASE", "sqlite")


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> str:
    """Have this test played on one database or the other."""
    return str(request.param)


@pytest.fixture(autouse=True)
def _databases(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each archive of a play on PostgreSQL a database of its own; drop them afterwards."""
    on = request.getfixturevalue("backend") if "backend" in request.fixturenames else ALL_ON
    made: dict[Path, str] = {}
    if on == "postgres":

        def database_of(folder: Path) -> str:
            if folder not in made:
                made[folder] = new_database()
            return made[folder]

        monkeypatch.setattr(Play, "database_of", staticmethod(database_of))
    yield
    bury()  # what crashed runs left holds connections
    for url in made.values():
        drop_database(url)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder for one archive, not there yet; free what crashed runs left when the test is over."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    with tempfile.TemporaryDirectory(dir=_MEMORY if roomy else tmp_path, ignore_cleanup_errors=True) as place:
        yield Path(place) / "archive"
        bury()
