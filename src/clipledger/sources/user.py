"""What a user posted: `@handle`. Newest first, pinned posts before them; cursors are times."""

from __future__ import annotations

from clipledger.core import parse
from clipledger.core.model import ApiCall
from clipledger.sources.kind import SourceKind, SourceQuery


def lookup(handle: str) -> ApiCall:
    """Ask who a handle is: the answer holds the id and how many posts there are, for one credit."""
    return ApiCall("/userinfo-by-username/", (("username", handle),))


def _request(query: SourceQuery) -> ApiCall:
    return ApiCall("/user-posts/", (("userid", query.known_id()), *query.paging()))


SOURCE = SourceKind(name="user", prefix="@", request=_request, lookup=lookup, read_entity=parse.user, newest_first=True)
