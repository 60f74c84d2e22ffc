"""The demo: what a person sees first, from nothing to a page to look at."""

from __future__ import annotations

import json
import re
import subprocess
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest

from process.harness import PATIENCE_S, PROGRAM, plain_environment

pytestmark = pytest.mark.slow


def _demo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = (*PROGRAM, "demo", str(folder), *words)
    return subprocess.run(
        command, env=plain_environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def _links(page: str) -> set[str]:
    return {unquote(unescape(link)) for link in re.findall(r'(?:src|href|poster)="([^"]*)"', page)}


def test_the_demo_leaves_a_page_that_shows_all_that_was_saved(tmp_path: Path) -> None:
    """After the demo one page leads to every saved file, and names each missing id with its reason."""
    folder = tmp_path / "a demo #1"
    ended = _demo(folder, "--posts", "60", "--seed", "3", "--json")
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    assert told["findings"] == [] and told["states"]["archived"] > 40 and told["states"]["dead"]
    page = (folder / "index.html").read_text(encoding="utf-8")
    links = _links(page)
    assert {link for link in links if not link.startswith("covers/")} == _files(folder, "videos") | _files(
        folder, "photos"
    )
    assert links - _files(folder, "covers") < links, "no video shows its cover"
    assert all((folder / link).is_file() for link in links)
    assert page.count("<tr><td>") == told["states"]["dead"]
    assert "http://" not in page and "<script" not in page


def test_the_demo_is_made_anew_and_touches_nothing_else(tmp_path: Path) -> None:
    """A second demo replaces the first; a folder that holds anything else is left alone, with one clear line."""
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    refused = _demo(tmp_path)
    assert refused.returncode == 2 and "not a demo" in refused.stderr and "Traceback" not in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    folder = tmp_path / "demo"
    for _ in range(2):
        again = _demo(folder, "--posts", "30")
        assert again.returncode == 0, again.stderr


def _files(folder: Path, kind: str) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in (folder / kind).rglob("*") if path.is_file()}
