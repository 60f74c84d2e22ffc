"""What is told of the store: where it is, what was found of it, how its files are looked after."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from clipledger.archive import Archive, known_probe
from clipledger.core.model import AwemeId
from clipledger.core.rotation import read_period
from clipledger.core.times import iso_time

DAMAGED_SHOWN = 20


async def store_status(archive: Archive) -> dict[str, Any]:
    """Tell where the files are, and what was last found of that place; no mode: it was never probed."""
    found = await known_probe(archive)
    if found is None:
        return {"url": archive.store.url, "mode": None, "probed_at": None, "warning": None, "problems": []}
    told = found.as_json()
    return {**told, "probed_at": iso_time(told.pop("at"))}


async def care_status(archive: Archive) -> dict[str, Any]:
    """Tell how the rotation stands: `coverage` is the share of posts whose files were read within the period."""
    now, period = archive.clock.now(), read_period(archive.settings.janitor.fixity)
    found = await archive.care.standing(now, period)
    due_at = await archive.care.next_at()
    return {
        "period": archive.settings.janitor.fixity,
        "posts": found.posts,
        "coverage": round(1 - found.overdue / found.posts, 6) if found.posts and period is not None else None,
        "overdue": found.overdue,
        "oldest_check_at": iso_time(found.oldest_at) if found.oldest_at is not None else None,
        "oldest_check_age_s": round(now - found.oldest_at, 3) if found.oldest_at is not None else None,
        "next_at": iso_time(due_at) if due_at is not None and period is not None else None,
        "damaged": found.damaged,
        "damage": [
            asdict(each)
            | {"damaged_at": iso_time(each.damaged_at), "tried_at": each.tried_at and iso_time(each.tried_at)}
            for each in await archive.care.damaged(DAMAGED_SHOWN)
        ],
    }


async def custody_told(archive: Archive, aweme_id: AwemeId) -> list[dict[str, Any]]:
    """List what was done to one post's bytes after they were stored."""
    return [
        {name: value for name, value in asdict(row).items() if value not in (None, "") and name != "aweme_id"}
        | {"at": iso_time(row.at)}
        for row in await archive.custody.of(aweme_id)
    ]
