"""The web app while it works: from nothing to the first video, figures that move, who may do what."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from process.harness import KEY, archive_for, simulator
from web.browser.visitor import served, visitor

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
