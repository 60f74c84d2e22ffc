"""Exports on both databases: nothing is missed, nothing is said twice, the same is written the same."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import psycopg
import pytest
from sqlalchemy import update

from clipledger.archive import Archive
from clipledger.core.errors import ArchiveInUse, UsageError
from clipledger.core.model import AwemeId
from clipledger.db.copying import copy
from clipledger.db.exports import Exports, changed
from clipledger.db.tables import archive_queue, posts
from clipledger.export.exporting import Wish, destination, look
from clipledger.export.manifest import Kind
from clipledger.export.staging import private_place
from contract.archives import NOW, archive_at, is_postgres, on_postgres, on_sqlite, raw
from contract.export_archives import HOSTILE, SECRET, aweme, change, exported, fill, lay, put_in, tree, with_archive
from postgres import wait_until

pytestmark = pytest.mark.usefixtures("backend")

WAITING = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


@pytest.mark.parametrize("seed", [1, 2])
def test_an_incremental_export_is_the_full_one(tmp_path: Path, seed: int) -> None:
    """After any changes, exporting what changed gives byte for byte what exporting everything anew gives."""
    dice = Random(seed)

    async def act(archive: Archive) -> None:
        await fill(archive, 40)
        for turn in range(4):
            for _ in range(dice.randrange(1, 6)):
                await archive.db.write(lambda connection: change(connection, dice, 40))
            grown = range(40 + turn, 41 + turn)
            await archive.db.write(lambda connection, numbers=grown: put_in(connection, numbers))
            step = await exported(archive, tmp_path / "step")
            assert step.full is (turn == 0)
            whole = await exported(archive, tmp_path / f"whole{turn}")
            assert whole.full and whole.rows == step.rows
            assert tree(tmp_path / "step") == tree(tmp_path / f"whole{turn}"), f"seed {seed}, turn {turn}"

    with_archive(lay(tmp_path / "archive"), act)


def test_an_export_without_changes_writes_nothing(tmp_path: Path) -> None:
    """A second export of the same archive touches no file, whatever its kind; a third after one change only some."""

    async def act(archive: Archive) -> None:
        await fill(archive, 30)
        for kind in Kind:
            first = await exported(archive, tmp_path / kind, kind)
            assert first.full and first.written
            again = await exported(archive, tmp_path / kind, kind)
            assert not again.export_id and not again.written and not again.full
        touch = update(posts).where(posts.c.aweme_id == aweme(1)).values(play_count=5)
        await archive.db.write(lambda connection: connection.execute(touch))
        third = await exported(archive, tmp_path / Kind.PARQUET)
        assert [file.path for file in third.written] == ["posts/dt=2026-05-06/part-0.parquet"]
        assert [file.path for file in (await exported(archive, tmp_path / Kind.CSV, Kind.CSV)).written] == ["posts.csv"]

    with_archive(lay(tmp_path / "archive"), act)


def test_two_places_have_their_own_watermarks(tmp_path: Path) -> None:
    """Exporting to one place does not make another one miss what changed."""

    async def act(archive: Archive) -> None:
        await fill(archive, 20)
        await exported(archive, tmp_path / "a")
        await exported(archive, tmp_path / "b")
        for number in (1, 2, 3):
            touch = update(posts).where(posts.c.aweme_id == aweme(number)).values(play_count=number)
            await archive.db.write(lambda connection, touch=touch: connection.execute(touch))
            await exported(archive, tmp_path / "a")
        step = await exported(archive, tmp_path / "b")
        assert not step.full
        assert tree(tmp_path / "a") == tree(tmp_path / "b")

    with_archive(lay(tmp_path / "archive"), act)


def test_what_is_withheld_leaves_every_export(tmp_path: Path) -> None:
    """A post that was withheld is in no table of the next export, and its texts and ids are in no file."""

    async def act(archive: Archive) -> None:
        await fill(archive, 30)
        for kind in (Kind.PARQUET, Kind.CSV, Kind.JSONL, Kind.IDS, Kind.DATASET):
            await exported(archive, tmp_path / kind, kind)
        hidden = [aweme(number) for number in range(30) if number % 5 == 3]
        hide = update(archive_queue).where(archive_queue.c.aweme_id.in_(hidden)).values(state="withheld")
        await archive.db.write(lambda connection: connection.execute(hide))
        for kind in (Kind.PARQUET, Kind.CSV, Kind.JSONL, Kind.IDS, Kind.DATASET):
            outcome = await exported(archive, tmp_path / kind, kind)
            told = told_of(tmp_path / kind)
            assert not [one for one in hidden if one in told], kind
            assert "h3 old" not in told, "who has only posts that are withheld is withheld too"
            if kind is not Kind.IDS:
                assert "h2 old" in told and outcome.rows["authors"] == 4

    with_archive(lay(tmp_path / "archive"), act)


def told_of(folder: Path) -> str:
    """Give every text of an export: of Parquet, what its cells hold."""
    import pyarrow.parquet as pq

    told = ""
    for path in folder.rglob("*"):
        if path.suffix == ".parquet":
            told += str(pq.ParquetFile(path).read().to_pylist())
        elif path.is_file():
            told += path.read_text(encoding="utf-8")
    return told


def test_no_signature_is_exported(tmp_path: Path) -> None:
    """A signed link that got into a title leaves the archive without its signature, in every format."""

    async def act(archive: Archive) -> None:
        await fill(archive, 30)
        for kind in Kind:
            await exported(archive, tmp_path / kind, kind)
            assert SECRET not in told_of(tmp_path / kind), kind
        assert "v16.example.com" in told_of(tmp_path / Kind.JSONL)

    with_archive(lay(tmp_path / "archive"), act)


def test_a_search_chooses_what_is_exported(tmp_path: Path) -> None:
    """`--where` takes the search language, and every table holds what belongs to the posts that it finds."""

    async def act(archive: Archive) -> None:
        await fill(archive, 40)
        found = await exported(archive, tmp_path / "some", Kind.JSONL, query="from:@h2 since:2026-05-08")
        wanted = [number for number in range(40) if number % 5 == 2 and number % 7 and number * 8 >= 24 * 2 + 8]
        ids = [line.split('"')[3] for line in (tmp_path / "some" / "posts.jsonl").read_text().splitlines()]
        assert ids == [aweme(number) for number in wanted]
        assert found.rows == {
            "posts": len(ids),
            "metrics": 3 * len(ids),
            "files": len(ids),
            "sightings": len(ids),
            "dead_letters": 0,
            "authors": 1,
        }
        parquet = await exported(archive, tmp_path / "parquet", query="from:@h2 since:2026-05-08")
        assert parquet.rows == found.rows
        with pytest.raises(UsageError, match="place 1"):
            await exported(archive, tmp_path / "wrong", query="since:soon")

    with_archive(lay(tmp_path / "archive"), act)


def test_a_place_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    """An export never writes over one of another kind or archive, over the archive, or beside another process."""

    async def act(archive: Archive) -> None:
        await fill(archive, 3)
        await exported(archive, tmp_path / "x", Kind.CSV)
        with pytest.raises(UsageError, match="kind csv"):
            await exported(archive, tmp_path / "x")
        manifest = tmp_path / "x" / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"0f0e"', '"other"'))
        with pytest.raises(UsageError, match="another archive"):
            await exported(archive, tmp_path / "x", Kind.CSV)
        with pytest.raises(UsageError, match="archive itself"):
            await exported(archive, archive.folder)
        place = destination(archive, str(tmp_path / "y"))
        with private_place(archive.folder, place.url), pytest.raises(ArchiveInUse):
            await exported(archive, tmp_path / "y")

    with_archive(lay(tmp_path / "archive"), act)


def test_looking_changes_nothing(tmp_path: Path) -> None:
    """`--dry-run` says what would be written, and writes neither there nor into the archive's books."""

    async def act(archive: Archive) -> None:
        await fill(archive, 20)
        store = destination(archive, str(tmp_path / "x"))
        found = await look(archive, store, Wish(Kind.PARQUET))
        assert found.full and not (tmp_path / "x").exists()
        assert raw(archive.folder, "SELECT count(*) FROM export_journal") == [(0,)]
        whole = await exported(archive, tmp_path / "x")
        assert len(found.pieces) == len(whole.written)
        assert not (await look(archive, store, Wish(Kind.PARQUET))).pieces

    with_archive(lay(tmp_path / "archive"), act)


