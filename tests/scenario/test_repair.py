"""Damaged and missing files are fetched again; nothing that is left is lost on the way, whatever dies when."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from clipledger.sim.play import Play
from scenario.hurting import a_day, archived, cut, everything, file_of, flip, killed_repairs, videos

pytestmark = pytest.mark.slow

GROUND = None  # files are hurt in a folder


def photos(play: Play) -> list[str]:
    """List the archived photo posts."""
    return [row[0] for row in play.rows("SELECT aweme_id FROM posts WHERE is_photo ORDER BY 1")]


def spent(play: Play, reason: str = "repair") -> int:
    """Sum the credits of repairs."""
    return int(play.rows("SELECT coalesce(sum(credits), 0) FROM credits WHERE reason = ?", reason)[0][0])


def test_what_the_rotation_finds_is_as_it_was_a_day_later(folder: Path) -> None:
    """A flipped byte, a cut file, a missing one, a lost cover, slide, sound and sidecar: all are as they were again."""
    play = archived(folder)
    before, (one, two, three, four, five), photo = everything(play), videos(play)[:5], photos(play)[0]
    flip(file_of(play, one))
    cut(file_of(play, two))
    file_of(play, three).unlink()
    flip(file_of(play, four, "cover"))
    file_of(play, five, "sidecar").unlink()
    file_of(play, photo, "audio").unlink()
    flip(file_of(play, photo, "image"))
    a_day(play)
    a_day(play)
    after = everything(play)
    lost = play.rows("SELECT storage_key FROM files WHERE aweme_id = ? AND kind = 'sidecar'", five)[0][0]
    assert {key: sha for key, sha in after.items() if key != lost} == {k: s for k, s in before.items() if k != lost}
    assert json.loads((folder / lost).read_text())["files"]
    assert play.audit().findings == []
    assert spent(play) == 5, "one credit a post whose media were hurt, none for the sidecar"
    acts = dict(play.rows("SELECT act, count(*) FROM custody GROUP BY act"))
    assert acts == {"damaged": 7, "restored": 6, "rewritten": 1}
    assert play.rows("SELECT count(*) FROM fixity WHERE damaged_at IS NOT NULL") == [(0,)]


def test_other_bytes_are_a_new_version_with_its_history(folder: Path) -> None:
    """Where the HD file is refused now, the standard one takes its place; what stood before is told for ever."""
    play = archived(folder)
    one = next(
        i
        for i in videos(play)
        if play.rows("SELECT rendition FROM files WHERE aweme_id = ? AND kind = 'video'", i)[0][0] == "hd"
    )
    path, [(old,)] = file_of(play, one), play.rows("SELECT sha256 FROM posts WHERE aweme_id = ?", one)
    flip(path)
    play.turn(hd_403="1.0")
    a_day(play)
    a_day(play)
    new = hashlib.sha256(path.read_bytes()).hexdigest()
    assert new != old and play.rows("SELECT sha256 FROM posts WHERE aweme_id = ?", one) == [(new,)]
    [told] = json.loads(file_of(play, one, "sidecar").read_text())["replaced"]
    assert (told["sha256"], told["new_sha256"]) == (old, new)
    assert play.rows("SELECT act, was_sha256, sha256 FROM custody WHERE act = 'replaced'") == [("replaced", old, new)]
    assert play.rows("SELECT rendition FROM files WHERE aweme_id = ? AND kind = 'video'", one) == [("standard",)]
    assert play.audit().findings == []
    assert spent(play) + spent(play, "url_expired") == 2


def test_a_post_that_is_gone_meanwhile_is_not_lost_twice(folder: Path) -> None:
    """When the API no longer gives the post, its damaged bytes and all else of it stay, and that is said."""
    play = archived(folder)
    one = videos(play)[0]
    flip(file_of(play, one))
    left = everything(play)
    play.turn(outage="not_found")
    a_day(play)
    a_day(play)
    assert everything(play) == left
    assert play.rows("SELECT state FROM archive_queue WHERE aweme_id = ?", one) == [("archived",)]
    [(tries, damage)] = play.rows("SELECT tries, damage FROM fixity WHERE damaged_at IS NOT NULL")
    assert tries >= 1 and "another sha256" in damage
    assert "not_found" in play.rows("SELECT detail FROM custody WHERE act = 'not_repaired'")[0][0]
    assert spent(play) == 0
    play.turn(outage="off")
    a_day(play)
    a_day(play)
    assert play.rows("SELECT count(*) FROM fixity WHERE damaged_at IS NOT NULL") == [(0,)]
    assert play.audit().findings == []


def test_the_budget_of_repairs_holds(folder: Path) -> None:
    """With two credits a day for repairs, eight damaged posts take four days, and no day costs more."""
    play = archived(folder, budget=2)
    for aweme_id in videos(play)[:8]:
        cut(file_of(play, aweme_id))
    for _ in range(3):
        a_day(play)
    assert spent(play) <= 6
    for _ in range(4):
        a_day(play)
    days = play.paid_by_day("repair").values()
    assert max(days) <= 2 and sum(days) == 8
    assert play.audit().findings == []


@pytest.mark.parametrize("hurt", ["flipped", "missing"])
def test_a_crash_anywhere_loses_nothing(folder: Path, hurt: str) -> None:
    """Killed at any step of a repair, the next run ends it; at no point are both the old and the new bytes gone."""
    trials = killed_repairs(folder, 9, hurt, (3, *range(9, 20), 25, 35))
    assert [trial for trial in trials if trial.findings] == []
    met = {trial.standing for trial in trials if trial.crashed}
    assert len(met) >= (3 if hurt == "flipped" else 2), f"kills on both sides of each change: {met}"
