"""Removal and holds: what was taken out and why, what may not be, and the log of who did what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import Response

from clipledger.acts import holding, removing
from clipledger.answers.custody import authors_out
from clipledger.core.access import Role
from clipledger.core.errors import UsageError
from clipledger.db.withheld import Receipts
from clipledger.web.api.paging import read_number_key
from clipledger.web.desk import AsVisitor, AtDesk, needs
from clipledger.web.pages.drawing import ROWS, Key, Named, back, draw, link

LAST = (1 << 62) - 1

Reason = Annotated[str, Form(max_length=500)]
What = Annotated[str, Form(max_length=20_000)]
Kind = Annotated[str, Form(pattern="^(id|author|source)$")]
Admin = Depends(needs(Role.ADMIN))

router = APIRouter()


@router.get("/removals")
async def removals(
    request: Request, desk: AtDesk, after: Named = "", author_after: Named = "", log_after: Key = None
) -> Response:
    """Show who and what was taken out, holds and the log."""
    archive = desk.archive
    bans = await authors_out(archive, author_after, ROWS + 1)
    receipts = await Receipts(archive.db).page(0.0, after, ROWS + 1)
    log = await archive.audit.before(read_number_key(log_after, LAST), ROWS + 1)
    return draw(
        request,
        "removals.html",
        "removals",
        holds=await archive.holds.all(),
        bans=bans[:ROWS],
        bans_more=link("/removals", author_after=bans[ROWS - 1].author_id) if len(bans) > ROWS else None,
        receipts=receipts[:ROWS],
        for_author=await archive.removals.banned_with([each.aweme_id for each in receipts[:ROWS]]),
        more=link("/removals", after=receipts[ROWS - 1].aweme_id) if len(receipts) > ROWS else None,
        log=log[:ROWS],
        log_more=link("/removals", log_after=log[ROWS - 1].seq) if len(log) > ROWS else None,
        quarantine=archive.settings.lifecycle.purge_after,
    )


@router.post("/removals/withdraw", dependencies=[Admin])
async def withdraw(
    archive: AsVisitor, what: What, reason: Reason, request: Annotated[str, Form(max_length=500)]
) -> Response:
    """Withdraw posts, or everything of an author."""
    ids, author = _named(what)
    asked = removing.Asked(ids, author, reason, request, now=False, dry_run=False, undo=False)
    done = await removing.withdraw(archive, asked)
    said = "withdrawn_unseen" if done.taken.unseen else "asked_again" if done.taken.noted or done.stood else "withdrawn"
    return back("/removals", said, len(done.taken.taken))


@router.post("/removals/restore", dependencies=[Admin])
async def restore(archive: AsVisitor, id: Annotated[str, Form(max_length=20)], reason: Reason) -> Response:
    """Take one post out of quarantine again."""
    asked = removing.Asked([id], None, reason, "", now=False, dry_run=False, undo=True)
    return back("/removals", "restored", len((await removing.restore(archive, asked)).posts))


@router.post("/removals/readmit", dependencies=[Admin])
async def readmit(archive: AsVisitor, author: Annotated[str, Form(max_length=300)], reason: Reason) -> Response:
    """Let an author in again, with all posts that are out for them alone and not erased yet."""
    asked = removing.Asked([], author, reason, "", now=False, dry_run=False, undo=True)
    done = await removing.restore(archive, asked)
    return back("/removals", "readmitted_paused" if done.paused else "readmitted", len(done.posts))


@router.post("/holds/place", dependencies=[Admin])
async def place(archive: AsVisitor, kind: Kind, subject: What, reason: Reason) -> Response:
    """Place holds on posts, on an author, or on a source."""
    await holding.hold(archive, _asked(kind, subject, reason, release=False))
    return back("/removals", "held")


@router.post("/holds/release", dependencies=[Admin])
async def release(archive: AsVisitor, kind: Kind, subject: What, reason: Reason) -> Response:
    """End one hold."""
    await holding.hold(archive, _asked(kind, subject, reason, release=True))
    return back("/removals", "released")


def _named(what: str) -> tuple[list[str], str | None]:
    """Read the ids and links of posts, or one @handle."""
    named = what.split()
    if not named:
        raise UsageError("name the posts, one a line, or one @handle")
    if len(named) == 1 and named[0].startswith("@"):
        return [], named[0]
    return named, None


def _asked(kind: str, subject: str, reason: str, *, release: bool) -> holding.Asked:
    ids = subject.split() if kind == "id" else []
    author, source = (subject.strip() if kind == each else None for each in ("author", "source"))
    return holding.Asked(ids, author, source, reason, release=release)
