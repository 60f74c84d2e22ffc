"""What the commands say of what they cannot do, and the ways to read again, stop reading, and take note."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from process.harness import Archive, archive_for, finished_archive, simulator

pytestmark = pytest.mark.slow

UNSEEN = "7387261234567890123"


def mode(path: Path) -> str:
    return f"{path.stat().st_mode & 0o777:o}"


def test_an_archive_is_not_for_everybody(tmp_path: Path) -> None:
    """Settings and database are made 0640, whatever the umask; running `init` again changes nothing."""
    archive = Archive(tmp_path / "archive")
    archive.cli("init", wrap=("sh", "-c", 'umask 000; exec "$@"', "sh"))
    names = ("clipledger.toml", "clipledger.db")
    assert [mode(archive.folder / name) for name in names] == ["640", "640"]
    (archive.folder / "clipledger.toml").chmod(0o600)
    archive.cli("init")
    assert mode(archive.folder / "clipledger.toml") == "600"


def test_init_leaves_another_programs_database_alone(tmp_path: Path) -> None:
    """`init` in a folder whose clipledger.db is some other program's refuses, and adds no table to it."""
    archive = Archive(tmp_path / "archive")
    archive.folder.mkdir()
    with closing(sqlite3.connect(archive.folder / "clipledger.db")) as db, db:
        db.execute("CREATE TABLE recipes(name)")
    archive.cli("init", code=4).says("another program", "recipes")
    assert archive.rows("SELECT name FROM sqlite_master") == [("recipes",)]


def test_messages_say_what_to_do_next(tmp_path: Path) -> None:
    """The wrong folder names --archive, plain http names cdn.allow_insecure, an unseen id is a usage error."""
    Archive(tmp_path).cli("status", code=4).says("--archive", "CLIPLEDGER_ARCHIVE", "clipledger init")
    archive = archive_for(tmp_path / "archive")
    told = archive.cli(
        "run",
        code=4,
        TIKLIVEAPI_KEY="k",
        CLIPLEDGER_API__BASE_URL="http://api.example",
        CLIPLEDGER_CDN__ALLOW_INSECURE="0",
    )
    told.says("api.base_url", "cdn.allow_insecure")
    archive.cli("retry", UNSEEN, code=2).says(UNSEEN, "never seen")
    archive.cli("read", "@nobody", code=2).says("@nobody", "clipledger sources")
    archive.cli("remove", "@nobody", code=2).says("@nobody")


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("@alice", "--region", "US"), "--region"),
        (("#dance", "--sort", "date"), "--sort"),
        (("music:7000000000000000001", "--published-within", "7"), "--published-within"),
        ((UNSEEN, "--every", "1h"), "--every"),
        ((UNSEEN, "--max-pages", "3"), "--max-pages"),
    ],
)
def test_an_option_that_a_kind_does_not_take_is_told(words: tuple[str, ...], missing: str, tmp_path: Path) -> None:
    """An option is never ignored in silence: the source is not added, the line names it, the others are taken."""
    archive = archive_for(tmp_path / "archive")
    archive.cli("add", *words, code=2).says(words[0], missing)
    assert archive.rows("SELECT source FROM sources") == []


def test_sources_are_read_again_and_removed_at_a_word(tmp_path: Path) -> None:
    """`read` makes a source due however it is spelt, `sources` shows its next read; `remove` keeps what it showed."""
    with simulator(60) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        name = next(source for source in sim.twin().sources() if source.startswith("@"))
        archive.cli("add", name)
        archive.finish()
        seen = archive.one("SELECT count(*) FROM sightings")
        due = "SELECT next_at FROM sources"
        later = archive.one(due)
        assert f"{later[:16]}Z" in archive.cli("sources").out
        archive.cli("read", name.upper())
        assert archive.one(due) < later
        pages = sim.ledger()["endpoints"]["/user-posts/"]
        archive.finish()
        assert sim.ledger()["endpoints"]["/user-posts/"] > pages
        assert archive.json("remove", name)["removed"] == [name]
        assert archive.rows("SELECT source FROM sources") == []
        assert archive.one("SELECT count(*) FROM sightings") == seen > 0
        archive.cli("verify")
        assert name in archive.cli("sources").out


def test_the_dead_are_acknowledged(tmp_path: Path) -> None:
    """Dead ids lead to exit 3 until the operator takes note; then to 0, though the books still show them."""
    with simulator(60) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        alive = [post_id for post_id in sim.twin().ids() if sim.twin().truth(post_id).alive][:6]
        gone = [str(int(alive[0]) + 1000 * more) for more in (1, 2)]
        archive.cli("add", *alive, *gone)
        archive.finish()
        archive.cli("run", code=3)
        archive.cli("failures", "--acknowledge", alive[0], code=2).says(alive[0], "not dead")
        assert archive.json("failures", "--acknowledge", gone[0])["acknowledged"] == 1
        archive.cli("run", code=3)
        assert archive.json("failures", "--acknowledge", "--reason", "not_found")["acknowledged"] == 1
        archive.cli("run", code=0)
        told = archive.json("failures")["failures"]
        assert {row["aweme_id"] for row in told} == set(gone) and all(row["acknowledged_at"] for row in told)
        assert archive.cli("failures").out.count("dead, acknowledged") == 2
        assert archive.json("status")["ids"]["dead"] == 2
        archive.cli("verify")
        archive.cli("retry", *gone)
        archive.finish()
        archive.cli("run", code=3)


def test_failures_name_the_sources_that_fail(tmp_path: Path) -> None:
    """A source that cannot be read is among the failures, with its reason and when it is tried again."""
    with simulator(60) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", "@nobody.at.all")
        archive.cli("run", code=3)
        (row,) = archive.json("failures")["sources"]
        assert row["source"] == "@nobody.at.all" and row["reason"] == "not_found" and row["again"]
        assert "@nobody.at.all" in archive.cli("failures").out
        told = archive.cli("run", code=3).out
        assert all(word in told for word in ("@nobody.at.all: not_found", "read again from", "remove SOURCE"))
        archive.cli("pause", "@nobody.at.all")
        told = archive.cli("run", code=3).out
        assert "paused (" in told and "resume SOURCE" in told and "read again" not in told


def test_a_source_that_nobody_answers_for_is_not_called_missing(tmp_path: Path) -> None:
    """Where nothing answers at all, the run says so, and what finds out why."""
    with simulator(60) as sim:
        archive = archive_for(
            tmp_path / "archive",
            sim,
            CLIPLEDGER_API__BASE_URL="http://127.0.0.1:9",
            CLIPLEDGER_QUEUE__RETRY_BASE_S="300",
        )
        archive.cli("add", "@nobody.at.all")
        told = archive.cli("run", code=3).out
        assert all(word in told for word in ("api_unavailable", "nothing answers", "doctor --online"))


def test_a_dry_run_of_a_withdrawal_sums_up_what_would_happen(tmp_path: Path) -> None:
    """What is out already is not counted again, and with a held post among them nothing would happen."""
    archive = finished_archive(tmp_path / "archive")
    out, held, *_ = archive.ids("archived")
    archive.cli("withdraw", out, "--reason", "asked for", "--request", "letter 7")
    assert "would withdraw: 1 ids" in archive.cli("withdraw", held, out, "--reason", "too", "--dry-run").out
    assert "1 are out already" in archive.cli("withdraw", held, out, "--reason", "too", "--dry-run").out
    archive.cli("hold", held, "--reason", "a trial")
    told = archive.cli("withdraw", held, "--reason", "too", "--dry-run").out
    assert f"nothing would be withdrawn: on hold are {held}" in told and "would withdraw:" not in told
