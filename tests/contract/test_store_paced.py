"""What a store that asks to slow down costs: a pause that everybody keeps, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from clipledger.core.errors import StorageThrottled, StorageUnavailable
from clipledger.core.model import MediaType, ObjectKey
from clipledger.core.ports import KeyTaken
from clipledger.db.database import Database
from clipledger.db.paces import PaceRow
from clipledger.limits import Pause
from clipledger.sim import timeloop
from clipledger.sim.bridged import BridgedStore
from clipledger.sim.timeloop import SimClock
from clipledger.storage.aws import Address, Aws
from clipledger.storage.paced import PATIENCE_S, PacedStore
from clipledger.storage.place import read_place
from clipledger.storage.s3 import S3Store
from clipledger.storage.spool import Spool
from contract.archives import new_archive
from contract.stores import SIDECAR, VIDEO, Servers, put, put_part
from s3_front import Front, s3_front


@dataclass(slots=True)
class Heard:
    """What was told."""

    events: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def emit(self, name: str, **fields: object) -> None:
        self.events.append((name, fields))


@pytest.fixture
def front(s3_servers: Servers) -> Iterator[Front]:
    with s3_front(s3_servers("ministack").endpoint_url) as front:
        yield front


@pytest.fixture
def bridge(front: Front, s3_servers: Servers) -> Iterator[BridgedStore]:
    store = BridgedStore(S3Store(read_place(s3_servers("ministack").url()), Aws(Address(front.endpoint_url))))
    yield store
    store.shut()


Play = Callable[[Callable[[SimClock, Database], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Play with a database, in made-up time: minutes of waiting take none."""

    def play(scenario: Callable[[SimClock, Database], Coroutine[Any, Any, None]]) -> None:
        path = new_archive(tmp_path)

        async def main(clock: SimClock) -> None:
            async with Database.open(path) as db:
                await scenario(clock, db)

        timeloop.run(main, epoch=1_780_012_800.0)

    return play


def paced(bridge: BridgedStore, clock: SimClock, db: Database, heard: Heard) -> PacedStore:
    """Be one process of the archive."""
    return PacedStore(bridge, Pause(PaceRow(db, "store"), clock), clock, lambda: 0.0, heard)


def test_an_upload_is_repeated_until_the_store_takes_it(
    bridge: BridgedStore, front: Front, play: Play, tmp_path: Path
) -> None:
    """Asked to slow down five times, a put waits longer each time and then succeeds; the pauses are told, once each."""

    async def scenario(clock: SimClock, db: Database) -> None:
        heard, began_at = Heard(), clock.now()
        store = paced(bridge, clock, db, heard)
        front.times(5, "slow_down", "put")
        assert await put_part(store, Spool(tmp_path / "spool"), VIDEO, b"video" * 1000)
        assert clock.now() - began_at == pytest.approx(5 + 10 + 20 + 40 + 80, abs=1)
        assert [(name, fields["seconds"]) for name, fields in heard.events] == [
            ("store_throttled", seconds) for seconds in (5.0, 10.0, 20.0, 40.0, 80.0)
        ]
        front.times(1, "slow_down", "put")
        assert await put(store, SIDECAR, b"{}")
        assert heard.events[-1][1]["seconds"] == 5.0  # the doubling had ended

    play(scenario)


def test_everybody_keeps_the_pause(bridge: BridgedStore, front: Front, play: Play) -> None:
    """When one process is asked to slow down, the others stop asking within a second, until the pause is over."""

    async def scenario(clock: SimClock, db: Database) -> None:
        one, other = (paced(bridge, clock, db, Heard()) for _ in range(2))
        assert await other.stat(VIDEO) is None
        front.times(1, "slow_down", "put")
        async with asyncio.TaskGroup() as group:
            putting = group.create_task(put(one, SIDECAR, b"{}"))
            await clock.sleep(1.5)
            asked = front.seen.total()
            looking = group.create_task(other.stat(SIDECAR))
            await clock.sleep(3.0)
            assert front.seen.total() == asked and not looking.done()
        assert putting.result() and looking.result() is not None

    play(scenario)


def test_patience_has_an_end(bridge: BridgedStore, front: Front, play: Play) -> None:
    """A store that asks to slow down for ever ends the put after a bounded time, with a name of its own."""

    async def scenario(clock: SimClock, db: Database) -> None:
        front.always("slow_down", "put")
        began_at = clock.now()
        with pytest.raises(StorageThrottled):
            await put(paced(bridge, clock, db, Heard()), SIDECAR, b"{}")
        assert PATIENCE_S <= clock.now() - began_at <= PATIENCE_S + 300

    play(scenario)


def test_a_look_is_made_again(bridge: BridgedStore, front: Front, play: Play) -> None:
    """A stat, read, digest or walk that fails once or twice is made again before anything is given back."""

    async def scenario(clock: SimClock, db: Database) -> None:
        store = paced(bridge, clock, db, Heard())
        for n in range(3):
            await put(store, f"covers/{n}.jpg", b"x")
        key = ObjectKey("covers/0.jpg")
        front.times(2, "error", "head")
        assert await store.stat(key) is not None
        front.times(2, "error", "get")
        assert await store.read(key, 10) == b"x"
        front.times(2, "error", "get")
        assert (await store.digest(key))[0] == 1
        front.times(2, "error", "list")
        assert [found.key async for found in store.walk("covers/")] == [f"covers/{n}.jpg" for n in range(3)]
        front.times(3, "error", "head")
        with pytest.raises(StorageUnavailable):
            await store.stat(key)

    play(scenario)


def test_a_taken_key_is_told_at_once(bridge: BridgedStore, play: Play) -> None:
    """Patience changes no answer: what is taken is taken, what is absent is absent."""

    async def scenario(clock: SimClock, db: Database) -> None:
        store = paced(bridge, clock, db, Heard())
        await put(store, SIDECAR, b"{}")
        with pytest.raises(KeyTaken):
            await store.put_bytes(SIDECAR, b"[]", MediaType.JSON)
        with pytest.raises(KeyError):
            await store.read(VIDEO, 10)
        await store.delete(SIDECAR)
        assert await store.stat(SIDECAR) is None
        assert clock.now() == 1_780_012_800.0

    play(scenario)
