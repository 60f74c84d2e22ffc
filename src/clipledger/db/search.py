"""Find archived posts: full text and marks through the search index, in one of five orders, page by page.

Common words match a good part of the archive, and sorting all of that would take seconds. So where an index
gives the order, and more than a few posts match, the order is walked and each post is held against the query;
else the matches are sorted. Both find the same. Must not: read what a user typed (`core.query`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, text

from clipledger.core.errors import UsageError
from clipledger.core.links import shown
from clipledger.core.model import AwemeId
from clipledger.core.query import Query
from clipledger.core.times import utc_day
from clipledger.core.words import relevance
from clipledger.db.database import Database
from clipledger.db.index_tables import availability
from clipledger.db.speech import Asked, Speech, asked_of
from clipledger.db.tables import posts

GATHERED_WALKED_MAX = 40_000
"""Posts of an order that are held against matches that were gathered first: 0.3 us each, on a million posts."""

GLANCED, GLANCED_MAX, GLANCED_LOOKUPS, COMMON = 250, 20_000, 2000, 20
"""Posts of an order that are looked at first, where a server guesses: so many for each that is wanted, at most, by a
column. They cost 1 us each, and 5 by a column; a word that one post in a hundred has fills its page among them. A word
that so many of the newest have is common."""

WEIGHED = 1000
"""The newest matches, among which the most relevant are looked for."""

COUNTED_MAX = 10_000
"""Matches that are counted, and that facets are made of: the newest ones."""


class Sort(StrEnum):
    """The order of what is found. `NEW` and `OLD` go by the moment of creation, which the id holds."""

    NEW = "new"
    OLD = "old"
    PLAYS = "plays"
    GROWTH = "growth"
    RELEVANCE = "relevance"


@dataclass(frozen=True, slots=True)
class Hit:
    """One post that was found; `gone_at` None: it is not known to be gone. `key` goes on behind it."""

    aweme_id: AwemeId
    author_id: str
    author_handle: str
    title: str
    region: str
    create_time: int | None
    play_count: int | None
    plays_per_day: float | None
    storage_key: str
    is_photo: bool
    gone_at: float | None
    key: str


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, in order; `after` goes on behind it, None at the end."""

    hits: tuple[Hit, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class Facets:
    """How the newest matches spread. `complete`: these are all of them."""

    counted: int
    complete: bool
    authors: tuple[tuple[Any, ...], ...]  # id, handle, posts
    tags: tuple[tuple[Any, ...], ...]
    regions: tuple[tuple[Any, ...], ...]
    months: tuple[tuple[str, int], ...]


_Row = Row[*tuple[Any, ...]]
_COLUMNS = {Sort.PLAYS: "play_count", Sort.GROWTH: "plays_per_day"}
_GONE_AT = (
    select(availability.c.first_at)
    .where(
        availability.c.aweme_id == posts.c.aweme_id,
        availability.c.ended_at.is_(None),
        availability.c.state == "gone",
    )
    .scalar_subquery()
    .label("gone_at")
)
_SHOWN = select(
    posts.c.aweme_id,
    posts.c.author_id,
    posts.c.author_handle,
    posts.c.title,
    posts.c.region,
    posts.c.create_time,
    posts.c.play_count,
    posts.c.plays_per_day,
    posts.c.storage_key,
    posts.c.is_photo,
    _GONE_AT,
).where(posts.c.aweme_id.in_(bindparam("ids", expanding=True)))


class Search:
    """Ask the search index."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def find(
        self, query: Query, sort: Sort, limit: int, after: str | None = None, *, backwards: bool = False
    ) -> Page:
        """Give `limit` matches behind the key `after`; posts whose count is not known are in no order by it.

        `backwards`: in the order turned round, so the matches before the key, the nearest first.
        """
        find = partial(_find, query=query, sort=sort, limit=limit, after=after, backwards=backwards)
        return await self._db.read(find)

    async def count(self, query: Query, cap: int = COUNTED_MAX) -> int:
        """Count the matches; stop at `cap`."""
        return await self._db.read(lambda connection: _counted(connection, query, cap))

    async def facets(self, query: Query, limit: int = 10) -> Facets:
        """Spread the newest `COUNTED_MAX` matches by author, tag, region and month; `limit` of each, largest first."""
        return await self._db.read(partial(_facets, query=query, limit=limit))


def matching_ids(connection: Connection, query: Query) -> list[str]:
    """Give the ids of all matches, in order; on the caller's snapshot. Meant for a query that is bounded by days."""
    return [aweme_id for aweme_id, _ in _by_age(connection, asked_of(connection, query), True, 1 << 62, None)]


def _counted(connection: Connection, query: Query, cap: int) -> int:
    asked = asked_of(connection, query)
    return _count(connection, _weighed(connection, asked) if asked.plays else asked, cap)


def _weighed(connection: Connection, asked: Asked) -> Asked:
    """Where a server would guess how many match, see whether they are few."""
    if not asked.match or not asked.speech.guesses:
        return asked
    few = asked.speech.sorted_max
    return replace(asked, gathered=_count(connection, replace(asked, plays=False), few + 1) <= few)


def _find(connection: Connection, query: Query, sort: Sort, limit: int, after: str | None, backwards: bool) -> Page:
    asked = asked_of(connection, query)
    if sort in _COLUMNS:
        ranking = _Ranking(_COLUMNS[sort], backwards, _ranked_key(after, sort), limit + 1)
        rows = _by_column(connection, asked, ranking)
    elif sort is Sort.RELEVANCE and query.words:
        rows = _by_relevance(connection, asked, query.words, limit + 1, _ranked_key(after, sort), backwards)
    else:
        rows = _by_age(connection, asked, (sort is Sort.OLD) is not backwards, limit + 1, after)
    keys = {aweme_id: aweme_id if rank is None else f"{rank!r}:{aweme_id}" for aweme_id, rank in rows[:limit]}
    hits = tuple(_hits(connection, keys))
    return Page(hits, hits[-1].key if len(rows) > limit and hits else None)


def _by_age(
    connection: Connection, asked: Asked, oldest_first: bool, limit: int, after: str | None
) -> list[tuple[str, Any]]:
    if after is not None:
        asked = asked.behind(_id_of(after), oldest_first)
    if asked.speech.guesses and asked.match and not asked.gathered:
        found = _glance(connection, asked, oldest_first, limit, min(limit * GLANCED, GLANCED_MAX))
        if len(found) == limit:
            return [(aweme_id, None) for aweme_id in found]
        if not asked.plays and (few := _few(connection, asked)) is not None:
            return [(aweme_id, None) for aweme_id in sorted(few, reverse=not oldest_first)[:limit]]
        asked = _weighed(connection, asked) if asked.plays else asked
    key, told = (asked.speech.key, asked.speech.id) if asked.match else ("p.aweme_id", "p.aweme_id")
    order = "" if oldest_first else " DESC"
    sql = f"SELECT {told} FROM {asked.source} WHERE {asked.where} ORDER BY {key}{order} LIMIT :n"
    return [(aweme_id, None) for aweme_id in connection.execute(text(sql), asked.values | {"n": limit}).scalars()]


def _glance(connection: Connection, asked: Asked, oldest_first: bool, limit: int, first: int) -> list[str]:
    """Hold only the first posts of the order against the query: most of what people ask for is among them."""
    order = "s.aweme_id" + ("" if oldest_first else " DESC")
    among = f"SELECT * FROM post_search s WHERE {asked.within} ORDER BY {order} LIMIT :first"
    joined = f"JOIN posts p ON p.aweme_id = s.aweme_id AND {asked.played}" if asked.plays else ""
    sql = f"SELECT s.aweme_id FROM ({among}) s {joined} WHERE {asked.speech.match} ORDER BY {order} LIMIT :n"
    return list(connection.execute(text(sql), asked.values | {"n": limit, "first": first}).scalars())


def _few(connection: Connection, asked: Asked) -> list[str] | None:
    """Give the ids of all matches, in no order; None where they are not few."""
    found = connection.execute(
        text(f"SELECT s.aweme_id FROM {asked.source} WHERE {asked.where} LIMIT :n"),
        asked.values | {"n": asked.speech.sorted_max + 1},
    )
    ids = list(found.scalars())
    return ids if len(ids) <= asked.speech.sorted_max else None


@dataclass(frozen=True, slots=True)
class _Ranking:
    """Posts by a column, the highest first (`backwards`: the lowest), behind a key, so many."""

    column: str
    backwards: bool
    after: tuple[float, str] | None
    limit: int

    @property
    def beyond(self) -> str:
        """Write what is behind the key."""
        if self.after is None:
            return f"p.{self.column} IS NOT NULL"
        return f"(p.{self.column}, p.aweme_id) {'>' if self.backwards else '<'} (:rank, :after)"

    @property
    def before_last(self) -> str:
        """Write what comes before the last one that is walked over."""
        return f"(p.{self.column}, p.aweme_id) {'<' if self.backwards else '>'} (:last_rank, :last_id)"

    @property
    def order(self) -> str:
        """Write the order."""
        way = "ASC" if self.backwards else "DESC"
        return f"ORDER BY p.{self.column} {way}, p.aweme_id {way}"

    @property
    def values(self) -> dict[str, object]:
        """Give the values of the above."""
        key = {} if self.after is None else {"rank": self.after[0], "after": self.after[1]}
        return {"n": self.limit} | key


def _by_column(connection: Connection, asked: Asked, ranking: _Ranking) -> list[tuple[str, Any]]:
    speech = asked.speech
    if speech.guesses and asked.match:
        found = _walk(connection, asked, ranking, GLANCED_LOOKUPS, gathered=False)
        if found is not None:
            return found
        asked = _weighed(connection, asked)
    count = _matched(connection, asked)
    if not asked.match or count > speech.sorted_max:
        gathered = 0 < count <= speech.gathered_max
        walked = GATHERED_WALKED_MAX if gathered else speech.walked_max
        found = _walk(connection, asked, ranking, walked, gathered=gathered)
        if found is not None:
            return found
        asked = replace(asked, gathered=speech.guesses and bool(asked.match))
    source = "posts p" if not asked.match else f"{asked.index} JOIN {speech.ranked} ON p.aweme_id = {speech.id}"
    chosen = f"SELECT p.aweme_id, p.{ranking.column} FROM {source}"
    sql = f"{chosen} WHERE {asked.where} AND {ranking.beyond} {ranking.order} LIMIT :n"
    return _ranks(connection, sql, asked.values | ranking.values)


def _matched(connection: Connection, asked: Asked) -> int:
    """Count the matches, as far as it matters."""
    speech = asked.speech
    if not asked.match or asked.gathered:
        return 0
    most = max(speech.sorted_max, speech.gathered_max)
    return most + 1 if speech.guesses else _count(connection, asked, most + 1)  # who guesses was asked before


def _walk(
    connection: Connection, asked: Asked, ranking: _Ranking, walked: int, *, gathered: bool
) -> list[tuple[str, Any]] | None:
    """Hold the first `walked` posts of an order against the query; None when too few of them match."""
    held = "p.aweme_id >= :low_id AND p.aweme_id < :high_id" + (" AND p.play_count >= :plays" if asked.plays else "")
    held += f" AND {_held(asked.speech, gathered)}" if asked.match else ""
    chosen = f"SELECT p.aweme_id, p.{ranking.column} FROM posts p WHERE {ranking.beyond}"
    values = asked.values | ranking.values | {"walked": walked}
    end = _ranks(connection, f"{chosen} {ranking.order} LIMIT 1 OFFSET :walked", values)
    values |= {"low_id": str(asked.lowest), "high_id": str(asked.highest)}
    if end:
        held += f" AND {ranking.before_last}"
        values |= {"last_rank": end[0][1], "last_id": end[0][0]}
    found = _ranks(connection, f"{chosen} AND {held} {ranking.order} LIMIT :n", values)
    return found if not end or len(found) == ranking.limit else None


def _held(speech: Speech, gathered: bool) -> str:
    """Write that a post matches: it is among all matches, or the index has it."""
    if gathered:
        return f"{speech.of_post} IN (SELECT {speech.key} FROM post_search s WHERE {speech.match})"
    return f"EXISTS (SELECT 1 FROM post_search s WHERE {speech.match} AND {speech.key} = {speech.of_post})"


def _ranks(connection: Connection, sql: str, values: Mapping[str, object]) -> list[tuple[str, Any]]:
    return [(row[0], row[1]) for row in connection.execute(text(sql), values)]


def _by_relevance(
    connection: Connection,
    asked: Asked,
    words: Sequence[str],
    limit: int,
    after: tuple[float, str] | None,
    backwards: bool,
) -> list[tuple[str, Any]]:
    if asked.speech.guesses and len(_glance(connection, asked, False, COMMON, GLANCED_LOOKUPS)) < COMMON:
        asked = _weighed(connection, asked)
    sql = (
        f"SELECT {asked.speech.id}, s.words FROM {asked.source} WHERE {asked.where} "
        f"ORDER BY {asked.speech.key} DESC LIMIT :n"
    )
    rows = connection.execute(text(sql), asked.values | {"n": WEIGHED})
    weighed = sorted(((relevance(kept, words), aweme_id) for aweme_id, kept in rows), reverse=not backwards)
    beyond = [each for each in weighed if after is None or (each > after if backwards else each < after)]
    return [(aweme_id, weight) for weight, aweme_id in beyond[:limit]]


def _hits(connection: Connection, keys: Mapping[str, str]) -> list[Hit]:
    found = {row.aweme_id: row for row in connection.execute(_SHOWN, {"ids": list(keys)})}
    return [Hit(**found[aweme_id]._mapping, key=key) for aweme_id, key in keys.items() if aweme_id in found]


def _count(connection: Connection, asked: Asked, cap: int) -> int:
    sql = f"SELECT count(*) FROM (SELECT 1 FROM {asked.source} WHERE {asked.where} LIMIT :n) AS found"
    return int(connection.execute(text(sql), asked.values | {"n": cap}).scalar_one())


def _facets(connection: Connection, query: Query, limit: int) -> Facets:
    asked = _weighed(connection, asked_of(connection, query))
    ids = [aweme_id for aweme_id, _ in _by_age(connection, asked, False, COUNTED_MAX + 1, None)]
    months = Counter(utc_day(int(aweme_id) >> 32)[:7] for aweme_id in ids[:COUNTED_MAX])
    spread = partial(_spread, connection, asked, limit)
    return Facets(
        min(len(ids), COUNTED_MAX),
        len(ids) <= COUNTED_MAX,
        authors=spread("o.author_id, max(o.author_handle)", "posts", "o.author_id"),
        tags=spread("o.tag", "hashtags", "o.tag"),
        regions=spread("o.region", "posts", "o.region"),
        months=tuple(sorted(months.items(), reverse=True)),
    )


def _spread(
    connection: Connection, asked: Asked, limit: int, told: str, table: str, by: str
) -> tuple[tuple[Any, ...], ...]:
    key, aweme_id = (asked.speech.key, asked.speech.id) if asked.match else ("p.aweme_id", "p.aweme_id")
    newest = f"SELECT {aweme_id} AS hit FROM {asked.source} WHERE {asked.where} ORDER BY {key} DESC LIMIT :cap"
    sql = (
        f"WITH hits AS MATERIALIZED ({newest}) SELECT {told}, count(*) AS n FROM hits "
        f"JOIN {table} o ON o.aweme_id = hits.hit GROUP BY {by} ORDER BY n DESC, {by} LIMIT :n"
    )
    values = asked.values | {"n": limit, "cap": COUNTED_MAX}
    return tuple(tuple(row) for row in connection.execute(text(sql), values))


def _ranked_key(after: str | None, sort: Sort) -> tuple[float, str] | None:
    if after is None:
        return None
    rank, _, aweme_id = after.partition(":")
    try:
        value = float(rank) if sort is Sort.GROWTH else int(rank)
    except ValueError:
        raise _not_a_key(after) from None
    if not abs(value) < 1 << 63:  # nor nan
        raise _not_a_key(after)
    return value, str(_id_of(aweme_id))


def _id_of(after: str) -> int:
    if not (after.isascii() and after.isdigit() and len(after) <= 20) or int(after) >= 1 << 63:
        raise _not_a_key(after)
    return int(after)


def _not_a_key(after: str) -> UsageError:
    return UsageError(f"--after '{shown(after, 40)}' is no key of this order: take it from the page before")
