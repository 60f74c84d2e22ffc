"""What was spent, what of it was wasted, and where it is going."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from clipledger.archive import Archive
from clipledger.core.cost import MONTH_DAYS
from clipledger.core.times import iso_time, utc_day
from clipledger.db.spending import Spending, Spent

_DAY_S = 86_400.0


_WASTE = (
    "url_expired",
    "crash_after_resolve",
    "retry",
    "recheck",
    "interrupted",
    "throttled",
    "malformed",
    "operator_retry",
    "canary",
)


async def spent(archive: Archive, seconds: float) -> dict[str, Any]:
    """Sum the ledger of the last `seconds` up by day, endpoint, reason and source; its waste; where it is going."""
    now, ledger = archive.clock.now(), Spending(archive.db)
    since = now - seconds
    days, reasons = await ledger.by_day(since), await ledger.by_reason(since)
    lost, cap = await ledger.lost(since), archive.settings.budget.credits_per_day
    wasted = {line.name: line.credits for line in reasons if line.name in _WASTE and line.credits}
    return {
        "since": iso_time(since),
        "credits": sum(line.credits for line in days),
        "wasted": wasted | ({"dead_all_the_same": lost} if lost else {}),
        "answered_gone": sum(line.gone for line in days),
        "by_day": [asdict(line) for line in days],
        "by_endpoint": [asdict(line) for line in await ledger.by_endpoint(since)],
        "by_reason": [asdict(line) for line in reasons],
        "by_source": [asdict(line) for line in await ledger.by_source(since)],
        "forecast": _forecast(days, utc_day(now), now % _DAY_S / _DAY_S, cap),
    }


def _forecast(days: Sequence[Spent], today: str, gone: float, cap: int | None) -> dict[str, Any]:
    """Carry the last seven whole days on; without any, today's pace."""
    whole = [line.credits for line in days if line.name != today][-7:]
    spent_today = sum(line.credits for line in days if line.name == today)
    pace = sum(whole) / len(whole) if whole else spent_today / max(gone, 1 / 24)
    per_day = pace if cap is None else min(pace, cap)
    return {
        "per_day": round(per_day),
        "next_30_days": round(per_day * MONTH_DAYS),
        "today": spent_today,
        "cap": cap,
        "from_whole_days": len(whole),
    }
