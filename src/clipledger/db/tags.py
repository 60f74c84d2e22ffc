"""The hashtags of archived posts. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, bindparam, func, select

from clipledger.db.database import Database
from clipledger.db.index_tables import hashtags


@dataclass(frozen=True, slots=True)
class TagRow:
    """One tag, without #, and how many posts have it."""

    tag: str
    posts: int


_tag = hashtags.c.tag
_PAGE = select(_tag, func.count()).where(_tag > bindparam("after")).group_by(_tag).order_by(_tag).limit(bindparam("n"))
_LAST = "\U0010ffff"


class Tags:
    """Look at the table `hashtags`."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def page(self, start: str, after: str, limit: int) -> list[TagRow]:
        """List tags that begin with `start`, by name, behind one; begin with ''."""
        return await self._db.read(partial(_page, start=start, after=after, limit=limit))


def _page(connection: Connection, start: str, after: str, limit: int) -> list[TagRow]:
    wanted = _PAGE
    if start:
        wanted = wanted.where(_tag.startswith(start, autoescape=True))
    if start and connection.dialect.name == "sqlite":  # LIKE alone would read on to the end
        wanted = wanted.where(_tag >= start, _tag < start + _LAST)
    return [TagRow(*row) for row in connection.execute(wanted, {"after": after, "n": limit})]
