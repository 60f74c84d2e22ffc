"""Posts as the gallery, the search and one post's page show them. Must not: hold SQL, or know a template."""

from __future__ import annotations

import re
from calendar import monthrange
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from clipledger.answers.posts import attributed, citable
from clipledger.archive import Archive
from clipledger.core.citing import Style, cite
from clipledger.core.links import created_second, post_url
from clipledger.core.model import AwemeId
from clipledger.core.query import Query, parse
from clipledger.core.times import iso_time
from clipledger.db.catalog import FileRow
from clipledger.db.search import Facets, Hit, Search, Sort
from clipledger.db.series import Curves

FACETS = 10
MONTHS = 12
"""Months that are offered: the newest."""

_REGION, _HANDLE = re.compile("[A-Za-z]{2}"), re.compile(r"[A-Za-z0-9_.]{1,64}")


@dataclass(frozen=True, slots=True)
class Shown:
    """One stored file that a page can show or play, and where it is."""

    kind: str
    position: int
    media_type: str
    bytes: int
    url: str


@dataclass(frozen=True, slots=True)
class Tile:
    """One post of a gallery. `key` goes on behind it; `gone_at` None: it is not known to be gone."""

    aweme_id: str
    author_id: str
    handle: str
    title: str
    created: str
    region: str
    plays: int | None
    plays_per_day: float | None
    is_photo: bool
    gone_at: str | None
    original: str
    cover: str | None
    media: tuple[Shown, ...]
    key: str


@dataclass(frozen=True, slots=True)
class TilePage:
    """Tiles in order; `next` goes on behind them, None at the end."""

    posts: tuple[Tile, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class Narrower:
    """What may be added to a search: the words, how it is shown, and how many of the posts it leaves."""

    words: str
    name: str
    posts: int


@dataclass(frozen=True, slots=True)
class OnePost:
    """Everything of one id: the document of `show`, its files, its curve of plays, how it is cited."""

    told: dict[str, Any]
    media: tuple[Shown, ...]
    cover: str | None
    plays: tuple[tuple[str, int], ...]
    citations: dict[str, str]


async def tiles(archive: Archive, words: str | Query, sort: Sort, limit: int, after: str | None) -> TilePage:
    """Give one page of what matches `words`, in the search language of the command line, or read already."""
    wanted = parse(words) if isinstance(words, str) else words
    page = await Search(archive.db).find(wanted, sort, limit, after)
    files = await archive.catalog.files_of_many([hit.aweme_id for hit in page.hits])
    return TilePage(tuple(_tile(hit, files.get(hit.aweme_id, [])) for hit in page.hits), page.after)


async def beside(archive: Archive, words: str, sort: Sort, key: str, own: AwemeId) -> tuple[Hit | None, Hit | None]:
    """Give the matches just before and just behind a key in an order; its own post, moved meanwhile, is neither."""
    search, wanted = Search(archive.db), parse(words)
    sides = [await search.find(wanted, sort, 2, key, backwards=backwards) for backwards in (True, False)]
    before, behind = (next((hit for hit in side.hits if hit.aweme_id != own), None) for side in sides)
    return before, behind


async def facets(archive: Archive, words: str) -> Facets:
    """Tell how the newest matches spread by author, tag, region and month."""
    return await Search(archive.db).facets(parse(words), FACETS)


def spread_of(found: Facets) -> tuple[tuple[str, tuple[Narrower, ...]], ...]:
    """Write facets as what may be added to the search, group by group; what no search can name is left out."""
    handles = Counter(handle for _, handle, _ in found.authors)
    authors = tuple(
        Narrower(f"from:@{handle}" if _is_named_by(handle, handles) else f"author:{who}", f"@{handle or who}", n)
        for who, handle, n in found.authors
        if who.isascii() and who.isdigit()
    )
    tags = tuple(Narrower(f'tag:"{tag}"', f"#{tag}", n) for tag, n in found.tags)
    regions = tuple(Narrower(f"region:{region}", region, n) for region, n in found.regions if _REGION.fullmatch(region))
    months = tuple(
        Narrower(f"since:{month}-01 until:{month}-{_days_of(month)}", month, n) for month, n in found.months[:MONTHS]
    )
    named = (("Authors", authors), ("Tags", tags), ("Regions", regions), ("Months", months))
    return tuple((name, group) for name, group in named if group)


def _is_named_by(handle: str, handles: Counter[str]) -> bool:
    return handles[handle] == 1 and _HANDLE.fullmatch(handle) is not None


def _days_of(month: str) -> int:
    return monthrange(int(month[:4]), int(month[5:]))[1]


async def count(archive: Archive, words: str) -> int:
    """Count the matches, up to `db.search.COUNTED_MAX`."""
    return await Search(archive.db).count(parse(words))


async def one_post(archive: Archive, aweme_id: AwemeId) -> OnePost | None:
    """Tell everything of one id; None when the archive has never seen it."""
    told = await attributed(archive, aweme_id)
    if told is None:
        return None
    files = await archive.catalog.files_of(aweme_id)
    curve = (await Curves(archive.db).growth_of(aweme_id)).points if told["post"] is not None else []
    return OnePost(
        told,
        shown(files),
        cover_of(files),
        tuple((iso_time(at), round(plays)) for at, plays in curve),
        await _citations(archive, aweme_id) if told["post"] is not None else {},
    )


def shown(files: Sequence[FileRow]) -> tuple[Shown, ...]:
    """Pick what is shown of a post, in order: its video, or its slides and then their sound."""
    order = {"video": 0, "image": 0, "audio": 1}
    chosen = sorted((file for file in files if file.kind in order), key=lambda file: (order[file.kind], file.position))
    return tuple(Shown(file.kind, file.position, file.media_type, file.bytes, url_of(file)) for file in chosen)


def cover_of(files: Sequence[FileRow]) -> str | None:
    """Give the link to a post's cover, else to its first slide; None where it has neither."""
    for kind in ("cover", "image"):
        found = min((file for file in files if file.kind == kind), key=lambda file: file.position, default=None)
        if found is not None:
            return url_of(found)
    return None


def url_of(file: FileRow) -> str:
    """Give the link under which a file of a post is served."""
    return f"/media/{file.aweme_id}/{file.kind}/{file.position}"


def _tile(hit: Hit, files: Sequence[FileRow]) -> Tile:
    return Tile(
        hit.aweme_id,
        hit.author_id,
        hit.author_handle,
        hit.title,
        iso_time(float(created_second(hit.aweme_id))),
        hit.region,
        hit.play_count,
        hit.plays_per_day,
        hit.is_photo,
        iso_time(hit.gone_at) if hit.gone_at is not None else None,
        post_url(hit.aweme_id, hit.author_handle or "_", is_photo=hit.is_photo),
        cover_of(files),
        shown(files),
        hit.key,
    )


async def _citations(archive: Archive, aweme_id: AwemeId) -> dict[str, str]:
    found = await citable(archive, aweme_id)
    return {style.value: cite(found, style) for style in Style}
