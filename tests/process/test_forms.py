"""Every form of a source, short links included, and the commands that look at sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.sim.world import World
from process.harness import archive_for, simulator

pytestmark = pytest.mark.slow


def one_of_each(world: World) -> dict[str, str]:
    """Name one list of each kind, preferably one that shows something: kind -> source."""
    found: dict[str, str] = {}
    for name in world.sources():
        found.setdefault(name[0] if name[0] in "@#" else name.split(":")[0], name)
    author = found["@"].removeprefix("@")
    return found | {"stories": f"stories:@{author}"}


def test_every_list_shows_what_the_world_shows(tmp_path: Path) -> None:
    """Each kind of source, read to its end, has seen just what the API showed of it; the books tell it by source."""
    with simulator(200) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        sources = one_of_each(sim.twin())
        assert {"@", "#", "search", "music", "playlist", "collection", "liked", "stories"} <= sources.keys()
        archive.cli("add", *sources.values())
        archive.finish()
        archive.audited(sim)
        shown = {frozenset(ids) for ids in sim.ledger()["shown_by"].values()}
        for row in archive.json("sources"):
            ids = archive.rows("SELECT aweme_id FROM sightings WHERE source = ?", row["source"])
            assert row["seen"] == len(ids) and row["last_reason"] is None and row["pass_end"], row
            assert not ids or frozenset(aweme_id for (aweme_id,) in ids) in shown, row["source"]
        assert sum(map(bool, shown)) >= 6
        assert archive.cli("sources").out.count("\n") == len(sources) + 1


def test_every_way_to_write_a_post_means_that_post(tmp_path: Path) -> None:
    """Bare ids and every form of link people paste lead to the post; the short forms by one redirect, for no credit."""
    with simulator(60) as sim:
        archive, twin = archive_for(tmp_path / "archive", sim), sim.twin()
        alive = [post_id for post_id in twin.ids() if twin.truth(post_id).alive][:11]
        codes = [twin.short_url(post_id).rpartition("/")[2] for post_id in alive]
        written = [
            alive[0],
            twin.post_url(alive[1]),
            f"https://m.tiktok.com/v/{alive[2]}.html",
            f"https://www.tiktokv.com/share/video/{alive[3]}/",
            f"tiktok.com/@/video/{alive[4]}?is_from_webapp=1&sender_device=pc",
            f"https://www.tiktok.com/@somebody.else/photo/{alive[5]}",
            f"https://www.tiktok.com/embed/v2/{alive[6]}",
            f"https://www.tiktok.com/foryou?item_id={alive[7]}",
            f"https://vm.tiktok.com/{codes[8]}/",
            f"vt.tiktok.com/{codes[9]}",
            f"https://www.tiktok.com/t/{codes[10]}/?k=1",
        ]
        archive.cli("add", *written)
        archive.cli("run", code=0)
        assert archive.ids("archived") == sorted(alive)
        archive.audited(sim)
        assert sim.ledger()["calls"] == len(alive)
        archive.cli("add", *written)
        archive.cli("run", code=0)
        assert sim.ledger()["calls"] == len(alive)


def test_a_short_link_to_nowhere_stands_in_nobodys_way(tmp_path: Path) -> None:
    """A short link that leads to no post is told as its source's problem, and everything else is saved."""
    with simulator(40) as sim:
        archive = archive_for(tmp_path / "archive", sim, CLIPLEDGER_QUEUE__RETRY_BASE_S="600")
        archive.cli("add", sim.names()[0], "https://vm.tiktok.com/ZMnowhere1/")
        archive.cli("run", code=3)
        problems = {row["source"]: row["last_detail"] for row in archive.json("sources") if row["last_reason"]}
        assert list(problems) == ["https://vm.tiktok.com/ZMnowhere1/"] and "no post" in problems.popitem()[1]
        assert archive.ids("pending") == [] and len(archive.ids("archived")) > 5


def test_links_to_lists_mean_the_list(tmp_path: Path) -> None:
    """Links to a profile, a tag, a sound and a search are the same sources as their short spellings."""
    archive = archive_for(tmp_path / "archive")
    both = [
        ("https://www.tiktok.com/@alice?lang=en", "@alice"),
        ("https://www.tiktok.com/tag/caf%C3%A9", "#café"),
        ("https://www.tiktok.com/music/some-song-7000000000000000001", "music:7000000000000000001"),
        ("https://www.tiktok.com/search?q=two%20words", "search:two words"),
        ("https://www.tiktok.com/@alice/playlist/Best-7000000000000000002", "playlist:7000000000000000002"),
    ]
    told = archive.json("add", *(link for link, _ in both))
    assert told["sources"] == {"new": len(both), "known": 0}
    told = archive.json("add", *(name for _, name in both))
    assert told["sources"] == {"new": 0, "known": len(both)}


def test_regions_are_asked_once(tmp_path: Path) -> None:
    """`regions` costs one credit once; afterwards a source with a region that the API does not know is refused."""
    with simulator(40) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        regions = archive.json("regions")
        assert regions["US"] and archive.json("regions") == regions
        assert sim.ledger()["calls"] == 1
        archive.cli("add", "#cats", "--region", "US")
        archive.cli("add", "#dogs", "--region", "XX", code=2).err.startswith("clipledger: region XX")
        assert [row["source"] for row in archive.json("sources")] == ["#cats?region=US"]
        archive.cli("run", code=0)


def test_a_dry_run_spends_nothing(tmp_path: Path) -> None:
    """`run --dry-run` tells what a run would spend at least, and makes no call."""
    with simulator(40) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names(), *list(sim.twin().ids())[:3])
        told = archive.json("run", "--dry-run")
        assert sim.ledger()["calls"] == 0
        assert told["resolves"] == 3 and told["credits_at_least"] == 3 + told["lookups"] + told["pages_at_least"]
        assert told["credits_at_most"] is None and told["refreshes"] == 0
        capped = archive.json("run", "--dry-run", "--max-credits", "2")
        assert (capped["credits_at_least"], capped["credits_at_most"]) == (2, 2)
        assert archive.json("run", "--dry-run", "--max-videos", "1")["resolves"] == 1
        spent = archive.finish()["credits"]
        assert spent >= told["credits_at_least"]


def test_the_four_roles_one_by_one_give_the_same_archive(tmp_path: Path) -> None:
    """Listing, capture, metadata and janitor, one after another, keep to their work and leave what one run leaves."""
    with simulator(40) as sim:
        archive, whole = archive_for(tmp_path / "archive", sim), archive_for(tmp_path / "whole", sim)
        archive.cli("add", *sim.names())
        archive.cli("run", "--only", "listing", code=3)
        assert sim.details() == 0 and archive.media() == {}
        calls = sim.ledger()["calls"]
        archive.cli("run", "--only", "capture", code=3)
        assert sim.ledger()["calls"] - calls == sim.details() == len(archive.ids("stored"))
        before = sim.ledger()["calls"], archive.media()
        archive.cli("run", "--only", "metadata", code=0)
        archive.cli("run", "--only", "janitor", code=0)
        assert (sim.ledger()["calls"], archive.media()) == before
        whole.cli("add", *sim.names())
        whole.finish()
        assert whole.media().keys() == archive.media().keys() and whole.ids() == archive.ids()
        archive.cli("verify")
