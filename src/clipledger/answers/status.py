"""Where everything stands: what is wanted, saved, dead, waiting, owed; and each source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from clipledger.answers.fleet import fleet_status
from clipledger.answers.store import care_status, store_status
from clipledger.answers.words import timed
from clipledger.archive import Archive
from clipledger.core.model import State
from clipledger.core.times import iso_time, utc_day
from clipledger.db.alarms import DISPROVED, Alarms
from clipledger.db.books import Balance
from clipledger.db.figures import pauses, rates
from clipledger.db.sums import KEPT_S, sums

_SPANS = (("minute", 60.0), ("hour", 3600.0))


async def status(archive: Archive, fresh: bool, kept_s: float = KEPT_S) -> dict[str, Any]:
    """Tell where everything stands; `fresh`: sum anew, however large the archive, else sums may be `kept_s` old."""
    now = archive.clock.now()
    summed, switch = await sums(archive.db, now, fresh=fresh, kept_s=kept_s), await archive.switches.get("breaker")
    latencies = sorted(await archive.queue.latencies())
    is_open = switch is not None and switch.state != "closed"
    oldest_due_at = await archive.queue.next_due_at()
    spans = {name: asdict(await rates(archive.db, now, span_s)) for name, span_s in _SPANS}
    return {
        "archive": str(archive.folder.resolve()),
        "uuid": archive.uuid,
        "as_of": iso_time(summed.as_of),
        "kept": summed.as_of < now,
        "ids": balanced(summed.everything),
        "states": {state.value: summed.states.get(state, 0) for state in State},
        "oldest_due_age_s": None if oldest_due_at is None or oldest_due_at > now else round(now - oldest_due_at, 3),
        "due_now": await archive.queue.due_count(now, 1 << 62),
        "suspects": await archive.queue.suspect_count(),
        "files": summed.files,
        "bytes": summed.bytes,
        "credits": {
            "today": await archive.credits.spent(utc_day(now)),
            "all": sum(total.credits for total in summed.totals),
            "cap": archive.settings.budget.credits_per_day,
            "by": [asdict(total) for total in summed.totals],
        },
        "discovery_to_resolve_s": {
            "p50": _quantile(latencies, 0.50),
            "p95": _quantile(latencies, 0.95),
            "of": len(latencies),
        },
        "requests_per_minute": archive.settings.api.requests_per_minute,
        "rates": spans,
        "pauses": {
            name: {"until": iso_time(held.until), "throttles": held.throttles}
            for name, held in (await pauses(archive.db)).items()
            if held.until > now
        },
        "breaker": {
            "state": "open" if is_open else "closed",
            "since": iso_time(switch.since) if switch is not None and is_open else None,
            "evidence": switch.evidence if switch is not None and is_open else None,
        },
        "same_bytes": await same_bytes(archive),
        "store": await store_status(archive),
        "fixity": await care_status(archive),
        "events": [timed(asdict(event)) for event in await archive.samples.events(20)],
        "sources": await sources(archive, summed.per_source),
    } | await fleet_status(archive)


async def sources(archive: Archive, summed: Sequence[Balance] | None = None) -> list[dict[str, Any]]:
    """Tell of each source what it showed, what became of it, and how it is read."""
    rows = {row.source: row for row in await archive.sources.all()}
    told = []
    for balance in summed if summed is not None else await archive.books.per_source():
        row = rows.get(balance.source)
        told.append(balanced(balance) | (timed(asdict(row)) if row is not None else {"source": balance.source}))
    return told


def balanced(balance: Balance) -> dict[str, Any]:
    """Write what was seen and where it stands."""
    return {
        "seen": balance.seen,
        "archived": balance.archived,
        "dead": balance.dead,
        "withheld": balance.withheld,
        "waiting": balance.waiting,
        "declared": balance.declared,
        "reasons": dict(balance.reasons),
    }


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 3) if ordered else None


async def same_bytes(archive: Archive) -> dict[str, Any]:
    """Tell each alarm, and which archived posts hold bytes that stood in for others'."""
    alarms = Alarms(archive.db)
    found = await alarms.all()
    told = [
        {
            "sha256": alarm.sha256,
            "state": alarm.state,
            "since": iso_time(alarm.since),
            "evidence": alarm.evidence,
            "archived": alarm.archived,
            "waiting": alarm.waiting,
        }
        for alarm in found
    ]
    doubted = await alarms.doubted() if any(alarm.state == DISPROVED for alarm in found) else []
    return {"alarms": told, "doubted": doubted}
