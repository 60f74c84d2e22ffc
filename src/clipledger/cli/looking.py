"""`status`, `sources`, `show`, `failures`: look closer. Must not: change anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from clipledger.archive import Archive, open_archive
from clipledger.cli.keeping import care_line, care_status, custody_told, store_line, store_status
from clipledger.cli.likeness import same_bytes, same_bytes_lines
from clipledger.cli.logbook import attributed
from clipledger.cli.members import fleet_lines, fleet_status, fleet_table
from clipledger.cli.output import Context, one_line, size, table
from clipledger.core.errors import Reason, UsageError
from clipledger.core.links import WantedPost, post_url, shown, understand
from clipledger.core.model import AwemeId, State
from clipledger.core.times import iso_time, utc_day
from clipledger.db.books import Balance
from clipledger.db.figures import pauses, rates
from clipledger.db.sums import sums

T = TypeVar("T")

NOTHING_YET = "no sources yet: clipledger add @handle '#tag' 'search:WORDS' ..."

_TIMES = ("at", "_until")
_SPANS = (("minute", 60.0), ("hour", 3600.0))


def status(context: Context, fresh: bool = False) -> None:
    """Show where everything stands."""
    body = asked(context, lambda archive: _status(archive, fresh))
    if context.json:
        context.document(body)
        return
    ids, spent, late = body["ids"], body["credits"], body["discovery_to_resolve_s"]
    lines = [
        f"{ids['seen']} seen = {ids['archived']} archived + {ids['dead']} dead + {ids['withheld']} withheld "
        f"+ {ids['waiting']} waiting",
        f"waiting: {body['due_now']} due now, {body['suspects']} said to be gone and not believed yet",
        "dead: " + (", ".join(f"{n} {why}" for why, n in ids["reasons"].items()) or "none"),
        f"stored: {body['files']} files, {size(body['bytes'])}",
        f"credits: {spent['today']} today, {spent['all']} in all"
        + (f", cap {spent['cap']} a day" if spent["cap"] is not None else ""),
        f"discovery to resolve: p50 {_seconds(late['p50'])}, p95 {_seconds(late['p95'])} (last {late['of']} posts)",
        store_line(body["store"]),
        care_line(body["fixity"]),
        f"breaker: {body['breaker']['state']}"
        + (f" since {body['breaker']['since']}: {body['breaker']['evidence']}" if body["breaker"]["since"] else ""),
        *_pace_lines(body),
    ]
    lines[2:2] = fleet_lines(body)
    lines += same_bytes_lines(body)
    if body["kept"]:
        lines.append(f"summed at {body['as_of']}: `clipledger status --fresh` sums anew")
    lines += [f"lately: {event['at']} {event['name']} {_inline(event['detail'])}" for event in body["events"][:5]]
    context.tell("\n".join(lines))
    if body["members"]:
        context.tell("\n" + fleet_table(body["members"]))
    if body["sources"] or not ids["seen"]:
        context.tell("\n" + (_source_table(body["sources"]) if body["sources"] else NOTHING_YET))


def _pace_lines(body: dict[str, Any]) -> list[str]:
    minute, hour, age_s = body["rates"]["minute"], body["rates"]["hour"], body["oldest_due_age_s"]
    return [
        f"pace: {body['requests_per_minute']} calls a minute"
        + "".join(f", {name} paused until {pause['until']} (status 429)" for name, pause in body["pauses"].items()),
        f"last minute: {minute['calls']} calls, {minute['archived']} archived; "
        f"last hour: {hour['calls']} calls, {hour['credits']} credits, {hour['throttled']} throttled, "
        f"{hour['archived']} archived ({size(hour['bytes'])})",
        f"due longest: {'nothing is due' if age_s is None else f'{age_s:.0f} s'}",
    ]


def list_sources(context: Context) -> None:
    """Show each source."""
    rows = asked(context, _sources)
    if context.json:
        context.document(rows)
    elif rows:
        context.tell(_source_table(rows))
    else:
        context.tell(NOTHING_YET)


def show_post(context: Context, text: str) -> None:
    """Show everything known of one id; exit 2 when it was never seen."""
    if text.startswith("@"):
        from clipledger.cli.searching import list_authors

        list_authors(context, text, "", 100)
        return
    aweme_id = post_id(text)
    body = asked(context, lambda archive: attributed(archive, aweme_id, _post))
    if body is None:
        raise UsageError(f"{aweme_id}: this archive has never seen it; `clipledger add {aweme_id}` queues it")
    if context.json:
        context.document(body)
    else:
        context.tell("\n".join(_flat(body)))


def list_failures(context: Context, ids: Sequence[str], reason: str | None, limit: int) -> None:
    """Show dead and waiting ids, and the sources that fail."""
    if ids:
        raise UsageError("failures takes ids only with --acknowledge; `clipledger show ID` tells all of one")
    wanted = a_reason(reason)
    body = asked(context, lambda archive: _failures(archive, wanted, limit))
    if context.json:
        context.document(body)
        return
    rows = [
        (row["aweme_id"], row["state"], row["reason"], row["attempts"], row["when"], row["detail"][:60])
        for row in body["failures"]
    ]
    if rows:
        context.tell(table(rows, ("id", "state", "reason", "attempts", "when", "detail")))
    elif not body["sources"]:
        context.tell("no failures")
    if body["sources"]:
        context.tell(table([tuple(row.values()) for row in body["sources"]], ("source", "problem", "again", "detail")))


def asked(context: Context, ask: Callable[[Archive], Awaitable[T]]) -> T:
    """Open the archive, ask it, close it."""

    async def told() -> T:
        async with open_archive(context.archive) as archive:
            return await ask(archive)

    return asyncio.run(told())


def post_id(text: str) -> AwemeId:
    """Read an id or a post's URL; raises UsageError."""
    import time

    wanted = understand(text, now=time.time())  # noqa: TID251 - bounds what can be an id
    if not isinstance(wanted, WantedPost):
        raise UsageError(f"'{shown(text)}' is not a post: give its id or its URL")
    return wanted.aweme_id


