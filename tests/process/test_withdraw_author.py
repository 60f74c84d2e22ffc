"""Withdrawing an author and taking it back, and what the commands say of what is withheld: real processes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from process.harness import Archive, copy_of
from process.test_withdraw import WHY, Place, Servers, _on_laptop, archived, author_with_posts

pytestmark = pytest.mark.slow

UNDO = ("--undo", "--reason", "a mistake")


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Give an archive of a small world on a folder and SQLite."""
    return copy_of(_on_laptop(), tmp_path / "archive")


def named(archive: Archive, to: Path) -> set[str]:
    """Export the authors; give their ids."""
    archive.cli("export", "csv", "--to", str(to))
    with (to / "authors.csv").open(encoding="utf-8-sig", newline="") as file:
        return {row["author_id"] for row in csv.DictReader(file)}


def shown(archive: Archive) -> set[str]:
    """Give the ids of the authors that the archive lists."""
    return {row["author_id"] for row in archive.json("authors")["authors"]}


@pytest.mark.parametrize("ground", ["laptop", "servers"])
def test_an_author_is_withdrawn_and_let_in_again(tmp_path: Path, s3_servers: Servers, ground: str) -> None:
    """Withdrawn they are in no export and no list; taken back, all is as it was, in the store too, and they are let in.

    What of theirs was withdrawn on another request stays out, and is named.
    """
    place = archived(tmp_path / "archive", ground, s3_servers)
    archive, out = place.archive, tmp_path / "out"
    author_id, theirs = author_with_posts(archive)
    handle = archive.one("SELECT handle FROM authors WHERE author_id = ?", author_id)
    assert author_id in named(archive, out) == shown(archive)
    alone = theirs[0]
    archive.cli("withdraw", alone, "--reason", "sued", "--request", "letter 8")
    archive.cli("withdraw", "--author", f"@{handle}", *WHY)
    assert author_id not in named(archive, out) and author_id not in shown(archive)
    archive.cli("authors", f"@{handle}", code=2).says("nobody of that handle")
    assert tombstones(place) == {alone, *theirs, f"author={author_id}"}
    (ban,) = archive.json("withdraw", "--authors")["authors"]
    assert (ban["author_id"], ban["request"]) == (author_id, WHY[-1])
    assert author_id in archive.cli("withdraw", "--authors").out
    archive.cli("withdraw", "--author", author_id, *UNDO, "--authors", code=2).says("only list")

    archive.cli("withdraw", "--author", author_id, "--undo", code=2).says("--reason is missing", "audit log")
    told = archive.json("withdraw", "--author", f"@{handle}", *UNDO)
    assert set(told["restored"]) == set(theirs[1:]) and told["stay_out"] == [alone]
    assert (told["author_id"], told["due_again"], told["paused"]) == (author_id, 0, [])
    assert tombstones(place) == {alone}
    assert author_id in named(archive, out) == shown(archive) and set(archive.ids("withheld")) == {alone}
    assert archive.one("SELECT count(*) FROM withheld_authors") == 0
    assert "no author is kept out" in archive.cli("withdraw", "--authors").out
    archive.cli("withdraw", "--author", author_id, *UNDO, code=2).says("is not withdrawn")
    archive.cli("withdraw", alone, *UNDO)
    assert (
        archive.one("SELECT act FROM audit_log WHERE subject = ? ORDER BY seq DESC", f"author:{author_id}") == "restore"
    )
    archive.cli("verify")
    archive.cli("reindex", "--check")


def tombstones(place: Place) -> set[str]:
    """Name what the store remembers as taken out."""
    return {name.rsplit("/", 1)[-1][: -len(".json")] for name in place.standing("removals/")}


def test_the_lists_of_who_is_kept_out_rest(archive: Archive) -> None:
    """A withdrawn author's own list is paused, which is told; nobody resumes it before they are let in again."""
    author_id, _ = author_with_posts(archive)
    source = f"@{archive.one('SELECT handle FROM authors WHERE author_id = ?', author_id)}"
    archive.cli("add", source)
    told = archive.json("withdraw", "--author", author_id, *WHY)
    assert told["paused"] == [source]
    for command in ("resume", "add"):
        archive.cli(command, source, code=2).says(author_id, "--undo")
    assert archive.one("SELECT paused_at FROM sources WHERE source = ?", source) is not None
    assert archive.json("withdraw", "--author", author_id, *UNDO)["paused"] == [source]
    archive.cli("resume", source)
    assert archive.one("SELECT paused_at FROM sources WHERE source = ?", source) is None
    archive.cli("withdraw", "--author", author_id, *WHY, "--now")
    assert archive.one("SELECT count(*) FROM authors WHERE author_id = ?", author_id) == 0, "the name is erased"
    archive.cli("resume", source, code=2).says(author_id)
    assert archive.json("withdraw", "--author", author_id, *UNDO)["paused"] == [source]


