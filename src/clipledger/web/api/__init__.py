"""The API for programs, `/api/v1`, one file a subject. Must not: hold logic of its own.

Every refusal is problem+json: what, why, and what to do next.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from clipledger.web.api import custody, found, money, posts, queue, sources, system
from clipledger.web.problems import PROBLEM_JSON

PREFIX = "/api/v1"

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "next"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string", "description": "What."},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "Why."},
        "next": {"type": "string", "description": "What to do next."},
    },
}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    range_: {"description": words, "content": {PROBLEM_JSON: {"schema": _PROBLEM}}}
    for range_, words in (("4XX", "Refused: the request must be another."), ("5XX", "Not possible now."))
}


def router() -> APIRouter:
    """Give all routes of the API."""
    whole = APIRouter(prefix=PREFIX, responses=_REFUSALS)
    for each in (posts, queue, sources, found, money, custody, system):
        whole.include_router(each.router)
    return whole
