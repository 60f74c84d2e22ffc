"""The simulated world: one seed, one truth, every shape and every error text of the documented API."""

from __future__ import annotations

import ast
import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clipledger.sim
from clipledger.sim.reply import FileRef
from sim_calls import BROWSER, KEY, START, Now, body, call, detail, fetch, living, make, pages, shown


def test_a_seed_gives_the_same_world_in_whatever_order_it_is_asked() -> None:
    """Two worlds of one seed answer every id alike, asked forwards or backwards; another seed does not."""
    one, two = make(60, "hostile,rpm=none,burst=none"), make(60, "hostile,rpm=none,burst=none")
    ids = list(one.ids())
    assert ids == list(two.ids())
    assert {i: call(one, "/post-detail/", url=i) for i in ids} == {
        i: call(two, "/post-detail/", url=i) for i in reversed(ids)
    }
    assert not set(ids) & set(make(60, seed=8).ids())


def test_ids_are_dated() -> None:
    """An id has 19 digits and its high half is the second of creation, a little before `create_time`."""
    world = make(2000)
    lags = []
    for post_id in world.ids():
        post = world.truth(post_id).post
        assert post and len(post_id) == 19 and int(post_id) >> 32 == post.born
        lags.append(post.create_time - post.born)
    assert min(lags) >= 1 and max(lags) <= 55 and sorted(lags)[1000] in range(4, 9)
    assert len(set(world.ids())) == 2000


def test_a_hundred_thousand_posts_are_cheap() -> None:
    """A world of 100,000 posts stands at once and knows each of its ids, and no other."""
    world = make(100_000)
    post = world.population.post(99_999)
    assert world.population.find(post.id) is post
    assert world.population.find(str(int(post.id) + 1)) is None
    assert world.population.find(str(int(post.id) + 2**32)) is None
    assert world.truth("7387261234567890123").why == "unknown"


def test_what_the_cdn_serves_is_what_the_truth_says() -> None:
    """Every link of a reply in fair weather gives the very bytes whose digest the judge is told, no two alike."""
    world = make(120)
    seen: set[str] = set()
    for post_id in world.ids():
        true = {file.ref: file for file in world.true_files(post_id)}
        if not world.truth(post_id).alive:
            continue
        for link in _links(detail(world, post_id)):
            reply = fetch(world, link)
            ref = reply.receipt
            assert reply.status == 200 and isinstance(ref, FileRef)
            if ref in true:
                digest = hashlib.sha256(reply.body).hexdigest()
                assert (digest, len(reply.body)) == (true[ref].sha256, true[ref].bytes)
        digests = {file.sha256 for file in true.values()}
        assert len(digests) == len(true) and not digests & seen
        seen |= digests


def _links(reply: Any) -> set[str]:
    found = {reply[key] for key in ("play", "hdplay", "wmplay", "cover", "origin_cover", "music") if reply.get(key)}
    return found | {link for key in ("images", "live_images") for link in reply.get(key) or () if link}


def test_detail_and_list_items_differ_as_documented() -> None:
    """A detail has `id` and may have `hdplay`; a list item has `video_id`, a media uri, `is_top`, and never HD."""
    world = make()
    for author in world.population.authors[:3]:
        for item in body(world, "/user-posts/", userid=author.id, count="30")["videos"]:
            whole = detail(world, item["video_id"]) if world.truth(item["video_id"]).alive else None
            assert "id" not in item and "hdplay" not in item and "is_top" in item
            if whole:
                assert "video_id" not in whole and "aweme_id" not in whole and whole["id"] == item["video_id"]
                assert not item["aweme_id"].isdigit() and bool(item["aweme_id"]) is not bool(whole["images"])
                assert abs(whole["create_time"] - (int(whole["id"]) >> 32)) <= 55
    hd = [detail(world, i).get("hdplay", "absent") for i in living(world, "video")]
    assert {"absent", ""} < set(hd)


