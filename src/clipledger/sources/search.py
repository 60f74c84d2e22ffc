"""Posts that a search finds: `search:WORDS`, with `?region=CC&sort=likes&within=7`.

The API's defaults are nobody's promise, so window, order and region are sent with every call.
"""

from __future__ import annotations

from clipledger.core.links import SORTS, escape_words
from clipledger.core.model import ApiCall
from clipledger.sources.kind import SourceKind, SourceQuery

DEFAULT_REGION = "US"
"""Sent when the operator names none: a search without a region depends on where the API's machine stands."""


def _request(query: SourceQuery) -> ApiCall:
    narrowed = (
        ("publish_time", str(query.published_within)),
        ("sort_by", str(SORTS.index(query.sort or SORTS[0]))),
        ("region", query.region or DEFAULT_REGION),
    )
    return ApiCall("/search-video/", (("keyword", query.subject), *query.paging(), *narrowed))


SOURCE = SourceKind(
    name="search",
    prefix="search:",
    request=_request,
    escape=escape_words,
    options=frozenset({"region", "sort", "within"}),
)
