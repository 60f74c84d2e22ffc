"""A run that follows keeps looking at its sources, and finds what is new."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from clipledger.core.times import read_iso_time
from clipledger.sim.play import START, Play

pytestmark = pytest.mark.slow

EVERY_S = 1800.0
HOURS = 3
POLL_S = 15.0
"""How much later than due a source may be asked: the look at the clock, the permit, the answer."""


def newcomers(play: Play) -> dict[str, list[str]]:
    """Name the authors of moderate size who post within the next hours, and what they post."""
    until = START + (HOURS - 1) * 3600.0
    people, found = play.world.population, dict[str, list[str]]()
    for author in people.authors:
        mine = people.of_author(author.index)
        new = [people.post(i).id for i in mine if START + EVERY_S < people.create_time(i) < until]
        if new and 6 <= len(mine) <= 60:
            found[f"@{author.first_handle}"] = new
    return found


def test_following_meets_every_new_post(folder: Path) -> None:
    """Each source is asked at its own interval, within the factor, and what appears is saved soon, also behind pins."""
    play = Play(folder, seed=1, posts=6000)
    new = newcomers(play)
    assert len(new) >= 3
    play.add(*new, every="30m")
    run = play.run(follow=True, stop_after_s=HOURS * 3600.0)
    assert run.ending == "done" and run.events[0]["looked_up"] == len(new)

    for posts in new.values():
        for aweme_id in posts:
            archived = play.rows("SELECT p.archived_at FROM posts p WHERE aweme_id = ?", aweme_id)
            assert archived, f"{aweme_id} appeared and was not met"
            late_s = read_iso_time(archived[0][0]) - play.world.truth(aweme_id).created_at
            assert late_s <= 2 * EVERY_S + 60.0
    pinned = {source for (source,) in play.rows("SELECT DISTINCT source FROM sightings WHERE pinned")}
    assert pinned & set(new), "one of them has old posts pinned before the new ones"
    the_interval_is_kept(play, set(new))


def the_interval_is_kept(play: Play, sources: set[str]) -> None:
    """Look at when each list was asked from its top: after `every`, later where nothing was new."""
    gaps = dict[str, list[float]]()
    for source in sources:
        rows = play.rows("SELECT at FROM credits WHERE source = ? AND reason = 'page' ORDER BY seq", source)
        asked = [read_iso_time(at) for (at,) in rows]
        gaps[source] = [later - earlier for earlier, later in pairwise(asked) if later - earlier > EVERY_S / 4]
        assert len(gaps[source]) >= 2
        assert gaps[source][0] == pytest.approx(EVERY_S, abs=POLL_S)
        assert all(EVERY_S / 4 <= gap <= 2 * EVERY_S + POLL_S for gap in gaps[source])
    assert any(gap == pytest.approx(2 * EVERY_S, abs=POLL_S) for each in gaps.values() for gap in each)


def test_what_is_added_meanwhile_is_taken_up_at_once(folder: Path) -> None:
    """A source and a post that another command adds while a run follows are read and saved within seconds."""
    play = Play(folder, seed=3, posts=120)
    first, second = [name for name in play.world.sources() if name.startswith("@")][:2]
    people = play.world.population
    [post, *_] = [people.post(i) for i in people.of_author(2) if people.post(i).fate(START) == "alive"]
    play.add(first)
    play.run(follow=True, stop_after_s=420, during={300: lambda: play.adding(second, post.id)})
    [(seen,)] = play.rows("SELECT min(seen_at) FROM sightings WHERE source = ?", second)
    [(saved,)] = play.rows("SELECT archived_at FROM posts WHERE aweme_id = ?", post.id)
    assert 300 < read_iso_time(seen) - START < 315 and 300 < read_iso_time(saved) - START < 345
