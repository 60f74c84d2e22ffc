"""What is kept out, and the receipts of what was taken out: looked up, and written where ids come in.

Statements on a connection, and `Receipts`. Must not: take anything out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    Select,
    bindparam,
    delete,
    exists,
    func,
    null,
    select,
    text,
    update,
)

from clipledger.core.model import AwemeId, State
from clipledger.core.tombstone import RECALLED_S, RemovedFile
from clipledger.db import meta
from clipledger.db.custody_tables import removals, removed_files, withheld_authors
from clipledger.db.database import Database
from clipledger.db.engine import per_dialect
from clipledger.db.index_tables import author_handles
from clipledger.db.tables import UtcTime, archive_queue
from clipledger.db.tables import meta as facts

QUARANTINED, PURGING, PURGED = "quarantined", "purging", "purged"
"""The states of a removal."""

UNSEEN = "unseen"
"""What a post was before its removal that nothing had shown: taken back, the archive knows nothing of it, as before."""

AUTHOR_WITHHELD = "its author is withheld"

WITHHELD_IDS = "SELECT aweme_id FROM archive_queue WHERE state = 'withheld'"
"""In SQL: the ids of which nothing is shown."""

HIDDEN_AUTHORS = (
    "SELECT author_id FROM withheld_authors UNION SELECT x.author_id FROM ("
    "SELECT author_id FROM removals WHERE state <> 'purged' AND author_id IS NOT NULL "
    f"UNION SELECT author_id FROM posts WHERE aweme_id IN ({WITHHELD_IDS})) x WHERE NOT EXISTS "
    f"(SELECT 1 FROM posts o WHERE o.author_id = x.author_id AND o.aweme_id NOT IN ({WITHHELD_IDS}))"
)
"""In SQL: the authors of whom nothing is shown. They are withheld, or all that was archived of them is.

Who was only ever seen in lists, or whose posts are dead, is not among them."""

_IDS_MAX = 1000

_MARK = "kept_out:"
"""What the keys in `meta` begin with that stand for the handle of a withheld author whose name is erased."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What remains of a removal."""

    aweme_id: AwemeId
    state: str
    reason: str
    request: str
    rule: str
    who: str
    asked_at: float
    purge_at: float
    purged_at: float | None
    files: tuple[RemovedFile, ...] = ()


_q, _r = archive_queue, removals
_ids: BindParameter[Any] = bindparam("ids", expanding=True)
_TOLD = tuple(_r.c[name] for name in Receipt.__slots__[:-1])
_WITHHELD = select(_q.c.aweme_id).where(_q.c.aweme_id.in_(_ids), _q.c.state == State.WITHHELD)
_AUTHORS = select(withheld_authors.c.author_id).where(withheld_authors.c.author_id.in_(_ids))
_BEGUN = select(_q.c.aweme_id).where(_q.c.aweme_id.in_(_ids), _q.c.author_part.is_not(None))
_GROUNDS = select(*(withheld_authors.c[name] for name in ("author_id", "reason", "request", "who"))).where(
    withheld_authors.c.author_id.in_(_ids)
)
_ANY = select(withheld_authors.c.author_id).limit(1)
_h, _o = author_handles, author_handles.alias("other")
_BEARERS = select(_h.c.handle, _h.c.author_id).where(_h.c.handle.in_(bindparam("handles", expanding=True)))
_BORNE = select(_h.c.handle, _h.c.author_id).where(
    _h.c.author_id.in_(_ids), ~exists().where(_o.c.handle == _h.c.handle, _o.c.author_id != _h.c.author_id)
)
_MARKED = select(facts.c.key, facts.c.value).where(facts.c.key.in_(bindparam("marks", expanding=True)))
_UNMARK = delete(facts).where(facts.c.key.startswith(_MARK, autoescape=True), facts.c.value == bindparam("of"))
_SALT = select(facts.c.value).where(facts.c.key == "archive_uuid")
_HIDDEN = text(HIDDEN_AUTHORS)
_WITHHOLD = (
    update(_q)
    .where(_q.c.aweme_id.in_(_ids))
    .values(
        state=State.WITHHELD,
        settled_at=bindparam("now", type_=UtcTime),
        token=_q.c.token + 1,  # whoever has it under way has lost it
        lease_until=null(),
        worker=null(),
        suspect_at=null(),
        suspect_reason=null(),
        hint=null(),
    )
)
_RECEIPT = per_dialect(lambda into: into(_r).on_conflict_do_nothing())
_RECEIPTS = (
    select(*_TOLD)
    .where(_r.c.aweme_id > bindparam("after"), _r.c.asked_at >= bindparam("since", type_=UtcTime))
    .order_by(_r.c.aweme_id)
    .limit(bindparam("n"))
)
_SOME = select(*_TOLD).where(_r.c.aweme_id.in_(_ids)).order_by(_r.c.aweme_id)
_FILES = (
    select(removed_files.c.aweme_id, removed_files.c.sha256, removed_files.c.kind, removed_files.c.bytes)
    .where(removed_files.c.aweme_id.in_(_ids))
    .order_by(removed_files.c.aweme_id, removed_files.c.sha256)
)
_SPAN = select(func.min(_r.c.purge_at), func.max(_r.c.purge_at)).where(_r.c.aweme_id.in_(_ids), _r.c.state != PURGED)


