"""What a user liked, where the list is public: `liked:@handle`."""

from __future__ import annotations

from clipledger.core import parse
from clipledger.core.model import ApiCall
from clipledger.sources.kind import SourceKind, SourceQuery
from clipledger.sources.user import lookup


def _request(query: SourceQuery) -> ApiCall:
    return ApiCall("/user-liked/", (("userid", query.known_id()), *query.paging()))


SOURCE = SourceKind(name="liked", prefix="liked:@", request=_request, lookup=lookup, read_entity=parse.user)
