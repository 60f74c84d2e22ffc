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


def video(archive: Archive, nth: int = 0) -> str:
    """Give the id of an archived video post."""
    return str(archive.rows("SELECT aweme_id FROM files WHERE kind = 'video' AND position = 0 ORDER BY 1")[nth][0])


def truncated(archive: Archive) -> list[str]:
    path = archive.file_of(video(archive))
    path.write_bytes(path.read_bytes()[:-1])
    return [video(archive)]


def flipped(archive: Archive) -> list[str]:
    path = archive.file_of(video(archive))
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)
    return [video(archive)]


def deleted(archive: Archive) -> list[str]:
    archive.file_of(video(archive)).unlink()
    return [video(archive)]


def made_a_folder(archive: Archive) -> list[str]:
    path = archive.file_of(video(archive))
    path.unlink()
    path.mkdir()
    return [video(archive)]


def linked_elsewhere(archive: Archive) -> list[str]:
    path = archive.file_of(video(archive))
    path.rename(path.with_suffix(".moved"))
    path.symlink_to(path.with_suffix(".moved"))
    return [video(archive)]


def swapped(archive: Archive) -> list[str]:
    one, other = archive.file_of(video(archive, 0)), archive.file_of(video(archive, 1))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return [video(archive, 0), video(archive, 1)]


def cover_flipped(archive: Archive) -> list[str]:
    aweme_id, key = archive.rows("SELECT aweme_id, storage_key FROM files WHERE kind = 'cover'")[0]
    with (archive.folder / key).open("r+b") as file:
        file.seek(20)
        file.write(b"\0\0\0\0\0\0\0\0")
    return [aweme_id]


def sidecar_edited(archive: Archive) -> list[str]:
    path = archive.file_of(video(archive), "sidecar")
    told = json.loads(path.read_text())
    told["author"]["handle"] = "somebody.else"
    path.write_text(json.dumps(told))
    return [video(archive)]


def sidecar_deleted(archive: Archive) -> list[str]:
    archive.file_of(video(archive), "sidecar").unlink()
    return [video(archive)]


def sidecar_garbage(archive: Archive) -> list[str]:
    archive.file_of(video(archive), "sidecar").write_bytes(b"\xff" * 100)
    return [video(archive)]


def sidecars_swapped(archive: Archive) -> list[str]:
    one, other = (archive.file_of(video(archive, nth), "sidecar") for nth in (0, 1))
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    return [video(archive, 0), video(archive, 1)]


def sidecar_forgotten(archive: Archive) -> list[str]:
    archive.change("DELETE FROM files WHERE kind = 'sidecar' AND aweme_id = ?", video(archive))
    return [video(archive)]


def post_forgotten(archive: Archive) -> list[str]:
    archive.change("DELETE FROM posts WHERE aweme_id = ?", video(archive))
    return [video(archive)]


def files_forgotten(archive: Archive) -> list[str]:
    archive.change("DELETE FROM files WHERE aweme_id = ?", video(archive))
    return [video(archive)]


def unknown_state(archive: Archive) -> list[str]:
    archive.change("UPDATE archive_queue SET state = 'lost' WHERE aweme_id = ?", video(archive))
    return [video(archive)]


def letter_deleted(archive: Archive) -> list[str]:
    dead = archive.ids("dead")[0]
    archive.change("DELETE FROM dead_letters WHERE aweme_id = ?", dead)
    return [dead]


def letter_invented(archive: Archive) -> list[str]:
    archive.change(
        "INSERT INTO dead_letters(aweme_id, reason, attempts, died_at) VALUES (?, 'not_found', 1, '2026-01-01T00:00:00.000Z')",
        video(archive),
    )
    return [video(archive)]


def credits_deleted(archive: Archive) -> list[str]:
    archive.change("DELETE FROM credits WHERE aweme_id = ?", video(archive))
    return [video(archive)]


def queue_row_deleted(archive: Archive) -> list[str]:
    gone = video(archive)
    archive.change("DELETE FROM archive_queue WHERE aweme_id = ?", gone)
    return [gone]


def declared_running(archive: Archive) -> list[str]:
    archive.change("UPDATE archive_queue SET state = 'running' WHERE aweme_id = ?", video(archive))
    return [video(archive)]


DAMAGE: list[Callable[[Archive], list[str]]] = [
    truncated, flipped, deleted, made_a_folder, linked_elsewhere, swapped, cover_flipped, sidecar_edited,
    sidecar_deleted, sidecar_garbage, sidecars_swapped, sidecar_forgotten, post_forgotten, files_forgotten,
    unknown_state, letter_deleted, letter_invented, credits_deleted, queue_row_deleted, declared_running,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_verify_finds_it_and_names_the_id(archive: Archive, damage: Callable[[Archive], list[str]]) -> None:
    """Whatever was done to the archive behind its back, `verify` exits with 7 and names exactly the ids it was done to."""
    named = damage(archive)
    told = archive.json("verify", code=7)
    assert told["exit"] == "damaged" and told["count"] == len(told["findings"]) > 0
    assert {finding["aweme_id"] for finding in told["findings"]} - {""} == set(named), told["findings"]


def test_books_and_media_are_told_apart(archive: Archive) -> None:
    """`verify --ledger` finds broken books and reads no file; `verify --media` finds broken files and no books."""
    assert archive.cli("verify").code == 0
    truncated(archive)
    assert archive.json("verify", "--ledger", code=0)["files"] == 0
    named = letter_deleted(archive)
    told = archive.json("verify", "--ledger", code=7)
    assert [finding["aweme_id"] for finding in told["findings"]] == named
    told = archive.json("verify", "--media", code=7)
    assert [finding["aweme_id"] for finding in told["findings"]] == [video(archive)]
    people = archive.cli("verify", code=7)
    assert named[0] in people.err and video(archive) in people.err and people.out.startswith("damaged: 2 findings")


def test_a_day_that_does_not_add_up_is_found(archive: Archive) -> None:
    """A daily sum of credits that is not the sum of its calls is a finding, though no single id's."""
    archive.change("UPDATE credit_days SET credits = credits + 1")
    told = archive.json("verify", "--ledger", code=7)
    assert [finding["aweme_id"] for finding in told["findings"]] == [""] and "credit" in told["findings"][0]["what"]
