"""Gallery and search: posts as pictures, filtered in the search language, page after page as one scrolls."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from clipledger.archive import Archive
from clipledger.core.words import hashtags
from clipledger.db.search import COUNTED_MAX, Sort
from clipledger.web.desk import AtDesk
from clipledger.web.pages.drawing import Key, Words, draw, link
from clipledger.web.reading.posts import Tile, count, facets, spread_of, tiles

TILES = 30
KINDS = (("", "Everything"), ("is:video", "Videos"), ("is:photo", "Photos"), ("is:gone", "Gone"))

router = APIRouter()


@router.get("/gallery")
async def gallery(request: Request, desk: AtDesk, q: Words = "", sort: Sort = Sort.NEW, after: Key = None) -> Response:
    """Show what matches as pictures."""
    return await _found(request, desk.archive, "gallery", q, sort, after)


@router.get("/search")
async def search(request: Request, desk: AtDesk, q: Words = "", sort: Sort = Sort.NEW, after: Key = None) -> Response:
    """Search; without words, tell how."""
    if not q.strip():
        return draw(
            request, "search.html", "search", q="", sort=sort, sorts=list(Sort), posts=None, more=None, place="/search"
        )
    return await _found(request, desk.archive, "search", q, sort, after)


@router.get("/search/spread")
async def spread(request: Request, desk: AtDesk, q: Words = "") -> Response:
    """Tell how many match and how they spread: a piece of the page, fetched behind the pictures."""
    found, matches = await facets(desk.archive, q), await count(desk.archive, q)
    groups = spread_of(found)
    return draw(
        request,
        "_spread.html",
        "search",
        q=q,
        found=found,
        groups=groups,
        matches=matches,
        many=matches >= COUNTED_MAX,
    )


def veiled(archive: Archive, title: str) -> bool:
    """Say whether a post is shown blurred: one of its tags is one of `web.blur`."""
    wanted = {tag.removeprefix("#").casefold() for tag in archive.settings.web.blur}
    return not wanted.isdisjoint(hashtags(title))


async def _found(request: Request, archive: Archive, screen: str, q: str, sort: Sort, after: str | None) -> Response:
    page = await tiles(archive, q, sort, TILES, after)
    more = link(f"/{screen}", q=q, sort=sort.value, after=page.next) if page.next is not None else None
    values = {"q": q, "sort": sort, "more": more, "posts": page.posts, "veils": veils_of(archive, page.posts)}
    if request.headers.get("hx-request") and after is not None:
        return draw(request, "_cards.html", screen, **values)
    return draw(request, f"{screen}.html", screen, **values, sorts=list(Sort), kinds=KINDS, place=f"/{screen}")


def veils_of(archive: Archive, posts: tuple[Tile, ...]) -> set[str]:
    """Name the posts of a page that are shown blurred."""
    return {post.aweme_id for post in posts if veiled(archive, post.title)}
