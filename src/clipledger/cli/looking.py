"""`status`, `sources`, `show`, `failures`: look closer. Must not: change anything."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from clipledger.answers.failures import failures
from clipledger.answers.posts import attributed
from clipledger.answers.status import sources
from clipledger.answers.status import status as tell_status
from clipledger.answers.words import a_reason
from clipledger.archive import Archive, open_archive
from clipledger.cli.keeping import care_line, store_line
from clipledger.cli.likeness import same_bytes_lines
from clipledger.cli.members import fleet_lines, fleet_table
from clipledger.cli.output import Context, one_line, size, table
from clipledger.core.errors import UsageError
from clipledger.core.links import WantedPost, shown, understand
from clipledger.core.model import AwemeId

T = TypeVar("T")

NOTHING_YET = "no sources yet: clipledger add @handle '#tag' 'search:WORDS' ..."


def status(context: Context, fresh: bool = False) -> None:
    """Show where everything stands."""
    body = asked(context, lambda archive: tell_status(archive, fresh))
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
    rows = asked(context, sources)
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
    body = asked(context, lambda archive: attributed(archive, aweme_id))
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
    body = asked(context, lambda archive: failures(archive, wanted, limit))
    if context.json:
        context.document(body)
        return
    rows = [
        (row["aweme_id"], _state(row), row["reason"], row["attempts"], row["when"], row["source"], row["detail"][:60])
        for row in body["failures"]
    ]
    if rows:
        context.tell(table(rows, ("id", "state", "reason", "attempts", "when", "source", "detail")))
    elif not body["sources"]:
        context.tell("no failures")
    if body["sources"]:
        context.tell(table([tuple(row.values()) for row in body["sources"]], ("source", "problem", "again", "detail")))


def _state(row: Mapping[str, Any]) -> str:
    return f"{row['state']}, acknowledged" if row.get("acknowledged_at") else row["state"]


def asked(context: Context, ask: Callable[[Archive], Awaitable[T]]) -> T:
    """Open the archive, ask it, close it; for short commands, which load nothing more from here on."""
    gc.freeze()  # all that was imported stays: the interpreter's last look at it would take a tenth of the time

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


def _source_table(rows: Sequence[dict[str, Any]]) -> str:
    shown = [
        (
            row["source"][:48],
            row["seen"],
            row["archived"],
            row["dead"],
            row["withheld"],
            row["waiting"],
            row["declared"],
            row.get("pass_end") or (f"page {row['pass_pages']}" if row.get("pass_pages") else "-"),
            _next_read(row),
            "paused" if row.get("paused_at") else row.get("last_reason") or "",
        )
        for row in rows
    ]
    return table(
        shown, ("source", "seen", "archived", "dead", "withheld", "waiting", "declared", "pass", "next read", "problem")
    )


def _next_read(row: dict[str, Any]) -> str | None:
    """Say when a source is read next; None where there is no list, or it was read for the last time."""
    at = row.get("next_at")
    if at is None or row.get("kind") == "hand" or at.startswith("9999"):
        return None
    return "paused" if row.get("paused_at") else f"{at[:16]}Z"


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


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
