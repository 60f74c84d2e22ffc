"""Take the pictures of the web app that the documents show: `python docs/pictures.py http://127.0.0.1:8765`.

Against a served archive of `clipledger demo`; needs Chromium and the extra `dev`.
Must not: be needed for anything else.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).parent / "pictures"
SETTLE_MS = 1500


def main(base: str) -> None:
    """Write every picture anew."""
    found = sorted(_asked(base, "is:video")["posts"], key=lambda post: post["plays"] or 0)
    video = found[len(found) * 9 // 10]["aweme_id"]
    wide = {"now": "/", "gallery": "/gallery", "post": f"/posts/{video}", "sources": "/sources", "budget": "/budget"}
    with sync_playwright() as play:
        flags = ["--no-sandbox"] * (os.geteuid() == 0)
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        for name, path in wide.items():
            _take(browser, base + path, name, 1280 if name == "sources" else 1040, 640, "light")
        _take(browser, base + "/", "now-dark", 1040, 640, "dark")
        _take(browser, f"{base}/", "now-phone", 390, 740, "light")
        browser.close()


def _asked(base: str, words: str) -> dict[str, list[dict[str, Any]]]:
    with urllib.request.urlopen(f"{base}/api/v1/posts?q={words}&limit=200") as answer:
        found: dict[str, list[dict[str, Any]]] = json.load(answer)
        return found


def _take(browser: Browser, url: str, name: str, width: int, height: int, scheme: str) -> None:
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = context.new_page()
    page.goto(url)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=FOLDER / f"{name}.png")
    context.close()


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