@pytest.mark.slow
def test_photo_posts_offer_sound_where_videos_have_pictures() -> None:
    """In detail the play links of a photo post are its sound; in lists `play` is empty; a slide may be an MP4."""
    world = make(1500, photo_share=0.5)
    slides, live = [], 0
    for post_id in living(world, "photo"):
        whole = detail(world, post_id)
        assert whole["duration"] == whole["size"] == whole["hd_size"] == 0 and "mime_type=audio_mp" in whole["play"]
        reply = fetch(world, whole["hdplay"])
        assert reply.body[4:8] == b"ftyp" or reply.body[:3] in (b"ID3", b"\xff\xfb\x10")
        assert reply.receipt == FileRef(post_id, "audio")
        slides += [fetch(world, link).body[4:8] for link in whole["images"]]
        live += sum(bool(link) for link in whole.get("live_images", ()))
    assert b"ftyp" in slides and slides.count(b"ftyp") < len(slides) / 5 and live
    author = world.truth(living(world, "photo")[0]).post.author  # type: ignore[union-attr]
    items = [item for page in pages(world, "/user-posts/", userid=author.id) for item in page["videos"]]
    assert all((item["play"] == "") is bool(item.get("images")) for item in items)


def test_the_error_texts_are_the_documented_ones() -> None:
    """No key, a wrong key, a missing post and an empty account say what they say in the wild, with status 200."""
    world = make(balance=1)
    post_id = living(world, "video")[0]
    assert call(world, "/region-list/", {}).body == b'{"message":"Please sign up to tikliveapi.com"}'
    assert call(world, "/region-list/", {"x-api-key": "no"}).body == b'{"message":"Api-Key is not available"}'
    gone = call(world, "/post-detail/", url="https://www.tiktok.com/@x/video/7387261234567890123")
    assert (gone.status, gone.body) == (200, b'{"status":"error","message":"Not found post"}')
    assert detail(world, post_id)["id"] == post_id
    broke = call(world, "/post-detail/", url=post_id)
    assert broke.status == 200 and list(json.loads(broke.body)) == ["message"]
    assert (world.ledger.credits, world.scene.balance) == (1, 0)


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/post-detail/", {}),
        ("/post-detail/", {"url": "https://www.tiktok.com/music/slow-7387261234567890123"}),
        ("/post-detail/", {"url": "https://www.tiktok.com/@a/video/7387261234567890123", "hd": "1"}),
        ("/user-posts/", {"user_id": "1"}),
        ("/user-posts/", {"userid": "12345"}),
        ("/user-stories/", {"userid": "1", "count": "3"}),
        ("/search-video/", {"keywords": "puppy"}),
        ("/search-video/", {"keyword": "puppy", "publish_time": "2"}),
        ("/search-video/", {"keyword": "puppy", "cursor": "abc"}),
        ("/search-video/", {"keyword": "puppy", "count": "many"}),
        ("/userid/", {"username": "@mossyotter"}),
    ],
)
def test_a_wrong_parameter_is_the_error_object(path: str, params: dict[str, str]) -> None:
    """A parameter that is missing, unknown, misspelt or senseless gives the error object and costs nothing."""
    world = make(50)
    reply = body(world, path, **params)
    assert reply["status"] == "error" and reply["message"] and world.ledger.credits == 0


def test_a_parameter_too_many_spoils_a_good_call() -> None:
    """A call that would have succeeded does not, once it carries a parameter that the endpoint does not know."""
    world = make(50)
    post_id, author = living(world, "video")[0], world.population.authors[0]
    for path, good in (("/post-detail/", {"url": post_id}), ("/user-stories/", {"userid": author.id})):
        assert "status" not in body(world, path, **good)
        assert body(world, path, **good, count="3")["status"] == "error"


@pytest.mark.parametrize(
    "form",
    [
        "https://www.tiktok.com/@_/video/{0}", "https://m.tiktok.com/@who.ever/photo/{0}", "https://www.tiktok.com/@/video/{0}",
        "https://m.tiktok.com/v/{0}.html", "https://www.tiktok.com/embed/v2/{0}", "https://www.tiktokv.com/share/video/{0}/",
        "https://www.tiktok.com/foryou?item_id={0}", "{0}",
    ],
)  # fmt: skip
def test_a_post_is_found_under_every_form_of_its_url(form: str) -> None:
    """The handle in a post's URL does not matter, only its id does; a short link leads to the post too."""
    world = make(50)
    post_id = living(world, "video")[0]
    assert body(world, "/post-detail/", url=form.format(post_id))["id"] == post_id
    assert body(world, "/post-detail/", url=world.short_url(post_id))["id"] == post_id
    hop = fetch(world, world.short_url(post_id), {})
    assert hop.status == 302 and dict(hop.headers)["Location"].startswith(world.post_url(post_id))


def test_nobody_has_a_link_to_what_is_still_to_be_made() -> None:
    """A short link leads nowhere until its post is there."""
    now = Now()
    world = make(200, now=now)
    post = next(post for post in map(world.population.post, range(200)) if post.fate(now()) == "unborn")
    assert post.id not in dict(fetch(world, world.short_url(post.id), {}).headers)["Location"]
    assert body(world, "/post-detail/", url=world.short_url(post.id))["status"] == "error"
    now.at = post.create_time + 1.0
    assert post.id in dict(fetch(world, world.short_url(post.id), {}).headers)["Location"]


