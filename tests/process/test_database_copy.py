"""`db copy` carries an archive to PostgreSQL and back, proves it, and leaves nothing behind when it is killed."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from clipledger.sim.audit import Evidence, audit
from contract.archives import drop_database, new_database
from postgres import execute
from process.harness import BRISK, KEY, RPM, Archive, archive_for, finished_archive, simulator, wait_until

pytestmark = pytest.mark.slow

ODD = "\U0001f980 \u202e\u0000x '\"\\ \\u0000 {}%s"
"""Text as strangers write it; the NUL is what PostgreSQL cannot hold."""


@pytest.fixture
def empty() -> Iterator[str]:
    """Give an empty database's URL; drop it afterwards."""
    url = new_database()
    yield url
    drop_database(url)


def test_a_hostile_archive_is_the_same_on_postgresql(tmp_path: Path, empty: str) -> None:
    """After a hostile run the copy holds the same rows, the judge finds nothing in it, and work goes on there."""
    with simulator(120, f"hostile,{BRISK}", seed=11) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        archive.cli("run", "-q", code=None, CLIPLEDGER_QUEUE__RETRY_BASE_S="0.1")
        told = archive.json("db", "copy", "--to", empty)
        assert told["equal"] and {row["table"]: row["rows"] for row in told["tables"]} == _counts(archive)
        moved = Archive(archive.folder, archive.env | {"CLIPLEDGER_DATABASE__URL": empty})
        evidence = Evidence(sim.ledger(), sim.truth(), KEY, RPM)
        assert audit(moved.folder, evidence, finished=False, database=empty).findings == []
        before = archive.json("status", code=None)
        after = moved.json("status", code=None)
        assert after["states"] == before["states"] and after["credits"] == before["credits"]
        moved.cli("add", "@somebody.new")
        moved.cli("run", "-q", code=None)
        assert moved.cli("verify", code=None).code == 0
        assert len(execute(empty, "SELECT seq FROM credits")) > archive.one("SELECT count(*) FROM credits")


def test_a_copy_brings_odd_text_and_every_column_there_and_back(tmp_path: Path, empty: str) -> None:
    """Odd text, JSON, numbers of 64 bits and empty values arrive as they were, but for NUL, which is left out."""
    archive = finished_archive(tmp_path / "archive")
    with closing(sqlite3.connect(archive.folder / "clipledger.db")) as db, db:
        db.execute("UPDATE posts SET title = ?, play_count = ?, duration = 0.1", (ODD, 2**63 - 1))
        db.execute("UPDATE archive_queue SET hint = ?", (json.dumps({"a": [ODD, None, 1.5, "\ud800"]}),))
    archive.cli("reindex")  # tags come from titles
    there = archive.json("db", "copy", "--to", empty)["tables"]
    assert execute(empty, "SELECT DISTINCT title, play_count, duration FROM posts") == [
        (ODD.replace("\0", ""), 2**63 - 1, 0.1)
    ]
    server = Archive(archive.folder, archive.env | {"CLIPLEDGER_DATABASE__URL": empty})
    back = server.json("db", "copy", "--to", "sqlite:///back.db")["tables"]
    assert back == there


def test_commands_say_the_same_on_either_database(tmp_path: Path, empty: str) -> None:
    """What looks at an archive, and `retry`, gives the same JSON on PostgreSQL as on SQLite, to the letter."""
    archive = finished_archive(tmp_path / "archive")
    archive.cli("db", "copy", "-q", "--to", empty)
    moved = Archive(archive.folder, archive.env | {"CLIPLEDGER_DATABASE__URL": empty})
    saved, dead = archive.ids()[0], archive.ids("dead")[0]
    moved.cli("reindex", "--check")
    looks = [["status"], ["sources"], ["show", saved], ["show", dead], ["failures"], ["verify"], ["run", "--dry-run"]]
    for words in [*looks, ["retry", dead], ["retry", "--all"]]:
        assert _lasting(moved.json(*words, code=None)) == _lasting(archive.json(*words, code=None)), words


