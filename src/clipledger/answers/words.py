"""Read what people type for posts, authors, sources and reasons; write moments for them.

Must not: ask for more than a name needs."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from clipledger import sources
from clipledger.archive import Archive
from clipledger.core.errors import Reason, UsageError
from clipledger.core.links import WantedPost, WantedShortLink, WantedSource, shown, understand
from clipledger.core.model import AwemeId
from clipledger.core.scrub import scrub_text
from clipledger.core.times import iso_time
from clipledger.db import authors

_TIMES = ("at", "_until")


WORDS_MAX = 500
"""Characters of a reason or a reference: they stay for good, on one line."""


def post_id(archive: Archive, text: str) -> AwemeId:
    """Read an id or a post's URL."""
    wanted = understand(text, now=archive.clock.now())
    if not isinstance(wanted, WantedPost):
        raise UsageError(f"'{shown(text)}' is not a post: give its id or its URL")
    return wanted.aweme_id


async def author_id_of(archive: Archive, text: str) -> str:
    """Find the author meant by an id or a handle; UsageError when nobody is, or several are."""
    name = text.strip().removeprefix("@").lower()
    called = (await archive.db.read(lambda connection: authors.ids_called(connection, [name])))[name]
    if len(called) == 1:
        return called[0]
    if called:
        raise UsageError(f"{shown(text)}: {len(called)} authors bore that handle: name one by id: {', '.join(called)}")
    if name.isascii() and name.isdecimal() and len(name) >= 5:
        return name
    raise UsageError(f"{shown(text)}: this archive has seen nobody of that handle; an author's id is taken unseen")


def clean(text: str) -> str:
    """Put what an operator wrote on one line, without the signatures of links."""
    return scrub_text(" ".join(text.split()))[:WORDS_MAX]


def source_name(text: str, now: float) -> str:
    """Give the name under which `add` registered what is typed here."""
    wanted = understand(text, now=now)
    if isinstance(wanted, WantedSource):
        return sources.registry()[wanted.kind].write(wanted.subject, wanted.options)
    return wanted.url if isinstance(wanted, WantedShortLink) else text


def a_reason(text: str | None) -> Reason | None:
    """Read `--reason`; raises UsageError that names them all."""
    if text is None:
        return None
    try:
        return Reason(text)
    except ValueError:
        close = get_close_matches(text, Reason, n=1)
        meant = f"did you mean {close[0]}? All" if close else "use one"
        raise UsageError(f"--reason {shown(text)!r}: {meant} of them: {', '.join(Reason)}") from None


def timed(row: dict[str, Any]) -> dict[str, Any]:
    """Write every moment as UTC text."""
    return {
        key: iso_time(value) if isinstance(value, float) and key.endswith(_TIMES) else value
        for key, value in row.items()
    }