def test_the_books_tell_which_export_holds_a_post(tmp_path: Path) -> None:
    """Each file that may hold a post is known by its digest: a removal notice can name it."""

    async def act(archive: Archive) -> None:
        await fill(archive, 20)
        await exported(archive, tmp_path / "x")
        await exported(archive, tmp_path / "c", Kind.CSV)
        held = await Exports(archive.db).holding([AwemeId(aweme(1))])
        assert {each.path for each in held} >= {"posts/dt=2026-05-06/part-0.parquet", "posts.csv", "metrics.csv"}
        for each in held:
            folder = tmp_path / ("c" if each.path.endswith("csv") else "x")
            assert f'"sha256": "{each.sha256}"' in (folder / "manifest.json").read_text()
        rows = await Exports(archive.db).all()
        assert [row.kind for row in rows] == ["parquet", "csv"] and rows[0].destination.startswith("file://")

    with_archive(lay(tmp_path / "archive"), act)


def test_a_database_restored_from_a_backup_exports_everything(tmp_path: Path) -> None:
    """When the books do not know the export that stands at a place, nothing is believed of it: all is written anew."""

    async def act(archive: Archive) -> None:
        await fill(archive, 10)
        await exported(archive, tmp_path / "x")
        raw(archive.folder, "DELETE FROM export_parts")
        raw(archive.folder, "DELETE FROM exports")
        assert (await exported(archive, tmp_path / "x")).full

    with_archive(lay(tmp_path / "archive"), act)


