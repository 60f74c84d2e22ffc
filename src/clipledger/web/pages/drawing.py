"""What all screens share: the frame around a page, its lists' next page, and what was just done.

Must not: know a screen.
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Form, Query, Request
from starlette.responses import RedirectResponse, Response

from clipledger.core.access import Role
from clipledger.web.access import OPEN
from clipledger.web.desk import the_desk, the_visitor
from clipledger.web.render import page

ROWS = 50
"""Rows of a list on one page."""

Words = Annotated[str, Query(max_length=1000)]
Named = Annotated[str, Query(max_length=300)]
Key = Annotated[str | None, Query(max_length=300)]
Typed = Annotated[str, Form(max_length=300)]
Ids = Annotated[list[str], Form(max_length=10_000)]
AwemeId = r"^[0-9]{5,20}$"

DONE = {
    "added": "Added: {n} new.",
    "known": "All of that was known already; nothing was added.",
    "kept_out": "{n} of these posts are withheld: they were taken out, and nothing brings them in. See their pages.",
    "retried": "Put back: {n}. The next run takes them up.",
    "acknowledged": "Noted: {n}. They stay in the books.",
    "paused": "Paused.",
    "resumed": "Resumed.",
    "started": "Started. What is saved shows here within seconds.",
    "stopping": "Stopping: what is under way is finished first.",
    "held": "The hold stands.",
    "released": "The hold has ended.",
    "withdrawn": "Withdrawn: {n}. Hidden now, erased when the quarantine is over.",
    "withdrawn_unseen": "Withdrawn: {n}. Nothing had ever shown some of these ids: look for a slip of the keys below.",
    "asked_again": "Out now: {n}. Some were before, on another request: that one stands, and this one is in the log.",
    "restored": "Restored: {n}.",
    "readmitted": "Let in again. Of what was hidden for it came back: {n}.",
    "readmitted_paused": "Let in again. Of what was hidden came back: {n}. Their lists are still paused: see Sources.",
}
"""What a page may say was done. Only these: words in a link could say anything."""


def draw(request: Request, template: str, here: str, /, **values: object) -> Response:
    """Draw a screen in the frame; `here` is the menu's entry that it belongs to."""
    desk, visitor = the_desk(request), the_visitor(request)
    done = DONE.get(request.query_params.get("done", ""), "")
    count = request.query_params.get("n", "0")
    frame = {
        "here": here,
        "house": desk.archive.folder.resolve().name,
        "said": done.format(n=count if count.isdecimal() and len(count) < 8 else 0),
        "may_run": visitor.role.covers(Role.OPERATOR),
        "may_remove": visitor.role.covers(Role.ADMIN),
        "is_named": visitor.name != OPEN.name,
    }
    return page(request, template, frame | values)


async def status_for(request: Request) -> dict[str, Any]:
    """Give the document of `status`; after something was done here, one that knows of it."""
    pulse = the_desk(request).pulse
    return (await (pulse.anew() if "done" in request.query_params else pulse.latest())).status


def back(to: str, done: str, count: int = 0) -> Response:
    """Send the browser on after something was done, and have the page say so."""
    return RedirectResponse(f"{to}?{urlencode({'done': done, 'n': count})}", 303)


def link(path: str, **params: object) -> str:
    """Write a link with those parameters that say something."""
    told = {name: value for name, value in params.items() if value not in (None, "")}
    return f"{path}?{urlencode(told)}" if told else path
