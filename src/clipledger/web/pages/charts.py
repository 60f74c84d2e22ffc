"""The numbers of charts, for the pages' own script and as CSV for anybody."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from clipledger.web.desk import AtDesk
from clipledger.web.pages.drawing import Named
from clipledger.web.reading.charts import as_csv, chart

router = APIRouter()


@router.get("/charts/{name}.csv")
async def table(desk: AtDesk, name: str, of: Named = "") -> Response:
    """Give a chart's numbers as CSV."""
    body = as_csv(await chart(desk.archive, name, of))
    headers = {"content-disposition": f'attachment; filename="clipledger-{name}.csv"'}
    return Response(body, media_type="text/csv", headers=headers)


@router.get("/charts/{name}.json")
async def points(desk: AtDesk, name: str, of: Named = "") -> Response:
    """Give a chart's numbers as the page's script reads them."""
    drawn = await chart(desk.archive, name, of)
    told = [{"at": point.at, "when": point.when, "values": point.values} for point in drawn.points]
    return JSONResponse({"lines": drawn.lines, "kind": drawn.kind, "tone": drawn.tone, "points": told})