def withheld(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Give those of `ids` that are withheld."""
    return set(connection.execute(_WITHHELD, {"ids": list(ids)}).scalars())


def withheld_of(connection: Connection, author_ids: Iterable[str]) -> set[str]:
    """Give those authors of whom nothing is archived."""
    asked = [each for each in set(author_ids) if each]
    return set(connection.execute(_AUTHORS, {"ids": asked}).scalars()) if asked else set()


def kept_out(connection: Connection, told: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Give those posts that are a withheld author's, with that one's id; `told`: (author id, handle) by the post's id.

    The handle counts only where no id was told, and where nobody else is known to have borne it.
    """
    ids = withheld_of(connection, (author_id for author_id, _ in told.values()))
    called_so = called(connection, {handle.lower() for author_id, handle in told.values() if not author_id})
    whose = {
        aweme_id: author_id if author_id in ids else called_so.get("" if author_id else handle.lower(), "")
        for aweme_id, (author_id, handle) in told.items()
    }
    return {aweme_id: author_id for aweme_id, author_id in whose.items() if author_id}


def keep_marks(connection: Connection, author_ids: Collection[str]) -> None:
    """Keep a mark of each handle of withheld authors whose names are about to go: what they post later is known by it.

    Not of a handle that others bore too. The mark is a salted hash; it goes when the ban is lifted.
    """
    out = withheld_of(connection, author_ids)
    for handle, author_id in connection.execute(_BORNE, {"ids": list(out)}) if out else ():
        meta.put(connection, _mark(connection, handle), author_id)


def forget_marks(connection: Connection, author_id: str) -> None:
    """Drop the marks of an author who is let in again."""
    connection.execute(_UNMARK, {"of": author_id})


def called(connection: Connection, handles: set[str]) -> dict[str, str]:
    """Give for each of these handles, in small letters, the withheld author whose it alone can be."""
    asked = sorted(handles - {""})
    if not asked or connection.execute(_ANY).first() is None:
        return {}
    bearers: dict[str, set[str]] = {handle: set() for handle in asked}
    for handle, author_id in connection.execute(_BEARERS, {"handles": asked}):
        bearers[handle].add(author_id)
    of_mark = {_mark(connection, handle): handle for handle in asked}
    for mark, author_id in connection.execute(_MARKED, {"marks": list(of_mark)}):
        bearers[of_mark[mark]].add(author_id)
    alone = {handle: next(iter(whose)) for handle, whose in bearers.items() if len(whose) == 1}
    out = withheld_of(connection, alone.values())
    return {handle: author_id for handle, author_id in alone.items() if author_id in out}


def _mark(connection: Connection, handle: str) -> str:
    salt = connection.execute(_SALT).scalar() or ""
    return _MARK + sha256(f"{salt}/{handle}".encode()).hexdigest()


def hidden(connection: Connection) -> set[str]:
    """Give the authors of whom nothing is shown; see `HIDDEN_AUTHORS`."""
    return set(connection.execute(_HIDDEN).scalars())


def withhold(connection: Connection, ids: Sequence[str], now: float) -> None:
    """Move ids to withheld, from whatever state; whoever has one under way has lost it."""
    connection.execute(_WITHHOLD, {"ids": list(ids), "now": now})


def write_receipts(connection: Connection, rows: Sequence[dict[str, object]]) -> None:
    """Write receipts; one that stands is left as it is."""
    if rows:
        connection.execute(_RECEIPT(connection), list(rows))


def refuse(connection: Connection, authors: Mapping[str, str], now: float) -> None:
    """Write the receipts of ids that are kept out for their author: there was never anything to remove.

    `authors` by the post's id: once an author is let in again, so are these.
    """
    plain: dict[str, object] = {
        "state": PURGED,
        "reason": AUTHOR_WITHHELD,
        "request": "",
        "rule": "",
        "who": "",
        "was": State.PENDING,
    }
    times = {"asked_at": now, "purge_at": now, "purged_at": now}
    rows = [{"aweme_id": aweme_id, "author_id": author} | plain | times for aweme_id, author in authors.items()]
    write_receipts(connection, rows)


def refuse_running(connection: Connection, told: Mapping[str, tuple[str, str]], now: float) -> None:
    """Withhold those posts under way that turn out to be a withheld author's; `told` as for `kept_out`."""
    theirs = kept_out(connection, told)
    if not theirs:
        return
    begun = set(connection.execute(_BEGUN, {"ids": list(theirs)}).scalars())
    withhold(connection, list(theirs), now)
    _hide_begun(connection, {aweme_id: of for aweme_id, of in theirs.items() if aweme_id in begun}, now)
    refuse(connection, {aweme_id: of for aweme_id, of in theirs.items() if aweme_id not in begun}, now)


def _hide_begun(connection: Connection, theirs: Mapping[str, str], now: float) -> None:
    """Put ids into quarantine for the ban on their author: an earlier attempt may have left files, to be erased."""
    asked = {"ids": sorted(set(theirs.values()))}
    bans = {row.author_id: dict(row._mapping) for row in connection.execute(_GROUNDS, asked)} if theirs else {}
    rest: dict[str, object] = {"state": QUARANTINED, "rule": "", "was": State.PENDING}
    times = {"asked_at": now, "purge_at": now + RECALLED_S}
    write_receipts(connection, [bans[of] | rest | times | {"aweme_id": aweme_id} for aweme_id, of in theirs.items()])


class Receipts:
    """Look at the table `removals`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, since: float, after: str, limit: int) -> list[Receipt]:
        """List receipts by id, behind `after`, asked for since a moment."""
        asked = {"since": since, "after": after, "n": limit}
        return await self._db.read(partial(_receipts, statement=_RECEIPTS, asked=asked))

    async def of(self, aweme_id: AwemeId) -> Receipt | None:
        """Look one receipt up."""
        found = await self.of_all([aweme_id])
        return found[0] if found else None

    async def of_all(self, ids: Sequence[str]) -> list[Receipt]:
        """Look receipts up, by id."""
        return await self._db.read(partial(_receipts, statement=_SOME, asked={"ids": list(ids)}))

    async def purge_span(self, ids: Sequence[str]) -> tuple[float, float] | None:
        """Tell from when to when those of `ids` that stand yet are to be purged; None when none does."""
        cuts = [ids[at : at + _IDS_MAX] for at in range(0, len(ids), _IDS_MAX)]
        spans = [span for cut in cuts if (span := await self._db.read(partial(_span, ids=cut))) is not None]
        return (min(span[0] for span in spans), max(span[1] for span in spans)) if spans else None


def _span(connection: Connection, ids: Sequence[str]) -> tuple[float, float] | None:
    first, last = connection.execute(_SPAN, {"ids": list(ids)}).one()
    return (first, last) if first is not None else None


def _receipts(connection: Connection, statement: Select[Any], asked: dict[str, object]) -> list[Receipt]:
    rows = connection.execute(statement, asked).all()
    found: dict[str, list[RemovedFile]] = {}
    for aweme_id, *told in connection.execute(_FILES, {"ids": [row[0] for row in rows]}) if rows else ():
        found.setdefault(aweme_id, []).append(RemovedFile(*told))
    return [_receipt(row, found) for row in rows]


def _receipt(row: Row[Any], found: dict[str, list[RemovedFile]]) -> Receipt:
    return Receipt(**row._mapping, files=tuple(found.get(row[0], ())))
