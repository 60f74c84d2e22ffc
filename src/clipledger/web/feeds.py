"""Atom for a saved search: what is new among the posts that match. A feed reader sends a token as a password.

Must not: link to anything but this site's own pages.
"""

from __future__ import annotations

from typing import Annotated
from xml.etree import ElementTree as Xml

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from clipledger.core.times import iso_time
from clipledger.db.search import Sort
from clipledger.web.desk import AtDesk
from clipledger.web.reading.posts import Tile, tiles

ENTRIES = 50
ATOM = "http://www.w3.org/2005/Atom"

_TITLE_MAX = 200

router = APIRouter()


@router.get("/feeds/search.atom")
async def search(request: Request, desk: AtDesk, q: Annotated[str, Query(max_length=1000)] = "") -> Response:
    """Write the newest posts that match as an Atom feed."""
    page = await tiles(desk.archive, q, Sort.NEW, ENTRIES, None)
    base = str(request.base_url).rstrip("/")
    feed = Xml.Element("feed", xmlns=ATOM)
    _put(feed, "title", f"clipledger: {q}" if q else f"clipledger: {desk.archive.folder.resolve().name}")
    _put(feed, "id", f"urn:clipledger:{desk.archive.uuid}:search:{q}")
    _put(feed, "updated", page.posts[0].created if page.posts else iso_time(desk.archive.clock.now()))
    Xml.SubElement(feed, "link", rel="self", href=str(request.url))
    for tile in page.posts:
        _entry(feed, tile, f"{base}/posts/{tile.aweme_id}")
    body = Xml.tostring(feed, encoding="utf-8", xml_declaration=True)
    return Response(body, media_type="application/atom+xml")


def _entry(feed: Xml.Element, tile: Tile, link: str) -> None:
    entry = Xml.SubElement(feed, "entry")
    _put(entry, "id", f"urn:tiktok:{tile.aweme_id}")
    _put(entry, "title", " ".join(tile.title.split())[:_TITLE_MAX] or tile.aweme_id)
    _put(entry, "updated", tile.created)
    _put(entry, "published", tile.created)
    _put(Xml.SubElement(entry, "author"), "name", f"@{tile.handle}" if tile.handle else "unknown")
    Xml.SubElement(entry, "link", href=link)


def _put(parent: Xml.Element, name: str, text: str) -> None:
    Xml.SubElement(parent, name).text = "".join(c for c in text if c.isprintable() or c == " ")
