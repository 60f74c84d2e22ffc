"""The API or the CDN fails as a whole: nobody is declared dead of it, and little is paid while it lasts."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from clipledger.cli.exits import Exit, exit_of
from clipledger.sim.play import KEY, START, Play, Run
from clipledger.sim.scenarios import stranger
from clipledger.wiring import Limits

pytestmark = pytest.mark.slow

HOUR_S = 3600.0
OUTAGE_CALLS_MAX = 80


def staged(folder: Path, faults: str = "calm", posts: int = 160, balance: int | None = None) -> Play:
    """Lay an archive of every author of a world down."""
    play = Play(folder, seed=2, posts=posts, faults=faults, balance=balance)
    play.add(*(source for source in play.world.sources() if source.startswith("@")))
    return play


def exit_code(run: Run) -> Exit:
    halted = run.tallies[0].halted
    assert halted is not None, "it was to be stopped"
    return exit_of(halted)


def detail_calls(play: Play, since_s: float, until_s: float) -> int:
    calls = (call for call in play.world.ledger.calls if call.path == "/post-detail/")
    return sum(START + since_s <= call.at < START + until_s for call in calls)


def attempts(play: Play) -> int:
    """Tell the most attempts that any id has used up."""
    most: int = play.rows("SELECT max(attempts) FROM archive_queue")[0][0]
    return most


def everything_is_saved(play: Play) -> None:
    """Nothing is dead, nothing waits, and the auditor agrees."""
    assert set(play.states()) == {"archived"} and play.states()["archived"] > 120
    assert play.audit().findings == []


def nothing_is_lost(play: Play) -> None:
    assert "dead" not in play.states() and "running" not in play.states()
    assert play.rows("SELECT count(*) FROM archive_queue WHERE suspect_at IS NOT NULL") == [(0,)]
    assert play.rows("SELECT max(attempts) FROM archive_queue WHERE state = 'pending'") == [(0,)]


# Every post answers 'Not found post'


@pytest.mark.parametrize("since_s", [0, 45], ids=["from the first call", "in the middle"])
def test_an_outage_stops_the_run_and_costs_little(since_s: int, folder: Path) -> None:
    """When every post answers not found, the run ends with exit 8 after a few dozen calls; a later one saves all."""
    play = staged(folder, f"not_found_outage@{since_s}-7200")
    assert exit_code(play.run()) is Exit.OUTAGE
    nothing_is_lost(play)
    for _ in range(2):
        play.wait(600)
        assert exit_code(play.run()) is Exit.OUTAGE
    nothing_is_lost(play)
    assert 0 < detail_calls(play, since_s, 7200) <= OUTAGE_CALLS_MAX
    play.wait(2 * HOUR_S)
    assert play.run(limits=Limits(videos=2)).ending == "cap_reached"
    assert play.run().ending == "done", "what was answered during the outage is nothing to go by"
    everything_is_saved(play)


@pytest.mark.parametrize("since_s", [0, 25], ids=["from the first call", "in the middle"])
def test_a_run_that_follows_recovers_by_itself(since_s: int, folder: Path) -> None:
    """A run that follows waits an outage out, asks now and then, and saves all soon after it is over."""
    play = staged(folder, f"not_found_outage@{since_s}-3600")
    run = play.run(follow=True, stop_after_s=1.6 * HOUR_S)
    assert run.ending == "done" and run.events[0]["breaker_opened"] == 1 == run.events[0]["breaker_closed"]
    assert detail_calls(play, since_s, 3600) <= OUTAGE_CALLS_MAX
    assert detail_calls(play, 3600, 3600 + 2100) >= 60, "half an hour is the longest it waits between two questions"
    everything_is_saved(play)


@pytest.mark.parametrize(("since_s", "calls"), [(20.0, 18), (30.1, 15), (43.7, 15), (20.0, 25)])
def test_a_short_outage_kills_nobody(since_s: float, calls: int, folder: Path) -> None:
    """A dozen not-founds in a row, and then all is well again: a canary goes past the queue and tells in time."""
    play = staged(folder, f"not_found_outage@{since_s}-{since_s + calls * 0.303}")
    play.run_to_the_end(4)
    assert detail_calls(play, since_s, since_s + calls * 0.303) >= 12
    everything_is_saved(play)


def test_answers_for_other_posts_are_no_changed_api_to_the_next_run(folder: Path) -> None:
    """Replies that tell of another post than was asked for are failures, to the run that had them and to the next."""
    play = staged(folder, "wrong_id=0.1")
    runs = play.run_to_the_end(4)
    assert play.rows("SELECT count(*) FROM credits WHERE outcome = 'wrong_id'")[0][0] > 5
    assert play.run().ending == "done" and [run.ending for run in runs] == ["done"] * len(runs)
    assert "breaker_opened" not in play.runs[-1].events[0]
    everything_is_saved(play)


def test_an_account_deleted_at_once_is_no_endless_outage(folder: Path) -> None:
    """Three hundred posts that are really gone end dead, at a price of a few canaries, while their neighbours live."""
    play = staged(folder)
    play.run()
    alive, spent = play.states()["archived"], play.runs[-1].spent[0]
    named = [post_id for post_id in play.world.ids() if play.world.truth(post_id).alive]
    play.add(*(stranger(play.world, str(int(post_id) + more)) for post_id in named[:100] for more in (3, 700, 9000)))
    runs = play.run_to_the_end(3)
    assert play.states() == {"archived": alive, "dead": 300}
    assert [run.ending for run in runs] == ["done"] * len(runs), "exit 3: finished, some ids are dead"
    assert play.audit().findings == []
    assert play.rows("SELECT reason, count(*) FROM dead_letters GROUP BY reason") == [("not_found", 300)]
    assert sum(run.spent[0] for run in runs) <= spent // 3, "canaries are all that a deleted account costs"
    assert detail_calls(play, 0, 1e9) <= alive + 300 + spent // 3, "and nobody is asked twice"


# The API fails, refuses, or throttles


def test_ten_minutes_of_500_burn_no_attempt(folder: Path) -> None:
    """Ten minutes of 500 from the API stop the run with exit 8 and use up no attempt of any post."""
    play = staged(folder, "http_500@30-630")
    assert exit_code(play.run()) is Exit.OUTAGE
    nothing_is_lost(play)
    for _ in range(3):
        play.wait(120)
        assert exit_code(play.run()) is Exit.OUTAGE
    nothing_is_lost(play)
    play.wait(600)
    play.run_to_the_end(3)
    everything_is_saved(play)
    assert attempts(play) == 1


def test_a_run_that_follows_sits_500_out(folder: Path) -> None:
    """A run that follows outlives an hour of 500 and no post has an attempt fewer for it."""
    play = staged(folder, "http_500@20-3620")
    play.run(follow=True, stop_after_s=1.6 * HOUR_S)
    everything_is_saved(play)
    assert attempts(play) == 1 and detail_calls(play, 20, 3620) <= OUTAGE_CALLS_MAX


def test_a_refused_key_stops_everything_and_burns_nothing(folder: Path) -> None:
    """When the key is refused in the middle of a run it ends with exit 4; with the right key the next one goes on."""
    play = staged(folder)
    assert exit_code(play.run(during={20: lambda: play.turn(key="another")})) is Exit.MISCONFIGURED
    nothing_is_lost(play)
    spent = play.world.ledger.credits
    assert exit_code(play.run()) is Exit.MISCONFIGURED and play.world.ledger.credits == spent
    nothing_is_lost(play)
    play.turn(key=KEY)
    assert play.run().ending == "done"
    everything_is_saved(play)
    assert attempts(play) == 1 and play.rows("SELECT sum(credits) FROM credits") == [(play.world.ledger.credits,)]


def test_an_empty_balance_stops_everything_and_burns_nothing(folder: Path) -> None:
    """When the credits are gone the run ends with exit 5 and every post still waits, untouched."""
    play = staged(folder, balance=90)
    assert exit_code(play.run()) is Exit.CAP
    nothing_is_lost(play)
    assert play.world.ledger.credits == 90 == play.rows("SELECT sum(credits) FROM credits")[0][0]
    play.turn(balance="none")
    assert play.run().ending == "done"
    everything_is_saved(play)


def test_a_storm_of_429_slows_everybody_down(folder: Path) -> None:
    """Five minutes of 429 are met with a handful of calls; no attempt is used up and no page asked for twice."""
    play = staged(folder, "throttle_429@3-303", posts=300)
    run = play.run(workers=2)
    assert run.ending == "done" and sum(tally.lost for tally in run.tallies) == 0
    assert 0 < detail_calls(play, 3, 303) <= 40
    everything_is_saved(play)
    assert attempts(play) == 1
    asked = play.rows("SELECT source, count(*) FROM credits WHERE reason = 'page' AND outcome = 'ok' GROUP BY source")
    assert sum(count for _, count in asked) == sum(
        pages for (pages,) in play.rows("SELECT pass_pages FROM sources WHERE kind = 'user'")
    )


# The CDN fails


@pytest.mark.parametrize("fault", ["cdn_500", "cdn_403", "cdn_429", "cdn_html", "stall"])
def test_an_hour_without_the_cdn_kills_nobody(fault: str, folder: Path) -> None:
    """Whether the CDN is down, refuses, throttles, lies or goes silent for an hour, no post dies and few credits go."""
    play = staged(folder, f"{fault}@20-3620")
    endings = [play.run().ending]
    for _ in range(4):
        play.wait(600)
        endings.append(play.run().ending)
    assert endings == ["outage"] * 5 and "dead" not in play.states()
    play.wait(HOUR_S)
    play.run_to_the_end(3)
    everything_is_saved(play)
    assert attempts(play) <= 2
    spent, needed = play.world.ledger.credits, play.states()["archived"] + 40
    assert spent - needed <= 250, "a resolve is paid for each try, so there must be few"


@pytest.mark.parametrize("posts", [40, 160])
def test_a_cdn_that_refuses_every_link_costs_about_a_credit_a_post_under_way(posts: int, folder: Path) -> None:
    """Where every link is refused, hardly a second link is bought, and nothing new is begun: few credits are lost."""
    play = staged(folder, "cdn_403@0-7200", posts=posts)
    assert play.run().ending == "outage"
    assert detail_calls(play, 0, 7200) <= 24 + 2 * 3, "what is under way, and a second look for the first few"
    play.wait(600)
    before = detail_calls(play, 0, 7200)
    assert play.run().ending == "outage"
    assert detail_calls(play, 0, 7200) - before <= 3, "one for each probe"
    play.wait(7200)
    play.run_to_the_end(3)
    assert set(play.states()) == {"archived"} and play.audit().findings == []


def test_a_link_that_is_too_old_is_replaced_at_once(folder: Path) -> None:
    """Now and then a link is dead on arrival: the post is resolved again in the same attempt, the reason recorded."""
    play = staged(folder, "expired_at_birth=0.1")
    play.run_to_the_end(2)
    everything_is_saved(play)
    again = play.rows("SELECT count(*) FROM credits WHERE reason = 'url_expired'")[0][0]
    assert again >= 8
    at_once = play.rows("SELECT count(*) FROM archive_queue WHERE attempts = 1")[0][0]
    assert at_once >= play.states()["archived"] - 4, "nearly all within their first attempt"


def test_a_run_that_follows_sits_a_dead_cdn_out(folder: Path) -> None:
    """A run that follows outlives an hour of a CDN that refuses every link, and no post is dead of it."""
    play = staged(folder, "cdn_403@20-3620")
    play.run(follow=True, stop_after_s=1.6 * HOUR_S)
    everything_is_saved(play)


def test_an_outage_of_shapes_ends_though_a_gone_post_waits(folder: Path) -> None:
    """A gone post takes its turn in every round of probes; living ones, one an hour, end the outage all the same."""
    play = Play(folder, seed=2, posts=400, faults="links_renamed=1@3600-7200", photo_share=0.0)
    alive = [post_id for post_id in play.world.ids() if play.world.truth(post_id).alive]
    began = play.now()
    play.add(*alive[:20])
    play.run()
    play.wait(began + 3700.0 - play.now())
    play.add(*alive[20:23])
    gone = stranger(play.world, str(int(alive[0]) + 1000))
    during = {hour * HOUR_S: partial(play.adding, alive[23 + hour]) for hour in range(2, 9)}
    run = play.run(follow=True, stop_after_s=18 * HOUR_S, during={4000.0: partial(play.adding, gone)} | during)
    assert run.events[0]["breaker_opened"] == run.events[0]["breaker_closed"] == 1
    assert play.states() == {"archived": 30, "dead": 1}
