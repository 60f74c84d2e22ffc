"""Replies whose shape nobody has seen yet, or that say one thing now and another thing later."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.sim.play import Play

pytestmark = pytest.mark.slow


def staged(folder: Path, faults: str, photo_share: float = 0.3) -> Play:
    """Lay an archive of every author of a small world down."""
    play = Play(folder, seed=5, posts=40, faults=faults, photo_share=photo_share)
    play.add(*(source for source in play.world.sources() if source.startswith("@")))
    return play


def photos(play: Play) -> set[str]:
    return {post_id for post_id in play.world.ids() if play.world.truth(post_id).kind == "photo"}


def test_a_signed_link_in_a_caption_is_written_nowhere(folder: Path) -> None:
    """People paste signed links into captions and names: neither the database nor a sidecar keeps the signature."""
    play = staged(folder, "signed_caption=1")
    play.run_to_the_end(2)
    assert set(play.states()) == {"archived"}
    assert play.audit().findings == []
    titles = [title for (title,) in play.rows("SELECT title FROM posts")]
    assert all("https://v16m.tiktokcdn.com/" in title for title in titles), "the words around it are kept"


def test_images_of_an_unknown_shape_stop_the_run_and_leave_a_sample(folder: Path) -> None:
    """Should `images` hold objects one day, no photo post is stored as a film or buried; the sample shows the shape."""
    play = staged(folder, "images_as_objects=1@0-3600")
    assert play.run().ending == "outage"
    assert "dead" not in play.states()
    assert play.rows("SELECT max(attempts) FROM archive_queue WHERE state = 'pending'") == [(0,)]
    samples = [body for (body,) in play.rows("SELECT body FROM reply_samples")]
    assert len(samples) >= 3 and all("url_list" in body for body in samples)
    play.wait(24 * 3600)
    play.run_to_the_end(4)
    assert set(play.states()) == {"archived"} and play.audit().findings == []
