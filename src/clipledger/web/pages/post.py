"""One post: its player, what it says, its proof, its curves, when it was there, how it is cited."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import RedirectResponse, Response

from clipledger.acts.verifying import verify
from clipledger.answers.words import post_id
from clipledger.archive import Archive
from clipledger.core.errors import ClipledgerError
from clipledger.core.links import created_second
from clipledger.core.model import AwemeId, State
from clipledger.core.times import iso_time
from clipledger.core.words import hashtags
from clipledger.db.catalog import SIDECAR
from clipledger.db.search import Sort
from clipledger.web.desk import AsVisitor, AtDesk
from clipledger.web.pages.drawing import AwemeId as ID
from clipledger.web.pages.drawing import Key, Words, draw, link
from clipledger.web.pages.gallery import veiled
from clipledger.web.problems import Problem
from clipledger.web.reading.posts import beside, one_post
from clipledger.web.reading.timeline import timeline

REPLY_MAX = 512 * 2**10
"""Bytes of a sidecar that are shown."""

WAYS = {Sort.NEW: ("newer", "older"), Sort.OLD: ("older", "newer")}
"""What lies before and behind a post in the orders that its id alone gives a place in."""

InPath = Annotated[str, Path(pattern=ID, max_length=20)]

router = APIRouter()


@router.get("/posts/{aweme_id}")
async def post(
    request: Request, desk: AtDesk, aweme_id: InPath, q: Words = "", sort: Sort = Sort.NEW, at: Key = None
) -> Response:
    """Show everything of one id, between its neighbours in the list it was chosen from, where `at` is its place."""
    found = await one_post(desk.archive, AwemeId(aweme_id))
    if found is None:
        raise Problem(404, "never seen", f"this archive has never seen {aweme_id}", "Add it under Sources.")
    told = found.told
    is_here = told["post"] is not None
    title = told["post"]["title"] if is_here else ""
    created, now = float(created_second(AwemeId(aweme_id))), desk.archive.clock.now()
    before, behind = await _beside(desk.archive, aweme_id, q, sort, at) if is_here else (None, None)
    waits = told["dead_letter"] is not None or told["state"] == State.PENDING
    return draw(
        request,
        "post.html",
        "gallery" if is_here else "queue",
        found=found,
        told=told,
        post=told["post"],
        sample=await desk.archive.samples.of(AwemeId(aweme_id)) if waits else None,
        back_to=link("/gallery", q=q, sort=_said(sort)),
        tags=hashtags(title),
        veiled=veiled(desk.archive, title),
        created=iso_time(created),
        pieces=timeline(told["availability"], created, now),
        before=before,
        behind=behind,
        ways=WAYS.get(sort, ("before", "next")),
    )


@router.get("/posts/{aweme_id}/reply")
async def reply(request: Request, desk: AtDesk, aweme_id: InPath) -> Response:
    """Show the sidecar of a post, with the API's reply in it: a piece of the page, fetched when it is opened."""
    return draw(request, "_reply.html", "gallery", text=await _sidecar(desk.archive, AwemeId(aweme_id)))


@router.post("/posts/{aweme_id}/verify")
async def verify_now(request: Request, archive: AsVisitor, aweme_id: InPath) -> Response:
    """Read the files of one post again and say whether they hold: a piece of the page."""
    try:
        found, why = await verify(archive, AwemeId(aweme_id)), ""
    except ClipledgerError as error:
        found, why = None, error.detail
    return draw(request, "_verified.html", "gallery", found=found, why=why)


@router.get("/open")
async def open_post(desk: AtDesk, q: Words = "") -> Response:
    """Go to the post that an id or a link names."""
    return RedirectResponse(f"/posts/{post_id(desk.archive, q)}", 303)


async def _beside(archive: Archive, aweme_id: str, q: str, sort: Sort, at: str | None) -> tuple[str | None, str | None]:
    """Link to the posts just before and just behind one, among what matches `q`, in an order."""
    if at is None:
        sort, at = sort if sort in WAYS else Sort.NEW, aweme_id
    found = await beside(archive, q, sort, at, AwemeId(aweme_id))
    before, behind = (
        link(f"/posts/{each.aweme_id}", q=q, sort=_said(sort), at=each.key if _said(sort) else None) if each else None
        for each in found
    )
    return before, behind


def _said(sort: Sort) -> str | None:
    return sort.value if sort is not Sort.NEW else None


async def _sidecar(archive: Archive, aweme_id: AwemeId) -> str:
    for file in await archive.catalog.files_of(aweme_id):
        if file.kind == SIDECAR:
            try:
                body = await archive.store.piece(file.storage_key, 0, REPLY_MAX)
            except KeyError:
                break
            try:
                return json.dumps(json.loads(body), ensure_ascii=False, indent=2)
            except ValueError:
                return body.decode("utf-8", "replace")
    raise Problem(404, "no sidecar", f"no sidecar of {aweme_id} is here", "Verify the post.")
