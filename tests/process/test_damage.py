"""Damage of every kind is found by `verify`, which names the id and exits with 7."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from process.harness import Archive, finished_archive

pytestmark = pytest.mark.slow


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return finished_archive(tmp_path / "archive")


def truncated(archive: Archive, aweme_id: str) -> None:
    path = archive.file_of(aweme_id)
    path.write_bytes(path.read_bytes()[:-1])


def flipped(archive: Archive, aweme_id: str) -> None:
    path = archive.file_of(aweme_id)
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def cover_flipped(archive: Archive, aweme_id: str) -> None:
    with archive.file_of(aweme_id, "cover").open("r+b") as file:
        file.seek(20)
        file.write(b"\0\0\0\0\0\0\0\0")


def deleted(archive: Archive, aweme_id: str) -> None:
    archive.file_of(aweme_id).unlink()


def made_a_folder(archive: Archive, aweme_id: str) -> None:
    path = archive.file_of(aweme_id)
    path.unlink()
    path.mkdir()


def linked_elsewhere(archive: Archive, aweme_id: str) -> None:
    path = archive.file_of(aweme_id)
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))


def swap(archive: Archive, kind: str, aweme_id: str, other_id: str) -> None:
    one, other = archive.file_of(aweme_id, kind), archive.file_of(other_id, kind)
    first, second = one.read_bytes(), other.read_bytes()
    assert first != second
    one.write_bytes(second)
    other.write_bytes(first)


def sidecar_edited(archive: Archive, aweme_id: str) -> None:
    path = archive.file_of(aweme_id, "sidecar")
    told = json.loads(path.read_text())
    told["author"]["handle"] = "somebody.else"
    path.write_text(json.dumps(told))


def sidecar_deleted(archive: Archive, aweme_id: str) -> None:
    archive.file_of(aweme_id, "sidecar").unlink()


def sidecar_garbage(archive: Archive, aweme_id: str) -> None:
    archive.file_of(aweme_id, "sidecar").write_bytes(b"\xff" * 100)


def sidecar_forgotten(archive: Archive, aweme_id: str) -> None:
    archive.change("DELETE FROM files WHERE kind = 'sidecar' AND aweme_id = ?", aweme_id)


def post_forgotten(archive: Archive, aweme_id: str) -> None:
    archive.change("DELETE FROM posts WHERE aweme_id = ?", aweme_id)


def files_forgotten(archive: Archive, aweme_id: str) -> None:
    archive.change("DELETE FROM files WHERE aweme_id = ?", aweme_id)


def key_edited(archive: Archive, aweme_id: str) -> None:
    sql = "UPDATE files SET storage_key = '../../etc/passwd' WHERE kind = 'video' AND aweme_id = ?"
    archive.change(sql, aweme_id)


def state_unknown(archive: Archive, aweme_id: str) -> None:
    archive.change("UPDATE archive_queue SET state = 'lost' WHERE aweme_id = ?", aweme_id)


def declared_running(archive: Archive, aweme_id: str) -> None:
    archive.change("UPDATE archive_queue SET state = 'running' WHERE aweme_id = ?", aweme_id)


def letter_invented(archive: Archive, aweme_id: str) -> None:
    sql = "INSERT INTO dead_letters(aweme_id, reason, attempts, died_at) VALUES (?, 'not_found', 1, ?)"
    archive.change(sql, aweme_id, "2026-01-01T00:00:00.000Z")


def credits_forgotten(archive: Archive, aweme_id: str) -> None:
    archive.change("DELETE FROM credits WHERE aweme_id = ?", aweme_id)


def queue_row_deleted(archive: Archive, aweme_id: str) -> None:
    archive.change("DELETE FROM archive_queue WHERE aweme_id = ?", aweme_id)


def letter_deleted(archive: Archive) -> str:
    dead = archive.ids("dead")[0]
    archive.change("DELETE FROM dead_letters WHERE aweme_id = ?", dead)
    return dead


def videos(archive: Archive) -> list[str]:
    """List the ids of archived video posts."""
    return [row[0] for row in archive.rows("SELECT aweme_id FROM files WHERE kind = 'video' AND position = 0")]


def found(archive: Archive) -> dict[str, list[str]]:
    """Let `verify` find the damage; give what it says of each id."""
    told = archive.json("verify", code=7)
    assert told["exit"] == "damaged" and told["count"] == len(told["findings"])
    said: dict[str, list[str]] = {}
    for finding in told["findings"]:
        said.setdefault(finding["aweme_id"], []).append(finding["what"])
    return said


FILES = [truncated, flipped, cover_flipped, deleted, made_a_folder, linked_elsewhere, key_edited]
SIDECARS = [sidecar_edited, sidecar_deleted, sidecar_garbage, sidecar_forgotten]
BOOKS = [post_forgotten, files_forgotten, state_unknown, declared_running, letter_invented, queue_row_deleted]


@pytest.mark.parametrize("damages", [FILES, SIDECARS, BOOKS], ids=["files", "sidecars", "books"])
def test_verify_names_the_ids_and_no_others(archive: Archive, damages: list[Callable[[Archive, str], None]]) -> None:
    """Whatever was done to posts behind the archive's back, `verify` exits with 7 and names those ids and no others."""
    struck = dict(zip(videos(archive), damages, strict=False))
    assert len(struck) == len(damages)
    for aweme_id, damage in struck.items():
        damage(archive, aweme_id)
    missed = {aweme_id: damage.__name__ for aweme_id, damage in struck.items()}
    said = found(archive)
    for aweme_id in said:
        missed.pop(aweme_id)
    assert not missed


def test_a_key_that_is_none_is_named_wherever_it_stands(archive: Archive) -> None:
    """Keys that hold no name, also of the post that `verify` tries the store with, are damage and no traceback."""
    archive.change("UPDATE files SET storage_key = '../' || storage_key")
    said = found(archive)
    assert set(said) == set(archive.ids())
    assert all("is not a key of the archive" in told[0] for told in said.values())


@pytest.mark.parametrize("kind", ["video", "sidecar"])
def test_two_files_that_were_swapped_are_both_named(archive: Archive, kind: str) -> None:
    """Two files that changed places, whole as they are, are found at both ends."""
    one, other = videos(archive)[:2]
    swap(archive, kind, one, other)
    assert found(archive).keys() == {one, other}


def test_missing_receipts_are_found(archive: Archive) -> None:
    """A dead id without its letter and a saved one without a paid call are named; so is a day that does not add up."""
    dead, saved = letter_deleted(archive), videos(archive)[0]
    credits_forgotten(archive, saved)
    said = found(archive)
    assert said.keys() == {dead, saved, ""} and "credits" in said[saved][0] and "dead letter" in said[dead][0]


def test_books_and_media_are_told_apart(archive: Archive) -> None:
    """`verify --ledger` finds broken books and reads no file; `verify --media` finds broken files and no books."""
    broken, dead = videos(archive)[0], letter_deleted(archive)
    truncated(archive, broken)
    told = archive.json("verify", "--ledger", code=7)
    assert [finding["aweme_id"] for finding in told["findings"]] == [dead] and told["files"] == 0
    told = archive.json("verify", "--media", code=7)
    assert [finding["aweme_id"] for finding in told["findings"]] == [broken]
    people = archive.cli("verify", code=7)
    assert dead in people.err and broken in people.err and people.out.startswith("damaged: 2 findings")
