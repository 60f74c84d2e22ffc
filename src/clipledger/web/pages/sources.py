"""Sources: what each showed and what became of it; add, pause and resume them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from clipledger.acts import pausing
from clipledger.acts.adding import Options, add, check, check_many
from clipledger.core.errors import UsageError
from clipledger.db.spending import Spending
from clipledger.web.desk import AsVisitor, AtDesk
from clipledger.web.pages.drawing import Named, Typed, back, draw, link, status_for

ROWS = 100
COST_S = 30 * 86_400.0

router = APIRouter()


@router.get("/sources")
async def sources(request: Request, desk: AtDesk, after: Named = "") -> Response:
    """Show each source with its balance, its last pass, its next read and its cost."""
    told = sorted((await status_for(request))["sources"], key=lambda row: str(row["source"]))
    behind = [row for row in told if row["source"] > after]
    since = desk.archive.clock.now() - COST_S
    cost = {line.name: line.credits for line in await Spending(desk.archive.db).by_source(since)}
    more = link("/sources", after=behind[ROWS - 1]["source"]) if len(behind) > ROWS else None
    return draw(request, "sources.html", "sources", rows=behind[:ROWS], of=len(told), cost=cost, more=more)


@router.post("/sources/add")
async def add_sources(
    archive: AsVisitor,
    what: Annotated[str, Form(max_length=900_000)],
    every: Annotated[str, Form(max_length=20)] = "",
) -> Response:
    """Add whatever was pasted, a line each."""
    lines = [line.strip() for line in what.splitlines() if line.strip()]
    if not lines:
        raise UsageError("nothing to add: name a source, a link or an id, one a line")
    check_many(lines, archive.clock.now())
    options = Options(every=every.strip() or None)
    check(options)
    added, problems = await add(archive, [("", line) for line in lines], options)
    if problems:
        raise UsageError(f"{added.taken} of {len(lines)} lines were taken; not taken: {'; '.join(problems[:5])}")
    new = added.posts_new + added.sources_new
    if added.withheld:
        return back("/sources", "kept_out", len(added.withheld))
    return back("/sources", "added" if new else "known", new)


@router.post("/sources/pause")
async def pause(archive: AsVisitor, source: Typed) -> Response:
    """Stop reading one source."""
    await pausing.pause_sources(archive, [source], archive.clock.now())
    return back("/sources", "paused")


@router.post("/sources/resume")
async def resume(archive: AsVisitor, source: Typed) -> Response:
    """Read one source again."""
    await pausing.pause_sources(archive, [source], None)
    return back("/sources", "resumed")