def test_an_author_in_quarantine_is_erased_at_once_when_asked(archive: Archive) -> None:
    """`--now` erases what of an author's was hidden before, and the dry run counts it; the name goes with it."""
    author_id, theirs = author_with_posts(archive)
    archive.cli("withdraw", "--author", author_id, *WHY)
    planned = archive.json("withdraw", "--author", author_id, "--dry-run")["would_withdraw"]
    assert {row["aweme_id"] for row in planned} == set(theirs) and all(row["files"] for row in planned)
    told = archive.json("withdraw", "--author", author_id, *WHY, "--now")
    assert told["purged"]["posts"] == len(theirs) and told["purge_at"] is None
    assert not [path for each in theirs for path in archive.folder.rglob(f"*{each}*.mp4")]
    assert archive.one("SELECT count(*) FROM author_handles WHERE author_id = ?", author_id) == 0
    assert archive.json("withdraw", "--author", author_id, *UNDO)["restored"] == []


def test_what_came_in_of_a_withdrawn_author_is_taken_out_by_the_next_sweep(archive: Archive) -> None:
    """Posts that were stored when their author was withdrawn are hidden on that one's grounds; `--undo` knows them."""
    author_id, theirs = author_with_posts(archive)
    values = f"('{author_id}', 'asked to', 'letter 7', 'ann', '2026-01-01T00:00:00.000Z')"
    archive.change(f"INSERT INTO withheld_authors (author_id, reason, request, who, asked_at) VALUES {values}")
    archive.cli("hold", theirs[0], "--reason", "a trial")
    archive.cli("janitor")
    assert set(archive.ids("withheld")) == set(theirs[1:]), "what is held stays"
    assert archive.rows("SELECT DISTINCT request FROM removals") == [("letter 7",)]
    assert set(archive.json("withdraw", "--author", author_id, *UNDO)["restored"]) == set(theirs[1:])


def test_a_second_request_is_told_and_stands_by_itself(archive: Archive) -> None:
    """A post asked for by itself outlives the author's undo, in the store too; an author's second letter is told."""
    author_id, theirs = author_with_posts(archive)
    archive.cli("withdraw", "--author", author_id, *WHY)
    alone, other = theirs[:2]
    said = archive.cli("withdraw", alone, "--reason", "a court", "--request", "letter A").out
    assert f"was withdrawn already: {alone}" in said and "letter 7" in said
    assert json.loads((archive.folder / "removals" / f"{alone}.json").read_text())["request"] == "letter A"
    archive.cli("withdraw", other, *UNDO, code=2).says(f"--author {author_id} --undo")
    again = archive.json("withdraw", "--author", author_id, "--reason", "a court", "--request", "letter B")
    assert again["withdrawn_already"][f"author:{author_id}"]["request"] == "letter 7"
    told = archive.json("withdraw", "--author", author_id, *UNDO)
    assert set(told["restored"]) == set(theirs[1:]) and told["stay_out"] == [alone] and told["erasing"] == []
    assert told["requests"] == ["letter 7", "letter B"]
    archive.cli("withdraw", "--author", author_id, *UNDO, code=2).says("is not withdrawn", alone)
    archive.cli("withdraw", alone, *UNDO)
    assert archive.ids("withheld") == []


def test_an_undo_and_sweeps_at_the_same_time_end_with_all_in(archive: Archive) -> None:
    """Whatever sweep comes between, what an undo brought back stays in, and the store remembers nothing of it."""
    author_id, theirs = author_with_posts(archive)
    archive.cli("withdraw", "--author", author_id, *WHY)
    with archive.started("janitor") as one, archive.started("janitor") as two:
        told = archive.json("withdraw", "--author", author_id, *UNDO)
        assert (one.wait(60), two.wait(60)) == (0, 0)
    archive.cli("janitor")
    assert set(told["restored"]) == set(theirs) and archive.ids("withheld") == []
    assert not list((archive.folder / "removals").glob("*.json"))


def test_an_undo_that_was_killed_at_the_ban_is_asked_again(archive: Archive) -> None:
    """With the author's tombstone gone and the ban standing, a sweep hides them again, and the undo brings all in."""
    author_id, theirs = author_with_posts(archive)
    archive.cli("withdraw", "--author", author_id, *WHY)
    ban = archive.rows("SELECT author_id, reason, request, who, asked_at FROM withheld_authors")[0]
    archive.cli("withdraw", "--author", author_id, *UNDO)
    archive.change(f"INSERT INTO withheld_authors (author_id, reason, request, who, asked_at) VALUES {tuple(ban)}")
    archive.cli("janitor")
    assert set(archive.ids("withheld")) == set(theirs)
    assert set(archive.json("withdraw", "--author", author_id, *UNDO)["restored"]) == set(theirs)
    archive.cli("janitor")
    assert archive.ids("withheld") == [] and not list((archive.folder / "removals").glob("*.json"))


def test_each_withdrawal_tells_its_own_date(archive: Archive) -> None:
    """An earlier removal with an earlier date says nothing about when this one's posts are erased."""
    one, other = archive.ids()[:2]
    sooner = archive.json("withdraw", one, *WHY, CLIPLEDGER_LIFECYCLE__PURGE_AFTER="1d")
    later = archive.json("withdraw", other, *WHY)
    assert later["purge_at"] == later["purge_last_at"] > sooner["purge_at"]
    at = "SELECT purge_at FROM removals WHERE aweme_id = ?"
    assert (sooner["purge_at"], later["purge_at"]) == (archive.one(at, one), archive.one(at, other))
    both = archive.json("withdraw", one, other, *WHY)
    assert (both["purge_at"], both["purge_last_at"]) == (sooner["purge_at"], later["purge_at"])
    said = archive.cli("withdraw", one, other, *WHY).out
    assert f"between {sooner['purge_at']} and {later['purge_at']}" in said


