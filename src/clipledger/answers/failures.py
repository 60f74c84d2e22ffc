"""What is not saved and why: dead and waiting ids, sources that fail."""

from __future__ import annotations

from typing import Any

from clipledger.archive import Archive
from clipledger.core.errors import Reason
from clipledger.core.times import iso_time


async def failures(archive: Archive, reason: Reason | None, limit: int) -> dict[str, Any]:
    """List dead and waiting ids, of one reason or all, and the sources that fail."""
    dead = await archive.queue.failures(limit, reason)
    waiting = [row for row in await archive.queue.waiting(limit) if reason is None or row.last_reason == reason]
    everything = await archive.books.everything()
    rows = [
        {
            "aweme_id": letter.aweme_id,
            "state": "dead",
            "reason": letter.reason,
            "detail": letter.detail,
            "attempts": letter.attempts,
            "when": iso_time(letter.died_at),
            "source": letter.source,
            "acknowledged_at": iso_time(letter.acknowledged_at) if letter.acknowledged_at is not None else None,
        }
        for letter in dead
    ]
    rows += [
        {
            "aweme_id": row.aweme_id,
            "state": "suspect" if row.suspect_at is not None else "waiting",
            "reason": row.last_reason or "",
            "detail": row.last_detail or "",
            "attempts": row.attempts,
            "when": iso_time(row.due_at),
            "source": row.source,
        }
        for row in waiting
    ]
    failing = [
        {
            "source": row.source,
            "reason": row.last_reason,
            "again": iso_time(row.next_at),
            "detail": row.last_detail or "",
        }
        for row in await archive.sources.all()
        if row.last_reason is not None and reason in (None, row.last_reason)
    ]
    return {"reasons": dict(everything.reasons), "failures": rows[:limit], "sources": failing}
