"""What pictures are made of: numbers over time. Reads only; what is withheld is in none of them.

Must not: draw, or know a format.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    type_coerce,
)

from clipledger.core.errors import UsageError
from clipledger.core.model import State
from clipledger.core.times import read_iso_time
from clipledger.db.authors import ids_called
from clipledger.db.database import Database
from clipledger.db.index_tables import availability, hashtags
from clipledger.db.tables import UtcTime, archive_queue, credit_days, post_metrics_history, posts
from clipledger.db.tables import credits as paid_calls
from clipledger.db.withheld import hidden

Points = list[tuple[float, float]]
"""(unix seconds, number), in order of time."""

POSTS_MAX = 2000
"""Posts whose curves are added up, at most: the most played ones."""

POINTS_MAX = 5000
"""Points of a curve, at most: more than a screen has columns."""


@dataclass(frozen=True, slots=True)
class Series:
    """A curve, or bars a day. `posts` that it is made of; `of` how many there are."""

    points: Points
    posts: int = 0
    of: int = 0


@dataclass(frozen=True, slots=True)
class Observed:
    """The counters of a post at a moment, and what told them: capture, list or refresh."""

    observed_at: float
    feed: str
    play_count: int | None
    digg_count: int | None
    comment_count: int | None
    share_count: int | None
    download_count: int | None
    collect_count: int | None


_m = post_metrics_history
_WITHHELD = select(archive_queue.c.aweme_id).where(archive_queue.c.state == State.WITHHELD)
_VISIBLE = posts.c.aweme_id.not_in(_WITHHELD)
_CURVES = (
    select(_m.c.aweme_id, _m.c.observed_at, _m.c.play_count)
    .where(_m.c.aweme_id.in_(bindparam("ids", expanding=True)), _m.c.play_count.is_not(None))
    .order_by(_m.c.observed_at, _m.c.aweme_id)
)
_ANSWERED = (
    select(paid_calls.c.aweme_id)
    .where(paid_calls.c.aweme_id.is_not(None))
    .order_by(paid_calls.c.seq.desc())
    .limit(bindparam("n"))
    .subquery()
)
_LATENCIES = (
    select(archive_queue.c.resolved_at, archive_queue.c.added_at)
    .where(archive_queue.c.aweme_id.in_(select(_ANSWERED.c.aweme_id)), archive_queue.c.resolved_at.is_not(None))
    .order_by(archive_queue.c.resolved_at)
)
_DAYS = {
    "intake": (posts.c.archived_at, (_VISIBLE,)),
    "gone": (
        availability.c.first_at,
        (
            availability.c.state == "gone",
            availability.c.aweme_id.in_(select(posts.c.aweme_id).where(_VISIBLE)),
        ),
    ),
}
"""What is counted by day: its moment, and which rows."""


class Curves:
    """Read series."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def growth_of(self, aweme_id: str) -> Series:
        """Give one post's plays as they were observed."""
        return await self._db.read(partial(_growth, condition=posts.c.aweme_id == aweme_id))

    async def observed(self, aweme_id: str, after: float, limit: int) -> list[Observed]:
        """List one post's counters as they were observed behind a moment, oldest first."""
        return await self._db.read(partial(_observed, aweme_id=aweme_id, after=after, limit=limit))

    async def growth_by(self, handle: str) -> Series:
        """Give the plays of all archived posts of whoever has or had this handle, added up."""
        return await self._db.read(partial(_growth_by, handle=handle.removeprefix("@").lower()))

    async def growth_of_author(self, author_id: str) -> Series:
        """Give the plays of all archived posts of one author, added up."""
        return await self._db.read(partial(_growth, condition=posts.c.author_id == author_id))

    async def growth_with(self, tag: str) -> Series:
        """Give the plays of all archived posts with this hashtag, added up."""
        tagged = posts.c.aweme_id.in_(select(hashtags.c.aweme_id).where(hashtags.c.tag == tag))
        return await self._db.read(partial(_growth, condition=tagged))

    async def life_by(self, handle: str) -> tuple[Series, Series]:
        """Count by month the archived posts of whoever has or had this handle: when made, and when found gone."""
        return await self._db.read(partial(_life_by, handle=handle.removeprefix("@").lower()))

    async def life_of_author(self, author_id: str) -> tuple[Series, Series]:
        """Count the same of one author."""
        chosen = select(posts.c.aweme_id).where(posts.c.author_id == author_id)
        return await self._db.read(partial(_life, chosen=chosen))

    async def life_with(self, tag: str) -> tuple[Series, Series]:
        """Count the same of the posts with this hashtag."""
        chosen = select(hashtags.c.aweme_id).where(hashtags.c.tag == tag)
        return await self._db.read(partial(_life, chosen=chosen))

    async def latency(self, limit: int) -> Series:
        """Give the seconds from discovery to the first answer of the posts that were asked for last."""
        return await self._db.read(partial(_latency, limit=limit))

    async def daily(self, what: str, since: float) -> Series:
        """Count by UTC day: `intake`, `gone` or `credits`."""
        return await self._db.read(partial(_credits if what == "credits" else _daily, what=what, since=since))


