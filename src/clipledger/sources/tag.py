"""Posts that carry a tag: `#tag`. Ranked, so its cursors are offsets; a region may narrow it."""

from __future__ import annotations

from clipledger.core import parse
from clipledger.core.model import ApiCall
from clipledger.sources.kind import SourceKind, SourceQuery


def _lookup(tag: str) -> ApiCall:
    return ApiCall("/challenge-info-name/", (("name", tag),))


def _request(query: SourceQuery) -> ApiCall:
    region = (("region", query.region),) if query.region else ()
    return ApiCall("/challenge-posts/", (("challenge_id", query.known_id()), *query.paging(), *region))


SOURCE = SourceKind(
    name="tag",
    prefix="#",
    request=_request,
    lookup=_lookup,
    read_entity=parse.tag,
    options=frozenset({"region"}),
)
