"""Authors and tags: their posts over time, what disappeared of them, and the handles somebody bore."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from clipledger.answers import finding
from clipledger.archive import Archive
from clipledger.core.words import tag_of
from clipledger.db.search import Sort
from clipledger.db.tags import Tags
from clipledger.web.desk import AtDesk
from clipledger.web.pages.drawing import ROWS, Named, draw, link
from clipledger.web.pages.gallery import veiled
from clipledger.web.problems import Problem
from clipledger.web.reading.posts import tiles

TILES = 18
LOST = 50

InPath = Annotated[str, Path(max_length=200)]

router = APIRouter()


@router.get("/authors")
async def authors(request: Request, desk: AtDesk, after: Named = "") -> Response:
    """List who posted."""
    rows = await finding.authors(desk.archive, None, after, ROWS + 1)
    more = link("/authors", after=rows[ROWS - 1]["author_id"]) if len(rows) > ROWS else None
    return draw(request, "authors.html", "authors", rows=rows[:ROWS], more=more)


@router.get("/authors/{handle}")
async def author(request: Request, desk: AtDesk, handle: InPath) -> Response:
    """Show who has or had a handle."""
    rows = await finding.authors(desk.archive, handle, "", ROWS)
    if not rows:
        raise Problem(404, "nobody", "This archive has seen nobody of that handle.", "See all authors.")
    name = handle.removeprefix("@").lower()
    body = await _of(desk.archive, f'from:"{_quoted(name)}"', author=name)
    return draw(request, "author.html", "authors", rows=rows, handle=name, **body)


@router.get("/tags")
async def tags(request: Request, desk: AtDesk, start: Named = "", after: Named = "") -> Response:
    """List tags."""
    rows = await Tags(desk.archive.db).page(tag_of(start) if start else "", after, ROWS + 1)
    more = link("/tags", start=start, after=rows[ROWS - 1].tag) if len(rows) > ROWS else None
    return draw(request, "tags.html", "tags", rows=rows[:ROWS], start=start, more=more)


@router.get("/tags/{tag}")
async def tag(request: Request, desk: AtDesk, tag: InPath) -> Response:
    """Show one tag."""
    name = tag_of(tag)
    return draw(request, "tag.html", "tags", tag=name, **await _of(desk.archive, f'tag:"{_quoted(name)}"', tag=name))


async def _of(archive: Archive, q: str, author: str | None = None, tag: str | None = None) -> dict[str, object]:
    page = await tiles(archive, q, Sort.NEW, TILES, None)
    lost = await finding.gone(archive, None, None, author, tag, LOST)
    shown = {post.aweme_id for post in page.posts if veiled(archive, post.title)}
    return {"q": q, "posts": page.posts, "lost": lost["gone"], "veils": shown, "more": page.next is not None}


def _quoted(text: str) -> str:
    return text.replace('"', "")
