"""One browser and one served archive for all tests of a file.

Not for longer: while Playwright is at work its loop runs in this thread, and no test could begin one of its own.
For the same reason the archive is made before the browser starts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from process.harness import Archive
from web.browser.visitor import Visitor, browser, served, visitor
from web.visiting import MEMORY, archived


@pytest.fixture(scope="module")
def place() -> Iterator[Archive]:
    """Give an archive of eighty posts, photo posts and dead ids among them."""
    with tempfile.TemporaryDirectory(prefix="clipledger-browser-", dir=MEMORY) as folder:
        yield Archive(archived(Path(folder) / "archive"))


@pytest.fixture(scope="module")
def chrome(place: Archive) -> Iterator[Browser]:
    """Give a real browser."""
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def address(chrome: Browser, place: Archive) -> Iterator[str]:
    """Serve it."""
    with served(place) as base:
        yield base


@pytest.fixture
def here(chrome: Browser, address: str) -> Iterator[Visitor]:
    """Open a window, which must have nothing to complain about."""
    with visitor(chrome, address) as window:
        yield window
        assert window.complaints == []
