"""Every fault of the table strikes as it says, and a hostile week still lets everything alive be saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.sim.cdn import ERROR_385
from clipledger.sim.faults import KINDS, PRESETS, Door, FaultPlan, Setting
from clipledger.sim.reply import Ending, Framing, Reply
from clipledger.sim.world import World
from sim_calls import BROWSER, KEY, START, Now, body, call, detail, fetch, living, make


def _reply(world: World) -> Reply:
    headers = KEY | {"accept-encoding": "gzip"}
    return call(world, "/post-detail/", headers, url=living(world, "video")[0])


def _message(world: World) -> bool:
    return "message" in json.loads(_reply(world).body)


def _unread(world: World) -> bool:
    try:
        json.loads(_reply(world).body)
    except ValueError:
        return True
    return False


def _fate(why: str) -> Callable[[World], bool]:
    return lambda world: any(world.truth(i).why == why for i in world.ids())


def _first(world: World) -> Any:
    return body(world, "/user-posts/", userid=world.population.authors[0].id, count="10")


def _second(world: World) -> Any:
    now = int(START) * 1000 - 30 * 86_400_000
    return body(world, "/user-posts/", userid=world.population.authors[0].id, count="10", cursor=str(now))


def _last(world: World) -> Any:
    return body(world, "/user-posts/", userid=world.population.authors[0].id, count="10", cursor="1000000000000")


def _reranked(world: World) -> bool:
    tag = world.population.tags["cats"]
    before = body(world, "/challenge-posts/", challenge_id=tag, count="30")
    _later(world, 1801)
    after = body(world, "/challenge-posts/", challenge_id=tag, count="30")
    return [i["video_id"] for i in before["videos"]] != [i["video_id"] for i in after["videos"]]


def _later(world: World, seconds: float) -> None:
    assert isinstance(world.scene.now, Now)
    world.scene.now.at += seconds


def _shape(differs: Callable[[Any, str], bool]) -> Callable[[World], bool]:
    """Probe the detail of many videos: some optional keys stay by chance."""
    return lambda world: any(differs(detail(world, i), i) for i in living(world, "video")[:20])


def _link(key: str, after_s: float) -> Callable[[World], bool]:
    def probe(world: World) -> bool:
        link = detail(world, living(world, "video")[0])[key]
        _later(world, after_s)
        return fetch(world, link).status == 403

    return probe


def _hd(differs: Callable[[Reply, bytes], bool]) -> Callable[[World], bool]:
    def probe(world: World) -> bool:
        found = next(d for i in living(world, "video") if (d := detail(world, i)).get("hdplay"))
        return differs(fetch(world, found["hdplay"]), fetch(world, found["play"]).body)

    return probe


def _cdn(differs: Callable[[Reply], bool]) -> Callable[[World], bool]:
    return lambda world: differs(fetch(world, detail(world, living(world, "video")[0])["play"]))


def _placeholders(differ: Callable[[set[bytes]], bool]) -> Callable[[World], bool]:
    return lambda world: differ({fetch(world, detail(world, i)["play"]).body for i in living(world, "video")[:20]})


def _expired(world: World) -> bool:
    links = [detail(world, i)["play"] for i in living(world, "video")[:20]]
    _later(world, 2 * 86400)
    return any(fetch(world, link).status == 200 for link in links)


def _redirected(reply: Reply) -> str:
    return dict(reply.headers).get("Location", "")


PROBES: dict[str, Callable[[World], bool]] = {
    "deleted": _fate("deleted"),
    "private": _fate("private"),
    "region_locked": _fate("region_locked"),
    "renamed": lambda w: any(a.handle(START + 8 * 86400) != a.first_handle for a in w.population.authors),
    "recounted": lambda w: any(
        w.counters(i, START + 8 * 86400)["play"] < w.counters(i, START)["play"]
        for i in w.ids()
        if w.truth(i).created_at
    ),
    "reposted": lambda w: len({fetch(w, detail(w, i)["play"]).body for i in living(w, "video")[:5]}) == 1,
    "http_500": lambda w: _reply(w).status == 500,
    "http_502_html": lambda w: (r := _reply(w)).status == 502 and r.body.startswith(b"<"),
    "empty_body": lambda w: (r := _reply(w)).status == 200 and not r.body,
    "html_200": lambda w: (r := _reply(w)).status == 200 and r.body.startswith(b"<"),
    "broken_json": lambda w: _unread(w) and _reply(w).body.startswith(b"{"),
    "reset": lambda w: (r := _reply(w)).mute and r.ending is Ending.RESET and r.wait_s == 0,
    "slow": lambda w: (r := _reply(w)).wait_s == 8.0 and not r.mute,
    "timeout": lambda w: (r := _reply(w)).wait_s == 90.0 and r.mute,
    "throttle_429": lambda w: _reply(w).status == 429,
    "unknown_message": _message,
    "key_refused": lambda w: b"Api-Key is not available" in _reply(w).body,
    "balance_gone": _message,
    "enveloped": lambda w: set(json.loads(_reply(w).body)) >= {"code", "msg", "data"},
    "gzip": lambda w: _reply(w).compress,
    "unsized": lambda w: _reply(w).framing is not Framing.LENGTH,
    "not_found_outage": lambda w: b"Not found post" in _reply(w).body,
    "not_found_404": lambda w: call(w, "/post-detail/", url="7387261234567890123").status == 404,
    "wrong_id": lambda w: json.loads(_reply(w).body)["id"] != living(w, "video")[0],
    "missing_videos": lambda w: "videos" not in _first(w) and "cursor" in _first(w),
    "bad_item": lambda w: any(not isinstance(i, dict) or "music" not in i for i in _first(w)["videos"]),
    "ads": lambda w: any(i.get("is_ad") for i in _first(w)["videos"]),
    "strangers": lambda w: len({i["author"]["id"] for i in _first(w)["videos"]}) > 1,
    "repeats": lambda w: _second(w)["videos"][0]["create_time"] > START - 30 * 86400,
    "short_page": lambda w: len(_second(w)["videos"]) == 3,
    "empty_page": lambda w: _first(w)["videos"] == [] and _first(w)["hasMore"],
    "stuck_cursor": lambda w: _second(w)["cursor"] == str(int(START) * 1000 - 30 * 86_400_000),
    "circle": lambda w: _second(w)["cursor"] == "0",
    "endless_more": lambda w: _last(w)["hasMore"] and _last(w)["cursor"] != "1000000000000",
    "missing_cursor": lambda w: "cursor" not in _first(w),
    "rerank": _reranked,
    "string_numbers": _shape(lambda d, _: isinstance(d["play_count"], str)),
    "float_numbers": _shape(lambda d, _: isinstance(d["duration"], float)),
    "null_counters": _shape(lambda d, _: d["play_count"] is None and d["create_time"] is not None),
    "lone_surrogate": _shape(lambda d, _: d["title"].endswith("\ud83d")),
    "nul_in_title": _shape(lambda d, _: "\0" in d["title"]),
    "null_title": _shape(lambda d, _: d["title"] is None),
    "missing_keys": _shape(lambda d, _: "download_count" not in d),
    "plain_author": _shape(lambda d, _: isinstance(d["author"], str)),
    "author_without_id": _shape(lambda d, _: "id" not in d["author"]),
    "old_shape": _shape(lambda d, _: "id" not in d and "duration" not in d and "play" in d),
    "id_as_number": _shape(lambda d, i: d["id"] == int(i)),
    "aweme_id_is_id": _shape(lambda d, i: d.get("aweme_id") == i and "id" not in d),
    "size_lies": _shape(lambda d, _: d.get("size") in (None, 0, 1_354_097)),
    "relative_link": _shape(lambda d, i: d["play"] == f"/video/media/play/{i}.mp4"),
    "signed_caption": _shape(lambda d, _: "signature=" in d["title"] and "signature=" in d["author"]["nickname"]),
    "images_as_objects": lambda w: isinstance(detail(w, living(w, "photo")[0])["images"][0], dict),
    "links_renamed": _shape(lambda d, _: "play" not in d and "play_v2" in d),
    "links_as_objects": _shape(lambda d, _: isinstance(d["play"], dict)),
    "images_gone": lambda w: detail(w, living(w, "photo")[0])["images"] is None,
    "expired_at_birth": _link("play", 0),
    "short_lived": _link("cover", 91),
    "dies_early": _link("play", 121),
    "foreign_host": lambda w: any(".example/" in detail(w, i).get("hdplay", "") for i in living(w, "video")[:20]),
    "partial_block": lambda w: b"Not found post" in _reply(w).body,
    "private_meanwhile": lambda w: b"This video is private" in _reply(w).body,
    "region_meanwhile": lambda w: b"not available in your region" in _reply(w).body,
    "one_post_429": lambda w: _reply(w).status == 429,
    "one_post_cdn_429": _cdn(lambda r: r.status == 429),
    "hd_403": _hd(lambda r, _: r.status == 403),
    "hd_429": _hd(lambda r, _: r.status == 429),
    "hd_empty": _hd(lambda r, _: r.status == 200 and r.body == b""),
    "hd_truncated": _hd(lambda r, _: r.whole and r.body[4:8] == b"ftyp" and r.receipt is None),
    "hd_is_html": _hd(lambda r, _: r.status == 200 and r.body.startswith(b"<")),
    "hd_smaller": _hd(lambda r, standard: len(r.body) < len(standard) and r.receipt is not None),
    "cdn_403": _cdn(lambda r: r.status == 403 and len(r.body) == 370),
    "cdn_404": _cdn(lambda r: r.status == 404),
    "cdn_410": _cdn(lambda r: r.status == 410),
    "cdn_429": _cdn(lambda r: r.status == 429),
    "cdn_500": _cdn(lambda r: r.status in (500, 503)),
    "cdn_empty": _cdn(lambda r: r.status == 200 and r.body == b""),
    "cdn_html": _cdn(lambda r: r.status == 200 and r.body.startswith(b"<!DOCTYPE")),
    "error_385_as_mp4": _cdn(lambda r: r.body == ERROR_385 and len(r.body) == 385 and _type(r) == "video/mp4"),
    "placeholder": _placeholders(lambda bodies: len(bodies) == 1),
    "placeholder_fits": _placeholders(lambda bodies: 1 < len(bodies) <= 8),
    "mp3_as_mp4": _cdn(lambda r: r.body[:2] in (b"ID", b"\xff\xfb") and _type(r) == "video/mp4"),
    "truncated": _cdn(lambda r: r.sent_bytes < r.declared_bytes and r.framing is Framing.LENGTH),
    "truncated_unsaid": _cdn(lambda r: r.sent_bytes < r.declared_bytes and r.framing is Framing.CLOSE),
    "cut_at_box": _cdn(lambda r: r.body[r.sent_bytes + 4 : r.sent_bytes + 8] in (b"moov", b"mdat")),
    "cdn_reset": _cdn(lambda r: r.ending is Ending.RESET and 0 < r.sent_bytes < r.declared_bytes),
    "stall": _cdn(lambda r: r.ending is Ending.STALL and r.hold_s == 60.0),
    "slow_body": _cdn(lambda r: r.bytes_per_s == 2000.0),
    "chunked": _cdn(lambda r: r.framing is Framing.CHUNKED and r.whole and r.receipt is not None),
    "no_length": _cdn(lambda r: r.framing is Framing.CLOSE and r.whole and r.receipt is not None),
    "wrong_type": lambda w: any(_type(fetch(w, detail(w, i)["play"])) != "video/mp4" for i in living(w, "video")[:9]),
    "redirect": _cdn(lambda r: "/cdn/" in _redirected(r)),
    "redirect_private": _cdn(lambda r: any(private in _redirected(r) for private in ("169.254.", "10.0.", "[::1]"))),
    "expired_lies": _expired,
    "fat_headers": _cdn(lambda r: sum(len(value) for _, value in r.headers) > 64 * 2**10),
    "endless": _cdn(lambda r: r.sent_bytes > 300 * 2**20),
}


def _type(reply: Reply) -> str:
    return dict(reply.headers)["Content-Type"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.slow
def test_every_fault_of_the_table_strikes_as_it_says(kind: Any) -> None:
    """Each kind in the table shows itself when it is certain, and never in calm weather."""
    assert PROBES[kind.name](make(500, f"{kind.name}=1", now=Now()))
    assert not PROBES[kind.name](make(500, now=Now()))


def test_the_table_is_whole() -> None:
    """Every kind has one line of its own that says what it does, and is probed here."""
    assert list(PROBES) == [kind.name for kind in KINDS]
    assert all(kind.about and kind.about[0] != " " for kind in KINDS)


def test_however_bent_an_item_still_names_its_post() -> None:
    """When every shape strikes at once, each item of a list still holds its id somewhere, and a photo its slides."""
    shapes = ",".join(f"{kind.name}=1" for kind in KINDS if kind.door is Door.SHAPE)
    bent, straight = make(600, shapes), make(600)
    for author in bent.population.authors[:6]:
        pairs = [body(world, "/user-posts/", userid=author.id, count="30")["videos"] for world in (bent, straight)]
        for odd, plain in zip(*pairs, strict=True):
            assert plain["video_id"] in (str(odd.get("video_id")), odd.get("aweme_id"))
            assert bool(odd.get("images")) is bool(plain.get("images"))


def test_a_429_tells_when_to_return_in_every_way() -> None:
    """Of the 429s some carry no Retry-After, some seconds, some an HTTP date."""
    world = make(100, "throttle_429=1:7")
    told = {dict(call(world, "/region-list/").headers).get("Retry-After", "") for _ in range(40)}
    assert {"", "7"} < told and any(text.endswith("GMT") for text in told)


def test_a_key_can_be_refused_by_status_too() -> None:
    """The refused key is the documented message, or a bare status when the plan asks for one."""
    assert call(make(10, "key_refused=1:401"), "/region-list/").status == 401


def test_a_redirect_leads_to_the_file() -> None:
    """Following a redirect of the CDN once gives the right file, whatever the form of the link."""
    world = make(200, "redirect=1,relative_link=0.3")
    for post_id in living(world, "video"):
        hop = fetch(world, detail(world, post_id)["play"])
        reply = hop if hop.status == 200 else fetch(world, _redirected(hop))
        assert reply.status == 200 and reply.receipt is not None


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.slow
def test_everything_alive_can_be_saved_in_a_hostile_week(seed: int) -> None:
    """In hostile weather a client that just tries again has every living post within four attempts."""
    world = make(300, "hostile,rpm=none,burst=none", seed=seed, now=Now())
    attempts = {}
    for post_id in [*living(world, "video"), *living(world, "photo")]:
        attempts[post_id] = next((n for n in range(1, 9) if _saved(world, post_id)), 99)
    assert max(attempts.values()) <= 4, {i: n for i, n in attempts.items() if n > 4}
    assert sum(n > 1 for n in attempts.values()) > len(attempts) / 20, "too kind to be hostile"


def test_a_patient_plan_tires_of_failing() -> None:
    """With `patience` n the (n+1)th attempt at a post succeeds at the latest, however certain the faults are."""
    world = make(100, "http_500=0.5,cdn_500=1,expired_at_birth=0.3,patience=3", now=Now())
    for post_id in living(world, "video"):
        assert next(n for n in range(1, 9) if _saved(world, post_id)) <= 4
    tireless = make(100, "cdn_500=1", now=Now())
    assert not any(_saved(tireless, living(tireless, "video")[0]) for _ in range(9))


def _saved(world: World, post_id: str) -> bool:
    """Try once: resolve, then fetch HD or else standard, or all slides and the sound; believe only the digest."""
    for _ in range(20):
        reply = call(world, "/post-detail/", url=post_id)
        _later(world, 1)
        if reply.status != 429:
            break
    try:
        told = json.loads(reply.body if not reply.mute else b"")
    except ValueError:
        return False
    told = told.get("data", told) or {}
    if "play" not in told or str(told.get("id", post_id)) != post_id:
        return False
    if told.get("images"):
        return all(_fetched(world, link) for link in (*told["images"], told["play"]))
    return any(_fetched(world, told[key]) for key in ("hdplay", "play") if told.get(key))


def _fetched(world: World, link: str) -> bool:
    reply = fetch(world, link, BROWSER) if ".example/" not in link else Reply(404)
    if reply.status in (301, 302) and "/cdn/" in _redirected(reply):
        reply = fetch(world, _redirected(reply))
    return reply.status == 200 and reply.whole and reply.receipt is not None


def test_a_hostile_week_shows_every_post_in_the_end() -> None:
    """Walking a user's list again from the top after every bad page meets each listed post before long."""
    world = make(400, "hostile,rpm=none,burst=none,empty_page=0.1,stuck_cursor=0.1,missing_videos=0.1", now=Now())
    listed = {world.population.post(i).id for i in world.population.of_author(0)}
    listed = {i for i in listed if world.truth(i).listed}
    walks = 0
    while not listed <= world.ledger.shown.keys():
        _walk(world, world.population.authors[0].id)
        walks += 1
        assert walks < 60, "some post never comes"
    assert walks > 1, "too kind to be hostile"


