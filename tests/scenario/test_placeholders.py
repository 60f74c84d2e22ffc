"""One video for many posts: a CDN that serves a placeholder, and a clip that many accounts really posted."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.archive import open_archive
from clipledger.db.alarms import ALLOWED, DISPROVED, RAISED, Alarms
from clipledger.sim.play import Play

pytestmark = pytest.mark.slow
GROUND = None  # SQLite and a folder: what differs on servers is tested in tests/contract

HOUR_S = 3600.0
MOST = 5


def staged(folder: Path, faults: str, **settings: object) -> Play:
    """Lay an archive of every author of a small world down."""
    play = Play(folder, seed=2, posts=120, faults=faults, settings=settings)
    play.add(*(source for source in play.world.sources() if source.startswith("@")))
    return play


def wrong(play: Play) -> list[str]:
    """Name the posts that are archived with bytes that are not theirs."""
    return [found.split(":")[0] for found in play.audit(finished=False).findings if "is no" in found]


def alarms(play: Play) -> list[str]:
    """Tell how the alarms stand."""
    return [state for (state,) in play.rows("SELECT state FROM switches WHERE name LIKE 'same_bytes:%'")]


def credits_beyond(play: Play) -> int:
    """Count the credits that were spent on resolves beyond one for each post."""
    told: int = play.rows("SELECT sum(credits) FROM credits WHERE endpoint = '/post-detail/'")[0][0]
    return told - sum(play.states().values())


def test_a_cdn_that_serves_one_file_for_all_is_not_believed(folder: Path) -> None:
    """Five posts at most take the placeholder; a canary shows it up, the run ends with exit 8, later all are saved."""
    play = staged(folder, "placeholder@6-7200")
    assert play.run().ending == "outage"
    assert alarms(play) == [DISPROVED] and 0 < len(wrong(play)) <= MOST
    waiting = "SELECT count(*), max(attempts) FROM archive_queue WHERE last_reason = 'same_bytes' AND state = 'pending'"
    [(parked, attempts)] = play.rows(waiting)
    assert 0 < parked <= 24 and attempts == 0
    spent = play.world.ledger.credits
    play.wait(600.0)
    assert play.run().ending == "outage" and play.world.ledger.credits - spent <= 5, "a probe or two, no more"
    play.wait(2 * HOUR_S)
    play.run_to_the_end(6)
    assert play.states() == {"archived": 113} and play.rows(waiting) == [(0, None)]
    assert 0 < len(wrong(play)) <= MOST and credits_beyond(play) <= 45
    assert not set(play.rows("SELECT reason FROM dead_letters"))


def test_the_posts_stored_with_a_placeholder_are_named(folder: Path) -> None:
    """The few posts that were stored with the placeholder before it was known are listed for the operator."""
    play = staged(folder, "placeholder@5-7200")
    play.run()
    named: list[str] = []

    async def look() -> None:
        async with open_archive(play.folder) as archive:
            named.extend(await Alarms(archive.db).doubted())

    play.run(roles=["janitor"], follow=True, stop_after_s=2.0, during={0.0: look})
    assert sorted(named) == sorted(wrong(play)) and 0 < len(named) <= MOST


def test_a_placeholder_for_some_posts_stops_nobody_else(folder: Path) -> None:
    """Where a part of the fetches gives the placeholder the rest goes on, and each post gets its own within hours."""
    play = staged(folder, "placeholder_fits=0.6@5-2400,cdn_500=0.02")
    for _ in range(12):
        play.run()
        play.wait(HOUR_S)
        if set(play.states()) == {"archived"}:
            break
    assert play.states() == {"archived": 113}
    by_file: dict[str, int] = {}
    for aweme_id in wrong(play):
        sha256 = play.rows("SELECT video_sha256 FROM archive_queue WHERE aweme_id = ?", aweme_id)[0][0]
        by_file[sha256] = by_file.get(sha256, 0) + 1
    assert by_file and max(by_file.values()) <= MOST


def test_a_clip_that_many_accounts_posted_waits_for_the_operators_word(folder: Path) -> None:
    """Real copies: the first five are saved, the others wait at a credit a day at most, and are saved once accepted."""
    play = staged(folder, "reposted=0.3")
    run = play.run()
    assert run.ending == "done" and alarms(play) == [RAISED] and wrong(play) == []
    kept_back = play.states()["pending"]
    assert kept_back > 20 and run.events[0]["same_bytes"] == 1 and run.events[0]["breaker_opened"] == 0
    before = credits_beyond(play)
    assert before <= 2, "a canary"
    for _ in range(4):
        play.wait(26 * HOUR_S)
        play.run()
    assert kept_back <= play.states()["pending"] <= kept_back + 3, "a few new ones were posted meanwhile"
    assert credits_beyond(play) - before <= 4 * 2

    async def accept() -> None:
        async with open_archive(play.folder) as archive:
            found = Alarms(archive.db)
            for alarm in await found.all():
                await found.note(alarm.sha256, ALLOWED, play.now(), "a campaign")
                await found.release(alarm.sha256, play.now())

    play.run(roles=["janitor"], follow=True, stop_after_s=2.0, during={0.0: accept})
    assert play.run().ending == "done"
    assert set(play.states()) == {"archived"} and play.audit().findings == []


def test_the_alarm_can_be_turned_off(folder: Path) -> None:
    """With `queue.same_bytes_max = "none"` any number of posts may have the same video."""
    play = staged(folder, "reposted=0.3", **{"queue.same_bytes_max": "none"})
    play.run()
    assert play.states() == {"archived": 113} and play.audit().findings == [] and alarms(play) == []


def test_several_processes_take_no_more_than_five_together(folder: Path) -> None:
    """Two processes that meet a placeholder at once store it for five posts, not for five each."""
    play = staged(folder, "placeholder@5-7200")
    play.run(workers=2)
    assert 0 < len(wrong(play)) <= MOST
