"""Whatever a run does by itself costs the same however much is archived and queued: no statement walks a table through.

A few walks are known, and named here with their reason. Any other one is a start, a sweep or a post that becomes
slower with every post before it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from clipledger.sim.play import Crash, Play
from clipledger.sim.scenarios import stranger

pytestmark = pytest.mark.slow
GROUND = None  # how SQLite goes about it: PostgreSQL decides anew as its tables grow

GROWING = (
    "archive_queue", "sightings", "posts", "files", "dead_letters", "credits", "events", "post_metrics_history",
    "availability", "refreshes", "authors", "author_handles", "hashtags", "fixity", "custody", "audit_log", "removals",
)  # fmt: skip
KNOWN = {
    "SELECT credits.settled_at, credits.outcome": "from the end, a window",
    "SELECT anon_1.outcome, count(*)": "from the end, a million rows: once a start",
    "SELECT dead_letters.aweme_id FROM dead_letters WHERE EXISTS": "the dead alone, once a sweep",
    "SELECT DISTINCT removals.author_id FROM removals": "what was taken out alone, once a sweep",
    "UPDATE credits SET outcome=?, settled_at=? WHERE credits.outcome = 'sent'": "the open calls alone",
}
"""Walks that are meant to be: the beginning of the statement, and why."""

_WALK = re.compile(r"SCAN (\w+)")
_ALIAS = re.compile(r"(?:FROM|JOIN|UPDATE|INTO)\s+(\w+)\s+AS\s+(\w+)")


@contextmanager
def heard() -> Iterator[dict[str, Any]]:
    """Note every statement that is made meanwhile, with values that it was made with."""
    asked = dict[str, Any]()

    def note(_connection: Any, _cursor: Any, sql: str, values: Any, _context: Any, many: bool) -> None:
        asked.setdefault(sql, values[0] if many else values)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def walks(file: Path, asked: dict[str, Any]) -> dict[str, list[str]]:
    """Ask SQLite how it would carry the statements out; give those that walk through a table that grows."""
    found = dict[str, list[str]]()
    with sqlite3.connect(file) as db:
        for sql, values in asked.items():
            if not re.match("SELECT|WITH|UPDATE|DELETE|INSERT", sql):
                continue
            names = {alias: table for table, alias in _ALIAS.findall(sql)}
            for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", values):
                walk = _WALK.match(row[3])
                if walk and names.get(walk[1], walk[1]) in GROWING:
                    found.setdefault(" ".join(sql.split()), []).append(row[3])
    return found


def test_no_run_walks_through_a_table_that_grows(tmp_path: Path) -> None:
    """Starting, listing, capturing, sweeping, asking again and ending read what they need, and no more."""
    play = Play(tmp_path / "archive", seed=3, posts=120, settings={"queue.recheck_gone": ["24h"]})
    with heard() as asked:
        play.add(*list(play.world.sources())[:6], stranger(play.world, "7301234567890123456"), every="6h")
        assert play.run(crash=Crash(30.0, 40), workers=2).crashed
        for _ in range(4):
            play.run()
            play.wait(30 * 3600)
        play.run(follow=True, stop_after_s=7200)
    assert len(asked) > 100
    found = walks(tmp_path / "archive" / "clipledger.db", asked)
    unknown = {sql: plan for sql, plan in found.items() if not any(map(sql.startswith, KNOWN))}
    assert not unknown
    gone = [known for known in KNOWN if not any(sql.startswith(known) for sql in found)]
    assert not gone, "these are no walks any more: take them out"
