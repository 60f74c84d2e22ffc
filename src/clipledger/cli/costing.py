"""`plan` and `credits`: what an archive will cost, and what it did cost."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from clipledger import settings as settings_file
from clipledger.answers.spending import spent as spent_lately
from clipledger.archive import open_archive
from clipledger.cli.output import Context, size, table
from clipledger.core.cost import MONTH_DAYS, Day, Month, Prices, Share, Sizes, Tier, Wish, day_of, months_of
from clipledger.core.errors import Misconfigured, UsageError
from clipledger.core.times import parse_duration
from clipledger.db.spending import Experience, Spending

_DAY_S = 86_400.0
_EXPERIENCED = 100
"""Posts that an archive must hold before its own sizes and waste are believed."""

NEW_MIN, NEW_MAX = 0.01, 100.0
"""New ids a page of a listing can give: one in a hundred pages, or a page full."""

_SHOWN = 20
_PRICES_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What `plan` was asked, as written."""

    videos_per_day: int
    mix: str | None
    keep: str | None
    copies: int
    months: int
    read_share: float
    prices: Path | None
    table: str | None
    guide: bool


def plan(context: Context, options: PlanOptions) -> None:
    """Show what so many videos a day cost, day by day and month by month."""
    known, rpm = asyncio.run(_known(context, options))
    wish = _wish(options, known)
    try:
        day = day_of(wish, rpm)
    except ValueError as error:
        raise UsageError(f"--source-mix: {error}") from None
    tables = _price_tables(options.prices)
    if options.table is not None and options.table not in tables:
        raise UsageError(f"--table {options.table!r}: the tables are {', '.join(tables)}")
    chosen = [tables[options.table]] if options.table is not None else list(tables.values())
    months = {prices.name: list(months_of(wish, day, prices, options.months)) for prices in chosen}
    if context.json:
        context.document(_plan_document(wish, day, rpm, chosen, months, from_archive=known is not None))
    else:
        _tell_plan(context, wish, day, rpm, chosen, months, known)


def show_credits(context: Context, since: str) -> None:
    """Show the ledger by day, endpoint, reason and source, its waste, and where it is going."""
    seconds = parse_duration(since)

    async def asked() -> dict[str, Any]:
        async with open_archive(context.archive) as archive:
            return await spent_lately(archive, seconds)

    body = asyncio.run(asked())
    if context.json:
        context.document(body)
    else:
        _tell_credits(context, body, since)


# What is known


async def _known(context: Context, options: PlanOptions) -> tuple[Experience | None, int]:
    """Give what the archive here has lived through, if there is one, and the limit that holds for it."""
    try:
        async with open_archive(context.archive) as archive:
            lived = await Spending(archive.db).experience()
            rpm = archive.settings.api.requests_per_minute
    except Misconfigured:
        return None, settings_file.load(context.archive).api.requests_per_minute
    return (lived if lived.archived >= _EXPERIENCED and not options.guide else None), rpm


def _wish(options: PlanOptions, known: Experience | None) -> Wish:
    keep = None if options.keep is None else round(parse_duration(options.keep) / _DAY_S)
    if keep == 0:
        raise UsageError(f"--keep {options.keep}: at least one day")
    wish = Wish(
        options.videos_per_day, keep_days=keep, copies=options.copies, read_share=options.read_share, mix=_mix(options)
    )
    if known is None:
        return wish
    lived = replace(
        wish,
        sizes=_sizes(known),
        waste=max(known.resolve_credits / known.archived - 1, 0.0),
        objects_per_post=sum(count for count, _ in known.files.values()) / known.archived,
    )
    return lived if options.mix is not None else replace(lived, mix=_mix_of(known) or wish.mix)


def _sizes(known: Experience) -> Sizes:
    def mean(*kinds: str) -> float:
        return sum(known.files[kind][1] for kind in kinds if kind in known.files) / known.archived

    return Sizes(mean("video", "image", "audio"), mean("cover"), mean("sidecar"))


def _mix_of(known: Experience) -> tuple[Share, ...]:
    shown = {kind: (pages, new) for kind, (pages, new) in known.pages.items() if pages and new}
    total = sum(new for _, new in shown.values())
    return tuple(Share(kind, new / total, new / pages) for kind, (pages, new) in sorted(shown.items()))


def _mix(options: PlanOptions) -> tuple[Share, ...]:
    """Read `user=0.7,tag=0.3` or, with new ids a page, `user=0.7:28,tag=0.3:15`."""
    if options.mix is None:
        return (Share("user", 1.0),)
    return tuple(_share(part) for part in options.mix.split(","))


def _share(text: str) -> Share:
    kind, _, numbers = text.strip().partition("=")
    share, _, new = numbers.partition(":")
    try:
        part = Share(kind, float(share), float(new)) if new else Share(kind, float(share))
    except ValueError:
        part = Share("", 0.0)
    if not part.kind or not 0 < part.share <= 1 or not NEW_MIN <= part.new_per_page <= NEW_MAX:
        raise UsageError(
            f"--source-mix: {text.strip()[:40]!r}: write KIND=SHARE or KIND=SHARE:NEW_IDS_PER_PAGE, "
            f"a share up to 1 and {NEW_MIN} to {NEW_MAX} new ids a page"
        )
    return part


