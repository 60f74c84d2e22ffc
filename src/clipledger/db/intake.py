"""Let ids in: pages of lists, and ids given by hand; known ids only gain a sighting.

Statements on a connection; `Queue` runs them. Must not: change the state of an id already known.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Text, bindparam, case, func, null, select, update
from sqlalchemy.dialects.sqlite import Insert

from clipledger.core.history import growth
from clipledger.core.model import AwemeId, Counters, Post, State
from clipledger.core.passes import SourceProgress
from clipledger.db import authors, availability, withheld
from clipledger.db.engine import InsertInto, per_dialect
from clipledger.db.tables import UtcTime, archive_queue, post_metrics_history, posts, sightings, source_cursors, sources

Decide = Callable[[int, bool], SourceProgress]
"""(ids not shown by this source since `seen_since`, next cursor met before in this pass) -> how the pass goes on.

Pure. Not the ids new to the archive: another list may have shown them first, and this one still goes on below."""


@dataclass(frozen=True, slots=True)
class PageIn:
    """One page of a list as it came, and the claim it was read under.

    `decide` is called inside the transaction, once the page's new ids are counted; not at all when
    the lease is lost. `cursor_used` asked for this page, `cursor_next` would ask for the next; None
    stands for the top and for no more. While the pass goes on the source stays leased until
    `lease_until`; None frees it, and so does a pass that ends. `seen_since`: what the source showed before
    is new again, as it is to a first pass that has to begin anew.
    """

    source: str
    token: int
    posts: Sequence[Post]
    now: float
    cursor_used: str | None
    cursor_next: str | None
    decide: Decide
    bad_items: int = 0
    keep_hint: bool = False
    priority: int = 0
    lease_until: float | None = None
    seen_since: float = 0.0


@dataclass(frozen=True, slots=True)
class PageOut:
    """What a page brought: ids never seen before, ids known. The ids are kept even if the lease was lost."""

    new: int
    known: int
    lease_lost: bool = False
    progress: SourceProgress | None = None


@dataclass(frozen=True, slots=True)
class AddedOut:
    """How many ids were never seen before, how many distinct others were known, and which are withheld."""

    new: int
    known: int
    withheld: tuple[AwemeId, ...] = ()


_q = archive_queue
_HOLDS = (
    select(sources.c.token)
    .where(sources.c.source == bindparam("name"), sources.c.token == bindparam("t"))
    .with_for_update()
)
_SEEN_HERE = (
    select(func.count())
    .select_from(sightings)
    .where(
        sightings.c.source == bindparam("name"),
        sightings.c.aweme_id.in_(bindparam("ids", expanding=True)),
        sightings.c.last_seen_at >= bindparam("since", type_=UtcTime),
    )
)
_CURSOR_MET = select(source_cursors.c.cursor).where(
    source_cursors.c.source == bindparam("name"), source_cursors.c.cursor == bindparam("next")
)
_PROGRESS = (
    update(sources)
    .where(sources.c.source == bindparam("name"), sources.c.token == bindparam("t"))
    .values(
        cursor=bindparam("at"),
        cursor_at=bindparam("at_time", type_=UtcTime),
        pass_pages=bindparam("pages"),
        pass_new=bindparam("new"),
        pass_stale=bindparam("stale"),
        pass_end=bindparam("end"),
        next_at=bindparam("due", type_=UtcTime),
        full_pass_at=case(
            (bindparam("end", type_=Text).is_(None), sources.c.full_pass_at),
            else_=bindparam("full_at", type_=UtcTime),
        ),
        lease_until=bindparam("until", type_=UtcTime),
        bad_items=sources.c.bad_items + bindparam("bad"),
        failures=0,
        last_reason=null(),
        last_detail=null(),
    )
)
_REFRESH = (
    update(posts)
    .where(posts.c.aweme_id == bindparam("id"))
    .values(
        {
            f"{name}_count": func.coalesce(bindparam(f"{name}_now"), posts.c[f"{name}_count"])
            for name in Counters.__slots__
        }
        | {"counters_at": bindparam("now", type_=UtcTime), "plays_per_day": bindparam("grows")}
    )
)
_COUNTED_BEFORE = select(posts.c.aweme_id, posts.c.play_count, posts.c.counters_at, posts.c.plays_per_day).where(
    posts.c.aweme_id.in_(bindparam("ids", expanding=True))
)
_ENQUEUE = per_dialect(lambda insert: insert(_q).on_conflict_do_nothing())
_MEASURE = per_dialect(lambda insert: insert(post_metrics_history).on_conflict_do_nothing())
_MEET = per_dialect(lambda insert: insert(source_cursors).on_conflict_do_nothing())
_COUNTED = {"preserve_rowcount": True}


@per_dialect
def _sight(insert: InsertInto) -> Insert:
    statement = insert(sightings)
    told = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["source", "aweme_id"],
        set_={"last_seen_at": told.last_seen_at, "is_ad": told.is_ad, "pinned": told.pinned},
    )


def add_page(connection: Connection, page: PageIn) -> PageOut:
    """Take in one page: ids, sightings, counters, and how the source goes on; one transaction."""
    held = connection.execute(_HOLDS, {"name": page.source, "t": page.token}).first() is not None
    items = {post.aweme_id: post for post in reversed(page.posts)}  # of an id told twice, the first entry
    unseen = _unseen(connection, page, items)
    new = _take_in(connection, page, items) if items else 0
    progress = _move_on(connection, page, unseen) if held else None
    return PageOut(new, len(items) - new, not held, progress)


def _unseen(connection: Connection, page: PageIn, ids: Collection[AwemeId]) -> int:
    if not ids:
        return 0
    asked = {"name": page.source, "ids": list(ids), "since": page.seen_since}
    return len(ids) - connection.execute(_SEEN_HERE, asked).scalar_one()


def _take_in(connection: Connection, page: PageIn, items: Mapping[AwemeId, Post]) -> int:
    theirs = withheld.kept_out(connection, {i: (post.author.id, post.author.handle) for i, post in items.items()})
    rows = [_queued(page, post) for aweme_id, post in items.items() if aweme_id not in theirs]
    new = connection.execute(_ENQUEUE(connection), rows, execution_options=_COUNTED).rowcount if rows else 0
    if theirs:
        new += _keep_out(connection, page, theirs)
    connection.execute(_sight(connection), [_sighted(page, post) for post in items.values()])
    hidden = withheld.withheld(connection, items)
    told = (post for aweme_id, post in items.items() if aweme_id not in hidden and aweme_id not in theirs)
    shown = {post.aweme_id: post for post in told}
    measure(connection, list(shown.values()), page.now, "list")
    availability.sighted(connection, shown, page.now)
    authors.meet(connection, (authors.Met(post.author, page.now) for post in shown.values()))
    return new


def _keep_out(connection: Connection, page: PageIn, theirs: Mapping[str, str]) -> int:
    """Take note of withheld authors' ids, with that of the author; they are never asked for."""
    rest = {"state": State.WITHHELD, "settled_at": page.now}
    rows = [_pending(AwemeId(aweme_id), page.source, page.priority, page.now) | rest for aweme_id in theirs]
    new = connection.execute(_ENQUEUE(connection), rows, execution_options=_COUNTED).rowcount
    out = withheld.withheld(connection, theirs)
    withheld.refuse(connection, {aweme_id: of for aweme_id, of in theirs.items() if aweme_id in out}, page.now)
    return new


