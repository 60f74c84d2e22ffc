"""What disappeared: archived posts that are gone, and ids that nobody could resolve any more.

The first keep their bytes and are dated by observations; the second are dated by their own id, at no cost.
Reads only. Must not: decide what is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from clipledger.core.errors import Reason
from clipledger.core.links import created_second
from clipledger.core.model import BY_HAND, AwemeId
from clipledger.db.database import Database
from clipledger.db.index_tables import author_handles, availability, hashtags
from clipledger.db.tables import UtcTime, dead_letters, posts, sightings

NOT_THERE = (Reason.NOT_FOUND, Reason.PRIVATE, Reason.REGION)
"""Why an id is not there any more, as against one that could not be fetched."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which of them: gone since a moment, shown by a source, of an author (id or handle), with a tag; None for all.

    `before`: only those behind one in the list, known by its moment and id.
    """

    since: float | None = None
    source: str | None = None
    author: str | None = None
    tag: str | None = None
    before: tuple[float, str] | None = None


@dataclass(frozen=True, slots=True)
class GonePost:
    """One post that is not there. Not `archived`: it was gone before it could be saved, only its id tells of it.

    `first_seen_at` and `last_seen_at`: when lists or answers showed it, None when nobody did. `gone_at`: the
    first not-found that was believed.
    """

    aweme_id: AwemeId
    archived: bool
    author_id: str
    author_handle: str
    title: str
    created_at: float
    first_seen_at: float | None
    last_seen_at: float | None
    gone_at: float
    reason: str
    tags: tuple[str, ...] = ()


_a, _d = availability, dead_letters
_GONE = (
    select(_a.c.aweme_id, _a.c.first_at.label("gone_at"), _a.c.reason)
    .join(posts, posts.c.aweme_id == _a.c.aweme_id)
    .where(_a.c.state == literal_column("'gone'"), _a.c.ended_at.is_(None))  # in the words of the index
    .order_by(_a.c.first_at.desc(), _a.c.aweme_id.desc())
)
_NEVER = (
    select(_d.c.aweme_id, _d.c.died_at.label("gone_at"), _d.c.reason)
    .where(_d.c.reason.in_(NOT_THERE))
    .order_by(_d.c.died_at.desc(), _d.c.aweme_id.desc())
)
_TAGS = (
    select(hashtags.c.aweme_id, hashtags.c.tag)
    .where(hashtags.c.aweme_id.in_(bindparam("ids", expanding=True)))
    .order_by(hashtags.c.tag)
)


class Gone:
    """Look for what is not there any more."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def archived(self, wanted: Wanted, limit: int) -> list[GonePost]:
        """List archived posts that are gone, the latest first."""
        return await self._db.read(partial(_archived, wanted=wanted, limit=limit))

    async def never_resolved(self, wanted: Wanted, limit: int) -> list[GonePost]:
        """List dead ids that were not there, the latest first; they have neither author nor tags to ask for."""
        if wanted.author is not None or wanted.tag is not None:
            return []
        return await self._db.read(partial(_never, wanted=wanted, limit=limit))


def _archived(connection: Connection, wanted: Wanted, limit: int) -> list[GonePost]:
    statement = _narrowed(_GONE, wanted, _a.c.first_at, _a.c.aweme_id)
    if wanted.author is not None:
        handle = wanted.author.removeprefix("@").lower()
        called = select(author_handles.c.author_id).where(author_handles.c.handle == handle)
        statement = statement.where(posts.c.author_id.in_(called) | (posts.c.author_id == wanted.author))
    if wanted.tag is not None:
        tagged = select(hashtags.c.aweme_id).where(hashtags.c.aweme_id == _a.c.aweme_id, hashtags.c.tag == wanted.tag)
        statement = statement.where(tagged.exists())
    rows = connection.execute(_told(statement.limit(limit).subquery("found"), archived=True)).all()
    tags: dict[str, list[str]] = {}
    for aweme_id, tag in connection.execute(_TAGS, {"ids": [row[0] for row in rows]}) if rows else ():
        tags.setdefault(aweme_id, []).append(tag)
    return [_post(row, True, tags.get(row[0], ())) for row in rows]


def _never(connection: Connection, wanted: Wanted, limit: int) -> list[GonePost]:
    statement = _narrowed(_NEVER, wanted, _d.c.died_at, _d.c.aweme_id)
    told = _told(statement.limit(limit).subquery("found"), archived=False)
    return [_post(row, False, ()) for row in connection.execute(told)]


def _told(found: Subquery, *, archived: bool) -> Select[Any]:
    """Look up what is told of rows that were chosen: of thousands that were not it would take half a second."""
    aweme_id, shown = found.c.aweme_id, sightings.c.aweme_id == found.c.aweme_id
    first = select(func.min(sightings.c.seen_at)).where(shown).scalar_subquery()
    order = (found.c.gone_at.desc(), aweme_id.desc())
    if not archived:
        # An id that the operator gave says nothing of when it was there.
        by_a_list = sightings.c.source != BY_HAND
        first = select(func.min(sightings.c.seen_at)).where(shown, by_a_list).scalar_subquery()
        last = select(func.max(sightings.c.last_seen_at)).where(shown, by_a_list).scalar_subquery()
        nobody = select(aweme_id, *[literal("")] * 3, first, last, found.c.gone_at, found.c.reason)
        return nobody.order_by(*order)
    present = select(func.max(_a.c.last_at)).where(_a.c.aweme_id == aweme_id, _a.c.state == "present").scalar_subquery()
    who = (posts.c.author_id, posts.c.author_handle, posts.c.title)
    told = select(aweme_id, *who, first, present, found.c.gone_at, found.c.reason)
    return told.join(posts, posts.c.aweme_id == aweme_id).order_by(*order)


def _narrowed(
    statement: Select[Any], wanted: Wanted, gone_at: ColumnElement[Any], aweme_id: ColumnElement[str]
) -> Select[Any]:
    if wanted.since is not None:
        statement = statement.where(gone_at >= literal(wanted.since, UtcTime))
    if wanted.before is not None:
        at = literal(wanted.before[0], UtcTime)
        behind = or_(gone_at < at, and_(gone_at == at, aweme_id < wanted.before[1]))
        statement = statement.where(gone_at <= at, behind)  # the first lets an index find its place
    if wanted.source is not None:
        shown = select(sightings.c.aweme_id).where(sightings.c.source == wanted.source)
        statement = statement.where(aweme_id.in_(shown))
    return statement


def _post(row: Sequence[Any], archived: bool, tags: Sequence[str]) -> GonePost:
    aweme_id, author_id, handle, title, first, last, gone_at, reason = row
    born = float(created_second(AwemeId(aweme_id)))
    return GonePost(
        AwemeId(aweme_id), archived, author_id, handle, title, born, first, last, gone_at, reason, tuple(tags)
    )
