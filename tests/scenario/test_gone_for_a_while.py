"""Private for a while, blocked in a region for a while, gone for a while: each is asked again at its own time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from clipledger.answers.posts import known
from clipledger.archive import open_archive
from clipledger.core.model import AwemeId
from clipledger.core.times import read_iso_time
from clipledger.sim.play import START, Play

pytestmark = pytest.mark.slow
GROUND = None  # SQLite and a folder: what differs on servers is tested in tests/contract

HOUR_S = 3600.0


def died(folder: Path, fault: str, **settings: object) -> tuple[Play, set[str]]:
    """Archive some posts, then let others be gone for a reason until they are dead; name these."""
    play = Play(folder, seed=2, posts=60, settings={k.replace("__", "."): v for k, v in settings.items()})
    alive = [post_id for post_id in play.world.ids() if play.world.truth(post_id).alive][:30]
    play.add(*alive[:20])
    play.run()
    play.world.scene.plan = play.world.scene.plan.having(fault, 0.4)
    play.add(*alive[20:])
    for _ in range(3):
        play.run()
        play.wait(HOUR_S)
    gone = {aweme_id for (aweme_id,) in play.rows("SELECT aweme_id FROM archive_queue WHERE state = 'dead'")}
    assert 2 <= len(gone) <= 9
    return play, gone


@pytest.mark.parametrize(
    ("fault", "reason", "setting"),
    [
        ("private_meanwhile", "unavailable:private", "recheck_private"),
        ("region_meanwhile", "unavailable:region", "recheck_region"),
    ],
)
def test_each_reason_has_a_schedule_of_its_own(fault: str, reason: str, setting: str, folder: Path) -> None:
    """A private or region-locked post is asked again at its own times, at no other, and archived when it is back."""
    own: dict[str, object] = {f"queue__{setting}": ["6h"], "queue__recheck_gone": ["90d"]}
    play, gone = died(folder, fault, **own)
    assert play.rows("SELECT DISTINCT reason FROM dead_letters") == [(reason,)]
    play.world.scene.plan = play.world.scene.plan.having(fault, 0.0)
    calls = len(play.world.ledger.calls)
    play.run()
    assert play.states()["dead"] == len(gone) and len(play.world.ledger.calls) == calls, "not before its time"
    play.wait(6 * HOUR_S)
    play.run_to_the_end(3)
    assert play.states() == {"archived": 30} and play.audit().findings == []


def test_without_one_it_follows_that_of_the_gone(folder: Path) -> None:
    """`queue.recheck_private` and `queue.recheck_region` are as `queue.recheck_gone` while they are empty."""
    play, gone = died(folder, "region_meanwhile", queue__recheck_gone=["6h"])
    play.world.scene.plan = play.world.scene.plan.having("region_meanwhile", 0.0)
    play.wait(6 * HOUR_S)
    play.run_to_the_end(3)
    assert play.states() == {"archived": 30} and len(gone) >= 2


def shown(play: Play, aweme_id: str) -> dict[str, Any]:
    """Give what `clipledger show` tells of a post."""

    async def look() -> dict[str, Any] | None:
        async with open_archive(play.folder) as archive:
            return await known(archive, AwemeId(aweme_id))

    told = asyncio.run(look())
    assert told is not None
    return told


def test_a_post_that_comes_back_keeps_its_history(folder: Path) -> None:
    """What came back is archived; `show` still tells when it was called dead and why, and from when to when it was."""
    play, gone = died(folder, "private_meanwhile", queue__recheck_gone=["6h"])
    letters = dict(play.rows("SELECT aweme_id, died_at FROM dead_letters"))
    play.world.scene.plan = play.world.scene.plan.having("private_meanwhile", 0.0)
    play.wait(6 * HOUR_S)
    play.run_to_the_end(3)
    for aweme_id in gone:
        told = shown(play, aweme_id)
        assert told["state"] == "archived" and told["dead_letter"] is None
        [past] = told["past"]
        assert past["name"] == "asked_again_after_death" and past["detail"]["reason"] == "unavailable:private"
        assert past["detail"]["died_at"] == letters[aweme_id]
        away, back = told["availability"]
        assert (away["state"], away["reason"], back["state"]) == ("gone", "unavailable:private", "present")
        assert away["first_at"] == letters[aweme_id] and away["ended_at"] == back["first_at"]
        assert read_iso_time(back["first_at"]) > START + 6 * HOUR_S


def test_what_an_operator_puts_back_keeps_its_history(folder: Path) -> None:
    """`retry` of a dead post keeps what its dead letter said."""
    play, gone = died(folder, "region_meanwhile")

    async def put_back() -> None:
        async with open_archive(play.folder) as archive:
            assert await archive.queue.retry([AwemeId(each) for each in sorted(gone)], play.now()) == len(gone)

    play.run(roles=["janitor"], follow=True, stop_after_s=2.0, during={0.0: put_back})
    for aweme_id in gone:
        [past] = shown(play, aweme_id)["past"]
        assert past["name"] == "retried" and past["detail"]["reason"] == "unavailable:region"


def test_a_list_of_a_region_that_shows_a_blocked_post_has_it_asked_again(folder: Path) -> None:
    """A post that is dead for its region is asked again, once, when a list of some region shows it."""
    play, gone = died(folder, "region_meanwhile")
    tagged = {tag: found for tag in play.world.population.tags if (found := gone & set(shown_by(play, tag)))}
    tag, blocked = next(iter(tagged.items()))
    play.add(f"https://www.tiktok.com/tag/{tag}")
    play.run(roles=["listing"])
    assert play.states()["dead"] == len(gone), "a list without a region says nothing new"
    play.add(f"search:{tag}?region={region_of(play, next(iter(blocked)))}")
    before = {i for (i,) in play.rows("SELECT aweme_id FROM archive_queue WHERE state = 'dead'")}
    play.run(roles=["listing"])
    after = {i for (i,) in play.rows("SELECT aweme_id FROM archive_queue WHERE state = 'dead'")}
    assert before - after
    play.run()
    assert after <= {i for (i,) in play.rows("SELECT aweme_id FROM archive_queue WHERE state = 'dead'")}


def shown_by(play: Play, tag: str) -> list[str]:
    people = play.world.population
    return [people.post(index).id for index in people.with_tag(tag)]


def region_of(play: Play, aweme_id: str) -> str:
    post = play.world.population.find(aweme_id)
    assert post is not None
    return post.region or post.author.region


@pytest.mark.parametrize("twice", [False, True])
def test_random_false_news_are_met_by_asking_twice(twice: bool, folder: Path) -> None:
    """Where every seventh call says of a living post that it is gone, `queue.gone_twice` believes hardly any of it."""
    play = Play(
        folder, seed=4, posts=120, faults="not_found_outage=0.14", settings={"queue.gone_twice": twice}, photo_share=0.0
    )
    play.add(*(source for source in play.world.sources() if source.startswith("@")))
    play.run_to_the_end(4)
    dead = play.states().get("dead", 0)
    assert dead <= 5 if twice else dead >= 8
    asked = play.rows("SELECT count(*), sum(credits) FROM credits WHERE endpoint = '/post-detail/'")[0]
    assert asked[1] <= sum(play.states().values()) + 12, "what is still not found costs no credit"