def test_an_id_that_was_never_seen_is_told_as_that(archive: Archive) -> None:
    """Withdrawn it is kept out from now on; held it is held should it come; either says that nothing showed it."""
    one, never, other = archive.ids()[0], "7300000000000000001", "7300000000000000002"
    assert f"never seen here: {never}: kept out from now on" in archive.cli("withdraw", one, never, *WHY).out
    assert archive.json("withdraw", other, *WHY)["never_seen"] == [other]
    assert "withheld: 1" in archive.cli("add", never).out
    third, fourth = "7300000000000000003", "7300000000000000004"
    archive.cli("hold", third, "--reason", "a trial").says(third, "never seen here")
    (told,) = archive.json("hold", fourth, "--reason", "a trial")["held"]
    assert told["never_seen"] and told["posts"] == 0
    archive.cli("withdraw", fourth, *WHY, code=2).says("legal hold")


def test_a_slip_taken_back_leaves_nothing(archive: Archive) -> None:
    """An id that nothing had shown is unknown again after its undo, and nobody asks for it; what showed since waits."""
    slip, since, before = "7300000000000000001", "7300000000000000002", archive.json("status")["ids"]
    archive.cli("withdraw", slip, since, *WHY)
    assert archive.json("status")["ids"]["withheld"] == 2
    archive.change(
        "INSERT INTO sightings (source, aweme_id, seen_at, last_seen_at, is_ad, pinned) "
        f"SELECT source, {since}, seen_at, last_seen_at, 0, 0 FROM sightings LIMIT 1"
    )
    archive.cli("withdraw", slip, since, *UNDO)
    after = archive.json("status")["ids"]
    assert (after["seen"], after["waiting"]) == (before["seen"] + 1, 1) and archive.ids("pending") == [since]
    archive.cli("show", slip, code=2).says("never seen")
    assert archive.json("add", slip)["posts"]["new"] == 1, "it can be wanted like any other"


def test_what_was_archived_last_can_be_taken_out(archive: Archive) -> None:
    """A withdrawal of the newest posts makes no old database of this one; an older database is still found out."""
    newest = [row for (row,) in archive.rows("SELECT aweme_id FROM posts ORDER BY archived_at DESC LIMIT 3")]
    archive.cli("withdraw", *newest, *WHY)
    for _ in range(2):
        archive.cli("janitor")
        assert archive.one("SELECT count(*) FROM events WHERE name = 'database_older'") == 0
    archive.cli("withdraw", *newest, *UNDO)
    archive.change("UPDATE meta SET value = '1.0' WHERE key = 'newest_archived_at'")
    archive.change("UPDATE posts SET archived_at = '2020-01-01T00:00:00.000Z'")
    archive.cli("janitor")
    assert archive.one("SELECT count(*) FROM events WHERE name = 'database_older'") == 1


def test_a_withheld_id_is_named_by_what_cannot_bring_it_back(archive: Archive) -> None:
    """`add` and `retry` say that it is withheld and what undoes that; a hold on an erased one says that it is gone."""
    hidden, erased, kept = archive.ids()[:3]
    archive.cli("withdraw", hidden, *WHY)
    archive.cli("withdraw", erased, *WHY, "--now")
    for command in ("add", "retry"):
        said = archive.cli(command, hidden, kept).out
        assert f"withheld: 1 (taken out, and kept out: {hidden})" in said and "--undo" in said, command
        assert archive.json(command, hidden, kept, erased)["withheld"] == [hidden, erased]
    assert archive.json("add", hidden, kept)["posts"] == {"new": 0, "known": 1}
    assert archive.one("SELECT count(*) FROM sightings WHERE source = 'by-hand' AND aweme_id = ?", hidden) == 0
    archive.cli("hold", erased, "--reason", "a trial").says("it was erased already")
    (told,) = archive.json("hold", erased, "--reason", "a trial")["held"]
    assert (told["too_late"], told["erased"]) == (0, 1)


def test_all_that_a_withdrawal_lacks_is_told_at_once(archive: Archive) -> None:
    """One line names every missing option, in the words of what was asked; what does not go together is refused."""
    one = archive.ids()[0]
    archive.cli("withdraw", one, code=2).says("--reason and --request are missing: they stay in the receipt")
    archive.cli("withdraw", one, "--reason", "x", code=2).says("--request is missing: it stays in the receipt")
    archive.cli("withdraw", one, "--undo", code=2).says("--reason is missing: the audit log keeps")
    archive.cli("withdraw", one, *WHY)
    for option in ("--now", "--dry-run"):
        archive.cli("withdraw", one, *UNDO, option, code=2).says("--undo takes neither")
    assert archive.ids("withheld") == [one]
