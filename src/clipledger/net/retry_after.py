"""Read `Retry-After`: how long the other side asks us to stay away. Shared by the API and the CDN.

Must not: believe more than `RETRY_AFTER_CAP_S`, or fail on garbage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

RETRY_AFTER_CAP_S = 300.0
"""Longer than any pause the API is known for; a wrong header must not stop an archive for a day."""

_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?", re.ASCII)


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """Read the wait in seconds, 0 to the cap, from seconds or an HTTP date; None when it tells none.

    `headers` have lower-case names; `now` is unix seconds.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), RETRY_AFTER_CAP_S)
    moment = _http_date(text)
    return None if moment is None else min(max(moment - now, 0.0), RETRY_AFTER_CAP_S)


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
