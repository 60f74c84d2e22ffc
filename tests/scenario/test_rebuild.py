"""The database is lost, or an older one is put back: the store gives back what is archived, nothing is bought again."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clipledger.archive import identity_of, open_archive
from clipledger.cli.output import Context
from clipledger.cli.rebuilding import Asked, rebuild
from clipledger.core.errors import Misconfigured
from clipledger.db import schema
from clipledger.db.restoring import Restorer
from clipledger.sim.play import Play
from clipledger.stages.restoring import Restoring
from contract.archives import drop_database, new_database

pytestmark = pytest.mark.slow

GROUND = None  # a SQLite file is lost

FAULTS = "deleted=0.05,renamed=0.2,hd_403=0.1"
POSTS = 60


def played(folder: Path, **more: Any) -> Play:
    """Archive a small world to its end."""
    play = Play(folder, seed=5, posts=POSTS, faults=FAULTS, photo_share=0.3, **more)
    play.add(*(f"@{author.first_handle}" for author in play.world.population.authors))
    play.run_to_the_end(6)
    return play


def told(capsys: pytest.CaptureFixture[str], folder: Path, **asked: Any) -> dict[str, Any]:
    """Run `rebuild --json` and read its document."""
    context = Context(folder, json=True, loudness=-1)
    rebuild(context, Asked(**{"to": None, "check": False, "reconcile": False, "dry_run": False} | asked))
    body: dict[str, Any] = json.loads(capsys.readouterr().out)
    return body


def test_a_lost_database_comes_back_from_the_store_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its database gone an archive is rebuilt from its sidecars, and all that is archived is as it was."""
    play = played(folder)
    archived = play.states()["archived"]
    (folder / "clipledger.db").rename(folder / "before.db")
    body = told(capsys, folder)
    assert body["exit"] == "ok" and body["restored"] == body["posts"] == archived > 20
    (folder / "clipledger.db").rename(folder / "rebuilt.db")
    (folder / "before.db").rename(folder / "clipledger.db")
    body = told(capsys, folder, check=True)
    assert body["equal"] and body["compared"] == archived


def test_a_backup_of_yesterday_buys_nothing_again(folder: Path) -> None:
    """After the database is put back as it was before most posts came, `run` takes them in from the store, unpaid."""
    play = Play(folder, seed=5, posts=POSTS, faults=FAULTS, photo_share=0.3)
    authors = [f"@{author.first_handle}" for author in play.world.population.authors]
    play.add(*authors[:1])
    play.run_to_the_end(6)
    shutil.copy(folder / "clipledger.db", folder / "backup.db")
    early = play.states()["archived"]
    play.wait(86_400.0)
    play.add(*authors[1:])
    play.run_to_the_end(6)
    archived, bought = play.states()["archived"], play.world.ledger.credits_about("/post-detail/")
    assert archived > early + 10
    for ending in ("", "-wal", "-shm"):
        (folder / f"clipledger.db{ending}").unlink(missing_ok=True)
    (folder / "backup.db").rename(folder / "clipledger.db")
    play.wait(3600.0)
    run = play.run()
    assert run.events[0]["reconciled"] == run.events[0]["database_older"] == 1
    assert play.states()["archived"] == archived
    assert play.world.ledger.credits_about("/post-detail/") == bought
    play.add(*authors)
    play.run_to_the_end(6)
    again = play.world.ledger.credits_about("/post-detail/")
    assert {i: again[i] - bought.get(i, 0) for i in again if again[i] != bought.get(i, 0)} == {}
    assert play.run().events[0]["reconciled"] == 0


def test_a_server_is_filled_from_the_store(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty PostgreSQL database is filled from the store, and equals the SQLite one that the archive had."""
    archived, url = played(folder).states()["archived"], new_database()
    body = told(capsys, folder, to=url, check=True)
    assert body["equal"] and body["restored"] == body["compared"] == archived
    with pytest.raises(Misconfigured, match="left alone"):
        told(capsys, folder, to=url)
    drop_database(url)


def test_damaged_and_doubled_sidecars(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sidecar that cannot be read is named with exit 7, or restored from a whole one that lies beside it."""
    play = played(folder)
    keys = [row[0] for row in play.rows("SELECT sidecar_key FROM posts ORDER BY aweme_id LIMIT 2")]
    lost, kept = (folder / key for key in keys)
    shutil.copy(kept, kept.with_suffix(".t1790000000000.json"))
    for path in (lost, kept):
        path.write_bytes(path.read_bytes()[:50])
    (folder / "clipledger.db").rename(folder / "before.db")
    body = told(capsys, folder)
    assert body["exit"] == "damaged" and body["unreadable_count"] == 1
    assert body["unreadable"][0]["aweme_id"] in keys[0] and body["restored"] == body["posts"] - 1


def test_a_rebuild_that_stopped_goes_on(folder: Path) -> None:
    """Stopped between batches, a pass remembers where it was, and the next one reads only the rest."""
    play = played(folder)
    everything = play.states()["archived"]
    (folder / "clipledger.db").unlink()
    schema.create(folder / "clipledger.db", now=play.now(), archive_uuid=identity_of(folder))

    async def act() -> None:
        async with open_archive(folder) as archive:
            restorer = Restorer(archive.db, archive.removals)
            first = Restoring(archive.store, restorer, archive.clock, batch=10)
            assert not await first.act(keep_cursor=True, stopping=lambda: True)
            assert first.tally.restored == 10 and await restorer.begun()
            second = Restoring(archive.store, restorer, archive.clock, batch=10)
            assert await second.act(after=await restorer.begun() or "", keep_cursor=True, stopping=lambda: False)
            assert second.tally.restored == everything - 10 and second.tally.known == 0

    asyncio.run(act())
