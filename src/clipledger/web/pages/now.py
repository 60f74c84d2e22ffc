"""The first page: where everything stands."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from clipledger.web.desk import AtDesk
from clipledger.web.render import page

router = APIRouter()


@router.get("/")
async def now(request: Request, desk: AtDesk) -> Response:
    """Show where everything stands."""
    return page(request, "now.html", {"folder": desk.archive.folder.name})
