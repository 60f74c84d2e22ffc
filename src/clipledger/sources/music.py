"""Posts that use a sound: `music:ID`. Cursors are offsets."""

from __future__ import annotations

from clipledger.core.model import ApiCall
from clipledger.sources.kind import SourceKind, SourceQuery


def _request(query: SourceQuery) -> ApiCall:
    return ApiCall("/music-posts/", (("music_id", query.subject), *query.paging()))


SOURCE = SourceKind(name="music", prefix="music:", request=_request)
