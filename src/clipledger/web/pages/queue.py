"""Queue and failures: what waits, what failed and why, the answer that caused it; put it back, or take note."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from clipledger.acts.putting_back import acknowledge, retry
from clipledger.answers.words import a_reason, post_id
from clipledger.core.errors import UsageError
from clipledger.core.model import AwemeId as Id
from clipledger.core.model import State
from clipledger.db.standing import Failure
from clipledger.web.api.paging import moment_key, read_moment_key
from clipledger.web.desk import AsVisitor, AtDesk
from clipledger.web.pages.drawing import ROWS, AwemeId, Ids, Key, Named, Typed, back, draw, link, status_for
from clipledger.web.problems import Problem

SAMPLES = 5

router = APIRouter()


@router.get("/queue")
async def queue(request: Request, desk: AtDesk, reason: Named = "", after: Key = None) -> Response:
    """Show what waits and what failed, all or of one reason."""
    wanted, archive = a_reason(reason or None), desk.archive
    status = await status_for(request)
    dead = await archive.queue.failures(ROWS + 1, wanted, read_moment_key(after))
    waiting = [row for row in await archive.queue.waiting(ROWS) if wanted is None or row.last_reason == wanted]
    last = dead[ROWS - 1] if len(dead) > ROWS else None
    more = link("/queue", reason=reason, after=moment_key(last.died_at, last.aweme_id)) if last is not None else None
    reasons = sorted(status["ids"]["reasons"].items(), key=lambda each: -each[1])
    shown = [row.aweme_id for row in dead] + [row.aweme_id for row in waiting]
    return draw(
        request,
        "queue.html",
        "queue",
        status=status,
        reason=reason,
        reasons=reasons,
        groups=_grouped(dead[:ROWS], reasons),
        waiting=waiting if after is None else [],
        replies=await archive.samples.held(shown),
        samples=(await archive.samples.newest())[:SAMPLES] if after is None else [],
        more=more,
    )


@router.get("/queue/reply/{aweme_id}")
async def reply(request: Request, desk: AtDesk, aweme_id: Annotated[str, Path(pattern=AwemeId)]) -> Response:
    """Show the answer of the API that could not be read: a piece of the page, fetched when it is opened."""
    row, found = await desk.archive.queue.row(Id(aweme_id)), await desk.archive.samples.of(Id(aweme_id))
    if found is None or row is None or row.state == State.WITHHELD:
        raise Problem(404, "not kept", f"no answer about {aweme_id} is kept", "The newest ones are.")
    return draw(request, "_reply.html", "queue", text=found.body)


def _grouped(dead: Sequence[Failure], reasons: Sequence[tuple[str, int]]) -> list[tuple[str, int, list[Failure]]]:
    """Put rows together by reason, the most frequent first, each with the number of all that have it."""
    rows: dict[str, list[Failure]] = {}
    for row in dead:
        rows.setdefault(row.reason, []).append(row)
    counts = dict(reasons)
    order = sorted(rows, key=lambda reason: -counts.get(reason, 0))
    return [(reason, max(counts.get(reason, 0), len(rows[reason])), rows[reason]) for reason in order]


@router.post("/queue/retry")
async def retry_failures(archive: AsVisitor, id: Ids = [], reason: Typed = "") -> Response:  # noqa: B006 - never changed
    """Make chosen ids due now, or all of one reason."""
    which = a_reason(reason) if reason else [post_id(archive, each) for each in id]
    if not which:
        raise UsageError("nothing was chosen: tick the rows first")
    return back("/queue", "retried", (await retry(archive, which)).due)


@router.post("/queue/acknowledge")
async def acknowledge_failures(archive: AsVisitor, id: Ids = [], reason: Typed = "") -> Response:  # noqa: B006
    """Take note of chosen dead ids, or of all of one reason."""
    which = a_reason(reason) if reason else [post_id(archive, each) for each in id]
    if not which:
        raise UsageError("nothing was chosen: tick the rows first")
    return back("/queue", "acknowledged", await acknowledge(archive, which))
