"""Log in and out, and take the browser's reports of what the page policy stopped.

Must not: say whether a name exists, or send a visitor to another site afterwards.
"""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from clipledger.core.access import NAME_MAX, PASSWORD_MAX
from clipledger.web.access import TooOften
from clipledger.web.desk import AtDesk, the_desk
from clipledger.web.guard import LOGIN, LOGOUT, REPORTS, cookie_header
from clipledger.web.render import page

router = APIRouter()


@router.get(LOGIN)
async def ask(request: Request, next: str = "/") -> Response:
    """Ask for name and password."""
    return _asked(request, next, "", 200)


@router.post(LOGIN)
async def log_in(
    request: Request,
    desk: AtDesk,
    name: Annotated[str, Form(max_length=NAME_MAX)],
    password: Annotated[str, Form(max_length=PASSWORD_MAX)],
    next: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """Begin a session under a new cookie."""
    try:
        cookie = await desk.doorman.log_in(name, password, request.client.host if request.client else "")
    except TooOften as error:
        minutes = math.ceil(error.wait_s / 60)
        answer = _asked(request, next, f"Too many tries. Try again in {minutes} min.", 429)
        answer.headers["retry-after"] = str(math.ceil(error.wait_s))
        return answer
    if cookie is None:
        return _asked(request, next, "Name and password do not fit.", 403)
    return _with_cookie(request, RedirectResponse(_own(next), 303), cookie)


@router.post(LOGOUT)
async def log_out(request: Request, desk: AtDesk) -> Response:
    """End the session."""
    await desk.doorman.log_out(request.state.cookie)
    return _with_cookie(request, RedirectResponse(LOGIN, 303), "")


@router.post(REPORTS)
async def report() -> Response:
    """Take a browser's report; it shows in the browser, and the tests look for it there."""
    return Response(status_code=204)


def _asked(request: Request, back: str, why: str, status: int) -> Response:
    return page(request, "login.html", {"next": _own(back), "why": why}, status)


def _with_cookie(request: Request, answer: Response, cookie: str) -> Response:
    name = the_desk(request).house.cookie
    answer.headers["set-cookie"] = cookie_header(name, cookie, request.url.scheme == "https")
    return answer


def _own(back: str) -> str:
    """Keep to this site: a path that begins with one slash, and holds nothing that a browser reads otherwise."""
    plain = back.startswith("/") and not back.startswith("//") and "\\" not in back and back.isprintable()
    return back if plain and back.isascii() else "/"
