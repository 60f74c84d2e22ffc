"""Read one post's files again, now, and write down what was found: what the rotation does when its time comes.

Must not: repair.
"""

from __future__ import annotations

from typing import Any

from clipledger.archive import Archive, recognise_store
from clipledger.core.chain import Act
from clipledger.core.errors import UsageError
from clipledger.core.model import AwemeId
from clipledger.core.rotation import following, read_period
from clipledger.core.times import iso_time
from clipledger.stages.damage import look
from clipledger.stages.fixity import DEFAULT_PERIOD_S, READ_LEASE_S, damage_told
from clipledger.wiring import new_worker_name


async def verify(archive: Archive, aweme_id: AwemeId) -> dict[str, Any]:
    """Read every file of an archived post; give what was read and what does not hold. UsageError for another id."""
    rows, worker, now = await archive.catalog.files_of(aweme_id), new_worker_name(), archive.clock.now()
    if not rows:
        raise UsageError(f"{aweme_id}: is not archived; there is nothing to verify")
    await recognise_store(archive)
    held = await archive.care.hold(aweme_id, now, READ_LEASE_S, worker)
    if held is None:
        raise UsageError(f"{aweme_id}: somebody reads or repairs it at this moment; ask again in a minute")
    try:
        found = await look(archive.store, aweme_id, rows)
        now, period = archive.clock.now(), read_period(archive.settings.janitor.fixity) or DEFAULT_PERIOD_S
        due_at = following(held.due_at if held.due_at is not None else now, now, period)
        await archive.care.checked(held, due_at, now, found.findings, damage_told(aweme_id, found, now, worker))
    finally:
        await archive.care.leave(worker)
    told = "; ".join(found.findings)[:200] or f"{found.files} files hold"
    await archive.audit.append(now, Act.VERIFY, aweme_id, detail=told)
    return {
        "aweme_id": aweme_id,
        "checked_at": iso_time(now),
        "files": found.files,
        "bytes": found.size,
        "holds": not found.findings,
        "findings": list(found.findings),
    }
