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
from starlette.types import Receive, Scope, Send

from clipledger.web.desk import AtDesk, Desk
from clipledger.web.problems import Problem
from clipledger.web.pulse import LISTENERS_MAX, Figures, TooMany
from clipledger.web.reading.now import now_of

AGAIN_MS = 3000
"""How soon a browser whose line broke comes back."""

router = APIRouter()


@router.get("/live")
async def live(desk: AtDesk) -> Response:
    """Send the figures of the first page whenever they change, at most once a second."""
    return _Live(desk)


class _Live(StreamingResponse):
    """An answer without an end, which has its place before it begins and gives it back however it ends."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(_lines(desk), media_type="text/event-stream")
        self._pulse = desk.pulse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send figures, or raise a Problem when too many listen."""
        try:
            with self._pulse.place():
                await super().__call__(scope, receive, send)
        except TooMany:
            why = f"{LISTENERS_MAX} pages show live figures already"
            raise Problem(503, "too many listen", why, "close some of them") from None


async def _lines(desk: Desk) -> AsyncIterator[str]:
    yield f"retry: {AGAIN_MS}\n\n"
    async with aclosing(desk.pulse.listen()) as heard:
        async for figures in heard:
            yield ": still here\n\n" if figures is None else _line(desk, figures)


def _line(desk: Desk, figures: Figures) -> str:
    body = asdict(now_of(figures.status)) | {"here": asdict(desk.workers.standing)}
    return f"id: {figures.turn}\nevent: figures\ndata: {json.dumps(body)}\n\n"
