"""Listing goes on where it was, and comes to an end whatever a list does."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.sim.play import Crash, Play

pytestmark = [pytest.mark.slow, pytest.mark.grounds("laptop", "servers")]

LISTS = ("/user-posts/", "/challenge-posts/", "/search-video/", "/music-posts/")
PAGES_MAX = 12
"""Of a list that never ends in a world of 200 posts: its real pages, and a few in which nothing is new."""


def staged(folder: Path, faults: str = "calm", posts: int = 400) -> Play:
    """Lay an archive of the three largest authors and some ranked lists down."""
    play = Play(folder, seed=6, posts=posts, faults=faults)
    names = list(play.world.sources())
    play.add(*[name for name in names if name.startswith("@")][:3])
    play.add(*[name for name in names if name.startswith(("#", "music:", "search:"))][:9])
    return play


def pages(play: Play) -> int:
    return sum(call.path in LISTS for call in play.world.ledger.calls)


def queued(play: Play) -> set[str]:
    return {aweme_id for (aweme_id,) in play.rows("SELECT aweme_id FROM archive_queue")}


def whole_listing(folder: Path) -> tuple[int, set[str]]:
    """List without a break; give the pages it took and what was found."""
    play = staged(folder)
    play.run(roles=["listing"])
    assert {end for (end,) in play.rows("SELECT pass_end FROM sources")} == {"end"}
    return pages(play), queued(play)


def test_a_stopped_listing_goes_on_at_its_cursor(folder: Path) -> None:
    """Stopped in the middle of several lists, the next run goes on at the saved cursors: no page is paid for twice."""
    needed, found = whole_listing(folder.with_name("whole"))
    play = staged(folder)
    for seconds in (1.5, 2.0, 3.0):
        run = play.run(roles=["listing"], stop_after_s=seconds)
        assert run.events[0]["page"] and pages(play) < needed
    assert play.rows("SELECT count(*) FROM sources WHERE cursor IS NOT NULL")[0][0] >= 1
    assert play.rows("SELECT count(*) FROM sources WHERE worker IS NOT NULL OR lease_until > ?", "2026-05-29T00:00:10Z")
    play.run(roles=["listing"])
    assert pages(play) == needed and queued(play) == found


def test_a_stop_buys_nothing_more(folder: Path) -> None:
    """Posts that were claimed and stand in line for the rate limit when a run is stopped are given back, unpaid."""
    play = Play(folder, seed=2, posts=120, faults="slow=1:0.2,rpm=200")
    play.add(*(source for source in play.world.sources() if source.startswith("@")))
    play.run(roles=["listing"])
    began = play.now()
    run = play.run(roles=["capture"], stop_after_s=10.0)
    after = [call for call in play.world.ledger.calls if call.at > began + 10.0]
    assert len(after) <= 1, "the one that was on its way into the ledger"
    assert run.events[0]["given_back"] > 5 and "failed" not in run.events[0]
    assert play.rows("SELECT max(attempts), count(worker) FROM archive_queue WHERE state = 'pending'") == [(0, 0)]
    spent = len(play.world.ledger.calls)
    play.run_to_the_end(3)
    resolves = play.world.ledger.credits_about("/post-detail/")
    assert set(resolves.values()) == {1} and len(resolves) > 100 and spent < len(resolves)


def test_a_crash_costs_a_page_for_each_list_that_was_being_read(folder: Path) -> None:
    """Killed between a page and its commit, a list is asked for that page again, and for no other."""
    needed, found = whole_listing(folder.with_name("whole"))
    play = staged(folder)
    for nth in range(6):
        assert play.run(roles=["listing"], crash=Crash(1.0 + nth * 0.37, nth)).crashed
    play.run(roles=["listing"])
    assert needed <= pages(play) <= needed + 6 * 2
    assert queued(play) == found


@pytest.mark.parametrize(
    "fault", ["circle", "stuck_cursor", "endless_more", "empty_page", "missing_cursor", "missing_videos", "repeats"]
)
def test_a_list_that_never_ends_is_left_in_time(fault: str, folder: Path) -> None:
    """Lists that run in a circle, stand still, are empty, or claim more for ever end after a few pages, told why."""
    play = staged(folder, f"{fault}=1", posts=200)
    run = play.run(roles=["listing"])
    assert run.ending == "done" and run.ended_at - run.began_at < 600
    assert pages(play) <= 12 * PAGES_MAX
    most = max(count for _, count in play.rows("SELECT source, count(*) FROM credits WHERE reason = 'page' GROUP BY 1"))
    assert most <= PAGES_MAX
    ends = {end or reason for end, reason in play.rows("SELECT pass_end, last_reason FROM sources")}
    expected = {"repeats": {"end"}, "missing_videos": {"malformed_reply"}, "empty_page": {"loop", "stale"}}
    assert ends <= expected.get(fault, {"loop"})
    assert queued(play) >= set(play.world.ledger.shown)


def test_a_stopped_listing_buys_nothing_more(folder: Path) -> None:
    """After the first stop request no page and no look-up is bought, wherever the listing stood."""
    for nth, seconds in enumerate((0.05, 0.4, 1.0, 1.3, 1.7, 2.1, 2.6, 3.3)):
        play = staged(folder.with_name(f"stop-{nth}"))
        run = play.run(roles=["listing"], stop_after_s=seconds)
        late = [call for call in play.world.ledger.calls if call.at > run.began_at + seconds]
        assert late == [], f"stopped after {seconds} s"


def test_a_stop_does_not_wait_for_a_long_pause(folder: Path) -> None:
    """Told to stop while everybody waits after a 429, a listing ends within the grace, and its sources are free."""
    play = staged(folder, "throttle_429=1:300")
    run = play.run(roles=["listing"], stop_after_s=2.0)
    assert run.ended_at - run.began_at <= 25.0
    assert play.rows("SELECT count(*) FROM sources WHERE worker IS NOT NULL") == [(0,)]
    assert play.rows("SELECT count(*) FROM credits WHERE outcome = 'sent'") == [(0,)]
