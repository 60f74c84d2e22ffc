"""A `Query` -> one expression of a database's own text search, out of quoted words alone.

Must not: read what a user typed; a word that gets here went through `core.words`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from clipledger.core.query import Atom, By, Clause, Mark, Phrase, Query
from clipledger.core.words import BREAK, lexeme, mark

Authors = Mapping[str, Sequence[str]]
"""Handle -> the ids of the authors who have or had it."""


def fts5(query: Query, authors: Authors) -> str:
    """Write the MATCH expression of SQLite's FTS5; '' when the query names no word and no mark."""
    wanted = [_any(clause, authors, _in_fts5, " OR ") for clause in query.clauses if not clause.negated]
    unwanted = [_any(clause, authors, _in_fts5, " OR ") for clause in query.clauses if clause.negated]
    if not (wanted or unwanted):
        return ""
    # NOT is binary there: what every post has stands before it when nothing else does.
    found = " AND ".join(wanted) or _quoted(BREAK)
    return f"({found}) NOT ({' OR '.join(unwanted)})" if unwanted else found


def tsquery(query: Query, authors: Authors) -> str:
    """Write the text of a PostgreSQL tsquery; '' when the query names no word and no mark."""
    return " & ".join(
        ("!" if clause.negated else "") + _any(clause, authors, _in_postgres, " | ") for clause in query.clauses
    )


def _any(clause: Clause, authors: Authors, write: Callable[[Phrase | Mark], str], joint: str) -> str:
    return "(" + joint.join(write(atom) for whole in clause.either for atom in _resolved(whole, authors)) + ")"


def _resolved(atom: Atom, authors: Authors) -> list[Phrase | Mark]:
    if not isinstance(atom, By):
        return [atom]
    # The handle at capture is a mark of its own: it finds posts whose author id nobody told.
    ids = authors.get(atom.handle, ())
    return [Mark(mark("from", atom.handle)), *(Mark(mark("author", author_id)) for author_id in ids)]


def _in_fts5(atom: Phrase | Mark) -> str:
    if isinstance(atom, Mark):
        return _quoted(atom.text)
    return _quoted(" ".join(atom.words)) + ("*" if atom.prefix else "")


def _in_postgres(atom: Phrase | Mark) -> str:
    if isinstance(atom, Mark):
        return lexeme(atom.text)
    return "(" + " <-> ".join(map(lexeme, atom.words)) + (":*" if atom.prefix else "") + ")"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
