"""A block that concerns a part of all posts, and archives too small to tell a block from real deletions."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from clipledger.sim.play import Play
from clipledger.sim.scenarios import stranger
from clipledger.wiring import Limits

pytestmark = pytest.mark.slow

HOUR_S = 3600.0


def killed_alive(play: Play) -> int:
    """Count the posts that were declared dead and are alive."""
    dead = play.rows("SELECT aweme_id FROM archive_queue WHERE state = 'dead'")
    return sum(play.world.truth(aweme_id).alive for (aweme_id,) in dead)


def staged(folder: Path, faults: str = "calm", posts: int = 700) -> Play:
    play = Play(folder, seed=2, posts=posts, faults=faults)
    play.add(*(source for source in play.world.sources() if source.startswith("@")))
    return play


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_a_block_of_some_posts_kills_hardly_anybody(share: float, folder: Path) -> None:
    """When a part of all living posts is answered 'not found' for hours, canaries tell, and nobody is believed dead."""
    play = staged(folder, f"deleted=0.05,partial_block={share}@60-14400")
    play.run(limits=Limits(videos=120))  # a healthy start: what is usual here, and canaries
    for _ in range(4):
        play.run()
        play.wait(HOUR_S)
    assert play.rows("SELECT count(*) FROM archive_queue WHERE not_founds > 0")[0][0] >= 40
    assert killed_alive(play) <= 6
    asked = play.rows("SELECT count(*), sum(credits) FROM credits WHERE reason = 'canary'")[0]
    assert asked[0] <= 100, "at most ten in two hundred resolves, and ten for each new run"
    play.wait(4 * HOUR_S)
    play.run_to_the_end(12)
    assert killed_alive(play) <= 6 and play.states()["archived"] >= 600, "what is gone waits for its third look"
    dead_in_truth = sum(not play.world.truth(a).alive for (a,) in play.rows("SELECT aweme_id FROM archive_queue"))
    assert play.states().get("dead", 0) <= dead_in_truth + 6


def test_a_list_with_many_dead_posts_costs_few_canaries(folder: Path) -> None:
    """Where a third of what a list shows is really gone, a few canaries tell so once, and the gone are dead at once."""
    play = staged(folder, "deleted=0.33")
    runs = play.run_to_the_end(3)
    assert play.audit().findings == [] and set(play.states()) == {"archived", "dead"}
    assert len(runs) == 1, "nobody is held back"
    assert play.rows("SELECT count(*) FROM credits WHERE reason = 'canary'")[0][0] <= 40


def tiny(folder: Path, new: int = 5, archived: int = 5) -> Play:
    """Archive a few posts, delete them all, and ask for `new` others that are gone as well."""
    play = Play(folder, seed=2, posts=60, faults="calm")
    alive = list(islice((post_id for post_id in play.world.ids() if play.world.truth(post_id).alive), archived))
    play.add(*alive)
    assert play.run().ending == "done" and play.states() == {"archived": archived}
    play.wait(HOUR_S)
    play.world.scene.plan = play.world.scene.plan.having("not_found_outage", 1.0)
    play.add(*(stranger(play.world, str(int(alive[0]) + 1000 * more)) for more in range(1, new + 1)))
    return play


@pytest.mark.parametrize("new", [5, 40])
def test_a_tiny_archive_that_lost_its_posts_is_not_stuck(new: int, folder: Path) -> None:
    """Five archived posts all deleted, and new ids gone as well: runs by the hour end with exit 3, not 8 for ever."""
    play = tiny(folder, new)
    endings = []
    for _ in range(30 + 2 * new):
        endings.append(play.run().ending)
        if "pending" not in play.states():
            break
        play.wait(HOUR_S)
    assert play.states() == {"archived": 5, "dead": new}
    assert endings[0] == "outage" and play.run().ending == "done"
    assert len(endings) <= 27 + new
    assert play.rows("SELECT sum(credits) FROM credits WHERE reason <> 'first'")[0][0] in (0, None)


@pytest.mark.parametrize("every_h", [4, 24])
def test_an_archive_that_lost_its_posts_is_not_stuck_for_ever(every_h: int, folder: Path) -> None:
    """Fourteen archived posts all deleted, new ids gone as well: nobody is believed dead for a week, then they are."""
    play, runs = tiny(folder, 6, archived=14), 0
    while play.states() == {"archived": 14, "pending": 6} and runs < 9 * 24:
        assert play.run().ending == "outage"
        runs += 1
        play.wait(every_h * HOUR_S)
    assert runs * every_h / 24 > 7
    while "pending" in play.states() and runs < 90:
        play.run()
        runs += 1
        play.wait(every_h * HOUR_S)
    assert play.states() == {"archived": 14, "dead": 6} and play.run().ending == "done"
    assert runs * every_h / 24 <= (9 if every_h == 4 else 14), "three posts a look, three looks each"


def test_a_lost_archive_in_an_outage_comes_back_by_itself(folder: Path) -> None:
    """When a post is alive after all, the first whole answer ends it: nobody else is believed to be gone."""
    play = tiny(folder, 6, archived=14)
    play.add(*[post_id for post_id in play.world.ids() if play.world.truth(post_id).alive][14:24])
    for _ in range(7 * 6):
        assert play.run().ending == "outage"
        play.wait(4 * HOUR_S)
    assert play.states() == {"archived": 14, "pending": 16}
    play.world.scene.plan = play.world.scene.plan.having("not_found_outage", 0.0)
    play.run_to_the_end(6)
    assert play.states() == {"archived": 24, "dead": 6} and play.audit().findings == []


def test_half_a_day_of_outage_kills_nobody_in_a_tiny_archive(folder: Path) -> None:
    """An archive of five posts in a real outage of half a day, asked every hour, declares nobody dead."""
    play = tiny(folder)
    play.add(*[post_id for post_id in play.world.ids() if play.world.truth(post_id).alive][5:25])
    for _ in range(12):
        assert play.run().ending == "outage"
        play.wait(HOUR_S)
    assert play.states() == {"archived": 5, "pending": 25}
    assert play.rows("SELECT max(attempts) FROM archive_queue WHERE state = 'pending'") == [(0,)]
    play.world.scene.plan = play.world.scene.plan.having("not_found_outage", 0.0)
    play.run_to_the_end(6)
    assert play.states() == {"archived": 25, "dead": 5} and play.audit().findings == []


def test_three_days_of_outage_kill_nobody_in_an_archive_that_can_tell(folder: Path) -> None:
    """With more than a handful of archived posts an outage burns nothing, however long it lasts."""
    play = staged(folder, "not_found_outage@20-260000", posts=160)
    assert play.run().ending == "outage"
    for _ in range(24):
        play.wait(3 * HOUR_S - 60)
        assert play.run().ending in ("outage", "done")
    assert "dead" not in play.states()
    assert play.rows("SELECT max(not_founds) FROM archive_queue") == [(0,)]


def test_gone_posts_are_asked_again_where_the_operator_wants_it(folder: Path) -> None:
    """With `queue.recheck_gone` a post that comes back is archived, one that stays gone is dead again."""
    play = Play(folder, seed=2, posts=60, settings={"queue.recheck_gone": ["24h", "7d"]})
    alive = [post_id for post_id in play.world.ids() if play.world.truth(post_id).alive][:20]
    play.add(*alive[:10])
    play.run()
    play.add(*alive[10:], *(never := [stranger(play.world, str(int(alive[0]) + 1000))]))
    play.world.scene.plan = play.world.scene.plan.having("partial_block", 0.3)
    for _ in range(3):
        play.run()
        play.wait(HOUR_S)
    gone = {aweme_id for (aweme_id,) in play.rows("SELECT aweme_id FROM archive_queue WHERE state = 'dead'")}
    assert gone > set(never)
    play.world.scene.plan = play.world.scene.plan.having("partial_block", 0.0)
    play.wait(26 * HOUR_S)
    play.run_to_the_end(4)
    assert play.states() == {"archived": 20, "dead": 1} and play.audit().findings == []
    told = play.rows("SELECT aweme_id FROM events WHERE name = 'asked_again_after_death'")
    assert {aweme_id for (aweme_id,) in told} == gone
    assert play.rows("SELECT count(*) FROM credits WHERE reason = 'recheck'")[0][0] >= len(gone)
    play.run()
    assert play.rows("SELECT rechecks FROM archive_queue WHERE state = 'dead'") == [(1,)], "not again before its time"
