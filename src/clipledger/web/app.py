"""Put the web app together. Must not: answer a request itself, or open a port."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from clipledger import __version__
from clipledger.archive import Archive
from clipledger.core.errors import ClipledgerError
from clipledger.events import Listener
from clipledger.web import api, feeds, live, login, media, pages
from clipledger.web.access import Doorman
from clipledger.web.desk import Desk
from clipledger.web.guard import Guard, House
from clipledger.web.pages.trouble import answer
from clipledger.web.problems import Problem, unexpected
from clipledger.web.pulse import Pulse
from clipledger.web.render import STATIC, templates
from clipledger.web.workers import Workers

_ANSWERED: tuple[type[Exception], ...] = (Problem, HTTPException, RequestValidationError, ClipledgerError)


def build(archive: Archive, house: House, listeners: Sequence[Listener] = ()) -> FastAPI:
    """Make the app of an open archive; `house` says by which names it may be reached.

    `listeners` hear the events of workers that the operator begins here.
    """
    app = FastAPI(
        title="clipledger",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    doorman = Doorman(archive)
    app.state.desk = Desk(archive, templates(), doorman, Pulse(archive), Workers(archive, listeners), house)
    app.add_middleware(Guard, house=house, doorman=doorman, answer=answer)
    for kind in _ANSWERED:
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(Exception, unexpected)
    app.add_api_route("/healthz", _health, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.include_router(api.router())
    for router in (media.router, feeds.router, live.router, login.router, *pages.routers()):
        app.include_router(router, include_in_schema=False)
    return app


async def _health() -> Response:
    return PlainTextResponse("ok\n")