def _lasting(body: Any) -> Any:
    """Leave out what changes from one second to the next."""
    if not isinstance(body, dict):
        return body
    passing = ("as_of", "rates", "oldest_check_age_s")
    return {name: _lasting(value) for name, value in body.items() if name not in passing}


def test_a_copy_goes_into_an_empty_database_only(tmp_path: Path, empty: str) -> None:
    """A database that holds an archive, or tables of ours, is refused in one line; --dry-run writes nothing."""
    archive = finished_archive(tmp_path / "archive")
    plan = archive.json("db", "copy", "--to", empty, "--dry-run")
    assert {row["table"]: row["rows"] for row in plan["tables"]} == _counts(archive)
    assert execute(empty, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    archive.cli("db", "copy", "-q", "--to", empty)
    for more in ([], ["--dry-run"]):
        archive.cli("db", "copy", "--to", empty, *more, code=4).says("already holds this archive")
    archive.cli("db", "copy", "--to", empty.replace("tester@", "tester:secret@"), code=2).says("PGPASSWORD")


def test_a_target_that_changes_what_it_is_given_is_found_out(tmp_path: Path, empty: str) -> None:
    """When what is read back is not what was written, the copy says where and keeps nothing."""
    archive = finished_archive(tmp_path / "archive")
    execute(empty, "CREATE FUNCTION shout() RETURNS trigger AS $$ BEGIN NEW.title = upper(NEW.title) || '!';"
    " RETURN NEW; END $$ LANGUAGE plpgsql")  # fmt: skip
    execute(empty, "CREATE FUNCTION lurk() RETURNS event_trigger AS $$ BEGIN IF EXISTS (SELECT FROM pg_tables WHERE"
    " tablename = 'posts') AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'shouts') THEN CREATE TRIGGER shouts"
    " BEFORE INSERT ON posts FOR EACH ROW EXECUTE FUNCTION shout(); END IF; END $$ LANGUAGE plpgsql")  # fmt: skip
    execute(empty, "CREATE EVENT TRIGGER lurks ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION lurk()")
    archive.cli("db", "copy", "-q", "--to", empty, code=4).says("table posts", "read back", "nothing was kept")
    assert execute(empty, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_copy_has_the_archive_for_itself(tmp_path: Path, empty: str) -> None:
    """While a run is at work, a copy is refused; nothing is written."""
    with simulator(60, "endless=1.0") as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names()[:1])
        with archive.started("run", "--follow", "-q", stderr=subprocess.DEVNULL):
            wait_until(lambda: list((archive.folder / ".clipledger/workers").glob("*.lock")))
            archive.cli("db", "copy", "--to", empty, code=9).says("at work")
    assert execute(empty, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_killed_copy_leaves_an_empty_database(tmp_path: Path, empty: str) -> None:
    """A copy killed half-way leaves nothing, and the next one succeeds."""
    archive = finished_archive(tmp_path / "archive")
    with closing(sqlite3.connect(archive.folder / "clipledger.db")) as db, db:
        rows = [("@many", f"{n:019}", "2026-05-29T12:00:00.000Z") for n in range(60_000)]
        db.executemany("INSERT INTO sightings (source, aweme_id, seen_at, last_seen_at) VALUES (?, ?, ?3, ?3)", rows)
    with archive.started("db", "copy", "--to", empty, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith(b"sightings: 50000 of"):
                break
        process.kill()
    assert execute(empty, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]
    assert archive.json("db", "copy", "-q", "--to", empty)["equal"]


def _counts(archive: Archive) -> dict[str, int]:
    own = ("alembic_version", "commits", "export_changes", "export_journal")  # begin anew on another database
    names = [row[0] for row in archive.rows("SELECT name FROM sqlite_master WHERE type = 'table'")]
    ours = [name for name in names if name not in own and not name.startswith(("sqlite_", "post_search"))]
    return {name: archive.one(f"SELECT count(*) FROM {name}") for name in ours}
