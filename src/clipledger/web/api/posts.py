"""Posts: the gallery, the search, one post, its history; verify one now."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Query

from clipledger.acts.verifying import verify
from clipledger.core.model import AwemeId
from clipledger.core.times import iso_time
from clipledger.db.search import Facets, Sort
from clipledger.db.series import Curves
from clipledger.web.api.paging import After, AwemeIdInPath, Limit, Words, read_moment_key
from clipledger.web.desk import AsVisitor, AtDesk
from clipledger.web.problems import Problem
from clipledger.web.reading.posts import Shown, TilePage, count, facets, one_post, tiles

router = APIRouter(tags=["posts"])


@dataclass(frozen=True, slots=True)
class PostOut:
    """Everything of one id: `told` is the document of `clipledger --json show`."""

    aweme_id: str
    state: str
    told: dict[str, Any]
    media: list[Shown]
    cover: str | None
    plays: list[tuple[str, int]]
    citations: dict[str, str]


@dataclass(frozen=True, slots=True)
class CountOut:
    """How many posts match, and how the newest of them spread; `complete`: these are all."""

    matches: int
    complete: bool
    facets: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class MeasureOut:
    """The counters of a post as they were observed at a moment; `feed` is what told them."""

    observed_at: str
    feed: str
    play_count: int | None
    digg_count: int | None
    comment_count: int | None
    share_count: int | None
    download_count: int | None
    collect_count: int | None


@dataclass(frozen=True, slots=True)
class HistoryOut:
    """Counters, oldest first."""

    history: list[MeasureOut]
    next: str | None


@dataclass(frozen=True, slots=True)
class VerifiedOut:
    """What was found in a post's files."""

    aweme_id: str
    checked_at: str
    files: int
    bytes: int
    holds: bool
    findings: list[str]


@router.get("/posts")
@router.get("/search", operation_id="search")
async def posts(desk: AtDesk, q: Words = "", sort: Sort = Sort.NEW, limit: Limit = 50, after: After = None) -> TilePage:
    """List the archived posts that match, in one of five orders; without `q` all of them."""
    return await tiles(desk.archive, q, sort, limit, after)


@router.get("/search/count")
async def matches(
    desk: AtDesk, q: Words = "", spread: Annotated[bool, Query(alias="facets", description="Count by field.")] = False
) -> CountOut:
    """Count what matches, up to 10,000, and on request by author, tag, region and month."""
    matching = await count(desk.archive, q)
    spreads = await facets(desk.archive, q) if spread else None
    return CountOut(matching, spreads is None or spreads.complete, _facets(spreads) if spreads is not None else None)


@router.get("/posts/{aweme_id}")
async def post(desk: AtDesk, aweme_id: AwemeIdInPath) -> PostOut:
    """Tell everything of one id: state, why, files with hashes, attribution, custody, credits, sightings, curve."""
    found = await one_post(desk.archive, AwemeId(aweme_id))
    if found is None:
        raise Problem(404, "never seen", f"this archive has never seen {aweme_id}", f"`clipledger add {aweme_id}`")
    plays, media = list(found.plays), list(found.media)
    return PostOut(aweme_id, found.told["state"], found.told, media, found.cover, plays, found.citations)


@router.get("/posts/{aweme_id}/history")
async def history(desk: AtDesk, aweme_id: AwemeIdInPath, limit: Limit = 200, after: After = None) -> HistoryOut:
    """List the counters of one post as they were observed, oldest first."""
    key = read_moment_key(after)
    rows = await Curves(desk.archive.db).observed(aweme_id, key[0] if key else 0.0, limit + 1)
    page = [MeasureOut(**asdict(row) | {"observed_at": iso_time(row.observed_at)}) for row in rows[:limit]]
    return HistoryOut(page, f"{page[-1].observed_at}_{aweme_id}" if len(rows) > limit else None)


@router.post("/posts/{aweme_id}/verify")
async def verify_now(archive: AsVisitor, aweme_id: AwemeIdInPath) -> VerifiedOut:
    """Read the files of one post again, now, and compare size and sha256."""
    return VerifiedOut(**await verify(archive, AwemeId(aweme_id)))


def _facets(found: Facets) -> dict[str, Any]:
    return {
        "authors": [{"value": f"@{handle}", "author_id": who, "posts": n} for who, handle, n in found.authors],
        "tags": [{"value": f"#{tag}", "posts": n} for tag, n in found.tags],
        "regions": [{"value": region, "posts": n} for region, n in found.regions],
        "months": [{"value": month, "posts": n} for month, n in found.months],
    }
