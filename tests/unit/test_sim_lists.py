"""The lists of the simulated world: every cursor leads on, every list keeps to its subject."""

from __future__ import annotations

import pytest

from sim_calls import START, body, make, pages, shown


@pytest.mark.parametrize("count", ["1", "7", "30", "100"])
@pytest.mark.slow
def test_paging_through_a_user_shows_every_listed_post_once(count: str) -> None:
    """Following the cursors of /user-posts/ meets each listed post once, pinned ones first and again in their place."""
    world, pinned = make(2000), set()
    for author in world.population.authors[:8]:
        found = pages(world, "/user-posts/", userid=author.id, count=count)
        items = [item for page in found for item in page["videos"]]
        rest = [item["video_id"] for item in items if not item["is_top"]]
        listed = [world.population.post(i).id for i in world.population.of_author(author.index)]
        listed = [i for i in listed if world.truth(i).listed]
        assert set(rest) | {i["video_id"] for i in items if i["is_top"]} == set(listed)
        assert len(rest) == len(set(rest)) and rest == [i for i in listed if i in rest]
        assert all(isinstance(page["cursor"], str) and page["cursor"].isdigit() for page in found)
        assert all(len(page["videos"]) <= 37 for page in found)
        tops = [item["is_top"] for item in items]
        assert tops == sorted(tops, reverse=True)
        pinned |= {item["video_id"] for item in items if item["is_top"]}
    assert pinned


@pytest.mark.slow
def test_posts_of_the_same_second_are_not_lost_between_pages() -> None:
    """Where several posts share a second, a page of one holds them all, since the cursor cannot tell them apart."""
    world = make(100_000)
    author, cursor, items, crowded = world.population.authors[0], "0", [], 0
    for _ in range(300):
        page = body(world, "/user-posts/", userid=author.id, count="1", cursor=cursor)
        rest = [item["create_time"] for item in page["videos"] if not item["is_top"]]
        items, cursor, crowded = items + rest, page["cursor"], crowded + (len(rest) > 1)
    people = world.population
    times = [people.create_time(i) for i in people.of_author(0) if people.post(i).listed(START)]
    assert crowded and items == times[: len(items)]


@pytest.mark.slow
def test_every_list_of_the_table_can_be_walked() -> None:
    """Tags, sounds, searches, likes, playlists and collections page to their end and keep to their subject."""
    world = make(1500)
    people = world.population
    cats = {people.post(i).id for i in people.with_tag("cats") if world.truth(people.post(i).id).listed}
    found = pages(world, "/challenge-posts/", challenge_id=people.tags["cats"], count="30", region="US")
    assert sorted(shown(found)) == sorted(cats) and isinstance(found[0]["cursor"], int)
    sound = people.sounds[0].id
    found = pages(world, "/music-posts/", music_id=sound)
    assert shown(found) and isinstance(found[0]["cursor"], str)
    assert all(item["music_info"]["id"] == sound for p in found for item in p["videos"] if item["music_info"])
    assert shown(pages(world, "/user-liked/", userid=people.authors[4].id))
    assert "private" in body(world, "/user-liked/", userid=people.authors[5].id)["message"]
    names = set(world.sources())
    assert {"@mossyotter", "@..", "#踊ってみた", f"music:{sound}", f"liked:@{people.authors[4].first_handle}"} < names
    for author in people.authors:
        for kind in ("playlist", "collection"):
            for row in body(world, f"/user-{kind}s/", userid=author.id)[f"{kind}s"]:
                assert f"{kind}:{row['id']}" in names
                assert len(shown(pages(world, f"/{kind}-posts/", **{f"{kind}_id": row["id"]}))) <= row["video_count"]


def test_search_keeps_its_filters() -> None:
    """`publish_time` is an age in days, `sort_by` 2 is newest first and 1 most liked, `region` is the post's."""
    world = make(3000)
    week = [item for p in pages(world, "/search-video/", keyword="puppy", publish_time="7") for item in p["videos"]]
    assert week and all(item["create_time"] >= START - 7 * 86400 for item in week)
    assert all("collect_count" not in item for item in week)
    dated = [
        item["create_time"]
        for p in pages(world, "/search-video/", keyword="puppy", sort_by="2")
        for item in p["videos"]
    ]
    assert dated == sorted(dated, reverse=True)
    abroad = [item for p in pages(world, "/search-video/", keyword="puppy", region="JP") for item in p["videos"]]
    assert abroad and {item["region"] for item in abroad} == {"JP"}
    assert body(world, "/search-video/", keyword="nothing has this word")["videos"] == []
