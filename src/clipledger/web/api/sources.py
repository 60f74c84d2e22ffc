"""Sources: what they showed, what became of it; add, pause and resume them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from clipledger.acts import pausing
from clipledger.acts.adding import Options, add, check, check_many
from clipledger.core.errors import UsageError
from clipledger.web.api.paging import After, Limit
from clipledger.web.desk import AsVisitor, AtDesk

router = APIRouter(tags=["sources"])

LINES_MAX = 5000

Line = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class SourceOut(BaseModel):
    """One source; further fields are those of `clipledger --json sources`."""

    model_config = ConfigDict(extra="allow")

    source: str
    seen: int
    archived: int
    dead: int
    withheld: int
    waiting: int
    declared: int | None
    reasons: dict[str, int]


class SourcesOut(BaseModel):
    """Sources by name."""

    sources: list[SourceOut]
    next: str | None


class AddIn(BaseModel):
    """What to add, one SOURCE, URL or id each, and how sources are to be read."""

    model_config = ConfigDict(extra="forbid")

    sources: Annotated[list[Line], Field(min_length=1, max_length=LINES_MAX)]
    region: Annotated[str, StringConstraints(max_length=2)] = ""
    sort: Annotated[str, StringConstraints(max_length=20)] = ""
    published_within: Annotated[int, Field(ge=0, le=180)] = 0
    every: Annotated[str, StringConstraints(max_length=20)] | None = None
    max_pages: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] = 0


class AddedOut(BaseModel):
    """What came in, which posts are withheld and stay out, and which lines could not be understood."""

    posts_new: int
    posts_known: int
    posts_withheld: list[str]
    sources_new: int
    sources_known: int
    problems: list[str]


class NamesIn(BaseModel):
    """Names of sources."""

    model_config = ConfigDict(extra="forbid")

    sources: Annotated[list[Line], Field(min_length=1, max_length=1000)]


class NamesOut(BaseModel):
    """Names of the sources that were meant."""

    sources: list[str]


@router.get("/sources")
async def sources(desk: AtDesk, limit: Limit = 100, after: After = None) -> SourcesOut:
    """List sources by name, with what each showed and what became of it."""
    rows = sorted((await desk.pulse.latest()).status["sources"], key=lambda row: str(row["source"]))
    behind = [row for row in rows if after is None or row["source"] > after]
    page = [SourceOut(**row) for row in behind[:limit]]
    return SourcesOut(sources=page, next=page[-1].source if len(behind) > limit else None)


@router.post("/sources")
async def add_sources(archive: AsVisitor, body: AddIn) -> AddedOut:
    """Add up to 500 sources, and single posts. Costs nothing; known ids are not queued twice; good lines are taken."""
    check_many(body.sources, archive.clock.now())
    options = Options(body.region, body.sort, body.published_within, body.every, body.max_pages, body.priority)
    check(options)
    added, problems = await add(archive, [("", line) for line in body.sources], options)
    if problems and not added.taken:
        raise UsageError(problems[0])
    counts: dict[str, Any] = {
        "posts_new": added.posts_new,
        "posts_known": added.posts_known,
        "posts_withheld": added.withheld,
        "sources_new": added.sources_new,
        "sources_known": added.sources_known,
    }
    return AddedOut(**counts, problems=problems)


@router.post("/sources/pause")
async def pause(archive: AsVisitor, body: NamesIn) -> NamesOut:
    """Stop reading these sources."""
    return NamesOut(sources=await pausing.pause_sources(archive, body.sources, archive.clock.now()))


@router.post("/sources/resume")
async def resume(archive: AsVisitor, body: NamesIn) -> NamesOut:
    """Read these sources again."""
    return NamesOut(sources=await pausing.pause_sources(archive, body.sources, None))
