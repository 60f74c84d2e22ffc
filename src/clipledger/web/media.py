"""The files of posts: found in the index by post, kind and place, read from the store piece by piece.

No path comes from a request. One range at a time, which is what players ask for; several are refused. What is sent
is never run or shown as a page, whatever its bytes are. Must not: read a file whole, or follow a name of a stranger.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from starlette.responses import Response, StreamingResponse

from clipledger.core.model import AwemeId, MediaType
from clipledger.core.ports import ObjectStore
from clipledger.db.catalog import SIDECAR, Catalog, FileRow
from clipledger.web.desk import AtDesk
from clipledger.web.problems import Problem

FIRST_BYTES = 256 * 2**10
"""The first piece: enough to begin to play."""

PIECE_BYTES = 2**20

KEPT_S = 300
"""A browser may keep a file so long before it asks again: a post may be withdrawn."""

_SHOWN = frozenset(
    {
        MediaType.MP4,
        MediaType.JPEG,
        MediaType.WEBP,
        MediaType.PNG,
        MediaType.HEIC,
        MediaType.MP3,
        MediaType.M4A,
        MediaType.JSON,
    }
)
_HEADERS = {
    "content-security-policy": "sandbox; default-src 'none'",
    "cache-control": f"private, max-age={KEPT_S}",
    "accept-ranges": "bytes",
    "cross-origin-resource-policy": "same-origin",
}

router = APIRouter()


class _Unsatisfiable(Exception):
    """A range that cannot be served."""


@dataclass(frozen=True, slots=True)
class _Span:
    """Bytes `start` to `end` of a file; `end` is the first that is not wanted."""

    start: int
    end: int


@router.api_route("/media/{aweme_id}/{kind}/{position}", methods=["GET", "HEAD"])
async def media(
    request: Request,
    desk: AtDesk,
    aweme_id: Annotated[str, InPath(pattern="^[0-9]{5,20}$")],
    kind: Annotated[str, InPath(pattern="^(video|image|audio|cover|sidecar)$")],
    position: Annotated[int, InPath(ge=0, le=999)],
) -> Response:
    """Send one stored file of a post, or the one range of it that is asked for."""
    file = await _file(desk.archive.catalog, AwemeId(aweme_id), kind, position)
    etag = f'"{file.sha256}"'
    headers = _HEADERS | {"etag": etag, "content-disposition": f'inline; filename="{_name(file)}"'}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    ranged = request.headers.get("range") if request.headers.get("if-range", etag) == etag else None
    try:
        span = _span(ranged, file.bytes)
    except _Unsatisfiable:
        return Response(status_code=416, headers=headers | {"content-range": f"bytes */{file.bytes}"})
    if ranged is not None:
        headers["content-range"] = f"bytes {span.start}-{span.end - 1}/{file.bytes}"
    headers["content-length"] = str(span.end - span.start)
    status, kind_sent = 200 if ranged is None else 206, _media_type(file)
    if request.method == "HEAD" or span.start == span.end:
        return Response(status_code=status, headers=headers, media_type=kind_sent)
    body = await _begun(desk.archive.store, file, span)
    return StreamingResponse(body, status, headers, kind_sent)


async def _file(catalog: Catalog, aweme_id: AwemeId, kind: str, position: int) -> FileRow:
    for file in await catalog.files_of(aweme_id):
        if (file.kind, file.position) == (kind, position):
            return file
    raise Problem(
        404, "no such file", f"{aweme_id} has no {kind} {position} in this archive", "look at the post itself"
    )


async def _begun(store: ObjectStore, file: FileRow, span: _Span) -> AsyncIterator[bytes]:
    """Read the first piece before anything is answered: a file that is not there is a refusal, not half an answer."""
    try:
        first = await store.piece(file.storage_key, span.start, min(FIRST_BYTES, span.end - span.start))
    except KeyError:
        raise _missing(file) from None
    if not first:
        raise _missing(file)
    return _pieces(store, file, _Span(span.start + len(first), span.end), first)


async def _pieces(store: ObjectStore, file: FileRow, rest: _Span, piece: bytes) -> AsyncIterator[bytes]:
    at = rest.start
    while True:
        yield piece
        if at >= rest.end:
            return
        piece = await store.piece(file.storage_key, at, min(PIECE_BYTES, rest.end - at))
        if not piece:
            raise ConnectionError(f"{file.storage_key} is shorter than it was")
        at += len(piece)


def _span(asked: str | None, size: int) -> _Span:
    """Read a Range header of one span; `_Unsatisfiable` for any other, and for one beyond the end."""
    if asked is None:
        return _Span(0, size)
    unit, _, span = asked.strip().partition("=")
    first, dash, last = span.partition("-")
    if unit != "bytes" or not dash or not all(_is_number(each) for each in (first, last) if each) or not first + last:
        raise _Unsatisfiable
    if not first:
        start, end = max(size - int(last), 0), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    if start >= end:
        raise _Unsatisfiable
    return _Span(start, end)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _media_type(file: FileRow) -> str:
    """Give one of the few types that browsers play or show; never what a stranger named."""
    return file.media_type if file.media_type in _SHOWN else MediaType.UNKNOWN


def _name(file: FileRow) -> str:
    place = f"-{file.position:02}" if file.position else ""
    ending = ".json" if file.kind == SIDECAR else PurePosixPath(file.storage_key).suffix
    return f"{file.aweme_id}{place}{'-cover' if file.kind == 'cover' else ''}{ending}"


def _missing(file: FileRow) -> Problem:
    why = f"the store does not hold {file.storage_key}, which the index lists"
    return Problem(502, "the file is missing", why, f"run `clipledger verify --repair`, or verify {file.aweme_id} here")
