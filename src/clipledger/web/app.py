"""Put the web app together. Must not: answer a request itself, or open a port."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles

from clipledger import __version__
from clipledger.archive import Archive
from clipledger.core.errors import ClipledgerError
from clipledger.web import pages
from clipledger.web.desk import Desk
from clipledger.web.guard import Guard, House
from clipledger.web.problems import Problem, answer
from clipledger.web.render import STATIC, templates

_ANSWERED: tuple[type[Exception], ...] = (Problem, HTTPException, RequestValidationError, ClipledgerError)


def build(archive: Archive, house: House) -> FastAPI:
    """Make the app of an open archive; `house` says by which names it may be reached."""
    app = FastAPI(
        title="clipledger",
        version=__version__,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
    )
    app.state.desk = Desk(archive, templates())
    app.add_middleware(Guard, house=house)
    for kind in _ANSWERED:
        app.add_exception_handler(kind, answer)
    app.add_api_route("/healthz", _health, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    for router in pages.routers():
        app.include_router(router, include_in_schema=False)
    return app


async def _health() -> Response:
    return PlainTextResponse("ok\n")
