"""What becomes of a video that was served what many others were served."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clipledger.core.errors import MalformedReply, Reason, SameBytes
from clipledger.core.lifecycle import (
    PARKED_S,
    PROBE_MAX_S,
    PROBE_MIN_S,
    CallReason,
    Policy,
    after_failure,
    same_bytes_probe_at,
)
from clipledger.core.model import AwemeId, Job, State
from clipledger.core.parse import detail
from clipledger.sim.faults import FaultPlan
from clipledger.sim.play import START
from clipledger.sim.world import World

NOW = 1_780_000_000.0
JOB = Job(AwemeId("7387261234567890123"), 7, "@alice", 5, NOW - 60, "2026-05-28", CallReason.FIRST)


@pytest.mark.parametrize("outage", [False, True])
@pytest.mark.parametrize("attempts", [1, 5, 99])
def test_a_video_kept_back_waits_and_loses_no_attempt(outage: bool, attempts: int) -> None:
    """Kept back for the same bytes, a post waits without an attempt fewer, however often it was tried before."""
    job = replace(JOB, attempts=attempts)
    told = after_failure(job, SameBytes("x"), paid=True, now=NOW, policy=Policy(), jitter=0.9, outage=outage)
    assert (told.state, told.burn, told.reason) == (State.PENDING, False, Reason.SAME_BYTES)
    assert told.due_at == NOW + PARKED_S and told.call_reason is CallReason.RECHECK


def test_one_of_them_is_asked_again_each_hour_at_first_and_each_day_later() -> None:
    """The end of a placeholder is noticed within an hour or half its age; real copies cost a credit a day at most."""
    waits = [same_bytes_probe_at(NOW, NOW, NOW + age) - NOW for age in (0.0, 3600.0, 8 * 3600.0, 90 * 86_400.0)]
    assert waits == [PROBE_MIN_S, PROBE_MIN_S, 4 * 3600.0, PROBE_MAX_S]


def test_reposts_of_a_world_are_one_file() -> None:
    """The simulator's reposts are the very same bytes for many posts; all other videos are their own."""
    world = World(3, 200, start=START, now=lambda: START, faults=FaultPlan.parse("reposted=0.3"))
    digests: dict[str, list[str]] = {}
    for post in world.control.world(with_files=True)["posts"]:
        for file in post["files"]:
            if file["kind"] == "video":
                digests.setdefault(file["sha256"], []).append(post["id"])
    shared = {sha256: ids for sha256, ids in digests.items() if len(ids) > 1}
    assert 1 <= len(shared) <= 3, "one for each rendition"
    assert all(30 < len(ids) < 100 for ids in shared.values())


@pytest.mark.parametrize("links", [{"play": {"url_list": ["https://x"]}}, {"play": "", "hdplay": ["https://x"]}])
def test_links_of_another_shape_are_a_changed_api(links: dict[str, object]) -> None:
    """Links that are objects or lists mean that the API has changed, not that a post has no video."""
    with pytest.raises(MalformedReply, match="not text"):
        detail({"id": JOB.aweme_id} | links, asked=JOB.aweme_id, now=NOW)


def test_a_reply_whose_links_are_empty_is_no_changed_api() -> None:
    """A body with empty links is known: it is asked for again later."""
    assert detail({"id": JOB.aweme_id, "play": "", "hdplay": None}, asked=JOB.aweme_id, now=NOW).renditions == ()
