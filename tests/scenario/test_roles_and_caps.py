"""Roles, caps, several workers, lean capture: the other ways to run the same archive."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from clipledger.sim.play import Play
from clipledger.sim.scenarios import everything, outcome
from clipledger.wiring import Limits

pytestmark = pytest.mark.slow


def _stage(folder: Path, **how: object) -> Play:
    stage = Play(folder, seed=3, posts=90, **how)  # type: ignore[arg-type]
    stage.add(*everything(stage.world))
    return stage


def _kept(stage: Play) -> set[tuple[object, ...]]:
    # Beginning at another second may move a post past midnight, so days are no part of what is compared.
    return set(
        stage.rows(
            "SELECT q.aweme_id, q.state, f.kind, f.rendition, f.sha256 FROM archive_queue q "
            "LEFT JOIN files f ON f.aweme_id = q.aweme_id AND f.kind <> 'sidecar'"
        )
    )


def test_a_run_that_finds_nothing_due_ends_at_once(folder: Path) -> None:
    """When all is done a further run spends nothing and is over in a second: nobody waits for a role that idles."""
    stage = _stage(folder)
    stage.run_to_the_end(4)
    for roles in (None, ["capture", "history"], ["listing", "history"]):
        idle = stage.run() if roles is None else stage.run(roles=roles)
        assert idle.ended_at - idle.began_at < 1.0 and sum(idle.spent) == 0, roles


def test_roles_one_after_another_give_the_same_archive(folder: Path) -> None:
    """Listing, capture, metadata and janitor by themselves end where one run ends, and keep to their work."""
    whole, parts = _stage(folder / "whole"), _stage(folder / "parts")
    whole.run_to_the_end(4)
    for role in ("listing", "capture", "metadata", "janitor"):
        before = Counter(call.path for call in parts.world.ledger.calls)
        fetched = parts.world.ledger.served_bytes
        parts.run(roles=[role])
        made = Counter(call.path for call in parts.world.ledger.calls) - before
        if role == "capture":
            assert set(made) <= {"/post-detail/"}
        if role in ("metadata", "janitor"):
            assert not made and parts.world.ledger.served_bytes == fetched
        if role == "listing":
            assert "/post-detail/" not in made and parts.world.ledger.served_bytes == fetched
    parts.run(roles=["capture"])
    parts.run(roles=["metadata"])
    assert _kept(parts) == _kept(whole)
    assert parts.audit().findings == []


def test_a_role_by_itself_follows_until_it_is_told_to_stop(folder: Path) -> None:
    """`run --follow --only metadata` stays and indexes what another process captures later."""
    stage = _stage(folder)
    stage.run(roles=["listing", "capture"])
    run = stage.run(roles=["metadata"], follow=True, stop_after_s=600)
    assert run.ended_at - run.began_at >= 600
    assert stage.states().get("stored", 0) == 0 and stage.states()["archived"] > 50


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_one_archive(folder: Path, workers: int) -> None:
    """Several processes on one archive resolve no id twice and keep to one limit between them."""
    stage = _stage(folder)
    stage.run_to_the_end(4, workers=workers)
    told = outcome(stage)
    assert told.report.findings == []
    assert told.worst_minute <= 200
    assert told.calls["first"] == sum(told.states.values())
    assert told.report.extra_calls == sum(told.calls.get(why, 0) for why in ("canary", "recheck"))


@pytest.mark.parametrize(
    ("limits", "reason"),
    [(Limits(credits=37), "credits"), (Limits(videos=11), "videos"), (Limits(bytes=600_000), "bytes")],
)
def test_a_cap_ends_the_run_and_loses_nothing(folder: Path, limits: Limits, reason: str) -> None:
    """A cap of the run is never exceeded, ends it with its own reason, and the next run takes everything up."""
    stage = _stage(folder)
    run = stage.run(limits=limits)
    assert run.ending == "cap_reached"
    if reason == "credits":
        assert stage.world.ledger.credits <= 37
    if reason == "videos":
        assert run.tallies[0].captured == 11
    assert stage.audit(finished=False).findings == []
    stage.run_to_the_end(4)
    assert stage.audit().findings == []
    assert outcome(stage).calls.get("first") == sum(stage.states().values())


def test_the_daily_cap_holds_over_processes(folder: Path) -> None:
    """`budget.credits_per_day` is one cap for all processes; the next day goes on."""
    stage = _stage(folder, settings={"budget.credits_per_day": 50})
    run = stage.run(workers=2)
    assert run.ending == "cap_reached"
    assert stage.world.ledger.credits <= 50
    stage.wait(86_400)
    stage.run(workers=2)
    assert 50 < stage.world.ledger.credits <= 100


def test_lean_capture_says_so(folder: Path) -> None:
    """`capture.lean` asks the smaller endpoint and marks every such row thin; photo posts stay whole."""
    stage = _stage(folder, settings={"capture.lean": True})
    stage.run_to_the_end(4)
    assert stage.audit().findings == []
    thin = dict(stage.rows("SELECT thin, count(*) FROM posts WHERE NOT is_photo GROUP BY thin"))
    assert thin.get(1, 0) > 40
    asked = Counter(call.path for call in stage.world.ledger.calls)
    assert asked["/download-video/"] > asked["/post-detail/"]


@pytest.mark.parametrize(
    ("quality", "expected"), [("standard", {"standard"}), ("watermarked", {"watermarked", "standard"})]
)
def test_the_wanted_rendition_is_taken(folder: Path, quality: str, expected: set[str]) -> None:
    """Another quality, no covers, sound beside: what is asked for is what is stored."""
    stage = _stage(folder, settings={"capture.quality": quality, "capture.covers": False, "capture.audio": True})
    stage.run_to_the_end(4)
    assert stage.audit().findings == []
    assert {row[0] for row in stage.rows("SELECT DISTINCT rendition FROM files WHERE kind='video' AND position=0")} <= (
        expected
    )
    kinds = dict(stage.rows("SELECT kind, count(*) FROM files GROUP BY kind"))
    assert "cover" not in kinds and kinds["audio"] > 50
