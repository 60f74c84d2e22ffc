"""What people did: removals, holds, the audit log."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from clipledger.archive import Archive
from clipledger.core.times import iso_time, parse_duration
from clipledger.db.bans import Ban, listed
from clipledger.db.exports import Exports
from clipledger.db.holds import Hold
from clipledger.db.withheld import Receipt, Receipts

PAGE = 1000


async def notices(archive: Archive, since: str | None) -> list[dict[str, Any]]:
    """Tell of each removal what those need who were given copies: ids, sha256s, which exports held it."""
    from_at, after = archive.clock.now() - parse_duration(since) if since else 0.0, ""
    receipts, found = Receipts(archive.db), list[dict[str, Any]]()
    while page := await receipts.page(from_at, after, PAGE):
        found += [await _notice(archive, receipt) for receipt in page if receipt.files]
        after = page[-1].aweme_id
    return found


async def _notice(archive: Archive, receipt: Receipt) -> dict[str, Any]:
    holding = await Exports(archive.db).holding([receipt.aweme_id])
    return {
        "notice": "removal",
        "archive": archive.uuid,
        "aweme_id": receipt.aweme_id,
        "removed_at": iso_time(receipt.asked_at),
        "erased_at": iso_time(receipt.purged_at) if receipt.purged_at is not None else None,
        "request": receipt.request,
        "rule": receipt.rule,
        "sha256": [file.sha256 for file in receipt.files],
        "exports": [
            {"export_id": each.export_id, "destination": each.destination, "path": each.path, "sha256": each.sha256}
            for each in holding
            if each.at <= receipt.asked_at
        ],
    }


async def authors_out(archive: Archive, after: str, limit: int) -> list[Ban]:
    """List the authors who are kept out, by id, behind `after`."""
    return await archive.db.read(lambda connection: listed(connection, after, limit))


def ban_row(ban: Ban) -> dict[str, Any]:
    """Write why one author is kept out."""
    return asdict(ban) | {"asked_at": iso_time(ban.asked_at)}


def hold_row(row: Hold) -> dict[str, Any]:
    """Write one hold."""
    times = {"placed_at": iso_time(row.placed_at)}
    times |= {"released_at": iso_time(row.released_at)} if row.released_at is not None else {}
    return asdict(row) | times


async def log_rows(archive: Archive, since: str | None, limit: int) -> tuple[list[dict[str, Any]], str]:
    """List who did what, the newest first, and the head of the chain."""
    from_at = archive.clock.now() - parse_duration(since) if since else 0.0
    return [asdict(row) for row in await archive.audit.newest(from_at, limit)], await log_head(archive)


async def log_head(archive: Archive) -> str:
    """Give the head of the audit log, ROW:HASH."""
    seq, digest = await archive.audit.head()
    return f"{seq}:{digest}"
