"""Hold what two databases know of archived posts against each other: all that a sidecar can give back.

Page by page of ids, so memory is bounded. Left out is what no sidecar holds: counters seen after the capture, and how
an id came into the queue where its sidecar does not tell. Must not: change anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import BindParameter, Connection, Select, bindparam, select

from clipledger.core.model import State
from clipledger.db.backend import in_order
from clipledger.db.database import Database
from clipledger.db.index_tables import author_handles, hashtags
from clipledger.db.restoring import UNKNOWN_SOURCE
from clipledger.db.tables import archive_queue, files, post_metrics_history, posts, sightings

PAGE = 500

_LATER = {
    *(f"{name}_count" for name in ("play", "digg", "comment", "share", "download", "collect")),
    "counters_at",
    "plays_per_day",
}
"""Columns of `posts` that lists and refreshes change after the capture; the capture's own are in the history."""

_BEHIND = "9" * 30
"""Comes after every id, in the order of any database."""

_q = archive_queue
_IDS: BindParameter[object] = bindparam("ids", expanding=True)


@dataclass(frozen=True, slots=True)
class Difference:
    """One archived post that the two do not tell alike; `tables` where."""

    aweme_id: str
    tables: tuple[str, ...]


@dataclass(slots=True)
class Compared:
    """How far a comparison came: posts held against each other so far."""

    posts: int = 0


_ARCHIVED = (
    select(_q.c.aweme_id)
    .where(_q.c.aweme_id > bindparam("after"), _q.c.state == State.ARCHIVED)
    .order_by(_q.c.aweme_id)
    .limit(PAGE)
)
_UP_TO = (
    select(_q.c.aweme_id)
    .where(_q.c.aweme_id > bindparam("after"), _q.c.aweme_id <= bindparam("last"), _q.c.state == State.ARCHIVED)
    .order_by(_q.c.aweme_id)
)
_EQUAL: Mapping[str, Select[Any]] = {
    "posts": select(*(column for column in posts.c if column.name not in _LATER)).where(posts.c.aweme_id.in_(_IDS)),
    "files": select(*files.c).where(files.c.aweme_id.in_(_IDS)),
    "post_metrics_history": select(*post_metrics_history.c).where(
        post_metrics_history.c.aweme_id.in_(_IDS), post_metrics_history.c.feed == "capture"
    ),
    "hashtags": select(*hashtags.c).where(hashtags.c.aweme_id.in_(_IDS)),
    "archive_queue": select(_q.c.aweme_id, _q.c.state, _q.c.author_part, _q.c.thin).where(_q.c.aweme_id.in_(_IDS)),
}
"""What is to be the same on both sides, row for row; each statement's first column is the post's id."""

_ORIGINS = select(_q.c.aweme_id, _q.c.source, _q.c.added_at, _q.c.asked_url).where(_q.c.aweme_id.in_(_IDS))
_SEEN = select(sightings.c.aweme_id, sightings.c.source, sightings.c.seen_at).where(sightings.c.aweme_id.in_(_IDS))
_WHO = (
    select(posts.c.aweme_id, author_handles.c.author_id, author_handles.c.handle)
    .join(author_handles, author_handles.c.author_id == posts.c.author_id)
    .where(posts.c.aweme_id.in_(_IDS))
)
_WITHIN = {"authors": _WHO}
"""What is to be among what the other side knows, which may know more."""


async def differences(rebuilt: Database, known: Database, compared: Compared) -> AsyncIterator[Difference]:
    """Name every archived post that a rebuilt database tells otherwise than the known one, or that one lacks."""
    after = ""
    while True:
        page = await rebuilt.read(partial(_page, after=after))
        last = page[-1] if len(page) == PAGE else _BEHIND
        others = await known.read(partial(_range, after=after, last=last))
        for aweme_id in sorted({*page} ^ {*others}):
            yield Difference(aweme_id, ("archive_queue",))
        both = sorted({*page} & {*others})
        one, other = await rebuilt.read(partial(_told, ids=both)), await known.read(partial(_told, ids=both))
        for aweme_id in both:
            if wrong := tuple(_wrong(one, other, aweme_id)):
                yield Difference(aweme_id, wrong)
        compared.posts += len(both)
        if last == _BEHIND:
            return
        after = last


_Rows = Mapping[str, Mapping[str, frozenset[tuple[object, ...]]]]


def _page(connection: Connection, after: str) -> list[str]:
    return list(in_order(after, connection.execute(_ARCHIVED, {"after": after}).scalars().all()))


def _range(connection: Connection, after: str, last: str) -> list[str]:
    return list(connection.execute(_UP_TO, {"after": after, "last": last}).scalars())


def _told(connection: Connection, ids: Sequence[str]) -> _Rows:
    statements = {**_EQUAL, **_WITHIN, "origin": _ORIGINS, "sightings": _SEEN}
    return {name: _by_id(connection.execute(asked, {"ids": list(ids)})) for name, asked in statements.items()}


def _by_id(rows: Iterable[Sequence[object]]) -> dict[str, frozenset[tuple[object, ...]]]:
    found: dict[str, set[tuple[object, ...]]] = {}
    for row in rows:
        found.setdefault(str(row[0]), set()).add(tuple(row))
    return {aweme_id: frozenset(each) for aweme_id, each in found.items()}


def _wrong(rebuilt: _Rows, known: _Rows, aweme_id: str) -> Iterable[str]:
    def rows(side: _Rows, name: str) -> frozenset[tuple[object, ...]]:
        return side[name].get(aweme_id, frozenset())

    yield from (name for name in _EQUAL if rows(rebuilt, name) != rows(known, name))
    yield from (name for name in _WITHIN if not rows(rebuilt, name) <= rows(known, name))
    told = {origin for origin in rows(rebuilt, "origin") if origin[1] != UNKNOWN_SOURCE}
    if not told <= rows(known, "origin"):
        yield "archive_queue"
    seen = {sighting for sighting in rows(rebuilt, "sightings") if sighting[1] != UNKNOWN_SOURCE}
    if not seen <= rows(known, "sightings"):
        yield "sightings"