def _price_tables(file: Path | None) -> dict[str, Prices]:
    try:
        if file is None:
            body = resources.files("clipledger").joinpath("prices.toml").read_text(encoding="utf-8")
        else:
            with file.open("rb") as opened:
                body = opened.read(_PRICES_MAX_BYTES).decode("utf-8")
        tables = {name: _prices(name, told) for name, told in tomllib.loads(body).items()}
    except OSError as error:
        raise UsageError(f"--prices {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"--prices {file}: {' '.join(str(error).split())[:200]}") from None
    if not tables:
        raise UsageError(f"--prices {file}: holds no price table: begin with a copy of prices.toml")
    return tables


def _prices(name: str, told: object) -> Prices:
    """Read one table; ValueError names it and says what is wrong with it."""
    if not isinstance(told, Mapping):
        raise ValueError(f"not a price table: {name}: write [{name}], and its prices below it")
    try:
        tiers = tuple(
            Tier(tier["name"], int(tier["from_day"]), float(tier["gigabyte_month"])) for tier in told["tiers"]
        )
        prices = Prices(name, tiers=tiers, **{key: value for key, value in told.items() if key != "tiers"})
    except KeyError as error:
        raise ValueError(f"not a price table: {name}: {error.args[0]} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        why = str(error).removeprefix("Prices.__init__() ")
        raise ValueError(f"not a price table: {name}: {why}") from None
    if min((tier.from_day for tier in tiers), default=-1) != 0:
        raise ValueError(f"not a price table: {name}: one tier must begin at from_day = 0")
    return prices


# Told: plan


def _tell_plan(
    context: Context,
    wish: Wish,
    day: Day,
    rpm: int,
    chosen: Sequence[Prices],
    months: Mapping[str, Sequence[Month]],
    known: Experience | None,
) -> None:
    whence = (
        f"sizes, pages and waste as measured on this archive's {known.archived:,} posts"
        if known is not None
        else f"sizes and pages assumed: they are measured where an archive here holds {_EXPERIENCED} posts or more"
    )
    further = f" + {day.further:,} further resolves" if day.further else ""
    copies = f"{wish.copies} cop{'y' if wish.copies == 1 else 'ies'}"
    context.tell(
        f"{day.details:,} posts a day = {day.details:,} detail calls + {day.pages:,} listing calls{further} "
        f"= {day.credits:,} credits a day, {day.credits * MONTH_DAYS:,} a month\n"
        f"at {rpm} calls a minute that takes {day.hours:.1f} h of the day{_too_much(day)}\n"
        f"{size(day.bytes)} a day ({size(wish.sizes.post)} a post, {copies})\n"
        f"{whence}\n"
    )
    rows = [
        (prices.name, month.number, size(month.bytes), *(_money(value, prices) for value in _costs(month)))
        for prices in chosen
        for month in _telling(months[prices.name], brief=len(chosen) > 1)
    ]
    context.tell(table(rows, ("prices", "month", "stored", "storage", "requests", "reading", "credits", "month's sum")))
    context.tell("\nprices are list prices of the day in the table: copy prices.toml and use --prices FILE for yours")


def _costs(month: Month) -> tuple[float | None, ...]:
    return month.storage, month.puts, month.egress, month.credits, month.total


def _telling(months: Sequence[Month], *, brief: bool) -> list[Month]:
    """Pick the months that people look at: the first, each quarter's last unless `brief`, the last."""
    return [m for m in months if m.number in (1, len(months)) or (m.number % 3 == 0 and not brief)]


def _too_much(day: Day) -> str:
    return "" if day.hours <= 24 else ": MORE THAN A DAY HAS; raise the plan's limit or take fewer"


def _money(value: float | None, prices: Prices) -> str:
    return "not known" if value is None else f"{value:,.2f} {prices.currency}"


def _plan_document(
    wish: Wish,
    day: Day,
    rpm: int,
    chosen: Sequence[Prices],
    months: Mapping[str, Sequence[Month]],
    *,
    from_archive: bool,
) -> dict[str, Any]:
    return {
        "per_day": asdict(day) | {"credits": day.credits},
        "per_month": {"credits": day.credits * MONTH_DAYS},
        "requests_per_minute": rpm,
        "assumed": asdict(wish) | {"measured_on_this_archive": from_archive},
        "prices": [asdict(prices) for prices in chosen],
        "months": {name: [asdict(month) | {"total": month.total} for month in told] for name, told in months.items()},
    }


# Told: credits


def _tell_credits(context: Context, body: Mapping[str, Any], since: str) -> None:
    spent, wasted = body["credits"], sum(body["wasted"].values())
    share = f" ({wasted / spent:.1%})" if spent else ""
    why = "".join(f", {count} {reason}" for reason, count in body["wasted"].items())
    why = why.replace(",", ":", 1)
    ahead = body["forecast"]
    capped = f", cap {ahead['cap']:,} a day" if ahead["cap"] is not None else ""
    whole = ahead["from_whole_days"]
    basis = f"from {whole} whole days; {ahead['today']:,} today" if whole else "a guess: carried on from today alone"
    context.tell(
        f"{spent:,} credits in the last {since}; {wasted:,} bought no post of their own{share}{why}\n"
        f"{body['answered_gone']:,} calls were answered `gone` and are booked as 0 credits\n"
        f"at this pace {ahead['per_day']:,} a day, {ahead['next_30_days']:,} in the next 30 days{capped} ({basis})"
    )
    for what in ("day", "reason", "endpoint", "source"):
        rows = [(line["name"] or "-", line["calls"], line["credits"], line["gone"]) for line in body[f"by_{what}"]]
        if rows:
            context.tell(
                "\n" + table(rows[-_SHOWN:] if what == "day" else rows[:_SHOWN], (what, "calls", "credits", "gone"))
            )
        if len(rows) > _SHOWN:
            context.tell(f"and {len(rows) - _SHOWN} more: --json lists all")
