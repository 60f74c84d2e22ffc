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
from clipledger.web.pages.drawing import Words, draw
from clipledger.web.pages.gallery import veiled
from clipledger.web.problems import Problem
from clipledger.web.reading.posts import one_post, tiles
from clipledger.web.reading.timeline import timeline

REPLY_MAX = 512 * 2**10
"""Bytes of a sidecar that are shown."""

InPath = Annotated[str, Path(pattern=ID, max_length=20)]

router = APIRouter()


@router.get("/posts/{aweme_id}")
async def post(request: Request, desk: AtDesk, aweme_id: InPath, q: Words = "") -> Response:
    """Show everything of one id."""
    found = await one_post(desk.archive, AwemeId(aweme_id))
    if found is None:
        raise Problem(404, "never seen", f"this archive has never seen {aweme_id}", "Add it under Sources.")
    told = found.told
    title = told["post"]["title"] if told["post"] is not None else ""
    created, now = float(created_second(AwemeId(aweme_id))), desk.archive.clock.now()
    newer, older = await _beside(desk.archive, aweme_id, q) if told["post"] is not None else (None, None)
    waits = told["dead_letter"] is not None or told["state"] == State.PENDING
    return draw(
        request,
        "post.html",
        "gallery" if told["post"] is not None else "queue",
        found=found,
        told=told,
        post=told["post"],
        sample=await desk.archive.samples.of(AwemeId(aweme_id)) if waits else None,
        q=q,
        tags=hashtags(title),
        veiled=veiled(desk.archive, title),
        created=iso_time(created),
        pieces=timeline(told["availability"], created, now),
        newer=newer,
        older=older,
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


async def _beside(archive: Archive, aweme_id: str, q: str) -> tuple[str | None, str | None]:
    """Give the posts made just after and just before one, among what matches `q`."""
    newer = await tiles(archive, q, Sort.OLD, 1, aweme_id)
    older = await tiles(archive, q, Sort.NEW, 1, aweme_id)
    return (
        newer.posts[0].aweme_id if newer.posts else None,
        older.posts[0].aweme_id if older.posts else None,
    )


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
