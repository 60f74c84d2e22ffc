"""Credits: the ledger call by call, and what it comes to."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel

from clipledger.answers.spending import spent
from clipledger.core.times import iso_time, parse_duration
from clipledger.web.api.paging import After, Limit, read_number_key
from clipledger.web.desk import AtDesk

router = APIRouter(tags=["credits"])

_LAST = (1 << 62) - 1


class CallOut(BaseModel):
    """One call to the API: why it was made, what it came to, what it cost. `seq` is its number, as text."""

    seq: str
    at: str
    endpoint: str
    aweme_id: str | None
    source: str | None
    reason: str
    outcome: str
    credits: int
    settled_at: str | None


class LedgerOut(BaseModel):
    """Calls, the newest first."""

    credits: list[CallOut]
    next: str | None


@router.get("/credits")
async def ledger(desk: AtDesk, limit: Limit = 100, after: After = None) -> LedgerOut:
    """List paid calls, the newest first."""
    rows = await desk.archive.credits.ledger(read_number_key(after, _LAST), limit + 1)
    page = [
        CallOut(
            seq=str(row.seq),
            at=iso_time(row.at),
            endpoint=row.endpoint,
            aweme_id=row.aweme_id,
            source=row.source,
            reason=row.reason,
            outcome=row.outcome,
            credits=row.credits,
            settled_at=iso_time(row.settled_at) if row.settled_at is not None else None,
        )
        for row in rows[:limit]
    ]
    return LedgerOut(credits=page, next=page[-1].seq if len(rows) > limit else None)


@router.get("/budget")
async def budget(
    desk: AtDesk, since: Annotated[str, Query(max_length=20, description="A duration such as 30d.")] = "30d"
) -> dict[str, Any]:
    """Sum the ledger up by day, endpoint, reason and source, its waste, and where it is going."""
    return await spent(desk.archive, parse_duration(since))
