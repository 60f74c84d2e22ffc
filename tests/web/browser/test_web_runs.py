"""The web app while it works: from nothing to the first video, figures that move, who may do what."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from process.harness import KEY, Archive, archive_for, simulator
from s3_servers import S3Server, credentials
from web.browser.visitor import Visitor, served, visitor

pytestmark = pytest.mark.slow


def test_from_nothing_to_the_first_video(chrome: Browser, tmp_path: Path) -> None:
    """Open an empty archive, give the key and a source, and watch: figures move, and the first video plays.

    The key is on no page and in no file.
    """
    with simulator(60, "calm") as sim:
        archive = archive_for(tmp_path / "archive", sim, on="sqlite")
        del archive.env["TIKLIVEAPI_KEY"]
        archive.env["CLIPLEDGER_API__REQUESTS_PER_MINUTE"] = "900"
        with served(archive) as base, visitor(chrome, base) as here:
            page = here.go("/")
            here.arrives("/first")
            here.picture("first-light")
            page.get_by_label("What to keep").fill("\n".join(sim.names()))
            page.get_by_label("API key").fill(KEY)
            page.get_by_role("button", name="Start the archive").click()
            here.arrives("/?done=started")
            page.wait_for_function(
                "() => Number(document.querySelector('[data-live-at=archived]').textContent.replace(',', '')) > 0"
            )
            early = here.number("archived")
            page.wait_for_function(
                "(n) => Number(document.querySelector('[data-live-at=archived]').textContent.replace(',', '')) > n",
                arg=early,
            )
            here.go("/gallery?q=is:video")
            page.locator(".card a").first.click()
            here.arrives("/posts/")
            page.evaluate(
                "() => { const v = document.querySelector('video'); v.muted = true; v.play().catch(() => 0); }"
            )
            page.wait_for_function(
                "() => { const v = document.querySelector('video'); return v.currentTime > 0.2 || v.error; }"
            )
            for path in ("/", "/system", "/removals", "/first"):
                here.go(path)
                assert KEY not in page.content()
            here.go("/system")
            page.get_by_role("button", name="Stop work here").click()
            expect(page.locator("#said")).to_contain_text("Stopping")
            assert here.complaints == []
    assert not [file for file in archive.folder.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]


def test_who_may_do_what(chrome: Browser, tmp_path: Path) -> None:
    """With a password set nobody gets in without; a viewer looks, an operator runs, an admin removes."""
    archive = archive_for(tmp_path / "archive", on="sqlite")
    for role in ("viewer", "operator", "admin"):
        archive.cli("access", "password", role, "--role", role, "-q", stdin=b"correct horse battery\n")
    archive.cli("add", "#cats", "7387261234567890123", "-q")
    with served(archive) as base:
        for role, runs, removes in (("viewer", False, False), ("operator", True, False), ("admin", True, True)):
            with visitor(chrome, base) as here:
                page = here.go("/sources")
                here.arrives("/login?next=")
                if role == "viewer":
                    page.get_by_label("Name").fill(role)
                    page.get_by_label("Password or token").fill("wrong")
                    page.get_by_role("button", name="Log in").click()
                    expect(page.get_by_role("alert")).to_contain_text("do not fit")
                page.get_by_label("Name").fill(role)
                page.get_by_label("Password or token").fill("correct horse battery")
                page.get_by_role("button", name="Log in").click()
                here.arrives("/sources")
                assert page.get_by_role("button", name="Add", exact=True).count() == runs, role
                here.go("/removals")
                assert page.get_by_role("button", name="Withdraw").count() == removes, role
                page.get_by_role("button", name="Log out").click()
                here.arrives("/login")
                assert here.go("/queue").url.startswith(f"{base}/login")
                assert [each for each in here.complaints if "403" not in each] == []


def test_it_shows_an_archive_on_postgresql_and_a_bucket(
    chrome: Browser, tmp_path: Path, s3_servers: Callable[[str], S3Server]
) -> None:
    """With the tables in PostgreSQL and every file in a bucket, each page stands, and all media are what was stored."""
    server = s3_servers("ministack")
    place = {"CLIPLEDGER_STORAGE__URL": server.url(), "CLIPLEDGER_STORAGE__ENDPOINT_URL": server.endpoint_url}
    with simulator(40, "calm", seed=5) as sim:
        archive = archive_for(tmp_path / "archive", sim, on="postgres", **place, **credentials())
        archive.cli("add", "-q", *sim.names())
        archive.finish()
    assert archive.media() == {}, "nothing is here but the settings"
    with served(archive) as base:
        with httpx.Client(base_url=base, timeout=30.0) as client:
            _every_page_stands(client, archive)
            _every_file_is_what_was_stored(client, archive)
        with visitor(chrome, base) as here:
            _video_plays(here, archive)
            here.page.get_by_role("button", name="Verify now").click()
            expect(here.page.locator("#verified")).to_contain_text("Every file holds")
            photo = archive.one(
                "SELECT aweme_id FROM files WHERE kind = 'image' AND position = 1 ORDER BY aweme_id LIMIT 1"
            )
            here.go(f"/posts/{photo}").wait_for_function("() => document.querySelector('.slides img').naturalWidth > 0")
            here.go("/").wait_for_function("() => document.querySelector('figure[data-chart] canvas')")
            assert here.complaints == []


def _every_page_stands(client: httpx.Client, archive: Archive) -> None:
    named = "SELECT aweme_id, author_handle FROM posts WHERE author_handle > 'a' ORDER BY aweme_id LIMIT 1"
    aweme_id, handle = archive.rows(named)[0]
    author_id = archive.one("SELECT author_id FROM authors ORDER BY author_id LIMIT 1")
    tag = archive.one("SELECT tag FROM hashtags ORDER BY tag LIMIT 1")
    screens = (
        "/",
        "/gallery",
        "/search",
        "/authors",
        "/tags",
        "/gone",
        "/gone/spikes",
        "/sources",
        "/queue",
        "/budget",
    )
    sorts = [f"/gallery?sort={sort}&q={q}" for sort in ("new", "old", "plays", "growth") for q in ("", "%23" + tag)]
    parts = ["/system", "/system/members", "/removals", f"/posts/{aweme_id}", f"/posts/{aweme_id}/reply"]
    people = [f"/author?id={author_id}", f"/authors/{handle}", f"/tags/{tag}", f"/gone/lost?tag={tag}"]
    found = [f"/search?q={handle}", f"/search/spread?q=%23{tag}", "/feeds/search.atom", "/api/v1/status", "/api/v1/now"]
    charts = [f"/charts/{name}.csv" for name in ("intake", "gone", "credits", "latency")]
    charts += [f"/charts/plays.csv?of={aweme_id}", f"/charts/author-id.csv?of={author_id}", f"/charts/tag.csv?of={tag}"]
    charts += [f"/charts/author-id-life.csv?of={author_id}", f"/charts/tag-life.csv?of={tag}"]
    for path in (*screens, *sorts, *parts, *people, *found, *charts):
        answer = client.get(path, headers={"accept": "text/html,*/*"})
        assert answer.status_code == 200, (path, answer.text[:300])


def _every_file_is_what_was_stored(client: httpx.Client, archive: Archive) -> None:
    files = archive.rows("SELECT aweme_id, kind, position, bytes, sha256 FROM files ORDER BY aweme_id, kind, position")
    assert {kind for _, kind, *_ in files} >= {"video", "image", "audio", "cover", "sidecar"}
    for aweme_id, kind, position, size, sha256 in files:
        path = f"/media/{aweme_id}/{kind}/{position}"
        whole = client.get(path)
        assert (len(whole.content), hashlib.sha256(whole.content).hexdigest()) == (size, sha256), path
        part = client.get(path, headers={"range": f"bytes={size // 3}-{size // 2}"})
        assert (part.status_code, part.content) == (206, whole.content[size // 3 : size // 2 + 1]), path
    assert client.get(path, headers={"range": f"bytes={size}-"}).status_code == 416
    assert client.get(path, headers={"range": "bytes=-7"}).content == whole.content[-7:]
    assert client.get(path, headers={"if-none-match": whole.headers["etag"]}).status_code == 304


def _video_plays(here: Visitor, archive: Archive) -> None:
    for (aweme_id,) in archive.rows("SELECT aweme_id FROM posts WHERE NOT is_photo ORDER BY aweme_id"):
        page = here.go(f"/posts/{aweme_id}")
        page.wait_for_function(
            "() => { const v = document.querySelector('video'); return v.readyState >= 2 || v.error; }"
        )
        if not page.evaluate("() => !!document.querySelector('video').error"):
            page.evaluate("() => { const v = document.querySelector('video'); v.muted = true; return v.play(); }")
            page.wait_for_function("() => document.querySelector('video').currentTime > 0.2")
            return
    pytest.fail("no video of the archive can be played")