def test_handles_lead_to_ids_and_follow_a_rename() -> None:
    """A handle gives its numeric id; after a rename the old handle is nobody's and the id is the same."""
    now = Now()
    world = make(3000, "renamed=0.3", now=now)
    author = next(a for a in world.population.authors if a.renamed)
    before = body(world, "/userinfo-by-username/", username=author.first_handle)
    now.at = START + 8 * 86400
    assert body(world, "/userid/", username=author.first_handle)["status"] == "error"
    after = body(world, "/userid/", username=author.renamed[0])  # type: ignore[index]
    assert before["user"]["id"] == after["user"]["id"] == author.id
    infos = [body(world, "/userinfo-by-id/", userid=a.id) for a in world.population.authors]
    assert {"stats" in info for info in infos} == {True, False}
    assert any(len(info["user"]["id"]) == 6 for info in infos)


def test_posts_are_born_and_die_in_their_time() -> None:
    """A post is not found before its birth and after its death; lists go on showing many of the dead."""
    now = Now()
    world = make(1500, "deleted=0.2,private=0.1,region_locked=0.05", now=now)
    fates = {world.truth(i).why for i in world.ids()}
    assert fates == {"alive", "unborn", "deleted", "private", "region_locked"}
    doomed = next(i for i in world.ids() if (t := world.truth(i)).alive and t.dies_at and t.dies_at > START)
    assert detail(world, doomed)["id"] == doomed and world.truth(doomed).expected_state == "archived"
    now.at = world.truth(doomed).dies_at or 0.0
    assert detail(world, doomed)["status"] == "error" and world.truth(doomed).expected_state == "dead"
    ghosts = [world.truth(i).listed for i in world.ids() if world.truth(i).why not in ("alive", "unborn")]
    assert 0.5 < sum(ghosts) / len(ghosts) < 0.9
    unborn = next(i for i in world.ids() if world.truth(i, START).why == "unborn")
    assert world.truth(unborn).created_at > START and world.truth(unborn, START).expected_state == "dead"


@pytest.mark.slow
def test_counters_only_grow() -> None:
    """A post's counters never fall, and some play counts exceed 2^31."""
    world = make(20_000)
    for post_id in list(world.ids())[:200]:
        rows = [world.counters(post_id, START + day * 86400) for day in range(0, 30, 5)]
        assert all(earlier[k] <= later[k] for earlier, later in pairwise(rows) for k in earlier)
    assert max(world.counters(i, START)["play"] for i in world.ids()) > 2**31


@pytest.mark.parametrize("mark", ["/video/tos/", "expire=", "VExpiration=", "x-expires="])
def test_links_die_on_their_date_and_cannot_be_forged(mark: str) -> None:
    """A link in each form is refused one second after its date, and at once when its signature or date is touched."""
    now = Now()
    world = make(now=now)
    links = [link for i in living(world, "video") for link in _links(detail(world, i))]
    link = next(u for u in links if mark in u and ("xpir" in mark or "xpir" not in u))
    assert fetch(world, link).status == 200
    refused = fetch(world, _touched(link))
    assert refused.status == 403 and len(refused.body) in (0, 370)
    assert fetch(world, link, {}).status == 403, "without a browser's headers"
    now.at = _expiry(link)
    assert fetch(world, link).status == 200
    now.at += 1
    assert fetch(world, link).status == 403 and fetch(world, link).receipt is None
    assert now.at - START in (6 * 3600 + 1, 24 * 3600 + 1)


def _expiry(link: str) -> float:
    for mark in ("expire=", "VExpiration=", "x-expires="):
        if mark in link:
            return float(link.split(mark)[1].split("&")[0])
    return float(int(link.split("/video/tos/")[0].rsplit("/", 1)[1], 16))


def _touched(link: str) -> str:
    """Move the date of a link by a day and leave its signature."""
    at = int(_expiry(link))
    return link.replace(str(at), str(at + 86400)) if str(at) in link else link.replace(f"{at:08x}", f"{at + 86400:08x}")


def test_links_look_as_in_the_wild_when_told() -> None:
    """With real hosts no link names the loopback, and the world still knows each of them."""
    world = make(real_hosts=True)
    links = {link for i in living(world, "video")[:40] for link in _links(detail(world, i))}
    assert all(link.startswith("https://") and "127.0.0.1" not in link for link in links)
    assert {fetch(world, link).status for link in links} == {200}


