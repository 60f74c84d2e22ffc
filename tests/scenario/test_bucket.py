"""Bad weeks in made-up time, archived to a real S3 server that fails too; crashes included."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clipledger.sim.bridged import BridgedStore
from clipledger.sim.dice import roll
from clipledger.sim.kept import KeptInBucket
from clipledger.sim.play import Crash, Ground, Play
from clipledger.sim.scenarios import everything
from clipledger.storage.aws import Address, Aws
from clipledger.storage.place import read_place
from clipledger.storage.probe import Mode
from clipledger.storage.s3 import S3Store
from s3_front import Asked, Front, s3_front
from s3_servers import BUCKET, S3Server

pytestmark = pytest.mark.slow

Servers = Callable[[str], S3Server]
GROUND = None
"""Each test lays its own: a bucket behind a front that fails."""


@contextmanager
def stage_on(server: S3Server, folder: Path, seed: int, posts: int) -> Iterator[tuple[Play, Front, S3Store]]:
    """Set a stage whose store is a bucket behind a front."""
    url = server.url()
    with s3_front(server.endpoint_url) as front:
        store = S3Store(read_place(url), Aws(Address(front.endpoint_url)), single_bytes_max=60_000)
        bridge = BridgedStore(store)
        kept = KeptInBucket(BUCKET, url.removeprefix(f"s3://{BUCKET}/") + "/", server.endpoint_url)
        try:
            ground = Ground(storage_url=url, store=bridge, kept=kept)
            stage = Play(folder, seed=seed, posts=posts, faults="hostile", ground=ground)
            yield stage, front, store
            assert kept.uploads() == []
        finally:
            kept.close()
            bridge.shut()


@pytest.mark.parametrize("seed", [1, 2])
def test_a_bad_week_and_a_bad_bucket_end_with_books_that_balance(seed: int, folder: Path, s3_servers: Servers) -> None:
    """When API, CDN and bucket all fail at times and the process dies, after a few runs the auditor is content."""
    with stage_on(s3_servers("ministack"), folder, seed, 40) as (stage, front, store):
        if seed % 2:
            store.mode = Mode.CONDITIONAL_SINGLE
        count = iter(range(10**9))
        spoils = {"slow_down": 0.02, "error": 0.02, "lost": 0.01, "cut": 0.01}

        def spoilt(asked: Asked) -> str | None:
            dice = roll(seed, "front", next(count))
            for spoil, share in spoils.items():
                if (dice := dice - share) < 0 and asked.act in ("put", "part", "complete", "get", "head"):
                    return spoil
            return None

        front.rule = spoilt
        stage.add(*everything(stage.world))
        stage.run(crash=Crash(20.0 + 10 * seed, 7))
        stage.run_to_the_end(6)
        front.always(None)
        report = stage.audit()
        assert report.findings == []
        assert set(stage.states()) <= {"archived", "dead"} and report.files > 40
        assert {"slow_down", "error"} <= front.spoilt.keys()
        told = stage.rows("SELECT count(*) FROM credits WHERE reason = 'first'")[0][0]
        assert told <= len(stage.world.ledger.shown) + 60


@pytest.mark.parametrize(("pauses", "within_patience"), [(6, True), (16, False)])
def test_a_store_that_asks_to_slow_down_uses_up_no_attempt(
    folder: Path, s3_servers: Servers, pauses: int, within_patience: bool
) -> None:
    """A throttled bucket costs time, and no attempt; minutes of it cost no second credit either."""
    with stage_on(s3_servers("ministack"), folder, 3, 12) as (stage, front, _):
        stage.turn(plan="calm")
        front.times(pauses * 10, "slow_down", "put", "part", "begin")  # of the ten posts each is refused once a pause
        stage.add(*everything(stage.world)[:3])
        runs = stage.run_to_the_end(4)
        assert {run.ending for run in runs} == {"done"}
        assert runs[0].ended_at - runs[0].began_at > 300
        assert sum(run.events[0]["store_throttled"] for run in runs) >= 6
        assert stage.rows("SELECT max(attempts) FROM archive_queue WHERE state = 'archived'") == [(1,)]
        again = "SELECT count(*) FROM credits WHERE reason NOT IN ('first', 'page', 'lookup', 'regions')"
        assert (stage.rows(again) == [(0,)]) is within_patience
        assert stage.audit().findings == []
