"""What was lost comes back: files by `verify --repair`, the database by `rebuild`, on a folder and on a bucket."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from process.filled import fill, killed_and_taken_up, timed
from process.harness import ON_POSTGRES, Archive, Sim, archive_for, sha256, simulator
from s3_servers import S3Server, credentials

pytestmark = pytest.mark.slow

Servers = Callable[[str], S3Server]


@pytest.fixture
def sim() -> Iterator[Sim]:
    with simulator(40, seed=11) as sim:
        yield sim


@pytest.fixture
def archive(tmp_path: Path, sim: Sim) -> Archive:
    archive = archive_for(tmp_path / "archive", sim)
    archive.cli("add", "-q", *sim.names())
    archive.finish()
    return archive


def videos(archive: Archive) -> list[str]:
    return [row[0] for row in archive.rows("SELECT aweme_id FROM posts WHERE NOT is_photo ORDER BY aweme_id")]


def flip(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def test_verify_repairs_what_it_finds_and_says_what_it_cost(archive: Archive, sim: Sim) -> None:
    """Damaged and missing files are named, priced by --dry-run, fetched again by --repair, and all is whole after."""
    one, two, three = videos(archive)[:3]
    flip(archive.file_of(one))
    archive.file_of(two).unlink()
    archive.file_of(three, "sidecar").write_bytes(b"{}")
    whole, calls = archive.media(), sim.details()
    foretold = archive.json("verify", "--repair", "--dry-run", code=7)["repair"]
    assert (foretold["credits"], foretold["files"], foretold["free"]) == (2, 2, 1)
    assert archive.media() == whole and sim.details() == calls, "a dry run changes and costs nothing"
    told = archive.json("verify", "--repair", code=0)
    repaired = told["repair"]
    assert (repaired["posts"], repaired["whole"], repaired["credits"]) == (3, 3, 2)
    assert (repaired["restored"], repaired["rewritten"], told["exit"]) == (2, 1, "ok")
    assert sim.details() == calls + 2
    assert archive.rows("SELECT reason, sum(credits) FROM credits WHERE reason = 'repair' GROUP BY reason") == [
        ("repair", 2)
    ]
    archive.cli("verify", "-q")
    archive.audited(sim)
    assert [act["act"] for act in archive.json("show", one)["custody"]] == ["restored"]


def test_a_shared_sweep_repairs_too(archive: Archive, sim: Sim) -> None:
    """`verify --media --processes 2 --repair` mends what its processes found."""
    for aweme_id in videos(archive)[:3]:
        flip(archive.file_of(aweme_id))
    told = archive.json("verify", "--media", "--processes", "2", "--repair", code=0)
    assert told["repair"]["restored"] == 3 == told["count"]
    archive.cli("verify", "--media", "-q")
    archive.audited(sim)


def test_gone_posts_capped_credits_and_no_key_are_said(archive: Archive, sim: Sim) -> None:
    """A post that is gone keeps what is left and ends with 7; a cap ends with 5; without a key nothing is begun."""
    one, two = videos(archive)[:2]
    for aweme_id in (one, two):
        flip(archive.file_of(aweme_id))
    left = {aweme_id: sha256(archive.file_of(aweme_id)) for aweme_id in (one, two)}
    sim.turn(outage="not_found")
    told = archive.json("verify", "--repair", code=7)["repair"]
    assert told["gone"] == 2 and told["credits"] == 0
    assert {aweme_id: sha256(archive.file_of(aweme_id)) for aweme_id in left} == left
    sim.turn(outage="off")
    archive.cli("verify", "--repair", code=4, TIKLIVEAPI_KEY="").says("--repair", "TIKLIVEAPI_KEY")
    capped = archive.json("verify", "--repair", "--max-credits", "1", code=5)["repair"]
    assert capped["whole"] == 1 and capped["left"] == 1 and capped["credits"] == 1
    archive.cli("verify", "--repair", "--ledger", code=2).says("--repair")
    archive.cli("verify", "--dry-run", code=2).says("--repair")
    archive.cli("verify", "--repair", "-q")
    archive.audited(sim)


def test_the_rotation_tells_of_damage(archive: Archive) -> None:
    """What the rotation finds is in `status` and in the exit code of `run`, until it is repaired."""
    one = videos(archive)[0]
    flip(archive.file_of(one))
    env = {"CLIPLEDGER_JANITOR__FIXITY": "1s"}
    archive.cli("run", "--only", "janitor", "-q", code=None, **env)
    assert archive.cli("run", "--only", "janitor", "-q", code=None, **env).code == 7
    told = archive.json("status")["fixity"]
    assert told["damaged"] == 1 and told["damage"][0]["aweme_id"] == one
    assert "DAMAGED: 1 posts" in archive.cli("status").out
    archive.cli("verify", "--repair", "-q")
    assert archive.json("status")["fixity"]["damaged"] == 0
    assert archive.cli("run", "--only", "janitor", "-q", code=None).code == 0


@pytest.mark.skipif(ON_POSTGRES, reason="loses the SQLite file; tests/scenario/test_rebuild.py fills a server")
def test_a_lost_database_is_rebuilt_from_the_folder(archive: Archive, sim: Sim) -> None:
    """Without its database the folder gives everything back; one that is there is never written over."""
    archive.cli("rebuild", code=4).says("--reconcile")
    assert archive.json("rebuild", "--check")["equal"]
    database = archive.folder / "clipledger.db"
    shutil.move(database, archive.folder / "before.db")
    dry = archive.json("rebuild", "--dry-run")
    assert dry["restored"] and dry["dry_run"] and not database.exists()
    told = archive.json("rebuild")
    assert told["restored"] == dry["restored"] and told["unreadable"] == []
    archive.cli("verify", "-q")
    calls = sim.details()
    archive.cli("add", "-q", *sim.names())
    archive.finish()
    assert sim.details() - calls <= len(archive.ids("dead")), "what is on disk is not bought again"
    archive.cli("reindex", "--check", "-q")


def test_a_bucket_gives_its_archive_back(tmp_path: Path, sim: Sim, s3_servers: Servers) -> None:
    """From a bucket alone, in a folder on another machine, the archive is as it was; repair works there too."""
    server = s3_servers("ministack")
    bucket = {"CLIPLEDGER_STORAGE__URL": server.url(), "CLIPLEDGER_STORAGE__ENDPOINT_URL": server.endpoint_url}
    first = archive_for(tmp_path / "first", sim, **bucket, **credentials())
    first.cli("add", "-q", *sim.names())
    first.finish()
    second = archive_for(tmp_path / "second", sim, **bucket, **credentials())
    told = second.json("rebuild")
    assert told["restored"] == len(first.ids()) and second.ids() == first.ids()
    for table, order in (("posts", "aweme_id"), ("files", "aweme_id, storage_key"), ("hashtags", "aweme_id, tag")):
        columns = "aweme_id, storage_key, sha256, bytes" if table != "hashtags" else "aweme_id, tag"
        sql = f"SELECT {columns} FROM {table} ORDER BY {order}"
        assert second.rows(sql) == first.rows(sql)
    second.cli("verify", "--media", "-q")
    calls = sim.details()
    again = second.json("rebuild", "--reconcile")
    assert again["restored"] == 0 and again["known"] == told["restored"] and sim.details() == calls


@pytest.mark.skipif(
    ON_POSTGRES, reason="kills the rebuild of a SQLite file; restoring on PostgreSQL is in tests/contract/test_care.py"
)
def test_a_killed_rebuild_is_taken_up(tmp_path: Path) -> None:
    """Killed at any moment, the next `rebuild` goes on where it was, and what comes out is what would have come."""
    archive = archive_for(tmp_path / "archive")
    fill(archive.folder, 1500, seed=1)
    whole = timed(archive, "rebuild")
    assert whole.code == 0 and whole.told["restored"] == 1500
    for number in range(3):
        for ending in ("", "-wal", "-shm"):
            (archive.folder / f"clipledger.db{ending}").unlink(missing_ok=True)
        assert killed_and_taken_up(archive, random.Random(f"test/{number}"), whole.seconds) == []
