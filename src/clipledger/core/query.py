"""The search language: text -> what is wanted, with every mistake named at its place.

    cats dogs          both words          "new york"        these words side by side
    cat OR kitten      one of them         -dog              not this
    danc*              begins with         from:@alice       by this author, under any handle
    tag:#dance  author:ID  music:ID  region:US  is:gone|photo|video|ad
    since:2026-05-01  until:2026-05-31  plays:1000            (UTC days, both included; at least so many plays)

OR binds its two neighbours; everything else is joined by AND. Must not: know a table or a database: what
is wanted goes on as `Query`, never as text of the user.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

from clipledger.core.errors import UsageError
from clipledger.core.links import shown
from clipledger.core.times import read_iso_time
from clipledger.core.words import mark, tag_of, words

LONGEST = 1000
"""Characters in a query, at most."""

PLAYS_MAX = 10**15
"""The highest count of plays that can be asked for: far above any post's, and every database can hold it."""

TERMS_MAX = 64
PREFIX_MIN = 2
"""Letters before a `*`: fewer would be half of all words."""

KINDS = ("gone", "photo", "video", "ad")


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words side by side; `prefix`: the last one only begins so."""

    words: tuple[str, ...]
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """What a post is, such as `tag:dance`."""

    text: str


@dataclass(frozen=True, slots=True)
class By:
    """Posts of whoever has, or had, this handle (lower case, no @)."""

    handle: str


Atom = Phrase | Mark | By


@dataclass(frozen=True, slots=True)
class Clause:
    """One of `either` holds; `negated`: it must not."""

    either: tuple[Atom, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """All `clauses` hold, and the post was made from `since` until before `until` (unix seconds)."""

    clauses: tuple[Clause, ...] = ()
    since: float | None = None
    until: float | None = None
    plays_min: int | None = None

    @property
    def handles(self) -> frozenset[str]:
        """Name the handles asked for."""
        return frozenset(atom.handle for clause in self.clauses for atom in clause.either if isinstance(atom, By))

    @property
    def words(self) -> tuple[str, ...]:
        """List the words that a post is wanted for."""
        atoms = (atom for clause in self.clauses if not clause.negated for atom in clause.either)
        return tuple(word for atom in atoms if isinstance(atom, Phrase) for word in atom.words)


@dataclass(frozen=True, slots=True)
class _Token:
    """One part of the text: where it stands, whether `-` is before it, its field, and what was in quotes or bare."""

    at: int
    negated: bool
    field: str
    text: str
    quoted: bool
    star: bool


_TOKEN = re.compile(
    r"""(?P<minus>-?)(?:(?P<field>[A-Za-z]+):)?(?:"(?P<quoted>[^"]*)(?P<close>"?)|(?P<bare>[^\s"]*))(?P<star>\*?)"""
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_COUNT = re.compile(r"(\d{1,15})([kKmMgG]?)", re.ASCII)
_SCALE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


def parse(text: str) -> Query:
    """Read a query; an empty one wants everything. Raises UsageError that names the mistake and its place."""
    if len(text) > LONGEST:
        raise UsageError(f"the search is longer than {LONGEST} characters")
    query, joined = Query(), False
    tokens = list(_tokens(text))
    if len(tokens) > TERMS_MAX:
        raise UsageError(f"the search has more than {TERMS_MAX} parts")
    for place, token in enumerate(tokens):
        if _is_or(token):
            if joined or place in (0, len(tokens) - 1):
                raise _wrong(token, "OR stands between two things")
            joined = True
            continue
        query, joined = _take(query, token, joined), False
    return query


def by_author(author_id: str) -> Query:
    """Want the posts of one author, whatever characters the id is of."""
    return Query((Clause((Mark(mark("author", author_id)),)),))


def by_handle(handle: str) -> Query:
    """Want the posts of whoever has or had a handle, however it is written."""
    return Query((Clause((By(handle.removeprefix("@").lower()),)),))


def both(one: Query, other: Query) -> Query:
    """Join two queries: what is found holds for both."""
    return Query(
        one.clauses + other.clauses,
        _picked(max, one.since, other.since),
        _picked(min, one.until, other.until),
        max((plays for plays in (one.plays_min, other.plays_min) if plays is not None), default=None),
    )


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        found = _TOKEN.match(text, at)
        assert found is not None  # every part of the pattern may be empty
        if found["quoted"] is not None and not found["close"]:
            raise UsageError(f'search, place {at + 1}: the quotation mark is not closed: write "... "')
        bare = found["bare"]
        if not found[0] or (bare is not None and not bare and not found["star"]):
            raise UsageError(f"search, place {at + 1}: nothing to search for in '{shown(found[0] or text[at])}'")
        star = bool(found["star"]) or bool(bare and bare.endswith("*"))
        inner = found["quoted"] if bare is None else bare.rstrip("*")
        yield _Token(at, bool(found["minus"]), (found["field"] or "").lower(), inner, bare is None, star)
        at = found.end()


def _is_or(token: _Token) -> bool:
    return token.text == "OR" and not (token.field or token.quoted or token.negated or token.star)


def _take(query: Query, token: _Token, joined: bool) -> Query:
    if token.field in _BOUNDS:
        if joined or token.negated or token.star:
            raise _wrong(token, f"{token.field}: takes no -, * or OR")
        return both(query, _BOUNDS[token.field](token))
    atom = _atom(token)
    if not joined:
        return replace(query, clauses=(*query.clauses, Clause((atom,), token.negated)))
    last = query.clauses[-1] if query.clauses else None
    if last is None or last.negated or token.negated:
        raise _wrong(token, "OR joins two things that are wanted: no - beside it, no since:, until: or plays:")
    return replace(query, clauses=(*query.clauses[:-1], Clause((*last.either, atom))))


def _atom(token: _Token) -> Atom:
    if token.field:
        if token.field not in _FIELDS:
            raise _wrong(token, f"{token.field}: is no field; use one of {', '.join(sorted((*_FIELDS, *_BOUNDS)))}")
        if token.star:
            raise _wrong(token, f"{token.field}: takes no *")
        return _FIELDS[token.field](token)
    if token.text.startswith("#") and not token.quoted and not token.star:
        return _tag(token)
    if token.text.startswith("@") and not token.quoted and not token.star:
        return _by(token)
    found = tuple(words(token.text))
    if not found:
        raise _wrong(token, "holds no word, digit or emoji to search for")
    if token.star and len(found[-1]) < PREFIX_MIN and found[-1].isascii():
        raise _wrong(token, f"write at least {PREFIX_MIN} letters before the *")
    return Phrase(found, token.star)


def _tag(token: _Token) -> Mark:
    if not (tag := tag_of(token.text)):
        raise _wrong(token, "a tag is letters, digits and _")
    return Mark(mark("tag", tag))


def _by(token: _Token) -> By:
    handle = token.text.removeprefix("@").lower()
    if not re.fullmatch(r"\S{1,64}", handle):
        raise _wrong(token, "write from:@handle")
    return By(handle)


def _number(kind: str) -> Callable[[_Token], Mark]:
    def read(token: _Token) -> Mark:
        if not re.fullmatch(r"[0-9]{1,20}", token.text):
            raise _wrong(token, f"write {kind}:ID with an id of digits")
        return Mark(mark(kind, token.text))

    return read


def _region(token: _Token) -> Mark:
    if not re.fullmatch(r"[A-Za-z]{2}", token.text):
        raise _wrong(token, "a region is two letters, as in region:US")
    return Mark(mark("region", token.text))


def _kind(token: _Token) -> Mark:
    if token.text.lower() not in KINDS:
        raise _wrong(token, f"is: takes one of {', '.join(KINDS)}")
    return Mark(mark("is", token.text))


def _since(token: _Token) -> Query:
    return Query(since=_day(token))


def _until(token: _Token) -> Query:
    return Query(until=_day(token, 1))


def _plays(token: _Token) -> Query:
    found = _COUNT.fullmatch(token.text.lstrip(">="))
    if found is None:
        raise _wrong(token, "write a count, such as plays:1000 or plays:2M")
    if (plays := int(found[1]) * _SCALE[found[2].lower()]) > PLAYS_MAX:
        raise _wrong(token, f"no post has so many plays; at most {PLAYS_MAX:,}")
    return Query(plays_min=plays)


def _day(token: _Token, after: int = 0) -> float:
    try:
        if not _DAY.fullmatch(token.text):
            raise ValueError
        return read_iso_time(f"{date.fromisoformat(token.text) + timedelta(days=after)}T00:00:00Z")
    except (ValueError, OverflowError):
        raise _wrong(token, "write a UTC day such as 2026-05-29") from None


def _picked(pick: Callable[..., float], one: float | None, other: float | None) -> float | None:
    given = [value for value in (one, other) if value is not None]
    return pick(given) if given else None


def _wrong(token: _Token, why: str) -> UsageError:
    field = f"{token.field}:" if token.field else ""
    return UsageError(f"search, place {token.at + 1}: '{shown(field + token.text, 40)}': {why}")


_FIELDS: dict[str, Callable[[_Token], Mark | By]] = {
    "from": _by,
    "tag": _tag,
    "author": _number("author"),
    "music": _number("music"),
    "region": _region,
    "is": _kind,
}
_BOUNDS: dict[str, Callable[[_Token], Query]] = {"since": _since, "until": _until, "plays": _plays}
