"""Lists of authors who are kept out: name them, read none. Each page would cost a credit, and nothing of it is wanted.

Must not: keep anybody out, which is `removing`'s part.
"""

from __future__ import annotations

from functools import partial

from sqlalchemy import Connection

from clipledger.archive import Archive
from clipledger.core.errors import UsageError
from clipledger.db import authors, bans, withheld
from clipledger.db.bans import Ban

_OWN_LISTS = ("user", "stories")
"""Kinds of sources that show one author's own posts."""


async def lists_of(archive: Archive, author_id: str) -> list[str]:
    """Name the sources that show an author's own posts, as far as their handles tell."""
    rows = [row for row in await archive.sources.all() if row.kind in _OWN_LISTS]
    asked = [(row.subject, row.entity_id or "") for row in rows]
    whose = await archive.db.read(lambda connection: [_whose(connection, *each) for each in asked])
    return [row.source for row, ids in zip(rows, whose, strict=True) if author_id in ids]


async def refuse_list(archive: Archive, source: str, kind: str, subject: str, entity_id: str = "") -> None:
    """Raise UsageError for a list whose author is kept out. `entity_id`: the author's id, where it was looked up."""
    if kind not in _OWN_LISTS:
        return
    ban = await archive.db.read(partial(_ban, subject=subject, entity_id=entity_id))
    if ban is not None:
        raise UsageError(
            f"{source}: is the list of author {ban.author_id}, who is withdrawn ({ban.request or ban.reason}): "
            f"`clipledger withdraw --author {ban.author_id} --undo` lets them in"
        )


def _ban(connection: Connection, subject: str, entity_id: str) -> Ban | None:
    found = bans.standing(connection, _whose(connection, subject, entity_id))
    return next(iter(found.values()), None)


def _whose(connection: Connection, subject: str, entity_id: str) -> set[str]:
    """Give the ids of the author meant; of a handle that several bore, nobody's. An erased name leaves a mark."""
    name = subject.removeprefix("@").lower()
    called = authors.ids_called(connection, [name])[name]
    marked = withheld.called(connection, {name}).values()
    return {entity_id, *(called if len(called) == 1 else ()), *marked} - {""}
