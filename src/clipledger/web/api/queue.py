"""What is not saved and why; put it back, or take note of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from clipledger.acts.putting_back import acknowledge, retry
from clipledger.core.errors import Reason, UsageError
from clipledger.core.model import AwemeId
from clipledger.core.times import iso_time
from clipledger.web.api.paging import IDS_MAX, After, Limit, moment_key, read_moment_key
from clipledger.web.desk import AsVisitor, AtDesk

router = APIRouter(tags=["queue"])

Id = Annotated[str, StringConstraints(pattern="^[0-9]{5,20}$")]


class FailureOut(BaseModel):
    """One dead id."""

    aweme_id: str
    reason: str
    detail: str
    attempts: int
    died_at: str
    source: str
    acknowledged_at: str | None


class FailuresOut(BaseModel):
    """Dead ids, the latest first. `reasons` counts all of them."""

    failures: list[FailureOut]
    reasons: dict[str, int]
    next: str | None


class WaitingOut(BaseModel):
    """One id that failed and is tried again; `state` is waiting, or suspect: said to be gone and not believed yet."""

    aweme_id: str
    state: str
    reason: str
    detail: str
    attempts: int
    due_at: str
    source: str


class Which(BaseModel):
    """Named ids, or all of one reason, or all."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[Id], Field(max_length=IDS_MAX)] = []
    reason: Reason | None = None
    all: bool = False

    def chosen(self) -> Sequence[AwemeId] | Reason | None:
        """Give what the acts take; UsageError unless exactly one way is named."""
        if sum((bool(self.ids), self.reason is not None, self.all)) != 1:
            raise UsageError("name ids, or a reason, or all: exactly one of them")
        return [AwemeId(each) for each in self.ids] if self.ids else self.reason


class CountedOut(BaseModel):
    """How many rows it came to; which of those named are withheld, and stay out."""

    count: int
    withheld: list[str] = []


@router.get("/failures")
async def failures(desk: AtDesk, reason: Reason | None = None, limit: Limit = 100, after: After = None) -> FailuresOut:
    """List dead ids with their reason and the answer that caused it, the latest first."""
    rows = await desk.archive.queue.failures(limit + 1, reason, read_moment_key(after))
    page = rows[:limit]
    status = (await desk.pulse.latest()).status
    return FailuresOut(
        failures=[
            FailureOut(
                aweme_id=row.aweme_id,
                reason=row.reason,
                detail=row.detail,
                attempts=row.attempts,
                died_at=iso_time(row.died_at),
                source=row.source,
                acknowledged_at=iso_time(row.acknowledged_at) if row.acknowledged_at is not None else None,
            )
            for row in page
        ],
        reasons=status["ids"]["reasons"],
        next=moment_key(page[-1].died_at, page[-1].aweme_id) if len(rows) > limit else None,
    )


@router.get("/waiting")
async def waiting(desk: AtDesk, limit: Limit = 100) -> list[WaitingOut]:
    """List ids that failed and wait for another attempt, the soonest first; at most 200."""
    return [
        WaitingOut(
            aweme_id=row.aweme_id,
            state="suspect" if row.suspect_at is not None else "waiting",
            reason=row.last_reason or "",
            detail=row.last_detail or "",
            attempts=row.attempts,
            due_at=iso_time(row.due_at),
            source=row.source,
        )
        for row in await desk.archive.queue.waiting(limit)
    ]


@router.post("/failures/retry", response_model_exclude_defaults=True)
async def retry_failures(archive: AsVisitor, which: Which) -> CountedOut:
    """Make failed and waiting ids due now."""
    done = await retry(archive, which.chosen())
    return CountedOut(count=done.due, withheld=[*done.withheld])


@router.post("/failures/acknowledge")
async def acknowledge_failures(archive: AsVisitor, which: Which) -> CountedOut:
    """Take note of dead ids: they stay in the books and no longer make a run end with exit 3."""
    return CountedOut(count=await acknowledge(archive, which.chosen()))
