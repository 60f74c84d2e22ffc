"""One pause for everybody: within seconds nothing more is spent, nothing is lost, and all goes on when it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.archive import open_archive
from clipledger.core.times import read_iso_time
from clipledger.db.switches import PAUSE, PAUSED, RESUMED, Switch
from clipledger.membership import BEAT_S
from clipledger.sim.play import START, Play
from clipledger.worker import GRACE_S

pytestmark = pytest.mark.slow

NOTICED_S = 10.0
"""A beat of five seconds, and the calls that stood in line for their moment."""


def staged(folder: Path, **settings: object) -> Play:
    play = Play(folder, seed=4, posts=80, settings=settings)
    play.add(*(name for name in play.world.sources() if name.startswith(("@", "#"))))
    return play


def called_at(play: Play) -> list[float]:
    return [read_iso_time(at) - START for (at,) in play.rows("SELECT at FROM credits ORDER BY seq")]


async def switched(play: Play, state: str) -> None:
    async with open_archive(play.folder) as archive:
        await archive.switches.set(Switch(PAUSE, state, play.now(), "the disk is being moved"))


def test_a_pause_holds_every_process_that_follows(folder: Path) -> None:
    """Three processes stop spending within seconds of a pause, wait it out, and save everything after it."""
    play = staged(folder)
    run = play.run(
        workers=3,
        follow=True,
        stop_after_s=300.0,
        during={15.0: lambda: switched(play, PAUSED), 120.0: lambda: switched(play, RESUMED)},
    )
    calls = called_at(play)
    assert not [at for at in calls if 15.0 + NOTICED_S < at < 120.0]
    assert [at for at in calls if at < 15.0] and [at for at in calls if at > 120.0]
    assert run.ending == "done" and play.audit().findings == []
    assert all(events["paused"] == events["resumed"] == 1 for events in run.events)
    assert max(calls) < 120.0 + 120.0, "work went on soon after"


def test_a_pause_ends_a_run_that_does_not_follow(folder: Path) -> None:
    """Without --follow a pause ends every process in good order; the next run is refused until `resume`."""
    play = staged(folder)
    run = play.run(workers=3, during={15.0: lambda: switched(play, PAUSED)})
    assert run.ending == "paused" and run.ended_at - START <= 15.0 + BEAT_S + GRACE_S + 1.0
    assert [tally.halted is not None and tally.halted.reason for tally in run.tallies] == ["paused"] * 3
    assert play.states().get("running", 0) == 0
    spent = len(called_at(play))
    assert not play.rows("SELECT 1 FROM archive_queue WHERE attempts > 1"), "a pause is nobody's failed attempt"
    refused = play.run()
    assert refused.ending == "paused" and len(called_at(play)) == spent
    assert play.run(roles=["metadata", "janitor"]).ending == "done", "what costs nothing is not held"
    play.run(during={0.0: lambda: switched(play, RESUMED)}, roles=["janitor"], follow=True, stop_after_s=1.0)
    play.run_to_the_end(4, workers=3)
    assert play.audit().findings == []


@pytest.mark.grounds("laptop")  # files are damaged by hand
def test_a_pause_holds_refreshes_and_repairs(folder: Path) -> None:
    """A pause that comes while posts are asked again, or mended, is waited out: nothing is counted against a post."""
    slowly = {"api.requests_per_minute": 20, "history.refresh": "1h,1d"}
    play = staged(folder, **slowly, **{"janitor.fixity": "2h", "janitor.repair": True})
    play.run_to_the_end(4)
    play.wait(3600.0 - 30.0)
    for film in sorted(folder.rglob("*.mp4"))[:20]:
        film.write_bytes(b"x")
    first = play.now() - START
    paused, resumed = first + 60.0, first + 600.0
    play.run(
        follow=True,
        stop_after_s=1800.0,
        during={60.0: lambda: switched(play, PAUSED), 600.0: lambda: switched(play, RESUMED)},
    )
    calls = [at for at in called_at(play) if at > first]
    assert [at for at in calls if at < paused] and [at for at in calls if at > resumed]
    assert not [at for at in calls if paused + NOTICED_S < at < resumed]
    assert play.runs[-1].ending == "done" and play.runs[-1].events[0]["paused"] == 1
    assert play.rows("SELECT max(crashes), count(worker) FROM archive_queue") == [(0, 0)]
    asked = dict(play.rows("SELECT reason, count(*) FROM credits GROUP BY reason"))
    assert asked["refresh"] > 60 and asked["repair"] > 0
    play.run_to_the_end(4)
    assert play.rows("SELECT count(*) FROM fixity WHERE worker IS NOT NULL") == [(0,)]


def test_a_paused_source_is_not_read(folder: Path) -> None:
    """A source that is paused in the middle of its list stops at that page, and goes on there when it is resumed."""
    play = Play(folder, seed=4, posts=900, settings={"listing.backlog": False})
    longest = "#dance"
    play.add(longest)

    async def turned(at: float | None) -> None:
        async with open_archive(play.folder) as archive:
            assert await archive.sources.pause([longest], at) == {longest}

    play.run(roles=["listing"], follow=True, stop_after_s=120.0, during={1.0: lambda: turned(START)})
    pages = play.rows("SELECT count(*) FROM credits WHERE reason = 'page'")[0][0]
    (cursor, end) = play.rows("SELECT cursor, pass_end FROM sources WHERE source = ?", longest)[0]
    assert pages >= 1 and cursor is not None and end is None
    play.run(roles=["listing"], follow=True, stop_after_s=600.0, during={1.0: lambda: turned(None)})
    assert play.rows("SELECT pass_end, pass_no FROM sources WHERE source = ?", longest) == [("end", 1)]


def test_the_caps_hold_over_all_processes(folder: Path) -> None:
    """Three processes together spend no more than budget.credits_per_day and call no faster than the one rate."""
    play = staged(folder, **{"budget.credits_per_day": 60})
    run = play.run(workers=3)
    assert run.ending == "cap_reached"
    assert sum(run.spent) == 60 == play.rows("SELECT sum(credits) FROM credits")[0][0]
    play.wait(86_120.0)
    play.run(workers=3)
    assert play.world.ledger.worst_minute <= 200
    assert play.audit(finished=False).findings == []