def _walk(world: World, userid: str) -> None:
    cursor, seen = "0", {""}
    while cursor not in seen:
        seen.add(cursor)
        reply = call(world, "/user-posts/", userid=userid, count="30", cursor=cursor)
        try:
            page = json.loads(reply.body)
        except ValueError:
            return
        if not reply.whole or "videos" not in page.get("data", page):
            return
        world.delivered(reply)
        cursor = str(page.get("data", page).get("cursor", ""))


def test_an_outage_has_a_beginning_and_an_end() -> None:
    """The outage preset finds everything for an hour, nothing for two, and everything again."""
    now = Now()
    world = make(100, "outage", now=now)
    post_id = living(world, "video")[0]
    heard = []
    for hour in (0.5, 1.0, 2.9, 3.0):
        now.at = START + hour * 3600
        heard.append("id" in detail(world, post_id))
    assert heard == [True, False, False, True]


@given(
    st.dictionaries(
        st.sampled_from([kind.name for kind in KINDS]),
        st.tuples(
            st.sampled_from([0.0, 0.01, 0.5, 1.0]), st.none() | st.integers(1, 900), st.none() | st.integers(1, 99)
        ),
        max_size=5,
    ),
    st.none() | st.integers(0, 500),
)
def test_a_plan_is_read_back_as_it_is_written(
    row: dict[str, tuple[float, int | None, int | None]], rpm: int | None
) -> None:
    """Writing a plan and reading it gives the same plan, so a report can say how to replay a run."""
    settings = {
        name: (Setting(share, amount) if end is None else Setting(share, amount, 0.0, float(end)),)
        for name, (share, amount, end) in row.items()
    }
    plan = FaultPlan(settings, rpm=rpm)
    assert FaultPlan.parse(str(plan)) == plan


