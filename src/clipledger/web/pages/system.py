"""System: who is at work, the store and its care, the settings in force, what happened lately."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from clipledger.acts import pausing
from clipledger.archive import settings_in_force
from clipledger.core.access import Role
from clipledger.web.desk import Asking, AsVisitor, AtDesk
from clipledger.web.pages.drawing import Typed, back, draw, status_for

LATELY = 60

router = APIRouter()


@router.get("/system")
async def system(request: Request, desk: AtDesk, visitor: Asking) -> Response:
    """Show how the program itself does; its log and its settings to operators alone."""
    status, may_run = await status_for(request), visitor.role.covers(Role.OPERATOR)
    return draw(
        request,
        "system.html",
        "system",
        status=status,
        here_works=desk.workers.standing,
        settings=settings_in_force(desk.archive.settings) if may_run else (),
        events=await desk.archive.samples.events(LATELY) if may_run else (),
        uuid=desk.archive.uuid,
        has_key=desk.workers.has_key,
    )


@router.get("/system/members")
async def members(request: Request, desk: AtDesk) -> Response:
    """Show who is at work: a piece of the page, asked for again and again."""
    return draw(request, "_members.html", "system", status=await status_for(request))


@router.post("/system/pause")
async def pause(archive: AsVisitor, reason: Typed = "") -> Response:
    """Hold the whole archive."""
    await pausing.pause(archive, reason)
    return back("/system", "paused")


@router.post("/system/resume")
async def resume(archive: AsVisitor) -> Response:
    """Let the whole archive go on."""
    await pausing.resume(archive)
    return back("/system", "resumed")