def measure(connection: Connection, seen: Sequence[Post], now: float, feed: str) -> None:
    """Keep the counters of posts as they are told at `now`; the archived ones have them as their latest."""
    counted = {post.aweme_id: post for post in seen if post.counters != Counters()}
    if not counted:
        return
    connection.execute(_MEASURE(connection), [measured(post, now, feed) for post in counted.values()])
    before = connection.execute(_COUNTED_BEFORE, {"ids": list(counted)}).all()
    changes = [
        _refreshed(counted[AwemeId(row.aweme_id)], now, (row.play_count, row.counters_at), row.plays_per_day)
        for row in before
    ]
    if changes:
        connection.execute(_REFRESH, changes)


def _move_on(connection: Connection, page: PageIn, unseen: int) -> SourceProgress:
    if page.cursor_used is not None:
        connection.execute(_MEET(connection), {"source": page.source, "cursor": page.cursor_used})
    met = connection.execute(_CURSOR_MET, {"name": page.source, "next": page.cursor_next}).first() is not None
    progress = page.decide(unseen, met)
    connection.execute(_PROGRESS, _progress_values(page, progress))
    return progress


def _progress_values(page: PageIn, progress: SourceProgress) -> dict[str, object]:
    return {
        "name": page.source,
        "t": page.token,
        "at": progress.cursor,
        "at_time": page.now,
        "pages": progress.pass_pages,
        "new": progress.pass_new,
        "stale": progress.pass_stale,
        "end": progress.pass_end,
        "due": progress.next_at,
        "full_at": progress.full_pass_at,
        "until": page.lease_until if progress.pass_end is None else None,
        "bad": page.bad_items,
    }