def test_presets_are_read_back_too() -> None:
    """Every preset survives being written and read, and later words win over earlier ones."""
    assert all(FaultPlan.parse(str(plan)) == plan for plan in PRESETS.values())
    plan = FaultPlan.parse("hostile,throttle_429=0.5:9,not_found_outage@10-20,not_found_outage=0.5@30-40,rpm=none")
    assert plan.share("throttle_429", 0) == 0.5 and plan.amount("throttle_429") == 9 and plan.rpm is None
    assert [plan.share("not_found_outage", at) for at in (5, 10, 20, 30, 40)] == [0, 1, 0, 0.5, 0]


@pytest.mark.parametrize("text", ["http_50", "slow=2", "slow=a", "slow=0.1@5", "rpm=fast", "hostil", "a=1", "slow==1"])
def test_a_plan_that_makes_no_sense_is_named(text: str) -> None:
    """A word that is no plan is refused with a message that holds it."""
    with pytest.raises(ValueError, match=text.split("=")[0]):
        FaultPlan.parse(f"calm,{text}")


def test_one_fault_moves_no_other() -> None:
    """Adding a kind to a plan changes nothing about where the others strike."""
    one, two = FaultPlan.parse("http_500=0.3"), FaultPlan.parse("http_500=0.3,slow=0.5,timeout=0.2")
    for nth in range(200):
        both = two.struck(Door.API, 0, 1, "/post-detail/", nth)
        assert ("http_500" in both) is ("http_500" in one.struck(Door.API, 0, 1, "/post-detail/", nth))