def a_reason(text: str | None) -> Reason | None:
    """Read `--reason`; raises UsageError that names them all."""
    if text is None:
        return None
    try:
        return Reason(text)
    except ValueError:
        raise UsageError(f"--reason {text!r}: use one of {', '.join(Reason)}") from None


async def _status(archive: Archive, fresh: bool) -> dict[str, Any]:
    now = archive.clock.now()
    summed, switch = await sums(archive.db, now, fresh=fresh), await archive.switches.get("breaker")
    latencies = sorted(await archive.queue.latencies())
    is_open = switch is not None and switch.state != "closed"
    oldest_due_at = await archive.queue.next_due_at()
    spans = {name: asdict(await rates(archive.db, now, span_s)) for name, span_s in _SPANS}
    return {
        "archive": str(archive.folder.resolve()),
        "uuid": archive.uuid,
        "as_of": iso_time(summed.as_of),
        "kept": summed.as_of < now,
        "ids": _balance(summed.everything),
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
        "events": [_timed(asdict(event)) for event in await archive.samples.events(20)],
        "sources": await _sources(archive, summed.per_source),
    } | await fleet_status(archive)


async def _sources(archive: Archive, summed: Sequence[Balance] | None = None) -> list[dict[str, Any]]:
    rows = {row.source: row for row in await archive.sources.all()}
    told = []
    for balance in summed if summed is not None else await archive.books.per_source():
        row = rows.get(balance.source)
        told.append(_balance(balance) | (_timed(asdict(row)) if row is not None else {"source": balance.source}))
    return told


async def _post(archive: Archive, aweme_id: AwemeId) -> dict[str, Any] | None:
    row = await archive.queue.row(aweme_id)
    if row is None:
        return None
    post = await archive.catalog.post(aweme_id)
    return {
        "aweme_id": aweme_id,
        "state": row.state,
        "url": post_url(aweme_id, post.author_handle, is_photo=post.is_photo)
        if post is not None
        else row.asked_url or post_url(aweme_id),
        "queue": _timed(asdict(row)),
        "post": _timed(asdict(post)) if post is not None else None,
        "files": [_timed(asdict(file)) for file in await archive.catalog.files_of(aweme_id)],
        "custody": await custody_told(archive, aweme_id),
        "availability": [_timed(asdict(run)) for run in await archive.catalog.availability(aweme_id)],
        "dead_letter": await _letter(archive, aweme_id),
        "past": [_timed(asdict(event)) for event in await archive.samples.events_of(aweme_id)],
        "sightings": [_timed(asdict(seen)) for seen in await archive.books.sightings(aweme_id)],
        "credits": [_timed(asdict(call)) for call in await archive.credits.of(aweme_id)],
    }


