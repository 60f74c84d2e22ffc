"""Refusals as a person sees them: what, why, and what to do next, on a page. Programs get problem+json.

Must not: show what a problem+json would not.
"""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from clipledger.core.access import Visitor
from clipledger.core.scrub import scrub_text
from clipledger.web.pages.drawing import draw
from clipledger.web.problems import is_for_people, problem_of, problem_response

_NEXT = {
    400: "Correct what was asked, and try again.",
    404: "Look for it in the search.",
    409: "Run `clipledger doctor`: it names what is wrong.",
    422: "Correct what was asked, and try again.",
    503: "Try again in a minute.",
    507: "Make room, then try again.",
}


async def answer(request: Request, error: Exception) -> Response:
    """Answer with what a route raised."""
    problem = problem_of(error)
    if not _is_for_people(request):
        return problem_response(problem)
    then = problem.then or _NEXT.get(problem.status, "Go back, and try again.")
    response = draw(request, "trouble.html", "", what=problem.what.capitalize(), why=scrub_text(problem.why), then=then)
    response.status_code = problem.status
    return response


def _is_for_people(request: Request) -> bool:
    known = isinstance(getattr(request.state, "visitor", None), Visitor)
    return known and is_for_people(request.url.path, request.headers.get("accept", ""))
