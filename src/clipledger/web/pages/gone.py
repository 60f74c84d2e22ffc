"""Gone: what vanished, when, and on which days far more than usual."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from clipledger.answers import finding
from clipledger.core.spikes import spikes
from clipledger.core.times import iso_time, read_iso_time
from clipledger.db.series import Curves
from clipledger.web.api.paging import moment_key, read_moment_key
from clipledger.web.desk import AtDesk
from clipledger.web.pages.drawing import ROWS, Key, Named, draw, link
from clipledger.web.reading.charts import DAY_S, DAYS

router = APIRouter()


@router.get("/gone")
async def gone(
    request: Request,
    desk: AtDesk,
    since: Named = "",
    source: Named = "",
    author: Named = "",
    tag: Named = "",
    after: Key = None,
) -> Response:
    """Show what disappeared, saved or not."""
    archive = desk.archive
    wanted = (since or None, source or None, author or None, tag or None)
    found = await finding.gone(archive, *wanted, ROWS + 1, read_moment_key(after))
    rows, more = found["gone"][:ROWS], None
    if len(found["gone"]) > ROWS:
        key = moment_key(read_iso_time(rows[-1]["gone_at"]), rows[-1]["aweme_id"])
        more = link("/gone", since=since, source=source, author=author, tag=tag, after=key)
    asked = {"since": since, "source": source, "author": author, "tag": tag}
    return draw(request, "gone.html", "gone", rows=rows, found=found, more=more, asked=asked)


@router.get("/gone/spikes")
async def mass_removals(request: Request, desk: AtDesk) -> Response:
    """Show the days that stand out: a piece of the page, fetched behind it, since it counts every loss."""
    now, archive = desk.archive.clock.now(), desk.archive
    days = await Curves(archive.db).daily("gone", now - DAYS * DAY_S)
    told = [(iso_time(each.at), each) for each in spikes(days.points, now - DAYS * DAY_S, now)]
    return draw(request, "_spikes.html", "gone", spikes=told)
