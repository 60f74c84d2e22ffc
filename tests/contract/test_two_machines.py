"""Two machines on one archive: each sees its own dead at once, and the other's only by their leases."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clipledger import presence
from clipledger.core.chain import Who
from clipledger.core.lifecycle import Policy
from clipledger.db.credits import Credits
from clipledger.db.database import Database
from clipledger.db.members import Members
from clipledger.db.queue import Queue
from clipledger.db.removals import Removals
from clipledger.db.restoring import Restorer
from clipledger.events import Events
from clipledger.settings import Settings
from clipledger.stages.janitor import Janitor
from clipledger.storage.memory import MemoryStore
from clipledger.storage.spool import Spool
from contract.archives import NOW, in_archive, vid

pytestmark = pytest.mark.usefixtures("backend")


class _At:
    """A clock that stands."""

    def __init__(self, at: float) -> None:
        self._at = at

    def now(self) -> float:
        return self._at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


WHO = Who("ann", "desk", "1.0")


def _janitor(folder: Path, db: Database, at: float) -> Janitor:
    spool = Spool(presence.private_folder(folder) / "spool")
    clock = _At(at)
    return Janitor(
        folder,
        db,
        Queue(db),
        Credits(db),
        Members(db),
        spool,
        clock,
        Events(clock),
        Settings(),
        Policy(),
        MemoryStore(),
        Restorer(db, Removals(db, WHO)),
    )


def test_a_worker_elsewhere_is_taken_over_by_its_lease_only(tmp_path: Path) -> None:
    """A machine does not declare the workers of another one dead; what they hold is taken when their lease is over."""
    here, there = tmp_path / "here", tmp_path / "there"

    async def act(db: Database) -> None:
        queue = Queue(db)
        await queue.add_by_hand([(vid(1), None), (vid(2), None)], "hand", 0, NOW)
        with presence.hold_worker(there, "lives"):
            assert len(await queue.claim(1, NOW, 60.0, "lives")) == 1
        (there / ".clipledger" / "workers" / "died.lock").touch()
        assert len(await queue.claim(1, NOW, 60.0, "died")) == 1
        assert await _janitor(here, db, NOW + 59).recover() == (0, 0)
        assert await _janitor(there, db, NOW + 59).recover() == (1, 0)
        assert await _janitor(here, db, NOW + 61).recover() == (1, 0)

    in_archive(tmp_path, act)
