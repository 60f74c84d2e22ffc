"""What a user shows for a day: `stories:@handle`. One answer holds all of it; there are no pages."""

from __future__ import annotations

from clipledger.core import parse
from clipledger.core.model import ApiCall
from clipledger.sources.kind import SourceKind, SourceQuery
from clipledger.sources.user import lookup


def _request(query: SourceQuery) -> ApiCall:
    return ApiCall("/user-stories/", (("userid", query.known_id()),))


SOURCE = SourceKind(
    name="stories",
    prefix="stories:@",
    request=_request,
    lookup=lookup,
    read_entity=parse.user,
    paged=False,
    newest_first=True,
)
