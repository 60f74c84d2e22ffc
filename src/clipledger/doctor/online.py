"""One cheap paid call: does the API take the key, and what time does it keep? Only when asked for.

Goes through the one door to the API, so the call stands in the ledger like any other. Must not: be made
where there is no ledger to write it in.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime

from clipledger.archive import Archive
from clipledger.core import parse
from clipledger.core.errors import ClipledgerError, Gone, MalformedReply, Outage, Throttled, Transient
from clipledger.core.lifecycle import CallReason
from clipledger.core.model import ApiCall, ApiKey
from clipledger.core.ports import Request, Response, Sink, Wire
from clipledger.doctor.finding import Finding, green, red
from clipledger.doctor.inside import server_clock
from clipledger.events import Events
from clipledger.net.wire import CurlWire
from clipledger.stages.paid import Purpose
from clipledger.wiring import new_worker_name, paid_calls

ENDPOINT = "/region-list/"
COST = f"--online: one call to {ENDPOINT}, at most 1 credit"

_UNSURE = (Transient, Throttled, MalformedReply, Gone)


class _Dated:
    """A wire that notes what time the server said it was, and how far that is from ours."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.said_at: float | None = None

    async def get(self, request: Request, sink: Sink) -> Response:
        """Pass on, and keep the Date of the answer."""
        response = await self._wire.get(request, sink)
        try:
            self.said_at = parsedate_to_datetime(response.headers.get("date", "")).timestamp()
        except ValueError:
            self.said_at = None  # none, or none that can be read
        return response

    async def close(self) -> None:
        """Close what is below."""
        await self._wire.close()


async def ask(archive: Archive, key: ApiKey) -> AsyncIterator[Finding]:
    """Make the call; tell what it came to and how the clocks stand."""
    wire = _Dated(CurlWire())
    began, began_at = time.perf_counter(), archive.clock.now()
    try:
        paid = paid_calls(archive, wire, key, Events(archive.clock), new_worker_name())
        regions = await paid.buy(ApiCall(ENDPOINT), Purpose(CallReason.REGIONS), parse.regions)
    except ClipledgerError as error:
        yield _refused(error)
    else:
        await archive.meta.set("regions", json.dumps([archive.clock.now(), regions]))
        took_ms = (time.perf_counter() - began) * 1000
        yield green("api call", f"{ENDPOINT} answers in {took_ms:.0f} ms", "the key is taken; 1 credit, in the ledger")
    finally:
        await wire.close()
    if wire.said_at is not None:
        yield server_clock(wire.said_at + 0.5 - (began_at + archive.clock.now()) / 2)  # the header holds whole seconds


def _refused(error: ClipledgerError) -> Finding:
    told = f"{ENDPOINT}: {error.detail}"
    if isinstance(error, _UNSURE):
        return red("api call", told, "the API does not answer as it should now", "try again later", Outage(told))
    return red(
        "api call", told, "runs end the same way", "see the message; the key is made in the API's dashboard", error
    )