def test_the_limit_is_exact() -> None:
    """The 201st call of a minute is throttled, the books count the worst minute, and a second later there is room."""
    now = Now()
    world = make(50, "rpm=200,burst=50", now=now)
    statuses = []
    for k in range(201):
        now.at = START + k * 0.1
        statuses.append(call(world, "/region-list/").status)
    assert statuses == [200] * 200 + [429] and world.ledger.worst_minute == 201 and world.ledger.credits == 200
    now.at = START + 60.0
    assert call(world, "/region-list/").status == 200
    now.at = START + 500
    burst = [call(world, "/region-list/").status for _ in range(51)]
    assert burst == [200] * 50 + [429]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 80), max_size=60))
def test_the_worst_minute_is_exact(gaps: list[int]) -> None:
    """The books' worst minute is the most calls that any 60 seconds held, however the calls fell."""
    now = Now()
    world, at = make(3, now=now), []
    for gap in gaps:
        now.at += gap / 2
        at.append(now.at)
        call(world, "/region-list/")
    assert world.ledger.worst_minute == max((sum(t - 60 < s <= t for s in at) for t in at), default=0)


def test_the_books_tell_who_was_shown_and_served() -> None:
    """The ledger counts calls and credits per id, ids that pages showed, files handed over whole, and leaks."""
    world = make(60)
    post_id = living(world, "video")[0]
    whole = detail(world, post_id)
    detail(world, post_id)
    page = call(world, "/user-posts/", userid=world.population.authors[0].id)
    file = fetch(world, whole["play"], BROWSER | KEY)
    assert not world.ledger.shown and not world.ledger.served, "nothing is booked before it was handed over"
    world.delivered(page)
    world.delivered(file)
    books = json.loads(call(world, "/_sim/ledger", {}, calls="1", files="1").body)
    assert books["detail_calls"] == books["detail_credits"] == {post_id: 2} and books["credits"] == 3
    assert set(books["shown"]) == set(shown([json.loads(page.body)])) == set(books["shown_by"]["@mossyotter"])
    served = books["served"][0]
    assert served["sha256"] == hashlib.sha256(file.body).hexdigest() and served["id"] == post_id
    assert books["key_leaks"] == 1 and [row[1] for row in books["rows"]] == ["/post-detail/"] * 2 + ["/user-posts/"]


def test_switches_turn_the_weather() -> None:
    """/_sim/control starts and ends an outage, changes key and balance, and names a switch that it does not know."""
    world = make(60)
    post_id = living(world, "video")[0]
    call(world, "/_sim/control", {}, outage="not_found")
    assert detail(world, post_id) == {"status": "error", "message": "Not found post"}
    call(world, "/_sim/control", {}, outage="off", rpm="5")
    assert detail(world, post_id)["id"] == post_id and world.scene.plan.rpm == 5
    call(world, "/_sim/control", {}, rpm="none", key="other", balance="0")
    assert "Api-Key" in detail(world, post_id)["message"]
    wrong = call(world, "/_sim/control", {}, http_50="1")
    assert wrong.status == 400 and "http_500" in json.loads(wrong.body)["error"]
    everything = json.loads(call(world, "/_sim/world", {}, files="1").body)
    assert [p["id"] for p in everything["posts"]] == list(world.ids())
    assert all(p["files"] and p["sources"] for p in everything["posts"])


def test_the_simulator_shares_no_code_with_the_client() -> None:
    """Nothing that the world, its server or its wire reaches imports the product, save the wire's port."""
    folder, todo, done = Path(clipledger.sim.__file__).parent, ["world", "server", "wire", "timeloop"], set[str]()
    while todo:
        name = todo.pop()
        done.add(name)
        imported = _imported(folder / f"{name}.py")
        inside = {n.removeprefix("clipledger.sim").lstrip(".") for n in imported if n.startswith("clipledger.sim")}
        ours = {n for n in imported if n.startswith("clipledger") and not n.startswith("clipledger.sim")}
        assert ours == ({"clipledger.core.ports"} if name == "wire" else set()), f"{name} imports {ours}"
        todo += [n for n in inside if n and n not in done and (folder / f"{n}.py").exists()]
    assert {"api", "cdn", "population", "faults"} < done


def _imported(module: Path) -> set[str]:
    """List what a module imports; `from package import name` counts as package.name too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "clipledger.sim":
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names
