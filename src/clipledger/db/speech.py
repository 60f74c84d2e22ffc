"""How each database is asked for what a query matches: its words, its keys, and what it does quickly.

Must not: run a search, or know an order (`search.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from clipledger.core.matching import fts5, tsquery
from clipledger.core.query import Query
from clipledger.db import authors


@dataclass(frozen=True, slots=True)
class Asked:
    """A query in one database's terms: ids from `lowest` to below `highest`. What it names is in `values`.

    `gathered`: its matches are put together first, whatever the server makes of their number.
    """

    speech: Speech
    match: str
    named: Mapping[str, object]
    plays: bool
    lowest: int
    highest: int
    gathered: bool = False

    @property
    def values(self) -> dict[str, object]:
        """Give what `where` compares with."""
        bound = self.speech.bound if self.match else str
        return dict(self.named) | {"lowest": bound(self.lowest), "highest": bound(self.highest)}

    def behind(self, aweme_id: int, oldest_first: bool) -> Asked:
        """Leave out what comes before. One bound at each end: a database seeks to one, and reads past a second."""
        if oldest_first:
            return replace(self, lowest=max(self.lowest, aweme_id + 1))
        return replace(self, highest=min(self.highest, aweme_id))

    @property
    def source(self) -> str:
        """Name where the matches are: the index, joined to the posts where a count is asked for."""
        if not self.match:
            return "posts p"
        return self.index + (f" JOIN posts p ON p.aweme_id = {self.speech.id}" if self.plays else "")

    @property
    def index(self) -> str:
        """Name the index, or the matches out of it: behind OFFSET 0 nothing else has a say in how they are found."""
        if not self.gathered:
            return "post_search s"
        return f"(SELECT s.aweme_id, s.words FROM post_search s WHERE {self._matches} OFFSET 0) s"

    @property
    def where(self) -> str:
        """Write what matches."""
        matches = "1 = 1" if self.gathered else self._matches
        return f"{matches} AND {self.played}" if self.plays else matches

    @property
    def within(self) -> str:
        """Write between which ids."""
        key = self.speech.key if self.match else "p.aweme_id"
        return f"{key} >= :lowest AND {key} < :highest"

    @property
    def played(self) -> str:
        """Write how often it was played at least."""
        return "p.play_count >= :plays"

    @property
    def _matches(self) -> str:
        return f"{self.speech.match} AND {self.within}" if self.match else self.within


def asked_of(connection: Connection, query: Query) -> Asked:
    """Put a query in the terms of the database at hand."""
    called = authors.ids_called(connection, query.handles)
    name = connection.dialect.name
    speech, match = _SPEECH[name], (fts5 if name == "sqlite" else tsquery)(query, called)
    since, until = (min(int(max(at, 0)), _NEVER_S) for at in (query.since or 0, query.until or _NEVER_S))
    named: dict[str, object] = {"m": match} if match else {}
    if query.plays_min is not None:
        named["plays"] = query.plays_min
    return Asked(speech, match, named, query.plays_min is not None, since << 32, until << 32)


@dataclass(frozen=True, slots=True)
class Speech:
    """How one database is asked: the post's id in the index, as text and as key, and what matches.

    `sorted_max`: so many matches are sorted outright. `gathered_max`: for so many, an order is walked against all
    matches put together; for more, at most `walked_max` posts of the order are looked up, before all are sorted
    after all. `guesses`: it takes a word that it has not counted for a common one, and reads the archive for it.
    """

    key: str
    id: str
    match: str
    of_post: str
    ranked: str
    sorted_max: int
    gathered_max: int
    walked_max: int
    guesses: bool = False

    def bound(self, aweme_id: int) -> object:
        """Give an id as the index's key is compared with."""
        return aweme_id if self.key == "s.rowid" else str(aweme_id)


_RANKED = "posts p INDEXED BY posts_ranked"  # else SQLite takes the primary key, and reads each post in full
_SPEECH = {
    # SQLite: 3 us a match that is sorted, 0.3 us one that is gathered; of 50,000 in a million an order shows 31 soon.
    "sqlite": Speech(
        "s.rowid",
        "CAST(s.rowid AS TEXT)",
        "s.post_search MATCH :m",
        "CAST(p.aweme_id AS INTEGER)",
        _RANKED,
        3000,
        50_000,
        4000,  # 20 to 80 us each
    ),
    # PostgreSQL: 10 us a match that is sorted, 5 us a post that is looked up; it makes one plan of both forms of that.
    "postgresql": Speech(
        "s.aweme_id",
        "s.aweme_id",
        "s.lexemes @@ CAST(:m AS tsquery)",
        "p.aweme_id",
        "posts p",
        3000,
        0,
        12_000,
        guesses=True,
    ),
}
_NEVER_S = (1 << 31) - 1  # SQLite's keys end with the second 2^31
