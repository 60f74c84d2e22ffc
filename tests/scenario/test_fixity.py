"""Stored files are read again, each once a period, spread evenly; what is damaged is told, and mended where allowed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from clipledger.events import Event
from clipledger.sim.play import Crash, Play

pytestmark = pytest.mark.slow

DAY_S = 86_400.0
STEP_S = DAY_S
SLACK_S = 3600.0


class Heard:
    """When each post was read again, and what else was told."""

    def __init__(self) -> None:
        self.checks: dict[str, list[float]] = {}
        self.names: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        self.names[event.name] += 1
        if event.name == "checked":
            self.checks.setdefault(str(event.fields["aweme_id"]), []).append(event.at)


def archived(folder: Path, heard: Heard, posts: int = 50, settings: Mapping[str, object] | None = None) -> Play:
    """Archive a small calm world."""
    play = Play(folder, seed=3, posts=posts, settings=settings, listener=heard)
    play.add(*(f"@{author.first_handle}" for author in play.world.population.authors))
    play.run_to_the_end(4)
    return play


def cared_for(play: Play, days: int, *, workers: int = 1, crashes: bool = False) -> float:
    """Run the janitor once a day; with `crashes` every second run dies at a step of its own. Give when it began."""
    began, nth = play.now(), 0
    play.run(roles=("janitor",))
    while play.now() < began + days * DAY_S:
        play.wait(STEP_S)
        nth += 1
        crash = Crash(0.0, 8 + (7 * nth) % 50) if crashes and nth % 2 else None
        play.run(roles=("janitor",), workers=workers, crash=crash)
    return began


def test_every_file_is_read_once_a_month_and_no_oftener(folder: Path) -> None:
    """Over 60 days each post is read exactly twice, 30 days apart, and on no day many more than on others."""
    heard = Heard()
    play = archived(folder, heard)
    posts = play.states()["archived"]
    began = cared_for(play, 60)
    assert len(heard.checks) == posts >= 40
    gaps = [later - earlier for earlier, later in heard.checks.values()]
    assert all(abs(gap - 30 * DAY_S) <= STEP_S + SLACK_S for gap in gaps)
    assert all(earlier - began <= 30 * DAY_S + SLACK_S for earlier, _ in heard.checks.values())
    by_day = Counter(int((at - began) // DAY_S) for times in heard.checks.values() for at in times)
    assert max(by_day.values()) <= 8, by_day
    files = play.rows("SELECT count(*) FROM files")[0][0]
    assert files > 2 * posts and heard.names["damaged"] == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_crashes_cost_only_the_post_under_way(folder: Path, workers: int) -> None:
    """With every second run killed, every post is still read in its month, and at most one twice for each kill."""
    heard = Heard()
    play = archived(folder, heard)
    posts = play.states()["archived"]
    cared_for(play, 31, workers=workers, crashes=True)
    crashed = sum(run.crashed for run in play.runs)
    assert crashed >= 10
    assert len(heard.checks) == posts
    twice = sum(len(times) - 1 for times in heard.checks.values())
    at_the_end = sum(times[-1] - times[0] > 25 * DAY_S for times in heard.checks.values() if len(times) > 1)
    assert twice - at_the_end <= crashed * workers
    assert play.rows("SELECT count(*) FROM fixity WHERE due_at IS NULL") == [(0,)]


def test_a_shorter_period_is_kept_at_once(folder: Path) -> None:
    """Whoever sets a week instead of a month has every file read within the next week; `none` reads nothing."""
    heard = Heard()
    play = archived(folder, heard, posts=30)
    cared_for(play, 2)
    before = dict(heard.checks)
    toml = folder / "clipledger.toml"
    rest = toml.read_text()
    toml.write_text(rest + '[janitor]\nfixity = "7d"\n')
    began = cared_for(play, 7)
    late = [i for i, times in heard.checks.items() if not any(at >= began for at in times)]
    assert len(heard.checks) == play.states()["archived"] and not late
    assert before.keys() <= heard.checks.keys()
    toml.write_text(rest + '[janitor]\nfixity = "none"\n')
    told = heard.names["checked"]
    cared_for(play, 8)
    assert heard.names["checked"] == told


def test_reading_is_no_faster_than_allowed(folder: Path) -> None:
    """At 100 kB/s a day's share of the files takes as many seconds as it has hundreds of kilobytes, or more."""
    heard = Heard()
    play = archived(folder, heard, 50, {"janitor.fixity_bytes_per_s": 100_000, "janitor.fixity": "1d"})
    play.run(roles=("janitor",))
    play.wait(DAY_S)
    run = play.run(roles=("janitor",))
    size = int(play.rows("SELECT sum(bytes) FROM files")[0][0])
    assert heard.names["checked"] == play.states()["archived"]
    assert run.ended_at - run.began_at >= size / 100_000 * 0.99
