"""Budget: what was spent and on what, what of it was wasted, where it is going; the ledger call by call."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from clipledger.answers.spending import spent
from clipledger.core.times import parse_duration
from clipledger.web.api.paging import read_number_key
from clipledger.web.desk import AtDesk
from clipledger.web.pages.drawing import ROWS, Key, draw, link

LAST = (1 << 62) - 1
SPANS = ("1d", "7d", "30d", "365d")

router = APIRouter()


@router.get("/budget")
async def budget(
    request: Request, desk: AtDesk, since: Annotated[str, Query(max_length=20)] = "30d", after: Key = None
) -> Response:
    """Show the ledger."""
    body = await spent(desk.archive, parse_duration(since))
    calls = await desk.archive.credits.ledger(read_number_key(after, LAST), ROWS + 1)
    more = link("/budget", since=since, after=calls[ROWS - 1].seq) if len(calls) > ROWS else None
    return draw(
        request,
        "budget.html",
        "budget",
        body=body,
        since=since,
        spans=SPANS,
        calls=calls[:ROWS],
        more=more,
        after=after,
    )
