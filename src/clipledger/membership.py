"""Sign the roll: tell every few seconds that this process is at work, and hear what the operator wants of it.

One transaction a beat, which only reads while there is nothing new to tell: a disk can rest. Must not: know a role,
act on an order, or say that anybody is dead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from clipledger.core.ports import Clock
from clipledger.core.times import iso_time
from clipledger.db.members import Members, Orders, Sign
from clipledger.db.switches import Switch

BEAT_S = 5.0
"""How often a process looks for orders, and signs when it did something: one small transaction."""

SIGN_S = 4 * BEAT_S
"""How often one signs that does nothing."""

SILENT_S = 8 * BEAT_S
"""A member that did not sign for so long is shown as silent."""

_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Doing:
    """What a process has under way and has done since it began; `spent` is credits, as far as known."""

    in_flight: int
    captured: int
    bytes: int
    spent: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs."""

    host: str
    pid: int


class Membership:
    """One process's row in `workers`."""

    def __init__(
        self,
        worker: str,
        place: Place,
        roles: Iterable[str],
        members: Members,
        clock: Clock,
        doing: Callable[[], Doing],
    ) -> None:
        self._worker, self._place, self._roles = worker, place, ",".join(sorted(roles))
        self._members, self._clock, self._doing = members, clock, doing
        self._began_at = clock.now()
        self._past: deque[tuple[float, Doing]] = deque([(self._began_at, doing())])
        self._told: tuple[Doing, float, float] | None = None
        self._signed_at = float("-inf")

    async def sign(self, reading: Sequence[str] = ()) -> Orders:
        """Write the row anew, if there is anything new to tell; give what is wanted of this process."""
        now, doing = self._clock.now(), self._doing()
        videos, credits = self._rates(now, doing)
        if (doing, videos, credits) == self._told and 0 <= now - self._signed_at < SIGN_S - BEAT_S / 2:
            return await self._members.orders(self._worker, now, reading)
        sign = Sign(
            worker=self._worker,
            host=self._place.host,
            pid=self._place.pid,
            roles=self._roles,
            began_at=self._began_at,
            seen_at=now,
            in_flight=doing.in_flight,
            captured=doing.captured,
            bytes=doing.bytes,
            spent=doing.spent,
            videos_per_min=videos,
            credits_per_min=credits,
        )
        orders = await self._members.sign(sign, reading)
        self._told, self._signed_at = (doing, videos, credits), now
        return orders

    async def leave(self) -> None:
        """Take the row out."""
        await self._members.remove(self._worker)

    def _rates(self, now: float, doing: Doing) -> tuple[float, float]:
        self._past.append((now, doing))
        while len(self._past) > 2 and self._past[1][0] <= now - _MINUTE_S:
            self._past.popleft()
        then, before = self._past[0]
        minutes = max(now - then, BEAT_S) / _MINUTE_S
        return (doing.captured - before.captured) / minutes, (doing.spent - before.spent) / minutes


def pause_words(pause: Switch) -> str:
    """Say that and since when the operator paused, and why."""
    why = f" ({pause.evidence})" if pause.evidence else ""
    return f"paused by the operator since {iso_time(pause.since)}{why}: `clipledger resume` ends it"
