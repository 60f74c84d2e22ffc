"""Removals, holds and the log: what people decided, and who."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from clipledger.acts import holding, removing
from clipledger.answers.custody import authors_out, ban_row, hold_row
from clipledger.core.access import Role
from clipledger.core.errors import UsageError
from clipledger.core.times import iso_time
from clipledger.db.withheld import Receipts
from clipledger.web.api.paging import After, Limit, read_number_key
from clipledger.web.api.queue import Id
from clipledger.web.desk import AsVisitor, AtDesk, needs

router = APIRouter(tags=["custody"])

_LAST = (1 << 62) - 1
_IDS_MAX = 1000

Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=300)]
Admin = Depends(needs(Role.ADMIN))


class HoldOut(BaseModel):
    """One hold. `seq` is its number, as text; further fields tell who ended it and why."""

    model_config = ConfigDict(extra="allow")

    seq: str
    kind: str
    subject: str
    reason: str
    who: str
    placed_at: str
    released_at: str | None


class HoldsOut(BaseModel):
    """Holds in the order of their placing."""

    holds: list[HoldOut]
    next: str | None


class HoldIn(BaseModel):
    """What to hold: posts, or an author's, or a source's; and why."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[Id], Field(max_length=_IDS_MAX)] = []
    author: Name | None = None
    source: Name | None = None
    reason: Text


class DoneOut(BaseModel):
    """What was done, subject by subject."""

    done: list[dict[str, Any]]


class RemovalOut(BaseModel):
    """The receipt of a removal."""

    aweme_id: str
    state: str
    reason: str
    request: str
    rule: str
    who: str
    asked_at: str
    purge_at: str
    purged_at: str | None
    sha256: list[str]


class RemovalsOut(BaseModel):
    """Receipts by id."""

    removals: list[RemovalOut]
    next: str | None


class BanOut(BaseModel):
    """Why an author is kept out: nothing of theirs is shown, and nothing is archived."""

    author_id: str
    reason: str
    request: str
    asked_at: str


class BansOut(BaseModel):
    """Authors who are kept out, by id."""

    authors: list[BanOut]
    next: str | None


