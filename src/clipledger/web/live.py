"""Live figures: server-sent events while something changes, a heartbeat while nothing does.

Must not: ask the database; the pulse does, once for all who listen.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import asdict

from fastapi import APIRouter
from starlette.responses import Response, StreamingResponse

from clipledger.web.desk import AtDesk, Desk
from clipledger.web.problems import Problem
from clipledger.web.pulse import LISTENERS_MAX, Figures
from clipledger.web.reading.now import now_of

AGAIN_MS = 3000
"""How soon a browser whose line broke comes back."""

router = APIRouter()


@router.get("/live")
async def live(desk: AtDesk) -> Response:
    """Send the figures of the first page whenever they change, at most once a second."""
    if desk.pulse.listeners >= LISTENERS_MAX:
        raise Problem(503, "too many listen", f"{LISTENERS_MAX} pages show live figures already", "close some of them")
    return StreamingResponse(_lines(desk), media_type="text/event-stream")


async def _lines(desk: Desk) -> AsyncIterator[str]:
    yield f"retry: {AGAIN_MS}\n\n"
    async with aclosing(desk.pulse.listen()) as heard:
        async for figures in heard:
            yield ": still here\n\n" if figures is None else _line(desk, figures)


def _line(desk: Desk, figures: Figures) -> str:
    body = asdict(now_of(figures.status)) | {"here": asdict(desk.workers.standing)}
    return f"id: {figures.turn}\nevent: figures\ndata: {json.dumps(body)}\n\n"
