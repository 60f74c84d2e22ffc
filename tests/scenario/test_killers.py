"""A bug of ours, or a post that kills whoever touches it: loud, and nobody else's harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.core.ports import Request, Response, Sink
from clipledger.sim.play import Play
from clipledger.sim.wire import SimWire
from clipledger.sim.world import World

pytestmark = pytest.mark.slow


class TrappedWire(SimWire):
    """A wire that breaks in a way nobody has a name for when a certain post is asked about."""

    trap = ""

    async def get(self, request: Request, sink: Sink) -> Response:
        """Answer as the world does, but for the trap."""
        if self.trap and self.trap in request.url.reveal():
            raise ZeroDivisionError(f"the post {self.trap} was asked for")
        return await super().get(request, sink)


def trapped(world: World) -> TrappedWire:
    """Set the trap at a post in the middle of the world."""
    wire = TrappedWire(world)
    wire.trap = sorted(post_id for post_id in world.ids() if world.truth(post_id).alive)[len(list(world.ids())) // 2]
    return wire


def staged(folder: Path) -> tuple[Play, str]:
    play = Play(folder, seed=3, posts=100, wire=trapped)
    play.add(*(name for name in play.world.sources() if name.startswith("@")))
    return play, trapped(play.world).trap


def test_a_bug_stops_the_process_loudly_and_kills_one_post_at_most(folder: Path) -> None:
    """A failure that we have no name for leaves as it is; the third time its post is dead, and only it."""
    play, killer = staged(folder)
    for crashes in (1, 2, 3):
        with pytest.raises(ExceptionGroup) as caught:
            play.run()
        assert caught.group_contains(ZeroDivisionError, match=killer)
        state = play.rows("SELECT state, crashes, last_reason FROM archive_queue WHERE aweme_id = ?", killer)
        assert state == [("pending" if crashes < 3 else "dead", crashes, "worker_killed")]
        neighbours = "SELECT count(*) FROM archive_queue WHERE aweme_id <> ? AND (crashes > 0 OR state = 'running')"
        assert play.rows(neighbours, killer) == [(0,)]
    play.run()
    assert play.states() == {"archived": play.states()["archived"], "dead": 1}
    assert play.rows("SELECT aweme_id, reason FROM dead_letters") == [(killer, "worker_killed")]
    [finding] = play.audit().findings  # the judge knows the world, and there it lives
    assert finding == f"{killer}: dead as worker_killed, but it is alive"


def test_neighbours_of_a_killer_are_archived_meanwhile(folder: Path) -> None:
    """While a post kills process after process, everybody else is saved: from the second death on it is tried alone."""
    play, killer = staged(folder)
    for _ in range(3):
        with pytest.raises(ExceptionGroup):
            play.run()
    others = play.rows("SELECT count(*) FROM archive_queue WHERE aweme_id <> ? AND state <> 'archived'", killer)
    stored = play.rows("SELECT count(*) FROM archive_queue WHERE state = 'archived'")
    assert stored[0][0] > 60 and others[0][0] < 20
    spent = dict(play.rows("SELECT aweme_id, count(*) FROM credits WHERE outcome = 'ok' AND aweme_id <> '' GROUP BY 1"))
    assert max(spent.values()) <= 3
