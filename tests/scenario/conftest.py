"""Where scenarios are played: on a laptop's ground (SQLite and a folder), and on servers (PostgreSQL and S3).

In memory where the machine has room there, each test in a place of its own. Marks name the grounds of a test. Those
without a mark are played on a laptop's ground, and a sixth of them, another each turn, on servers too, which are
about three times slower; CLIPLEDGER_TEST_GROUNDS=all plays them all on both. A module that says `GROUND = None` lays
its own ground.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipledger.sim.bridged import BridgedStore
from clipledger.sim.kept import KeptInBucket
from clipledger.sim.play import Ground, Play
from clipledger.sim.timeloop import bury
from clipledger.storage.aws import Address, Aws
from clipledger.storage.place import read_place
from clipledger.storage.s3 import S3Store
from compiled import share_compiled
from contract.archives import drop_database, new_database
from s3_servers import BUCKET, S3Server
from turn import is_picked

_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 2 * 2**30
GROUNDS = ("laptop", "servers")
SHARE = 6
"""Each scenario is played on servers in one of so many turns: all of them in each would take five minutes more."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have a scenario played on the grounds that its mark names; on a laptop's where it has none."""
    if "_grounds" in metafunc.fixturenames:
        usual = GROUNDS if _on_both(metafunc.definition.nodeid) else GROUNDS[:1]
        named = next((mark.args for mark in metafunc.definition.iter_markers("grounds")), usual)
        grounds = named if getattr(metafunc.module, "GROUND", "any") is not None else (None,)
        metafunc.parametrize("_grounds", grounds, indirect=True)


def _on_both(nodeid: str) -> bool:
    return os.environ.get("CLIPLEDGER_TEST_GROUNDS") == "all" or is_picked(nodeid, of=SHARE)


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> Iterator[None]:
    """Compile each statement once for all plays."""
    with pytest.MonkeyPatch.context() as patch:
        share_compiled(patch)
        yield


@pytest.fixture(autouse=True)
def _grounds(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each archive of a play a database and a bucket of its own, on servers; drop them afterwards."""
    if request.param != "servers":
        yield
        bury()
        return
    server = request.getfixturevalue("s3_servers")("ministack")
    made: dict[Path, Ground] = {}

    def ground_of(folder: Path) -> Ground:
        if folder not in made:
            made[folder] = on_servers(server)
        return made[folder]

    monkeypatch.setattr(Play, "ground_of", staticmethod(ground_of))
    yield
    bury()  # what crashed runs left holds connections
    for ground in made.values():
        leave(ground)


def on_servers(server: S3Server) -> Ground:
    """Lay the ground of one archive on PostgreSQL and an S3 server."""
    url = server.url()
    store = BridgedStore(S3Store(read_place(url), Aws(Address(server.endpoint_url))))
    kept = KeptInBucket(BUCKET, url.removeprefix(f"s3://{BUCKET}/") + "/", server.endpoint_url)
    return Ground(new_database(), url, store, kept)


def leave(ground: Ground) -> None:
    """Drop the database and let the connections go."""
    assert ground.database is not None and isinstance(ground.store, BridgedStore)
    assert isinstance(ground.kept, KeptInBucket)
    ground.store.shut()
    ground.kept.close()
    drop_database(ground.database)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder for one archive, not there yet; free what crashed runs left when the test is over."""
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    with tempfile.TemporaryDirectory(dir=_MEMORY if roomy else tmp_path, ignore_cleanup_errors=True) as place:
        yield Path(place) / "archive"
        bury()
