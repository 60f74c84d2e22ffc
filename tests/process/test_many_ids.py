"""A hundred thousand queued ids. What memory and time they take is measured by `benchmarks/queue_100k.py`."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from process.harness import archive_for, simulator

pytestmark = pytest.mark.slow

MANY = 100_000


def test_a_hundred_thousand_ids_are_queued_and_worked_on(tmp_path: Path) -> None:
    """A batch of 100,000 ids is taken whole, each id once; a capped run works on it, the important first."""
    with simulator(MANY + MANY // 5, rpm=60_000) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        born = (post_id for post_id in sim.twin().ids() if int(post_id) >> 32 < sim.start)
        ids = list(islice(born, MANY))
        (batch := tmp_path / "ids.txt").write_text("\n".join([*ids, *ids[:100]]))
        told = archive.json("add", "-a", str(batch))
        assert told["posts"] == {"new": MANY, "known": 100} and told["exit"] == "ok"
        assert archive.one("SELECT COUNT(*) FROM archive_queue WHERE state = 'pending'") == MANY

        archive.cli("add", "-q", "--priority", "5", *ids[:3])  # known: what is queued keeps its place
        summary = archive.cli("run", "--json", "--max-videos", "60", code=5).summary
        assert summary["states"] == {
            "pending": MANY - 60, "running": 0, "stored": 0, "archived": 60, "dead": 0, "withheld": 0,
        }  # fmt: skip
        assert sim.details() == summary["credits"] == 60
        archive.cli("verify")
        assert archive.json("run", "--dry-run")["resolves"] == MANY - 60
