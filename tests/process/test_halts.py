"""Runs that end before their work does: a refused key, an empty balance, a cap, a full disk. Nothing is burnt."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from process.harness import ON, Archive, Sim, archive_for, simulator
from process.small_disk import remount, small_disk

pytestmark = pytest.mark.slow

AS_ANYONE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all")
"""Root without the right to ignore permissions: what any other user is."""


@contextmanager
def world(
    folder: Path, posts: int = 40, faults: str = "calm", *, on: str = ON, **env: str
) -> Iterator[tuple[Archive, Sim]]:
    """Serve a small world and queue all that its lists show."""
    with simulator(posts, faults) as sim:
        archive = archive_for(folder, sim, on=on, **env)
        archive.cli("add", *sim.names())
        yield archive, sim


def nothing_is_burnt(archive: Archive) -> None:
    assert archive.ids("running") == [] and archive.ids("dead") == []
    assert not archive.one("SELECT MAX(attempts) FROM archive_queue WHERE state = 'pending'")
    assert archive.one("SELECT COUNT(*) FROM credits WHERE outcome = 'sent'") == 0


def all_is_saved_in_the_end(archive: Archive, sim: Sim) -> None:
    summary = archive.finish()
    assert summary["exit"] == "ok" and summary["states"]["dead"] == 0
    assert archive.one("SELECT MAX(crashes) FROM archive_queue") == 0
    archive.audited(sim)


# What the API refuses


@pytest.mark.parametrize("refusal", [{"key": "another"}, {"key_refused": "1:401"}])
def test_a_refused_key_burns_nothing(tmp_path: Path, refusal: dict[str, str]) -> None:
    """A key that the API refuses in the middle of the work ends it with exit 4 and burns no attempt."""
    with world(tmp_path / "archive") as (archive, sim):
        archive.cli("run", "--max-videos", "5", code=5)
        sim.turn(**refusal)
        told = archive.cli("run", "--json", code=4)
        assert told.summary["exit"] == "misconfigured" and "TIKLIVEAPI_KEY" in told.summary["why"]
        names = [line["event"] for line in told.lines]
        assert "given_back" in names and "failed" not in names and archive.json("status")["members"] == []
        nothing_is_burnt(archive)
        sim.turn(key=archive.env["TIKLIVEAPI_KEY"], key_refused=0)
        all_is_saved_in_the_end(archive, sim)


def test_an_empty_balance_burns_nothing(tmp_path: Path) -> None:
    """When the account's credits run out the run ends with exit 5; once they are refilled everything is saved."""
    with world(tmp_path / "archive") as (archive, sim):
        sim.turn(balance=20)
        assert archive.cli("run", "--json", code=5).summary["exit"] == "cap"
        nothing_is_burnt(archive)
        assert sim.ledger()["credits"] == 20
        sim.turn(balance="none")
        all_is_saved_in_the_end(archive, sim)


# Caps


def test_caps_hold_to_the_unit(tmp_path: Path) -> None:
    """--max-credits spends not one credit more, --max-videos takes not one video more; both end with exit 5."""
    with world(tmp_path / "archive") as (archive, sim):
        assert archive.cli("run", "--max-credits", "0", "--json", code=5).summary["exit"] == "cap"
        assert sim.ledger()["calls"] == 0
        assert archive.cli("run", "--max-credits", "17", "--json", code=5).summary["credits"] == 17
        assert sim.ledger()["credits"] == 17
        nothing_is_burnt(archive)
        before = len(archive.ids())
        summary = archive.cli("run", "--max-videos", "7", "--json", code=5).summary
        assert summary["captured"] == 7 == len(archive.ids()) - before and "--max-videos 7" in summary["why"]
        nothing_is_burnt(archive)
        before = len(archive.ids())
        archive.cli("run", "--max-bytes", "200K", code=5)
        assert len(archive.ids()) > before
        nothing_is_burnt(archive)
        all_is_saved_in_the_end(archive, sim)


