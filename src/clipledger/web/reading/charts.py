"""What charts are drawn from: one or more lines over time, as JSON, as a table, as CSV. Must not: hold SQL or draw."""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from clipledger.archive import Archive
from clipledger.core.errors import UsageError
from clipledger.core.times import iso_time
from clipledger.core.words import tag_of
from clipledger.db.series import Curves, Observed, Points, Series

DAY_S = 86_400.0
DAYS = 90
"""How far back the daily charts go."""

LATENCIES_MAX = 500
OBSERVED_MAX = 2000
"""Points of one post's curves, at most."""

_REACTIONS = ("digg_count", "comment_count", "share_count", "collect_count")


@dataclass(frozen=True, slots=True)
class Point:
    """The numbers of one moment (unix seconds, and the same as UTC text), one a line; None where nobody told."""

    at: float
    when: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart. `kind`: bars (a day or month each), line or dots. `tone`: good, bad, or life: one good, one bad."""

    title: str
    lines: tuple[str, ...]
    kind: str
    tone: str
    points: tuple[Point, ...]


async def chart(archive: Archive, name: str, of: str) -> Chart:
    """Read the chart `name`; `of` is the post, handle or tag whose it is. UsageError for a name that is none."""
    reader = _READERS.get(name)
    if reader is None:
        raise UsageError(f"there is no such chart: use one of {', '.join(_READERS)}")
    return await reader(archive, of)


def as_csv(drawn: Chart) -> str:
    """Write a chart's numbers, a row a moment."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(("at", *(line.replace(" ", "_") for line in drawn.lines)))
    for point in drawn.points:
        writer.writerow((point.when, *map(_written, point.values)))
    return out.getvalue()


def _written(value: float | None) -> str:
    """Write a number with all its digits, a whole one without a point."""
    return "" if value is None else str(int(value) if value == int(value) else value)


def _daily(what: str, title: str, line: str, tone: str) -> Callable[[Archive, str], Awaitable[Chart]]:
    async def read(archive: Archive, _of: str) -> Chart:
        since = archive.clock.now() - DAYS * DAY_S
        series = await Curves(archive.db).daily(what, since)
        return Chart(title, (line,), "bars", tone, _points(series.points))

    return read


async def _latency(archive: Archive, _of: str) -> Chart:
    series = await Curves(archive.db).latency(LATENCIES_MAX)
    return Chart("From discovery to the first answer", ("seconds",), "dots", "good", _points(series.points))


async def _plays(archive: Archive, of: str) -> Chart:
    return _curve("Plays", await Curves(archive.db).growth_of(of))


async def _reactions(archive: Archive, of: str) -> Chart:
    rows = await Curves(archive.db).observed(of, 0.0, OBSERVED_MAX)
    points = tuple(Point(row.observed_at, iso_time(row.observed_at), _reaction(row)) for row in rows)
    return Chart("Likes, comments, shares, saves", ("likes", "comments", "shares", "saves"), "line", "good", points)


def _reaction(row: Observed) -> tuple[float | None, ...]:
    return tuple(getattr(row, name) for name in _REACTIONS)


async def _of_author(archive: Archive, of: str) -> Chart:
    return _curve(f"Plays of @{of.removeprefix('@')}", await Curves(archive.db).growth_by(of))


async def _of_author_id(archive: Archive, of: str) -> Chart:
    return _curve(f"Plays of author {of}", await Curves(archive.db).growth_of_author(of))


async def _of_tag(archive: Archive, of: str) -> Chart:
    return _curve(f"Plays of #{tag_of(of)}", await Curves(archive.db).growth_with(tag_of(of)))


async def _life_of_author(archive: Archive, of: str) -> Chart:
    return _life(*await Curves(archive.db).life_by(of))


async def _life_of_author_id(archive: Archive, of: str) -> Chart:
    return _life(*await Curves(archive.db).life_of_author(of))


async def _life_of_tag(archive: Archive, of: str) -> Chart:
    return _life(*await Curves(archive.db).life_with(tag_of(of)))


def _life(made: Series, gone: Series) -> Chart:
    counts = dict(made.points), dict(gone.points)
    months = sorted(counts[0].keys() | counts[1].keys())
    points = tuple(Point(at, iso_time(at), (counts[0].get(at, 0.0), counts[1].get(at, 0.0))) for at in months)
    return Chart("Saved posts by month", ("made", "vanished"), "bars", "life", points)


def _curve(title: str, series: Series) -> Chart:
    whole = f", the {series.posts} most played of {series.of} posts" if series.posts < series.of else ""
    return Chart(title + whole, ("plays",), "line", "good", _points(series.points))


def _points(points: Points | Sequence[tuple[float, float]]) -> tuple[Point, ...]:
    return tuple(Point(at, iso_time(at), (round(value, 3),)) for at, value in points)


_READERS: dict[str, Callable[[Archive, str], Awaitable[Chart]]] = {
    "intake": _daily("intake", "Posts saved a day", "posts saved", "good"),
    "gone": _daily("gone", "Saved posts that vanished, by day", "posts gone", "bad"),
    "credits": _daily("credits", "Credits a day", "credits", "good"),
    "latency": _latency,
    "plays": _plays,
    "reactions": _reactions,
    "author": _of_author,
    "author-id": _of_author_id,
    "tag": _of_tag,
    "author-life": _life_of_author,
    "author-id-life": _life_of_author_id,
    "tag-life": _life_of_tag,
}
