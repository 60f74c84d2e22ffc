"""What a user put into a collection: `collection:ID`. Cursors are offsets."""

from __future__ import annotations

from clipledger.core.model import ApiCall
from clipledger.sources.kind import SourceKind, SourceQuery


def _request(query: SourceQuery) -> ApiCall:
    return ApiCall("/collection-posts/", (("collection_id", query.subject), *query.paging()))


SOURCE = SourceKind(name="collection", prefix="collection:", request=_request)