class WithdrawIn(BaseModel):
    """What to withdraw: posts or an author's; why, and whose request it is."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[Id], Field(max_length=_IDS_MAX)] = []
    author: Name | None = None
    reason: Text
    request: Text


class WithdrawnOut(BaseModel):
    """What was withdrawn; it is erased for good from `purge_at` to `purge_last_at`.

    `never_seen`: ids of it that nothing had ever shown; they are kept out from now on. `withdrawn_already`: by id, or
    `author:ID`, the earlier request that it was out on. `by_handle`: posts that tell the author's handle and no id;
    `unsure`: such that were not taken, since others bore it too. `kept_waiting`: ids of their lists that waited;
    `paused`: those lists.
    """

    withdrawn: list[str]
    never_seen: list[str]
    purged_before: list[str]
    under_way: list[str]
    by_handle: list[str]
    unsure: list[str]
    kept_waiting: int
    paused: list[str]
    withdrawn_already: dict[str, dict[str, str]]
    purge_at: str | None
    purge_last_at: str | None


class RestoreIn(BaseModel):
    """What to take out of quarantine again, or which author to let in again, and why."""

    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[Id], Field(max_length=_IDS_MAX)] = []
    author: Name | None = None
    reason: Text


class RestoredOut(BaseModel):
    """What is as it was before.

    Of an author also what waits again, stays out on other grounds, is being erased, and is paused; and all the requests
    that were lifted.
    """

    restored: list[str]
    author_id: str | None = None
    due_again: int = 0
    stay_out: list[str] = []
    erasing: list[str] = []
    paused: list[str] = []
    requests: list[str] = []


class LogRow(BaseModel):
    """One row of the audit log."""

    seq: int
    at: str
    operator: str
    host: str
    version: str
    act: str
    subject: str
    why: str
    detail: str
    hash: str


class LogOut(BaseModel):
    """Rows, the newest first, and the head of the chain."""

    log: list[LogRow]
    head: str
    next: str | None


@router.get("/holds")
async def holds(desk: AtDesk, limit: Limit = 100, after: After = None) -> HoldsOut:
    """List legal holds, ended ones too, in the order of their placing."""
    behind = read_number_key(after, 0)
    rows = list(enumerate(await desk.archive.holds.all(), start=1))[behind:]  # holds are never deleted
    page = [HoldOut(**{"released_at": None} | hold_row(row) | {"seq": str(seq)}) for seq, row in rows[:limit]]
    return HoldsOut(holds=page, next=page[-1].seq if len(rows) > limit else None)


@router.post("/holds", dependencies=[Admin])
async def place(archive: AsVisitor, body: HoldIn) -> DoneOut:
    """Place a legal hold: while it lasts no rule and no request removes what it covers."""
    asked = holding.Asked(body.ids, body.author, body.source, body.reason, release=False)
    return DoneOut(done=await holding.hold(archive, asked))


@router.post("/holds/release", dependencies=[Admin])
async def release(archive: AsVisitor, body: HoldIn) -> DoneOut:
    """End a legal hold."""
    asked = holding.Asked(body.ids, body.author, body.source, body.reason, release=True)
    return DoneOut(done=await holding.hold(archive, asked))


@router.get("/removals")
async def removals(desk: AtDesk, limit: Limit = 100, after: After = None) -> RemovalsOut:
    """List the receipts of what was withdrawn or deleted by a rule, by id."""
    rows = await Receipts(desk.archive.db).page(0.0, after or "", limit + 1)
    page = [
        RemovalOut(
            aweme_id=row.aweme_id,
            state=row.state,
            reason=row.reason,
            request=row.request,
            rule=row.rule,
            who=row.who,
            asked_at=iso_time(row.asked_at),
            purge_at=iso_time(row.purge_at),
            purged_at=iso_time(row.purged_at) if row.purged_at is not None else None,
            sha256=[file.sha256 for file in row.files],
        )
        for row in rows[:limit]
    ]
    return RemovalsOut(removals=page, next=page[-1].aweme_id if len(rows) > limit else None)


@router.get("/removals/authors", dependencies=[Depends(needs(Role.OPERATOR))])
async def authors(desk: AtDesk, limit: Limit = 100, after: After = None) -> BansOut:
    """List the authors who are kept out, by id; `POST /removals/undo` lets one in again."""
    bans = await authors_out(desk.archive, after or "", limit + 1)
    page = [BanOut(**ban_row(ban)) for ban in bans[:limit]]
    return BansOut(authors=page, next=page[-1].author_id if len(bans) > limit else None)


@router.post("/removals", dependencies=[Admin])
async def withdraw(archive: AsVisitor, body: WithdrawIn) -> WithdrawnOut:
    """Take posts out: hidden at once, erased when lifecycle.purge_after is over, never archived again."""
    _refuse_both(body)
    asked = removing.Asked(body.ids, body.author, body.reason, body.request, now=False, dry_run=False, undo=False)
    done = await removing.withdraw(archive, asked)
    taken, (first, last) = done.taken, done.due if done.due is not None else (None, None)
    return WithdrawnOut(
        withdrawn=list(taken.taken),
        never_seen=list(taken.unseen),
        purged_before=list(taken.before),
        under_way=list(taken.under_way),
        by_handle=list(done.named.theirs),
        unsure=list(done.named.unsure),
        kept_waiting=done.kept_waiting,
        paused=list(done.paused),
        withdrawn_already=removing.noted_told(done),
        purge_at=iso_time(first) if first is not None else None,
        purge_last_at=iso_time(last) if last is not None else None,
    )


@router.post("/removals/undo", dependencies=[Admin], response_model_exclude_defaults=True)
async def restore(archive: AsVisitor, body: RestoreIn) -> RestoredOut:
    """Take posts out of quarantine again, or all of an author's: as they were before."""
    _refuse_both(body)
    asked = removing.Asked(body.ids, body.author, body.reason, "", now=False, dry_run=False, undo=True)
    return RestoredOut(**removing.restored_told(await removing.restore(archive, asked)))


def _refuse_both(body: WithdrawIn | RestoreIn) -> None:
    if bool(body.ids) == (body.author is not None):
        raise UsageError("name ids, or an author, not both")


@router.get("/log", dependencies=[Depends(needs(Role.OPERATOR))])
async def log(desk: AtDesk, limit: Limit = 100, after: After = None) -> LogOut:
    """List who did what, when and why, the newest first."""
    rows = await desk.archive.audit.before(read_number_key(after, _LAST), limit + 1)
    page = [LogRow(**{name: value for name, value in asdict(row).items() if name != "before"}) for row in rows[:limit]]
    seq, digest = await desk.archive.audit.head()
    return LogOut(log=page, head=f"{seq}:{digest}", next=str(page[-1].seq) if len(rows) > limit else None)
