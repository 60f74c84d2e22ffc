"""Canaries: posts known to be alive that are asked again, to tell an outage from posts that are gone.

A post that was called gone when it was asked last is asked after all others, so that an author who deleted everything
does not stand for the API. Must not: judge the API, which is the guard's part.
"""

from __future__ import annotations

from collections.abc import Sequence

from clipledger.core import parse
from clipledger.core.breaker import FEW_CANARIES, Answer, Outcome, in_turn, is_lost
from clipledger.core.errors import Gone, Held, MalformedReply, Throttled, Transient
from clipledger.core.lifecycle import CallReason
from clipledger.core.links import post_url
from clipledger.core.model import ApiCall, AwemeId
from clipledger.core.ports import Clock
from clipledger.db.catalog import Catalog
from clipledger.db.credits import Credits
from clipledger.stages.paid import PaidCalls, Purpose

POOL = 50
"""Canaries are taken out of so many posts archived last, those that were called gone not counted."""

POOL_MAX = 3200
"""So many posts are looked at for them at most."""

GONE_ENOUGH = 4
"""Where several are to be asked, so many gone and none alive are enough."""


class Canaries:
    """Ask canaries. One per guard."""

    def __init__(self, paid: PaidCalls, endpoint: str, catalog: Catalog, credits: Credits, clock: Clock) -> None:
        self._paid, self._endpoint, self._clock = paid, endpoint, clock
        self._catalog, self._credits = catalog, credits
        self.few = False  # too few canaries to tell an outage from an archive that lost its posts
        self.lost = False  # all were called gone for a week: they tell no more than few do
        self.odd = False  # while the breaker is open, one was answered in a shape we do not know

    @property
    def mute(self) -> bool:
        """True where no canary can be expected to acquit: then what is gone is noted down, or nothing would end."""
        return self.few or self.lost

    async def ask(
        self,
        wanted: int,
        *,
        enough: int,
        before: float,
        open_since: float | None,
        gone_enough: int | None = None,
    ) -> tuple[int, int]:
        """Ask up to `wanted` different canaries, archived before `before` if any were; give how many were alive, gone.

        Stops at `enough` alive. With `gone_enough` all stand the same chance, as a share is judged by them: then so
        many gone beside one alive are enough too. `open_since`: when the breaker opened, None while it is closed.
        """
        alive = gone = 0
        self.odd = False
        pool = await self._in_line(before, open_since, fair=gone_enough is not None)
        for canary in pool[:wanted]:
            verdict = await self._ask(canary, probing=open_since is not None)
            alive += verdict is True
            gone += verdict is False
            plenty = gone_enough is not None and gone >= (gone_enough if alive else GONE_ENOUGH)
            if self.odd or alive >= enough or plenty:
                break
        return alive, gone

    async def _in_line(self, before: float, open_since: float | None, *, fair: bool) -> list[AwemeId]:
        """Choose posts that were archived before what is in question began: a block lets through whom it spares."""
        now = self._clock.now()
        everybody = await self._catalog.canaries(POOL, now)
        # The first posts of a new archive are indexed within seconds.
        first = [] if everybody else [row.aweme_id for row in await self._catalog.stored(POOL)]
        self.few = 0 < len(everybody or first) <= FEW_CANARIES
        if before >= now or not await self._catalog.canaries(1, before):
            before = now
        minute = int(now // 60)  # others each minute
        if first:
            return in_turn(first, (), minute)
        if fair:
            return in_turn(await self._catalog.canaries(POOL, before), (), minute)
        pool, told = await self._reached(before)
        since_open = [each for each in told if open_since is not None and each.at >= open_since]
        self.lost = is_lost(since_open, now)
        return in_turn(pool, told, minute)

    async def _reached(self, before: float) -> tuple[list[AwemeId], Sequence[Outcome]]:
        """Look back until there are enough that were not called gone, or no more posts; give what all were told."""
        size = POOL
        while True:
            pool = await self._catalog.canaries(size, before)
            told = await self._credits.canaries(pool)
            last = {each.aweme_id: each.answer for each in told}
            gone = sum(answer is Answer.GONE for answer in last.values())
            if len(pool) - gone >= POOL or len(pool) < size or size >= POOL_MAX:
                return pool, told
            size *= 2

    async def _ask(self, aweme_id: AwemeId, *, probing: bool) -> bool | None:
        call, now = ApiCall(self._endpoint, (("url", post_url(aweme_id)),)), self._clock.now()
        purpose = Purpose(CallReason.CANARY, aweme_id)
        try:
            await self._paid.buy(call, purpose, lambda body: parse.detail(body, asked=aweme_id, now=now))
        except Gone:
            return False
        except MalformedReply:
            self.odd = probing
            return None
        except (Held, Throttled, Transient):
            return None
        return True
