"""The first page: where everything stands; and the page before there is anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from clipledger.acts import pausing
from clipledger.acts.adding import Options, add
from clipledger.core.access import Role
from clipledger.core.errors import ClipledgerError, Misconfigured, UsageError
from clipledger.db.search import Sort
from clipledger.settings import checked_key, read_key
from clipledger.web.desk import Asking, AsVisitor, AtDesk, the_desk
from clipledger.web.pages.drawing import Typed, back, draw, status_for
from clipledger.web.pages.gallery import veils_of
from clipledger.web.reading.now import now_of
from clipledger.web.reading.posts import tiles

NEWEST = 8

router = APIRouter()


@router.get("/")
async def now(request: Request, desk: AtDesk, visitor: Asking) -> Response:
    """Show where everything stands; where nothing is wanted yet, ask for the first source."""
    status = await status_for(request)
    if _is_empty(status) and not await desk.archive.sources.all() and visitor.role.covers(Role.OPERATOR):
        return RedirectResponse("/first", 303)
    newest = await tiles(desk.archive, "", Sort.NEW, NEWEST, None)
    told = now_of(status)
    return draw(
        request,
        "now.html",
        "now",
        now=told,
        status=status,
        newest=newest.posts,
        here_works=desk.workers.standing,
        veils=veils_of(desk.archive, newest.posts),
    )


@router.get("/first")
async def first(request: Request, desk: AtDesk) -> Response:
    """Ask for the key and the first source; an archive that has begun goes on with its own page."""
    if not _is_empty(await status_for(request)) or await desk.archive.sources.all():
        return RedirectResponse("/", 303)
    return _asked(request)


@router.post("/first")
async def begin(
    request: Request,
    desk: AtDesk,
    archive: AsVisitor,
    sources: Annotated[str, Form(max_length=100_000)] = "",
    key: Typed = "",
) -> Response:
    """Take the key and the first sources, and begin to work. The key is kept in memory and shown nowhere."""
    lines = [line.strip() for line in sources.splitlines() if line.strip()]
    try:
        if not lines:
            raise UsageError("name at least one source: @handle, #tag, search:WORDS, or the address of a page")
        given = checked_key(key.strip(), "the field") if key.strip() else None
        if given is None and read_key() is None:
            raise Misconfigured("the API key is missing: without it nothing can be asked")
        added, problems = await add(archive, [("", line) for line in lines], Options())
        if problems and not added.taken:
            raise UsageError(problems[0])
        await desk.workers.begin(archive, given)
    except ClipledgerError as error:
        return _asked(request, why=error.detail, sources=sources, status=400)
    return back("/", "started")


@router.post("/workers/start")
async def start(desk: AtDesk, archive: AsVisitor, key: Typed = "") -> Response:
    """Begin to work in this process."""
    await pausing.resume(archive)
    await desk.workers.begin(archive, checked_key(key.strip(), "the field") if key.strip() else None)
    return back("/system", "started")


@router.post("/workers/stop")
async def stop(desk: AtDesk, archive: AsVisitor) -> Response:
    """Finish what is under way in this process, then stop."""
    await desk.workers.rest(archive)
    return back("/system", "stopping")


def _asked(request: Request, why: str = "", sources: str = "", status: int = 200) -> Response:
    answer = draw(request, "first.html", "now", has_key=the_desk(request).workers.has_key, why=why, sources=sources)
    answer.status_code = status
    return answer


def _is_empty(status: Mapping[str, Any]) -> bool:
    return not status["ids"]["seen"] and not status["sources"]
