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


def test_a_post_that_turns_out_to_be_photos_after_all_is_archived(folder: Path) -> None:
    """A photo post that was first said to be a video is archived as photos once the API says so, under another key."""
    play = staged(folder, "images_gone=1@0-6")
    runs = play.run_to_the_end(4)
    assert sum(run.events[0]["place_moved"] for run in runs) >= 3
    assert set(play.states()) == {"archived"} and play.audit().findings == []
    keys = dict(play.rows("SELECT aweme_id, storage_key FROM archive_queue"))
    assert all(keys[post_id].startswith("photos/") for post_id in photos(play) & keys.keys())


def test_what_stands_under_a_key_is_kept_when_the_kind_changes(folder: Path) -> None:
    """Slides that stand already are kept while the API calls the post a video, and finished when it thinks again."""
    play = staged(folder, "cdn_500=0.5@0-8,images_gone=1@8-30")
    play.run(stop_after_s=29)
    stood = {key: stamp for key, stamp in play.stamps().items() if key.startswith("photos/")}
    told = play.rows("SELECT last_detail FROM archive_queue WHERE last_detail LIKE '%stands already and is kept'")
    assert told and stood
    play.run_to_the_end(5)
    assert set(play.states()) == {"archived"} and play.audit().findings == []
    assert stood.items() <= play.stamps().items()


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
