"""What a user put into a playlist: `playlist:ID`. Cursors are offsets."""

from __future__ import annotations

from clipledger.core.model import ApiCall
from clipledger.sources.kind import SourceKind, SourceQuery


def _request(query: SourceQuery) -> ApiCall:
    return ApiCall("/playlist-posts/", (("playlist_id", query.subject), *query.paging()))


SOURCE = SourceKind(name="playlist", prefix="playlist:", request=_request)