def test_the_days_budget_is_shared_by_all_runs(tmp_path: Path) -> None:
    """budget.credits_per_day holds over several runs together, and what it stops is not burnt."""
    with world(tmp_path / "archive", CLIPLEDGER_BUDGET__CREDITS_PER_DAY="12") as (archive, sim):
        for _ in range(2):
            archive.cli("run", code=5)
        assert sim.ledger()["credits"] == 12
        nothing_is_burnt(archive)
        archive.env["CLIPLEDGER_BUDGET__CREDITS_PER_DAY"] = "none"
        all_is_saved_in_the_end(archive, sim)


# Storage


@pytest.mark.root
def test_a_full_disk_burns_nothing_however_often(tmp_path: Path) -> None:
    """A disk that is full again and again ends each run with exit 6 and counts against no video."""
    with (
        small_disk(tmp_path / "disk", "size=1500k") as disk,
        world(disk / "archive", 60, on="sqlite") as (archive, sim),  # the tables fill the disk too
    ):
        for size in ("1800k", "2100k", "2400k", "2700k"):
            told = archive.cli("run", "--json", code=6)
            assert told.summary["exit"] == "storage" and "Traceback" not in told.err
            remount(disk, f"size={size}")
        archive.cli("run", "-q", code=6)
        remount(disk, "size=64m")
        all_is_saved_in_the_end(archive, sim)
        assert archive.one("SELECT MAX(attempts) FROM archive_queue") == 1


def unprivileged() -> tuple[str, ...]:
    """Give what makes a command obey permissions: nothing for most users, a wrapper for root."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("NOT TESTED: folders that cannot be written: root needs setpriv to be stopped by permissions")
    return AS_ANYONE


def forbid(folder: Path) -> None:
    """Take the right to write from a folder and all that is in it."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def allow(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o750 if path.is_dir() else 0o640)


def test_an_archive_that_cannot_be_written_is_exit_6(tmp_path: Path) -> None:
    """In an archive folder without the right to write, every command that must write says so, with exit 6."""
    wrap = unprivileged()
    with world(tmp_path / "archive") as (archive, sim):
        archive.cli("run", "--max-videos", "3", code=5, wrap=wrap)
        calls = sim.ledger()["calls"]
        forbid(archive.folder)
        for words in ("run", "add @z", "db migrate"):
            archive.cli(*words.split(), code=6, wrap=wrap).says()
        Archive(archive.folder / "inside").cli("init", code=6, wrap=wrap).says("Permission denied")
        assert sim.ledger()["calls"] == calls
        allow(archive.folder)
        all_is_saved_in_the_end(archive, sim)


def test_media_folders_that_cannot_be_written_burn_nothing(tmp_path: Path) -> None:
    """When the media cannot be written but the books can, the run ends with exit 6 and gives all work back."""
    wrap = unprivileged()
    with world(tmp_path / "archive") as (archive, sim):
        archive.cli("run", "--max-videos", "3", code=5)
        forbid(archive.folder / "videos")
        forbid(archive.folder / "covers")
        told = archive.cli("run", "--json", code=6, wrap=wrap)
        assert told.summary["exit"] == "storage" and "Permission denied" in told.summary["why"]
        nothing_is_burnt(archive)
        allow(archive.folder / "videos")
        allow(archive.folder / "covers")
        for path in (archive.folder / "videos").rglob("*.*"):
            path.chmod(0o640)
        all_is_saved_in_the_end(archive, sim)


def test_a_folder_that_cannot_take_a_file_costs_nothing(tmp_path: Path) -> None:
    """When the store takes no file at all, this is found before the first credit is spent."""
    wrap = unprivileged()
    with world(tmp_path / "archive") as (archive, sim):
        (elsewhere := tmp_path / "elsewhere").mkdir(mode=0o555)
        told = archive.cli("run", code=6, wrap=wrap, CLIPLEDGER_STORAGE__URL=elsewhere.as_uri())
        told.says("Permission denied")
        assert sim.ledger()["calls"] == 0


def test_a_database_that_another_program_locks_is_exit_6(tmp_path: Path) -> None:
    """A database that a foreign program keeps locked ends the command in one line, and nothing is burnt."""
    with world(tmp_path / "archive", on="sqlite") as (archive, sim):
        with closing(sqlite3.connect(archive.folder / "clipledger.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            archive.cli("run", code=6).says("another process keeps the database locked")
            other.execute("ROLLBACK")
        nothing_is_burnt(archive)
        all_is_saved_in_the_end(archive, sim)
