"""The database is lost, or an older one is put back: the store gives back what is archived, nothing is bought again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clipledger.cli.output import Context
from clipledger.cli.rebuilding import Asked, rebuild
from clipledger.sim.play import Play

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
