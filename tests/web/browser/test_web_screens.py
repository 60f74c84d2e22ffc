"""The screens in a real browser: look, play, search, retry, move by keys; on a phone; for everybody."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from process.harness import Archive
from web.browser.visitor import Visitor, visitor

pytestmark = pytest.mark.slow


def paths(place: Archive) -> dict[str, str]:
    """Name every screen, each with something on it."""
    video = place.one("SELECT aweme_id FROM posts WHERE is_photo = 0 ORDER BY aweme_id DESC LIMIT 1")
    photo = place.one("SELECT aweme_id FROM posts WHERE is_photo = 1 ORDER BY aweme_id DESC LIMIT 1")
    handle = place.one("SELECT author_handle FROM posts WHERE author_handle <> '' LIMIT 1")
    return {
        "now": "/",
        "sources": "/sources",
        "queue": "/queue",
        "gallery": "/gallery",
        "post": f"/posts/{video}",
        "photos": f"/posts/{photo}",
        "dead": f"/posts/{place.ids('dead')[0]}",
        "authors": "/authors",
        "author": f"/authors/{handle}",
        "author of an odd name": f"/author?id={place.one('SELECT author_id FROM authors ORDER BY handle LIMIT 1')}",
        "tags": "/tags",
        "tag": "/tags/cats",
        "search": "/search",
        "found": "/search?q=%23cats",
        "nothing": "/search?q=zzzzqq",
        "gone": "/gone",
        "budget": "/budget",
        "system": "/system",
        "removals": "/removals",
        "login": "/login",
        "trouble": "/posts/12345678",
    }


_DRAWN = """() => [...document.querySelectorAll('figure[data-chart] .plot')]
    .every((each) => each.querySelector('canvas') || each.textContent.trim())"""


def test_everybody_can_read_every_screen(chrome: Browser, address: str, place: Archive) -> None:
    """No screen has a serious barrier (axe-core), dark or light, and none complains."""
    with visitor(chrome, address) as here:
        for name, path in paths(place).items():
            page = here.go(path)
            page.wait_for_function(_DRAWN)
            page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            for theme in ("light", "dark"):
                page.emulate_media(color_scheme=theme, reduced_motion="reduce")
                assert _barriers(page) == [], f"{name}, {theme}"
                here.picture(f"{name}-{theme}")
        assert [each for each in here.complaints if "404 (Not Found)" not in each] == []


def _barriers(page: Page) -> list[str]:
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"][:3]
    ]


def test_a_saved_video_plays(here: Visitor, place: Archive) -> None:
    """Press play, and the picture moves; jump ahead, and it goes on from there."""
    hd = "SELECT aweme_id FROM posts WHERE is_photo = 0 AND duration >= 6 ORDER BY aweme_id"
    for row in place.rows(hd):
        page = here.go(f"/posts/{row[0]}")
        if _can_play(page):
            break
    else:
        pytest.fail("no video of the archive can be played")
    page.evaluate("() => { const v = document.querySelector('video'); v.muted = true; return v.play(); }")
    page.wait_for_function("() => document.querySelector('video').currentTime > 0.3")
    assert page.evaluate("() => document.querySelector('video').videoWidth") > 0
    page.evaluate("() => { document.querySelector('video').currentTime = 4; }")
    page.wait_for_function("() => document.querySelector('video').currentTime > 4.2")


def _can_play(page: Page) -> bool:
    page.wait_for_function("() => { const v = document.querySelector('video'); return v.readyState >= 2 || v.error; }")
    return bool(page.evaluate("() => !document.querySelector('video').error"))


def test_photos_turn_and_have_their_sound(here: Visitor, place: Archive) -> None:
    """A photo post shows one picture after the other, and its sound plays."""
    most = "SELECT aweme_id FROM files WHERE kind = 'image' GROUP BY aweme_id ORDER BY count(*) DESC LIMIT 1"
    page = here.go(f"/posts/{place.one(most)}")
    told = page.locator("[data-slide-told]")
    begun = told.text_content() or ""
    assert begun.startswith("1 of ") and int(begun.split()[-1]) > 1
    page.get_by_role("button", name="Next").click()
    expect(told).to_have_text(begun.replace("1 of", "2 of"))
    page.get_by_role("button", name="Previous").click()
    expect(told).to_have_text(begun)
    page.evaluate("() => { const a = document.querySelector('audio'); a.muted = true; return a.play(); }")
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0.2")


def test_photos_turn_and_sound_in_the_gallery_too(here: Visitor) -> None:
    """A card's photos come one after the other where they are, and its sound plays until another's does."""
    page = here.go("/gallery?q=is%3Aphoto")
    cards = page.locator(".card:has([data-leaf-next])")
    told, photo = cards.first.locator("[data-leaf-told]"), cards.first.locator(".shot img, .shot video")
    many = int((told.text_content() or "").split()[0])
    assert many > 1
    cards.first.get_by_role("button", name="Next photo").click()
    expect(told).to_have_text(f"2 of {many}")
    shown = "document.querySelector('.card:has([data-leaf-next]) .shot').querySelector('img, video')"
    page.wait_for_function(f"() => {shown}.naturalWidth > 0 || {shown}.readyState >= 2 || {shown}.error")
    second = photo.get_attribute("src")
    for _ in range(2):
        cards.first.get_by_role("button", name="Photo before").click()
    expect(told).to_have_text(f"{many} of {many}")
    assert photo.count() == 1 and (photo.get_attribute("src") != second or many == 2)
    page.evaluate("() => { const p = Audio.prototype.play; window.on = []; Audio.prototype.play ="
                  " function () { this.muted = true; window.on.push(this); return p.call(this); }; }")  # fmt: skip
    sounds = page.get_by_role("button", name="Sound")
    sounds.nth(0).click()
    page.wait_for_function("() => window.on[0].currentTime > 0.2")
    sounds.nth(1).click()
    page.wait_for_function("() => window.on[0].paused && window.on[1].currentTime > 0.2")
    expect(sounds.nth(0)).to_have_attribute("aria-pressed", "false")
    sounds.nth(1).click()
    page.wait_for_function("() => window.on[1].paused")
    assert page.url.endswith("/gallery?q=is%3Aphoto"), "no click went through to the post"


def test_what_is_sought_is_found_and_opened(here: Visitor) -> None:
    """Type words into the box at the side, narrow them by a facet, open a post, step to the next, and cite it."""
    page = here.go("/")
    page.keyboard.press("/")
    page.keyboard.type("#cats")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search?q=%23cats")
    expect(page.locator(".card").first).to_be_visible()
    count = int(page.locator("p:has-text('found') b").first.text_content() or "0")
    assert count == page.locator(".card").count() > 2
    page.locator("[aria-label=Authors] a").first.click()
    page.wait_for_url("**from%3A%40**")
    expect(page.locator(".card").first).to_be_visible()
    assert 0 < page.locator(".card").count() < count
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/posts/*")
    first = page.url
    page.go_back()
    page.goto(first.split("?")[0])
    with page.expect_navigation():  # until it is loaded: keys that are pressed before go nowhere
        page.keyboard.press("j")
    assert page.url != first.split("?")[0]
    page.keyboard.press("k")
    page.wait_for_url(first.split("?")[0])
    page.locator("summary:has-text('Bibtex')").click()
    assert "@misc" in (page.locator("#cite-bibtex").text_content() or "").lower()
    page.locator("summary:has-text('The sidecar')").click()
    expect(page.locator("pre:has-text('\"files\"')")).to_be_visible()
    page.get_by_role("button", name="Verify now").click()
    expect(page.locator("#verified")).to_contain_text("Every file holds")


def test_a_failure_is_put_back(here: Visitor, place: Archive) -> None:
    """Filter failures by reason, choose one, and retry it: it is due at once."""
    before, page = len(place.ids("dead")), here.go("/queue")
    page.locator("p.tags a").nth(1).click()
    page.wait_for_url("**/queue?reason=*")
    page.locator("input[name=id]").first.check()
    page.get_by_role("button", name="Retry chosen").click()
    expect(page.locator("#said")).to_contain_text("Put back: 1.")
    assert len(place.ids("dead")) == before - 1


def test_keys_reach_everything(here: Visitor) -> None:
    """Without a mouse: skip to the page, help, another screen, from picture to picture, the other theme."""
    page = here.go("/gallery")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(page.locator("[data-card]").nth(0)).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator("[data-card]").nth(1)).to_be_focused()
    page.keyboard.press("k")
    expect(page.locator("[data-card]").nth(0)).to_be_focused()
    was = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("t")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != was
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/sources")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != was, "the choice is kept"


def test_the_gallery_goes_on_as_one_scrolls_and_nothing_moves(here: Visitor) -> None:
    """Pictures come as one scrolls; what is on the screen stays where it is; blurred ones wait for a click."""
    page = here.go("/gallery")
    page.evaluate(
        "() => { window.moved = 0; new PerformanceObserver((list) => list.getEntries().forEach((each) => {"
        "if (!each.hadRecentInput) window.moved += each.value; })).observe({ type: 'layout-shift', buffered: true }); }"
    )
    first = page.locator(".card").count()
    assert first == 30
    page.locator(".card").last.scroll_into_view_if_needed()
    page.keyboard.press("End")
    page.wait_for_function("(n) => document.querySelectorAll('.card').length > n", arg=first)
    assert page.evaluate("() => window.moved") < 0.05
    ids = page.locator(".card > a").evaluate_all("(all) => all.map((each) => each.href)")
    assert len(set(ids)) == len(ids)
    page.get_by_role("button", name="Blur all").click()
    veil = page.locator(".veil").first
    veil.scroll_into_view_if_needed()
    veils = page.locator(".veil").count()
    veil.click()
    assert page.locator(".veil").count() == veils - 1 and page.url.endswith("/gallery")


def test_times_are_the_readers_own(here: Visitor) -> None:
    """A time is shown on the reader's clock, with UTC for whoever points at it."""
    page = here.go("/removals")
    time = page.locator("time").first
    expect(time).to_have_attribute("data-shown", "")
    told, shown = time.get_attribute("datetime") or "", time.text_content()
    local = page.evaluate(
        "(t) => new Date(t).toLocaleString('sv-SE', { timeZone: 'America/New_York' }).slice(0, 16)", told
    )
    assert shown == local != told[:16].replace("T", " ")
    assert time.get_attribute("title") == f"{told[:19].replace('T', ' ')} UTC"


def test_a_phone_shows_it_all(chrome: Browser, address: str, place: Archive) -> None:
    """On a phone no screen is wider than the phone, and the menu can be reached."""
    with visitor(chrome, address, viewport={"width": 360, "height": 780}, is_mobile=True, has_touch=True) as here:
        for name, path in paths(place).items():
            page = here.go(path)
            assert page.evaluate("() => document.documentElement.scrollWidth") <= 360, name
            if name in ("now", "post", "gallery"):
                here.picture(f"{name}-phone")
        page.goto(f"{address}/")
        page.locator("nav a:has-text('Budget')").tap()
        page.wait_for_url("**/budget")
