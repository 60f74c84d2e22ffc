"""Failures as a reader of the API sees them: problem+json that says what, why, and what to do next.

Must not: show a secret or a traceback; every detail is scrubbed.
"""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from clipledger.core.errors import (
    ArchiveInUse,
    ClipledgerError,
    Misconfigured,
    StorageFull,
    StorageUnavailable,
    UsageError,
)
from clipledger.core.scrub import scrub_text

PROBLEM_JSON = "application/problem+json"

_OF_ERROR: tuple[tuple[type[ClipledgerError], int], ...] = (
    (UsageError, 400),
    (ArchiveInUse, 409),
    (Misconfigured, 409),
    (StorageFull, 507),
    (StorageUnavailable, 503),
)
_WHAT = {400: "cannot be understood", 409: "the archive cannot do that", 507: "no room", 503: "not possible now"}
_NEXT = {
    400: "correct the request; /api/v1/openapi.json says what is taken",
    404: "look for it with /api/v1/search",
    405: "see /api/v1/openapi.json for what may be asked here",
    409: "run `clipledger doctor`, which names what is wrong",
    422: "correct the parameter; /api/v1/openapi.json says what is taken",
    500: "the server's own output says more; please report it",
    503: "try again in a minute",
    507: "make room, then try again",
}


class Problem(Exception):
    """An answer that is a refusal. `what` is a few words, `why` a sentence, `then` what to do next."""

    def __init__(self, status: int, what: str, why: str, then: str = "") -> None:
        super().__init__(what)
        self.status, self.what, self.why, self.then = status, what, why, then


def is_for_people(path: str, accept: str) -> bool:
    """Say whether a person waits for the answer, for a page or behind a form: a browser asks for HTML."""
    return not path.startswith("/api/") and "text/html" in accept


def problem_response(problem: Problem) -> Response:
    """Write a problem as RFC 9457 has it, with `next` beside."""
    body = {
        "type": "about:blank",
        "title": problem.what,
        "status": problem.status,
        "detail": scrub_text(problem.why),
        "next": problem.then or _NEXT.get(problem.status, "look at /api/v1/openapi.json"),
    }
    return JSONResponse(body, problem.status, media_type=PROBLEM_JSON)


def problem_of(error: Exception) -> Problem:
    """Say what an error of ours, or of the framework, comes to."""
    match error:
        case Problem():
            return error
        case HTTPException():
            return Problem(error.status_code, HTTPStatus(error.status_code).phrase.lower(), str(error.detail))
        case RequestValidationError():
            return Problem(422, "a parameter is wrong", "; ".join(_told(each) for each in error.errors()[:5]))
        case ClipledgerError():
            status = next((status for kind, status in _OF_ERROR if isinstance(error, kind)), 503)
            return Problem(status, _WHAT.get(status, error.reason.value.replace("_", " ")), error.detail)
    raise error


async def unexpected(_request: Request, _error: Exception) -> Response:
    """Answer for a defect, whose traceback goes to the server's own output and to nobody else."""
    response = problem_response(Problem(500, "a defect", "the program met something that it does not expect"))
    response.headers["content-security-policy"] = "default-src 'none'"
    response.headers["x-content-type-options"] = "nosniff"
    return response


async def answer(_request: Request, error: Exception) -> Response:
    """Answer with a problem what a route raised."""
    return problem_response(problem_of(error))


def _told(problem: dict[str, object]) -> str:
    where = problem.get("loc")
    name = where[-1] if isinstance(where, tuple | list) and where else "the request"
    return f"{name}: {problem.get('msg')}"
