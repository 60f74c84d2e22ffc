"""Keep the search index: for each archived post its words, its tags, and whether it is gone.

What is kept is a function of the post's own row and its availability, so it can be made anew and proven
at any time. Written in the transaction that changes either. Must not: search, or fold a word (`core.words`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, TextClause, bindparam, delete, func, select, text

from clipledger.core.errors import Misconfigured
from clipledger.core.model import Author
from clipledger.core.words import GONE, document, hashtags, mark, text_vector
from clipledger.db import authors
from clipledger.db.backend import in_order
from clipledger.db.database import Database
from clipledger.db.engine import per_dialect
from clipledger.db.index_tables import availability, refreshes
from clipledger.db.index_tables import hashtags as tags
from clipledger.db.tables import posts

PAGE = 1000
"""Posts in one step of filling or proving: what memory and one transaction hold."""

_p = posts
_SHOWN = (
    _p.c.aweme_id,
    _p.c.author_id,
    _p.c.author_handle,
    _p.c.author_nickname,
    _p.c.title,
    _p.c.region,
    _p.c.music_id,
    _p.c.is_photo,
    _p.c.is_ad,
)
_SOME = select(*_SHOWN).where(_p.c.aweme_id.in_(bindparam("ids", expanding=True)))
_NEXT = select(_p.c.aweme_id).where(_p.c.aweme_id > bindparam("after")).order_by(_p.c.aweme_id).limit(PAGE)
_GONE = select(availability.c.aweme_id).where(
    availability.c.aweme_id.in_(bindparam("ids", expanding=True)),
    availability.c.ended_at.is_(None),
    availability.c.state == "gone",
)
_UNTAG = delete(tags).where(tags.c.aweme_id.in_(bindparam("ids", expanding=True)))
_TAG = per_dialect(lambda insert: insert(tags).on_conflict_do_nothing())
_TAGS = select(tags.c.aweme_id, tags.c.tag).where(tags.c.aweme_id.in_(bindparam("ids", expanding=True)))
_POSTS = select(func.count()).select_from(_p)
_STRAY_TAGS = delete(tags).where(tags.c.aweme_id.not_in(select(_p.c.aweme_id)))
_BEGUN = (
    select(_p.c.aweme_id, _p.c.archived_at, _p.c.counters_at, _p.c.author_id, _p.c.author_handle)
    .add_columns(_p.c.author_nickname)
    .where(_p.c.aweme_id.in_(bindparam("ids", expanding=True)))
)
_ENROL = per_dialect(lambda insert: insert(refreshes).on_conflict_do_nothing())
_PRESENT = per_dialect(lambda insert: insert(availability).on_conflict_do_nothing())


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How one database keeps documents. `key` is what a post is found under."""

    put: TextClause
    drop: TextClause
    kept: TextClause
    count: TextClause
    stray: TextClause
    key: Callable[[str], object]
    row: Callable[[str, str], dict[str, object]]


def _in_sqlite(aweme_id: str, words: str) -> dict[str, object]:
    return {"id": int(aweme_id), "words": words}


def _in_postgres(aweme_id: str, words: str) -> dict[str, object]:
    return {"id": aweme_id, "words": words, "lexemes": text_vector(words)}


_DIALECTS: Mapping[str, _Dialect] = {
    "sqlite": _Dialect(
        put=text("INSERT INTO post_search (rowid, words) VALUES (:id, :words)"),
        drop=text("DELETE FROM post_search WHERE rowid = :id"),
        kept=text("SELECT CAST(rowid AS TEXT), words FROM post_search WHERE rowid IN :ids").bindparams(
            bindparam("ids", expanding=True)
        ),
        count=text("SELECT count(*) FROM post_search_docsize"),
        stray=text(
            "DELETE FROM post_search WHERE rowid IN (SELECT id FROM post_search_docsize "
            "WHERE CAST(id AS TEXT) NOT IN (SELECT aweme_id FROM posts))"
        ),
        key=int,
        row=_in_sqlite,
    ),
    "postgresql": _Dialect(
        put=text(
            "INSERT INTO post_search (aweme_id, words, lexemes) VALUES (:id, :words, CAST(:lexemes AS tsvector)) "
            "ON CONFLICT (aweme_id) DO UPDATE SET words = excluded.words, lexemes = excluded.lexemes"
        ),
        drop=text("DELETE FROM post_search WHERE aweme_id = :id"),
        kept=text("SELECT aweme_id, words FROM post_search WHERE aweme_id IN :ids").bindparams(
            bindparam("ids", expanding=True)
        ),
        count=text("SELECT count(*) FROM post_search"),
        stray=text("DELETE FROM post_search s WHERE NOT EXISTS (SELECT 1 FROM posts p WHERE p.aweme_id = s.aweme_id)"),
        key=str,
        row=_in_postgres,
    ),
}


@dataclass(frozen=True, slots=True)
class Proof:
    """What the index is, held against the posts.

    `wrong` names posts whose entry differs, `stray` counts entries of no post; `sound`: the database finds
    nothing wrong with the structure of its own index.
    """

    posts: int
    wrong: tuple[str, ...]
    stray: int
    sound: bool

    @property
    def holds(self) -> bool:
        """True when the index is exactly what the posts say."""
        return self.sound and not self.wrong and not self.stray


def index(connection: Connection, ids: Sequence[str]) -> None:
    """Write what these archived posts are found by, in place of what stood there."""
    wanted = _documents(connection, ids)
    if not wanted:
        return
    speech = _DIALECTS[connection.dialect.name]
    connection.execute(speech.drop, [{"id": speech.key(aweme_id)} for aweme_id in wanted])
    connection.execute(speech.put, [speech.row(aweme_id, words) for aweme_id, (words, _) in wanted.items()])
    connection.execute(_UNTAG, {"ids": list(wanted)})
    rows = [{"aweme_id": aweme_id, "tag": tag} for aweme_id, (_, found) in wanted.items() for tag in found]
    if rows:
        connection.execute(_TAG(connection), rows)


