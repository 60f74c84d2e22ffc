"""What a discovery source is: how it is written, how to ask the API for it, how to read the answer.

Must not: call anything. A source is a value; adding one is adding a file that exposes `SOURCE`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clipledger.core import parse
from clipledger.core.errors import MalformedReply, UsageError
from clipledger.core.links import ListOptions
from clipledger.core.model import ApiCall, Page
from clipledger.core.parse import Entity

COUNT = 30
"""Items asked for per page: the founding guide's maximum."""

NO_OPTIONS = ListOptions()


@dataclass(frozen=True, slots=True)
class SourceQuery:
    """One page to ask for. `cursor` is None at the top; '' and 0 mean the API's own default."""

    subject: str
    entity_id: str | None = None
    region: str = ""
    sort: str = ""
    published_within: int = 0
    cursor: str | None = None

    def known_id(self) -> str:
        """Return the numeric id behind the subject; ValueError when nobody has looked it up."""
        if self.entity_id is None:
            raise ValueError(f"{self.subject} was not looked up")
        return self.entity_id

    def paging(self) -> tuple[tuple[str, str], ...]:
        """Return the parameters that every paged list takes."""
        return ("count", str(COUNT)), ("cursor", self.cursor or "0")


def _no_lookup(_subject: str) -> ApiCall | None:
    return None


def _no_entity(_body: object) -> Entity:
    raise MalformedReply("this source has nothing to look up")


def _page(body: object, now: float, keep: bool) -> Page:
    return parse.page(body, now=now, keep=keep)


def _as_is(subject: str) -> str:
    return subject


@dataclass(frozen=True, slots=True)
class SourceKind:
    """One kind of source.

    `prefix` and `escape` give the written form. `lookup` is the call that turns a subject into a
    numeric id (None where the subject is one), `read_entity` reads its answer. `newest_first`: the
    list is ordered by time and its cursors are times, which never go stale; other cursors are
    offsets, which do. `read` is given the present and whether the items are kept as they came.
    `options`: which of region, sort, within the endpoint takes.
    """

    name: str
    prefix: str
    request: Callable[[SourceQuery], ApiCall]
    lookup: Callable[[str], ApiCall | None] = _no_lookup
    read_entity: Callable[[object], Entity] = _no_entity
    read: Callable[[object, float, bool], Page] = _page
    escape: Callable[[str], str] = _as_is
    paged: bool = True
    newest_first: bool = False
    options: frozenset[str] = frozenset()

    def accept(self, options: ListOptions) -> ListOptions:
        """Return the options as they are; UsageError when the endpoint does not take one of them."""
        if wrong := [name for name, _ in options.given() if name not in self.options]:
            raise UsageError(f"a {self.name} source takes no {' and no '.join(wrong)}")
        return options

    def write(self, subject: str, options: ListOptions = NO_OPTIONS) -> str:
        """Write the canonical text, which `links.understand` reads back; UsageError as `accept`."""
        tail = "&".join(f"{name}={value}" for name, value in self.accept(options).given())
        return f"{self.prefix}{self.escape(subject)}{'?' + tail if tail else ''}"