def _queued(page: PageIn, post: Post) -> dict[str, object]:
    row = _pending(post.aweme_id, page.source, page.priority, page.now)
    return row | {"hint": dict(post.reply)} if page.keep_hint else row


def _pending(aweme_id: AwemeId, source: str, priority: int, now: float) -> dict[str, object]:
    return {
        "aweme_id": aweme_id,
        "source": source,
        "state": State.PENDING,
        "added_at": now,
        "due_at": now,
        "priority": priority,
    }


def _sighted(page: PageIn, post: Post) -> dict[str, object]:
    return {
        "source": page.source,
        "aweme_id": post.aweme_id,
        "seen_at": page.now,
        "last_seen_at": page.now,
        "is_ad": post.is_ad,
        "pinned": post.pinned,
    }


def measured(post: Post, at: float, feed: str) -> dict[str, object]:
    """Lay a post's counters out as a row of `post_metrics_history`."""
    return {"aweme_id": post.aweme_id, "observed_at": at, "feed": feed} | counts(post.counters)


def counts(counters: Counters) -> dict[str, int | None]:
    """Lay counters out under the columns' names."""
    return {f"{name}_count": getattr(counters, name) for name in Counters.__slots__}


def _refreshed(post: Post, now: float, before: tuple[int | None, float], known: float | None) -> dict[str, object]:
    told = {f"{name}_now": getattr(post.counters, name) for name in Counters.__slots__}
    return {"id": post.aweme_id, "now": now, "grows": growth(before, post.counters.play, now, known)} | told


def add_by_hand(
    connection: Connection, asked: Collection[tuple[AwemeId, str | None]], source: str, priority: int, now: float
) -> AddedOut:
    """Take in ids that the operator named; of an id named twice the first spelling is kept.

    What is withheld is told, and leaves no sighting: nobody asked a second time for what is kept out.
    """
    spelt = dict(reversed(list(asked)))
    if not spelt:
        return AddedOut(0, 0)
    rows = [_pending(aweme_id, source, priority, now) | {"asked_url": url} for aweme_id, url in spelt.items()]
    new = connection.execute(_ENQUEUE(connection), rows, execution_options=_COUNTED).rowcount
    out = withheld.withheld(connection, spelt)
    seen = {"source": source, "seen_at": now, "last_seen_at": now, "is_ad": False, "pinned": False}
    if sighted := [{"aweme_id": aweme_id} | seen for aweme_id in spelt if aweme_id not in out]:
        connection.execute(_sight(connection), sighted)
    told = tuple(dict.fromkeys(aweme_id for aweme_id, _ in asked if aweme_id in out))
    return AddedOut(new, len(spelt) - new - len(told), told)