def drop(connection: Connection, ids: Sequence[str]) -> None:
    """Take posts out of the index, and their tags."""
    speech = _DIALECTS[connection.dialect.name]
    if ids:
        connection.execute(speech.drop, [{"id": speech.key(aweme_id)} for aweme_id in ids])
        connection.execute(_UNTAG, {"ids": list(ids)})


def optimise(connection: Connection) -> None:
    """Write the index anew without what was deleted: SQLite's keeps the words of deleted posts until it merges."""
    _do(connection, "optimize")


def fill(connection: Connection) -> int:
    """Index every archived post, with its author, its availability and its place in the schedule; return how many."""
    filled = 0
    for ids in _pages(connection):
        begin(connection, ids)
        index(connection, ids)
        filled += len(ids)
    return filled


def index_all(connection: Connection) -> None:
    """Index every archived post of an archive that was carried here with all that is known of its posts."""
    for ids in _pages(connection):
        index(connection, ids)


def begin(connection: Connection, ids: Sequence[str]) -> None:
    """Begin what is kept of posts over time, where nothing is: availability, refreshes, authors."""
    found = connection.execute(_BEGUN, {"ids": ids}).all()
    runs = [
        {"aweme_id": row.aweme_id, "first_at": row.archived_at, "last_at": row.counters_at, "state": "present"}
        | {"feed": "capture" if row.counters_at == row.archived_at else "list"}
        for row in found
    ]
    connection.execute(_PRESENT(connection), runs)
    connection.execute(_ENROL(connection), [{"aweme_id": row.aweme_id} for row in found])
    met = [authors.Met(Author(row.author_id, row.author_handle, row.author_nickname), row.archived_at) for row in found]
    authors.meet(connection, met)


class SearchIndex:
    """Prove the index, and make it anew where it is wrong."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def prove(self) -> Proof:
        """Hold every entry against its post; reads only, but for the database's own check of its structure."""
        sound = await self._is_sound()
        after, count, wrong, kept = "", 0, list[str](), 0
        while ids := await self._db.read(partial(_page, after=after)):
            some_wrong, some_kept = await self._db.read(partial(_compare, ids=ids))
            wrong += some_wrong
            after, count, kept = ids[-1], count + len(ids), kept + some_kept
        return Proof(count, tuple(wrong), max(await self._db.read(_entries) - kept, 0), sound)

    async def mend(self, proof: Proof) -> None:
        """Write the wrong entries anew, page by page, and drop what belongs to no post."""
        if not proof.sound:
            await self._db.write(partial(_do, what="rebuild"))
        for start in range(0, len(proof.wrong), PAGE):
            await self._db.write(partial(index, ids=proof.wrong[start : start + PAGE]))
        await self._db.write(_drop_strays)

    async def _is_sound(self) -> bool:
        try:
            await self._db.write(partial(_do, what="integrity-check"))
        except Misconfigured:  # how the database's own "malformed" comes here
            return False
        return True


def _documents(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[str, tuple[str, ...]]]:
    found = connection.execute(_SOME, {"ids": list(ids)}).all()
    gone = set(connection.execute(_GONE, {"ids": list(ids)}).scalars())
    return {row.aweme_id: _document(dict(row._mapping), row.aweme_id in gone) for row in found}


def _document(row: Mapping[str, object], gone: bool) -> tuple[str, tuple[str, ...]]:
    title, handle = str(row["title"]), str(row["author_handle"])
    found = hashtags(title)
    marks = [mark("tag", tag) for tag in found]
    told = (("author", "author_id"), ("from", "author_handle"), ("music", "music_id"), ("region", "region"))
    marks += [mark(kind, str(row[column]).lower()) for kind, column in told if row[column]]
    marks.append("is:photo" if row["is_photo"] else "is:video")
    marks += [word for word, holds in (("is:ad", row["is_ad"]), (GONE, gone)) if holds]
    return document(title, handle, str(row["author_nickname"]), marks), found


def _pages(connection: Connection) -> Iterator[list[str]]:
    after = ""
    while ids := _page(connection, after):
        yield ids
        after = ids[-1]


def _page(connection: Connection, after: str) -> list[str]:
    return list(in_order(after, connection.execute(_NEXT, {"after": after}).scalars().all()))


def _compare(connection: Connection, ids: Sequence[str]) -> tuple[list[str], int]:
    speech = _DIALECTS[connection.dialect.name]
    kept = {row[0]: row[1] for row in connection.execute(speech.kept, {"ids": [speech.key(each) for each in ids]})}
    tagged: dict[str, set[str]] = {}
    for aweme_id, tag in connection.execute(_TAGS, {"ids": list(ids)}):
        tagged.setdefault(aweme_id, set()).add(tag)
    wanted = _documents(connection, ids)
    wrong = [
        aweme_id
        for aweme_id, (words, found) in wanted.items()
        if kept.get(aweme_id) != words or tagged.get(aweme_id, set()) != set(found)
    ]
    return wrong, len(kept)


def _entries(connection: Connection) -> int:
    count: int = connection.execute(_DIALECTS[connection.dialect.name].count).scalar_one()
    return count


def _do(connection: Connection, what: str) -> None:
    if connection.dialect.name == "sqlite":  # PostgreSQL looks after the structure of its indexes itself
        connection.execute(text("INSERT INTO post_search (post_search) VALUES (:what)"), {"what": what})


def _drop_strays(connection: Connection) -> None:
    connection.execute(_DIALECTS[connection.dialect.name].stray)
    connection.execute(_STRAY_TAGS)
