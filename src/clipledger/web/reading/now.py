"""The first page and the live figures: where everything stands, in one sentence, and what may go wrong next.

Made of the document that `status` prints, and of nothing else. Must not: ask the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NEAR = 0.9
"""A cap of which so much is spent is worth a word."""


@dataclass(frozen=True, slots=True)
class Risk:
    """One thing that is wrong or soon will be: what, why, and the page that shows it."""

    what: str
    why: str
    page: str


@dataclass(frozen=True, slots=True)
class Now:
    """The figures of one look. `owed`: wanted and not settled; `blocked`: dead for another reason than being gone."""

    as_of: str
    summed_lately: bool
    seen: int
    archived: int
    gone: int
    blocked: int
    withheld: int
    owed: int
    due: int
    suspects: int
    files: int
    bytes: int
    credits_today: int
    credits_all: int
    credits_cap: int | None
    archived_last_minute: int
    archived_last_hour: int
    calls_last_minute: int
    credits_last_hour: int
    under_way: int
    workers: int
    paused: bool
    breaker_open: bool
    sentence: str
    risks: tuple[Risk, ...]


def now_of(status: Mapping[str, Any]) -> Now:
    """Put one status in the figures of the first page."""
    ids, spent, rates = status["ids"], status["credits"], status["rates"]
    gone = sum(count for reason, count in ids["reasons"].items() if _is_gone(reason))
    risks = tuple(_risks(status))
    blocked = ids["dead"] - gone
    return Now(
        as_of=status["as_of"],
        summed_lately=status["kept"],
        seen=ids["seen"],
        archived=ids["archived"],
        gone=gone,
        blocked=blocked,
        withheld=ids["withheld"],
        owed=ids["waiting"],
        due=status["due_now"],
        suspects=status["suspects"],
        files=status["files"],
        bytes=status["bytes"],
        credits_today=spent["today"],
        credits_all=spent["all"],
        credits_cap=spent["cap"],
        archived_last_minute=rates["minute"]["archived"],
        archived_last_hour=rates["hour"]["archived"],
        calls_last_minute=rates["minute"]["calls"],
        credits_last_hour=rates["hour"]["credits"],
        under_way=status["fleet"]["in_flight"],
        workers=status["fleet"]["members"],
        paused=status["pause"]["paused"],
        breaker_open=status["breaker"]["state"] == "open",
        sentence=_sentence(ids, gone, blocked, spent, risks),
        risks=risks,
    )


def _sentence(
    ids: Mapping[str, Any], gone: int, blocked: int, spent: Mapping[str, Any], risks: tuple[Risk, ...]
) -> str:
    cap = f" of {spent['cap']:,}" if spent["cap"] is not None else ""
    parts = [f"{ids['archived']:,} saved", f"{gone:,} gone before they could be", f"{blocked:,} blocked"]
    parts += [f"{ids['withheld']:,} withheld"] if ids["withheld"] else []
    owed = f"{ids['waiting']:,} still owed" if ids["waiting"] else "nothing owed"
    risk = f"Next risk: {risks[0].what}." if risks else "No risk is known."
    return f"Of {ids['seen']:,} wanted, {', '.join(parts)}, {owed}; {spent['today']:,}{cap} credits today. {risk}"


def _is_gone(reason: str) -> bool:
    return reason == "not_found" or reason.startswith("unavailable:")


def _risks(status: Mapping[str, Any]) -> Iterator[Risk]:
    """Name what is wrong, the worst first."""
    breaker, pause, spent, fixity = status["breaker"], status["pause"], status["credits"], status["fixity"]
    if breaker["state"] == "open":
        yield Risk("answers cannot be believed now", breaker["evidence"] or "the breaker is open", "/system")
    if pause["paused"]:
        yield Risk("the archive is paused", pause["reason"] or f"since {pause['since']}", "/system")
    if fixity["damaged"]:
        yield Risk("damaged files", f"{fixity['damaged']} posts have files that are not what was stored", "/system")
    for problem in filter(None, (status["store"]["warning"], *status["store"]["problems"])):
        yield Risk("the store", problem, "/system")
    if spent["cap"] is not None and spent["today"] >= NEAR * spent["cap"]:
        yield Risk("the day's credits run out", f"{spent['today']} of {spent['cap']} are spent", "/budget")
    failing = [source for source in status["sources"] if source.get("last_reason")]
    if failing:
        first = f"{failing[0]['source']}: {failing[0]['last_reason']}"
        yield Risk("sources cannot be read", f"{len(failing)}, such as {first}", "/sources")
    if status["due_now"] and not status["fleet"]["members"]:
        yield Risk("nobody is at work", f"{status['due_now']:,} posts are due and links do not wait", "/system")
    if (overdue := fixity["overdue"]) and fixity["coverage"] is not None:
        yield Risk("files not read again in time", f"{overdue} posts are overdue for their check", "/system")
