"""Hide a post's rows, bring them back, or delete them wherever they are.

Rows move, as they are, into one table that nothing reads: whatever lists, counts, searches or exports does
not meet them, without having to know why. Statements on a connection; `removals` runs them. Must not: decide
whether a post may go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    insert,
    null,
    or_,
    select,
    update,
)

from clipledger.db import search_index, withheld
from clipledger.db.custody_tables import CUSTODY, quarantine, removals
from clipledger.db.index_tables import author_handles, authors, hashtags, refreshes
from clipledger.db.tables import (
    archive_queue,
    credits,
    events,
    files,
    metadata,
    posts,
    reply_samples,
    sightings,
)

_EXPORTS = "export"
"""Tables of that name tell who was given what: notices are made from them, so they stay."""

_DERIVED = (hashtags, refreshes)
"""Made anew when a post comes back."""

_q = archive_queue
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_ROWS = select(quarantine).where(quarantine.c.aweme_id.in_(_ids)).order_by(quarantine.c.aweme_id, quarantine.c.nth)
_KNOWN = select(quarantine.c.aweme_id, quarantine.c.content).where(
    quarantine.c.aweme_id.in_(_ids), quarantine.c.origin == files.name
)
_EMPTY = (
    update(_q)
    .where(_q.c.aweme_id.in_(_ids))
    .values(
        storage_key=null(),
        author_part=null(),
        rendition=null(),
        asked_url=null(),
        last_detail=null(),
        hint=null(),
    )
)
_like = "%" + bindparam("id", type_=Text) + "%"
_MENTIONS = (
    delete(events).where(or_(events.c.aweme_id == bindparam("id"), cast(events.c.detail, Text).like(_like))),
    delete(reply_samples).where(or_(reply_samples.c.aweme_id == bindparam("id"), reply_samples.c.body.like(_like))),
)
_REFUSED_SAMPLES = delete(reply_samples).where(
    reply_samples.c.aweme_id.in_(
        select(removals.c.aweme_id).where(removals.c.author_id.in_(_ids), removals.c.state == withheld.PURGED)
    )
)
_HANDLES = select(author_handles.c.handle).distinct().where(author_handles.c.author_id.in_(_ids))
_STILL = (
    select(posts.c.author_id).where(posts.c.author_id.in_(_ids)),
    select(removals.c.author_id).where(removals.c.author_id.in_(_ids), removals.c.state != "purged"),
)


def hide(connection: Connection, ids: Sequence[str]) -> None:
    """Move the rows of posts into quarantine, and drop what can be made anew from them."""
    search_index.drop(connection, ids)
    nth = dict.fromkeys(ids, 0)
    for table in _movable():
        if table not in _DERIVED:
            moved = []
            for row in connection.execute(select(table).where(table.c.aweme_id.in_(_ids)), {"ids": ids}):
                nth[row.aweme_id] += 1
                told = {"aweme_id": row.aweme_id, "nth": nth[row.aweme_id], "origin": table.name}
                moved.append(told | {"content": dict(row._mapping)})
            if moved:
                connection.execute(insert(quarantine), moved)
        _delete(connection, table, ids)


def bring_back(connection: Connection, ids: Sequence[str]) -> None:
    """Put the rows of posts back where they were."""
    found = connection.execute(_ROWS, {"ids": list(ids)}).all()
    for origin in dict.fromkeys(row.origin for row in found):
        connection.execute(insert(metadata.tables[origin]), [row.content for row in found if row.origin == origin])
    _delete(connection, quarantine, ids)


def hidden_files(connection: Connection, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Give for each post its files in quarantine: key -> sha256."""
    known: dict[str, dict[str, str]] = {aweme_id: {} for aweme_id in ids}
    for aweme_id, content in connection.execute(_KNOWN, {"ids": list(ids)}):
        known[aweme_id][content["storage_key"]] = content["sha256"]
    return known


def forget(connection: Connection, ids: Sequence[str]) -> None:
    """Delete every row of these posts, in whatever table, but the receipts, the ledger and the sightings."""
    search_index.drop(connection, ids)
    for table in _with_content():
        _delete(connection, table, ids)
    for mention in _MENTIONS:
        connection.execute(mention, [{"id": aweme_id} for aweme_id in ids])
    connection.execute(_EMPTY, {"ids": list(ids)})


def forget_authors(connection: Connection, author_ids: Iterable[str]) -> int:
    """Delete the names of authors of whom nothing is left, and the replies that name them; give how many rows went."""
    asked = {"ids": list(author_ids)}
    still = {each for statement in _STILL for each in connection.execute(statement, asked).scalars()}
    nobody = [each for each in asked["ids"] if each not in still]
    of_them = {"ids": nobody}
    withheld.keep_marks(connection, nobody)
    gone = _forget_samples(connection, nobody)
    connection.execute(delete(author_handles).where(author_handles.c.author_id.in_(_ids)), of_them)
    return gone + connection.execute(delete(authors).where(authors.c.author_id.in_(_ids)), of_them).rowcount


def _forget_samples(connection: Connection, author_ids: Sequence[str]) -> int:
    """Delete samples of replies about authors: of ids kept out for them, and whatever holds their id or a handle.

    One too many is no harm: a sample only shows what a reply looked like that could not be read.
    """
    asked = {"ids": list(author_ids)}
    gone = connection.execute(_REFUSED_SAMPLES, asked).rowcount
    handles = connection.execute(_HANDLES, asked).scalars().all()
    for word in (*author_ids, *(f'"{handle}"' for handle in handles), *(f"@{handle}" for handle in handles)):
        told = reply_samples.c.body.icontains(word, autoescape=True)
        gone += connection.execute(delete(reply_samples).where(told)).rowcount
    return gone


def _delete(connection: Connection, table: Table, ids: Sequence[str]) -> None:
    connection.execute(delete(table).where(table.c.aweme_id.in_(_ids)), {"ids": list(ids)})


@cache
def _with_content() -> tuple[Table, ...]:
    """Give every table that may hold something of a post: all with its id, but those known to hold nothing else."""
    bare = {table.name for table in (archive_queue, sightings, credits, *CUSTODY)}
    return tuple(_of_posts(bare))


@cache
def _movable() -> tuple[Table, ...]:
    """Give the tables whose rows are of one post, also what was noted of it: events, samples of replies."""
    return tuple(table for table in _with_content() if table is not quarantine)


def _of_posts(bare: set[str]) -> Iterator[Table]:
    for table in metadata.sorted_tables:
        if "aweme_id" in table.c and table.name not in bare and not table.name.startswith(_EXPORTS):
            yield table
