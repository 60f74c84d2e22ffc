"""A real browser in front of a served archive: what it was told to do, and what it complained about.

Must not: look into the server; what a person cannot see is no business of these tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from process.harness import Archive, wait_until

PATIENCE_MS = 15_000


def chromium() -> str:
    """Give the browser's path; skip loudly where there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium: the web app was not tried in a browser; `apt-get install chromium`")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """Start a headless Chromium."""
    path = chromium()
    with sync_playwright() as play:
        # Its own sandbox refuses to run as root; /dev/shm is small in containers.
        plain = ["--disable-dev-shm-usage", "--autoplay-policy=user-gesture-required"]
        started = play.chromium.launch(executable_path=path, args=plain + ["--no-sandbox"] * (os.geteuid() == 0))
        try:
            yield started
        finally:
            started.close()


@contextmanager
def served(archive: Archive, *words: str) -> Iterator[str]:
    """Serve an archive on a free port of loopback; give its address."""
    command = ("--json", "serve", "--port", "0", *words)
    # Into a file: a pipe that nobody reads would fill up with events, and the server would wait for ever.
    with (
        tempfile.TemporaryFile() as told,
        archive.started(*command, stdout=told, stderr=subprocess.DEVNULL) as process,
    ):
        wait_until(lambda: process.poll() is not None or b"\n" in _read(told))
        yield json.loads(_read(told).split(b"\n")[0])["url"].rstrip("/")


def _read(file: IO[bytes]) -> bytes:
    return os.pread(file.fileno(), 4096, 0)


@dataclass(slots=True)
class Visitor:
    """One person's browser window, and everything it complained about."""

    context: BrowserContext
    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        """Open a page of the archive."""
        self.page.goto(self.base + path)
        return self.page

    def arrives(self, at: str) -> None:
        """Wait until the browser is at a path that begins so."""
        self.page.wait_for_function(
            "(at) => (location.pathname + location.search).startsWith(at) && document.readyState === 'complete'", arg=at
        )

    def text(self, selector: str) -> str:
        """Read what an element shows."""
        return (self.page.locator(selector).first.text_content() or "").strip()

    def number(self, name: str) -> int:
        """Read a live figure."""
        return int(self.text(f"[data-live-at={name}]").replace(",", ""))

    def picture(self, name: str) -> None:
        """Keep what is shown, where a folder for it is named."""
        folder = os.environ.get("CLIPLEDGER_TEST_PICTURES")
        if folder:
            self.page.screenshot(path=Path(folder) / f"{name}.png")


@contextmanager
def visitor(browser_: Browser, base: str, **more: Any) -> Iterator[Visitor]:
    """Open a window; whatever a page complains about or asks for is written down."""
    told = {"viewport": {"width": 1280, "height": 900}, "timezone_id": "America/New_York"} | more
    context = browser_.new_context(**told)
    context.set_default_timeout(PATIENCE_MS)
    here = Visitor(context, context.new_page(), base)
    page = here.page
    page.on("dialog", lambda dialog: (here.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on("pageerror", lambda error: here.complaints.append(f"script: {error}"))
    page.on(
        "console",
        lambda line: here.complaints.append(f"console: {line.text} {line.location}") if line.type == "error" else None,
    )
    page.on("request", lambda asked: here.complaints.append(f"policy: {asked.post_data}") if _reports(asked) else None)
    page.on("request", lambda asked: here.complaints.append(f"left for {asked.url}") if _leaves(asked, base) else None)
    try:
        yield here
    finally:
        context.close()


def _reports(asked: Any) -> bool:
    return asked.url.endswith("/csp")


def _leaves(asked: Any, base: str) -> bool:
    return not asked.url.startswith((base, "data:", "blob:"))
