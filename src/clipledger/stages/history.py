"""Refresh: ask archived posts again for their counters, on a schedule and within a budget of its own.

Runs behind capture: it asks one post at a time, and only while hardly anything fresh waits to be resolved,
so that discovery keeps its minute. Nothing that it buys is downloaded. A post that is not found is only
doubted; an outage marks nobody (`core.history`). Must not: touch the queue.
"""

from __future__ import annotations

from collections.abc import Callable

from clipledger.core import parse
from clipledger.core.errors import Gone, Halt, MalformedReply, NotSent, Throttled, Transient
from clipledger.core.history import DOUBT_S, DOUBTS_TOGETHER, Round, believed
from clipledger.core.lifecycle import CallReason
from clipledger.core.links import post_url
from clipledger.core.model import ApiCall
from clipledger.core.pace import backlog_limit
from clipledger.core.ports import Clock
from clipledger.db.meta import Meta
from clipledger.db.queue import Queue
from clipledger.db.refreshes import DoubtRound, Refresh, Refreshes
from clipledger.events import Events
from clipledger.settings import Settings
from clipledger.stages.detail import DETAIL
from clipledger.stages.guard import Guard
from clipledger.stages.listing import FRESH_S
from clipledger.stages.paid import PaidCalls, Purpose

BATCH = 10
QUIET_SHARE = 0.1
"""Refreshes go on while no more than this share of a minute's resolves waits."""

AGAIN_S = 300.0
"""A post that no answer came for is asked again so much later."""

FAILED_MAX = 3
"""So many calls without an answer in a row end a batch: it is not the posts."""

LEASE_S = 600.0
_PLANNED = "history_refresh"


class History:
    """Ask what is due, most valuable first."""

    def __init__(
        self,
        paid: PaidCalls,
        queue: Queue,
        refreshes: Refreshes,
        meta: Meta,
        guard: Guard,
        clock: Clock,
        events: Events,
        settings: Settings,
        worker: str,
    ) -> None:
        self._paid, self._queue, self._refreshes, self._meta = paid, queue, refreshes, meta
        self._guard, self._clock, self._events, self._worker = guard, clock, events, worker
        self._default = settings.history.refresh
        self._waiting_max = int(backlog_limit(settings.api.requests_per_minute) * QUIET_SHARE)
        self._failed = 0
        self.done = 0

    async def act(self, stopping: Callable[[], bool]) -> bool:
        """Plan, settle doubts and ask one batch; False when nothing is due, or it is not the time."""
        if not await self._refreshes.wanted():
            return False
        await self._follow_setting()
        while await self._refreshes.plan(self._clock.now()) and not stopping():
            pass
        if stopping() or not await self._is_quiet():
            return False
        self._failed = 0
        try:
            return await self._settle_doubts(stopping) or await self._ask_due(stopping)
        except NotSent:
            await self.leave()  # paused while one stood in line: all that was claimed stays due
            return False

    async def next_at(self) -> float | None:
        """Tell when something is due; None when nothing is planned or wanted."""
        return await self._refreshes.next_at() if await self._refreshes.wanted() else None

    async def leave(self) -> None:
        """Free what is still held."""
        await self._refreshes.leave(self._worker)

    async def _follow_setting(self) -> None:
        if await self._meta.get(_PLANNED) != self._default:
            await self._refreshes.forget_plan()
            await self._meta.set(_PLANNED, self._default)

    async def _is_quiet(self) -> bool:
        if self._guard.is_open or self._paid.held or self._failed >= FAILED_MAX:
            return False
        waiting = await self._queue.backlog(self._clock.now(), FRESH_S, self._waiting_max + 1)
        return waiting <= self._waiting_max

    async def _ask_due(self, stopping: Callable[[], bool]) -> bool:
        held = await self._refreshes.claim(BATCH, self._clock.now(), LEASE_S, self._worker)
        asked = 0
        try:
            for refresh in held:
                if stopping() or not await self._is_quiet():
                    break
                asked += 1
                await self._ask(refresh)
        finally:
            await self._refreshes.give_back(held[asked:])
        return asked > 0

    async def _settle_doubts(self, stopping: Callable[[], bool]) -> bool:
        """Ask doubted posts again between two that are alive, and believe what that says."""
        found = await self._refreshes.claim_round(DOUBTS_TOGETHER, self._clock.now(), LEASE_S, self._worker)
        if not found.doubted:
            return False
        answers: dict[str, bool | None] = {}
        before, after = found.neighbours[:1], found.neighbours[1:] or found.neighbours[:1]
        alive_before = [await self._ask(each) for each in before] == [True]
        if alive_before or not found.neighbours:
            for each in found.doubted:
                if not stopping():
                    answers[each.aweme_id] = await self._ask(each)
        alive_after = [await self._ask(each) for each in after if alive_before] == [True]
        await self._refreshes.give_back([each for each in found.neighbours if not alive_before])
        await self._believe(found, answers, alive_before, alive_after)
        return True

    async def _believe(
        self, found: DoubtRound, answers: dict[str, bool | None], alive_before: bool, alive_after: bool
    ) -> None:
        now = self._clock.now()
        alive, gone = (frozenset(i for i, answer in answers.items() if answer is told) for told in (True, False))
        asked = Round(alive_before, alive_after, alive, gone)
        vanished = believed(asked) if not self._guard.is_open else frozenset()
        if await self._refreshes.vanished(vanished, now):
            self._events.emit("vanished", ids=len(vanished))
        for each in found.doubted:
            if each.aweme_id not in answers:
                await self._refreshes.put_off(each, now + DOUBT_S)
        if gone - vanished:
            self._events.emit("still_doubted", ids=len(gone - vanished), alive=len(alive))

    async def _ask(self, refresh: Refresh) -> bool | None:
        """Buy one answer and keep it: alive, not found, or None for no answer."""
        now, aweme_id = self._clock.now(), refresh.aweme_id
        call = ApiCall(DETAIL, (("url", post_url(aweme_id)),))
        purpose = Purpose(CallReason.REFRESH, aweme_id, token=refresh.token)
        try:
            post = await self._paid.buy(call, purpose, lambda body: parse.detail(body, asked=aweme_id, now=now))
        except Gone as error:
            self._failed = 0
            if await self._refreshes.missing(refresh, error.reason, self._clock.now()):
                self._events.emit("doubted", aweme_id=aweme_id, reason=error.reason)
            return False
        except (MalformedReply, Throttled, Transient):
            self._failed += 1
            await self._refreshes.put_off(refresh, self._clock.now() + AGAIN_S)
            return None
        except Halt:
            await self._refreshes.give_back([refresh])
            raise
        self._failed = 0
        self.done += 1
        if await self._refreshes.alive(refresh, post, self._clock.now()):
            self._events.emit("came_back", aweme_id=aweme_id)
        return True