async def _letter(archive: Archive, aweme_id: AwemeId) -> dict[str, Any] | None:
    letter = await archive.queue.letter(aweme_id)
    return _timed(asdict(letter)) if letter is not None else None


async def _failures(archive: Archive, reason: Reason | None, limit: int) -> dict[str, Any]:
    dead = await archive.queue.failures(limit, reason)
    waiting = [row for row in await archive.queue.waiting(limit) if reason is None or row.last_reason == reason]
    everything = await archive.books.everything()
    rows = [
        {
            "aweme_id": letter.aweme_id,
            "state": "dead",
            "reason": letter.reason,
            "detail": letter.detail,
            "attempts": letter.attempts,
            "when": iso_time(letter.died_at),
            "source": letter.source,
            "acknowledged_at": iso_time(letter.acknowledged_at) if letter.acknowledged_at is not None else None,
        }
        for letter in dead
    ]
    rows += [
        {
            "aweme_id": row.aweme_id,
            "state": "suspect" if row.suspect_at is not None else "waiting",
            "reason": row.last_reason or "",
            "detail": row.last_detail or "",
            "attempts": row.attempts,
            "when": iso_time(row.due_at),
            "source": row.source,
        }
        for row in waiting
    ]
    failing = [
        {
            "source": row.source,
            "reason": row.last_reason,
            "again": iso_time(row.next_at),
            "detail": row.last_detail or "",
        }
        for row in await archive.sources.all()
        if row.last_reason is not None and reason in (None, row.last_reason)
    ]
    return {"reasons": dict(everything.reasons), "failures": rows[:limit], "sources": failing}


def _balance(balance: Balance) -> dict[str, Any]:
    return {
        "seen": balance.seen,
        "archived": balance.archived,
        "dead": balance.dead,
        "withheld": balance.withheld,
        "waiting": balance.waiting,
        "declared": balance.declared,
        "reasons": dict(balance.reasons),
    }


def _source_table(rows: Sequence[dict[str, Any]]) -> str:
    shown = [
        (
            row["source"][:48],
            row["seen"],
            row["archived"],
            row["dead"],
            row["waiting"],
            row["declared"],
            row.get("pass_end") or (f"page {row['pass_pages']}" if row.get("pass_pages") else "-"),
            _next_read(row),
            "paused" if row.get("paused_at") else row.get("last_reason") or "",
        )
        for row in rows
    ]
    return table(shown, ("source", "seen", "archived", "dead", "waiting", "declared", "pass", "next read", "problem"))


def _next_read(row: dict[str, Any]) -> str | None:
    """Say when a source is read next; None where there is no list, or it was read for the last time."""
    at = row.get("next_at")
    if at is None or row.get("kind") == "hand" or at.startswith("9999"):
        return None
    return "paused" if row.get("paused_at") else f"{at[:16]}Z"


def _timed(row: dict[str, Any]) -> dict[str, Any]:
    """Write every moment as UTC text."""
    return {
        key: iso_time(value) if isinstance(value, float) and key.endswith(_TIMES) else value
        for key, value in row.items()
    }


def _flat(body: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in body.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_flat(value, indent + "  ")]
        elif isinstance(value, list):
            lines += [f"{indent}{key}:", *(f"{indent}  - {_inline(item)}" for item in value)]
        elif value not in (None, ""):
            lines.append(f"{indent}{key}: {one_line(value)}")
    return lines


def _inline(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    return ", ".join(
        f"{key} {one_line(value)}" for key, value in item.items() if value not in (None, "") and key != "aweme_id"
    )


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 3) if ordered else None


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
