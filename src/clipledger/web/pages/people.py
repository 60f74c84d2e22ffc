"""Authors and tags: their posts over time, what disappeared of them, and the handles somebody bore."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from clipledger.answers import finding
from clipledger.archive import Archive
from clipledger.core.query import Query, by_author, by_handle
from clipledger.core.words import tag_of
from clipledger.db.search import Sort
from clipledger.db.tags import Tags
from clipledger.web.desk import AtDesk
from clipledger.web.pages.drawing import ROWS, Named, draw, link
from clipledger.web.pages.gallery import veils_of
from clipledger.web.problems import Problem
from clipledger.web.reading.posts import tiles

TILES = 18
LOST = 50

_SEARCHED, _SEARCHED_ID = re.compile(r'[^\s"]{1,64}'), re.compile(r"[0-9]{1,20}")
"""Handles and ids that the search language can name."""

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
    name = handle.removeprefix("@").lower()
    rows = await finding.authors(desk.archive, name, "", ROWS)
    if not rows:
        raise Problem(404, "nobody", "This archive has seen nobody of that handle.", "See all authors.")
    words = f'from:"{name}"' if _SEARCHED.fullmatch(name) else ""
    body = await _of(desk.archive, by_handle(name), words, {"author": name})
    return draw(request, "author.html", "authors", rows=rows, name=f"@{name}", chart=("author", name), **body)


@router.get("/author")
async def author_of_id(request: Request, desk: AtDesk, id: Named = "") -> Response:
    """Show the author of an id, whatever they call themselves."""
    rows = await finding.author(desk.archive, id)
    if not rows:
        raise Problem(404, "nobody", "This archive knows no author of that id.", "See all authors.")
    words = f"author:{id}" if _SEARCHED_ID.fullmatch(id) else ""
    body = await _of(desk.archive, by_author(id), words, {"author": id})
    name = f"@{rows[0]['handle']}" if rows[0]["handle"] else f"Author {id}"
    return draw(request, "author.html", "authors", rows=rows, name=name, chart=("author-id", id), **body)


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
    if not name:
        raise Problem(404, "no tag", "A tag is letters, digits and _.", "See all tags.")
    words = f'tag:"{name}"'
    return draw(request, "tag.html", "tags", tag=name, **await _of(desk.archive, words, words, {"tag": name}))


@router.get("/gone/lost")
async def lost(request: Request, desk: AtDesk, author: Named = "", tag: Named = "") -> Response:
    """Show what disappeared of an author or a tag: a piece of their page, fetched behind it."""
    found = await finding.gone(desk.archive, None, None, author or None, tag or None, LOST)
    return draw(request, "_lost.html", "gone", lost=found["gone"])


async def _of(archive: Archive, query: str | Query, words: str, whose: dict[str, str]) -> dict[str, object]:
    """Find somebody's newest posts. `words` are the same for the search, '' where it has none."""
    page = await tiles(archive, query, Sort.NEW, TILES, None)
    return {"q": words, "posts": page.posts, "whose": whose, "veils": veils_of(archive, page.posts)}
