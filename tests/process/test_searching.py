"""`search`, `gone`, `authors`, `history` and `reindex`, as a person and a script meet them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clipledger.sim.play import Play
from process.harness import PATIENCE_S, PROGRAM, archive_for, plain_environment

pytestmark = pytest.mark.slow


def tell(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run one command on the archive."""
    command = (*PROGRAM, "--archive", str(folder), *words)
    return subprocess.run(
        command, env=plain_environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )


def document(folder: Path, *words: str) -> Any:
    """Run one command and read its JSON."""
    told = tell(folder, "--json", *words)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


_LOOKING = """
import sys
from clipledger.cli.main import run
codes = [run(["--archive", sys.argv[1], "--json", command]).value for command in ("status", "failures", "search")]
slow = ("alembic", "pycurl", "msgspec", "rich", "http.client", "sqlalchemy.dialects.postgresql")
sys.exit(f"{codes} {[each for each in (*slow, 'clipledger.stages.download') if each in sys.modules]}")
"""


def test_looking_loads_only_what_looking_needs(tmp_path: Path) -> None:
    """A look at an archive in a folder waits neither for the libraries of servers and networks nor for the stages."""
    archive = archive_for(tmp_path / "archive")
    words = (sys.executable, "-c", _LOOKING, str(archive.folder))
    told = subprocess.run(words, env=plain_environment(), capture_output=True, text=True, check=False)
    assert told.stderr == "[0, 0, 0] []\n"


def test_an_archive_can_be_searched_and_looked_over(tmp_path: Path) -> None:
    """Everything archived is found, page by page; each command answers people and scripts; mistakes are one line."""
    folder = tmp_path / "archive"
    play = Play(folder, seed=4, posts=60, faults="deleted=0.1")
    play.add(*(f"@{author.first_handle}" for author in play.world.population.authors))
    play.run_to_the_end(4)
    archived = {row for (row,) in play.rows("SELECT aweme_id FROM posts")}

    found, after = list[str](), list[str]()
    while True:
        page = document(folder, "search", "--limit", "20", *after)
        found += [post["aweme_id"] for post in page["posts"]]
        assert page["matches"] == len(archived)
        if page["after"] is None:
            break
        after = ["--after", page["after"]]
    assert found == sorted(archived, key=int, reverse=True)

    facets = document(folder, "search", "--facets", "--sort", "plays")["facets"]
    assert facets["complete"] and sum(each["posts"] for each in facets["authors"]) == len(archived)
    handle = facets["authors"][0]["value"]
    assert document(folder, "search", "--author", handle)["matches"] == facets["authors"][0]["posts"]
    assert document(folder, "show", handle)["authors"][0]["handles"]
    assert tell(folder, "search", "--tag", facets["tags"][0]["value"], "--sort", "growth").returncode == 0

    words = document(folder, "search", "--limit", "1")["posts"][0]["title"].split()
    plain = [word for word in words if word.isalnum()][:2]
    assert document(folder, "search", *plain)["matches"] == document(folder, "search", " ".join(plain))["matches"] > 0
    assert "search -- robot -dog" in tell(folder, "search", "robot", "-dog").stderr
    assert "off but for the sources below" not in tell(folder, "history").stdout

    gone = document(folder, "gone")["gone"]
    assert {each["aweme_id"] for each in gone} == {row for (row,) in play.rows("SELECT aweme_id FROM dead_letters")}
    assert document(folder, "history", handle, "--refresh", "1h,1d")["sources"] == {handle: "1h,1d"}
    assert "off but for the sources below; 0 due" in tell(folder, "history").stdout
    assert document(folder, "reindex") == {"posts": len(archived), "wrong": 0, "equal": True, "exit": "ok"}

    for words, why in {
        ('search "new',): "place 8",
        ("search", "--sort", "best"): "--sort",
        ("search", "--after", "x"): "--after",
        ("history", "@nobody-here", "--refresh", "1h"): "handle",
        ("authors", "@nobody"): "seen nobody",
    }.items():
        told = tell(folder, *(words if len(words) > 1 else ("search", words[0])))
        assert told.returncode == 2 and why in told.stderr and told.stderr.count("\n") == 1, told.stderr