def _observed(connection: Connection, aweme_id: str, after: float, limit: int) -> list[Observed]:
    visible = select(posts.c.aweme_id).where(posts.c.aweme_id == aweme_id, _VISIBLE)
    wanted = (
        select(*(_m.c[name] for name in Observed.__slots__))
        .where(_m.c.aweme_id.in_(visible), _m.c.observed_at > after)
        .order_by(_m.c.observed_at, _m.c.feed)
        .limit(limit)
    )
    return [Observed(*row) for row in connection.execute(wanted)]


def _growth_by(connection: Connection, handle: str) -> Series:
    out = hidden(connection)
    who = [each for each in ids_called(connection, [handle])[handle] if each not in out]
    if not who:
        raise UsageError(f"@{handle}: this archive has seen nobody of that handle")
    return _growth(connection, posts.c.author_id.in_(who))


def _growth(connection: Connection, condition: ColumnElement[bool]) -> Series:
    chosen = select(posts.c.aweme_id).where(condition, _VISIBLE)
    count = int(connection.execute(select(func.count()).select_from(chosen.subquery())).scalar_one())
    most = chosen.order_by(func.coalesce(posts.c.play_count, 0).desc(), posts.c.aweme_id).limit(POSTS_MAX)
    ids = list(connection.execute(most).scalars())
    plays, total, points = dict[str, int](), 0, Points()
    # The sum of what each was last seen with: a post counts from its first observation on.
    for aweme_id, at, count_ in connection.execute(_CURVES, {"ids": ids}) if ids else ():
        total += count_ - plays.get(aweme_id, 0)
        plays[aweme_id] = count_
        if points and points[-1][0] == at:
            points.pop()
        points.append((at, float(total)))
    return Series(_thinned(points), len(ids), count)


def _life_by(connection: Connection, handle: str) -> tuple[Series, Series]:
    who = ids_called(connection, [handle])[handle]
    return _life(connection, select(posts.c.aweme_id).where(posts.c.author_id.in_(who)))


def _life(connection: Connection, chosen: Select[str]) -> tuple[Series, Series]:
    found = chosen.where(chosen.selected_columns[0].not_in(_WITHHELD)).subquery("found")
    of_id = _month_of_id(connection, found.c.aweme_id)
    made = select(of_id, func.count()).select_from(found).group_by(of_id)
    month = func.substr(_day(connection, availability.c.first_at), 1, 7)
    gone = (
        select(month, func.count())
        .join(found, found.c.aweme_id == availability.c.aweme_id)
        .where(availability.c.state == "gone", availability.c.ended_at.is_(None))
        .group_by(month)
    )
    return _by_month(connection, made), _by_month(connection, gone)


def _by_month(connection: Connection, counted: Select[str, int]) -> Series:
    return _by_day([(f"{month}-01", count) for month, count in connection.execute(counted)])


def _month_of_id(connection: Connection, aweme_id: ColumnElement[str]) -> ColumnElement[str]:
    """Write the month, YYYY-MM, in which a post was made: the upper half of its id is the second."""
    second = cast(aweme_id, BigInteger).op(">>")(literal_column("32"))
    if connection.dialect.name == "sqlite":
        return func.strftime("%Y-%m", second, "unixepoch")
    return func.to_char(func.timezone("UTC", func.to_timestamp(second)), "YYYY-MM")


def _thinned(points: Points) -> Points:
    """Leave out points between the first and the last, evenly, until there are at most `POINTS_MAX`."""
    if len(points) <= POINTS_MAX:
        return points
    return [points[(len(points) - 1) * nth // (POINTS_MAX - 1)] for nth in range(POINTS_MAX)]


def _latency(connection: Connection, limit: int) -> Series:
    found = connection.execute(_LATENCIES, {"n": limit})
    return Series([(resolved_at, max(resolved_at - added_at, 0.0)) for resolved_at, added_at in found])


def _daily(connection: Connection, what: str, since: float) -> Series:
    column, conditions = _DAYS[what]
    day = _day(connection, column)
    counted = select(day, func.count()).where(column >= bindparam("since", type_=UtcTime), *conditions).group_by(day)
    return _by_day([(day_, count) for day_, count in connection.execute(counted, {"since": since})])


def _credits(connection: Connection, what: str, since: float) -> Series:
    spent = connection.execute(select(credit_days.c.day, credit_days.c.credits))
    return _by_day([(day, count) for day, count in spent if _midnight(day) >= since - 86_400])


def _day(connection: Connection, column: ColumnElement[float]) -> ColumnElement[str]:
    if connection.dialect.name == "sqlite":
        return func.substr(type_coerce(column, Text), 1, 10)
    return cast(func.to_char(func.timezone("UTC", column), "YYYY-MM-DD"), Text)


def _by_day(counts: list[tuple[str, int]]) -> Series:
    return Series(sorted((_midnight(day), float(count)) for day, count in counts))


def _midnight(day: str) -> float:
    return read_iso_time(f"{day}T00:00:00Z")