def test_a_copied_archive_begins_its_exports_anew(tmp_path: Path) -> None:
    """`db copy` carries the books of exports; the journal begins anew, so the first export there is whole."""

    async def act(archive: Archive) -> None:
        await fill(archive, 10)
        await exported(archive, tmp_path / "x")
        await archive.db.write(lambda connection: put_in(connection, range(10, 12)))

    folder = lay(tmp_path / "archive")
    with_archive(folder, act)
    copy(archive_at(folder), tmp_path / "copied.db", NOW, lambda *_: None)
    (folder / "clipledger.toml").write_text(f'[database]\nurl = "sqlite:///{tmp_path}/copied.db"\n', encoding="utf-8")

    async def again(archive: Archive) -> None:
        step = await exported(archive, tmp_path / "x")
        assert step.full and step.rows["sightings"] == 12

    with_archive(folder, again)


@on_postgres
def test_a_transaction_that_commits_late_is_not_missed(tmp_path: Path) -> None:
    """A change that was under way when an export began, and was committed after, is in the next one at the latest."""
    assert is_postgres()

    async def act(archive: Archive) -> None:
        await fill(archive, 10)
        first = await Exports(archive.db).begin("j")
        with psycopg.connect(str(archive_at(archive.folder))) as other:
            other.execute("UPDATE posts SET play_count = 1 WHERE aweme_id = %s", (aweme(1),))
            async with asyncio.TaskGroup() as group:
                ending = group.create_task(Exports(archive.db).begin("j"))
                await asyncio.to_thread(wait_until, lambda: bool(raw(archive.folder, WAITING)))
                assert not ending.done(), "a generation ends when everybody who stamps with it is through"
                other.commit()
        found = await archive.db.read(lambda connection: changed(connection, first))
        assert ending.result().generation == 1 and found is not None and found["posts"]

    with_archive(lay(tmp_path / "archive"), act)


def test_hostile_titles_survive_in_json(tmp_path: Path) -> None:
    """JSON lines hold each title as it is kept, but for signatures: an apostrophe before a formula is CSV's alone."""
    import json

    async def act(archive: Archive) -> None:
        await fill(archive, 30)
        await exported(archive, tmp_path / "x", Kind.JSONL)
        lines = (tmp_path / "x" / "posts.jsonl").read_text(encoding="utf-8").splitlines()
        titles = {row["title"] for row in map(json.loads, lines)}
        assert titles >= {title for title in HOSTILE if "https:" not in title}

    with_archive(lay(tmp_path / "archive"), act)


@on_sqlite
def test_a_nul_in_a_title_reaches_no_reader(tmp_path: Path) -> None:
    """A NUL that got into the database, which R and PostgreSQL refuse, leaves it as a replacement character."""

    async def act(archive: Archive) -> None:
        await fill(archive, 3)
        raw(archive.folder, "UPDATE posts SET title = ? WHERE aweme_id = ?", "a\0b", aweme(1))
        for kind in (Kind.CSV, Kind.JSONL, Kind.PARQUET):
            await exported(archive, tmp_path / kind, kind)
            told = told_of(tmp_path / kind)
            assert "a\ufffdb" in told and "\0" not in told and "\\x00" not in told, kind

    with_archive(lay(tmp_path / "archive"), act)
