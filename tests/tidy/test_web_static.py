"""What the web app sends to a browser: nothing marked as safe, nothing inline, and libraries as they were published."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from tidy.house import PACKAGE, none_of

WEB = PACKAGE / "web"
VENDOR = WEB / "static" / "vendor"
_UNSAFE = re.compile(r"\|\s*safe\b|Markup\(|autoescape\s+false|\bon[a-z]+=\"|style=\"|<style|javascript:|hx-on|hx-vars")
_INLINE = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>")
_OWN = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\(.on|DOMParser"
)
_ELSEWHERE = re.compile(r"(?:src|href)=\"(?:https?:)?//|@import|url\(\s*['\"]?(?:https?:)?//")


def _found(files: list[Path], pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{file.name}: {found[0]}" for file in files for found in pattern.finditer(file.read_text(encoding="utf-8"))
    ]


def test_templates_trust_nobody() -> None:
    """Templates mark nothing as safe and hold no script or style of their own; pages load nothing from elsewhere."""
    files = sorted((WEB / "templates").glob("*.html"))
    assert len(files) > 15
    none_of(_found(files, _UNSAFE) + _found(files, _INLINE) + _found(files, _ELSEWHERE), "unsafe words in templates")


def test_own_scripts_make_no_html_of_text() -> None:
    """Our scripts set text, never markup, and evaluate nothing; the style sheet loads nothing."""
    files = [*sorted((WEB / "static" / "js").glob("*.js")), WEB / "static" / "theme.js", WEB / "static" / "app.css"]
    assert len(files) > 6
    none_of(_found(files, _OWN) + _found(files, _ELSEWHERE), "unsafe words in scripts")


def test_vendored_files_are_as_published() -> None:
    """Each vendored file has the sha256 that VENDORED.md tells, and its licence lies beside it."""
    told = dict(re.findall(r"^\| `([\w.]+)` .*`([0-9a-f]{64})` \|$", (VENDOR / "VENDORED.md").read_text(), re.M))
    lying = {file.name: file for file in VENDOR.iterdir() if file.suffix in (".js", ".css")}
    assert told.keys() == lying.keys()
    for name, file in lying.items():
        assert hashlib.sha256(file.read_bytes()).hexdigest() == told[name], name
        assert (VENDOR / f"{name.split('.')[0]}.LICENSE").is_file(), name
