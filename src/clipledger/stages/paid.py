"""The one place where a credit can be spent.

Every call to the API goes through `PaidCalls.buy`: slot, permit, a ledger row that stands before the
call is sent, the call, the row settled with what it came to. Nothing else may hold a `TikLive`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

from clipledger.core.errors import (
    ApiUnavailable,
    ApiUnreachable,
    CapReached,
    ClipledgerError,
    Gone,
    Halt,
    Held,
    MalformedReply,
    Reason,
    Stopped,
    Throttled,
    TooManyOpenFiles,
)
from clipledger.core.lifecycle import CallReason
from clipledger.core.model import ApiCall, AwemeId, Reply
from clipledger.core.ports import Clock
from clipledger.core.times import since
from clipledger.db.credits import CallIn, CallOutcome, Credits
from clipledger.db.samples import Sample, Samples
from clipledger.events import Events
from clipledger.limits import Limiter
from clipledger.net.tiklive import TikLive
from clipledger.stages.company import Company

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Purpose:
    """Why a call is made, and for what. `on_sent` is called once the call is in the ledger, before it is sent.

    `throttles`: how often the post met a 429 before. `stopping`: once it says so, the call is not sent any more.
    """

    reason: CallReason
    aweme_id: AwemeId | None = None
    source: str | None = None
    token: int | None = None
    on_sent: Callable[[], None] | None = None
    stopping: Callable[[], bool] | None = None
    throttles: int = 0

    def check(self) -> None:
        """Raise Stopped when whoever asked does not want the call any more."""
        if self.stopping is not None and self.stopping():
            raise Stopped("told to stop before the call was sent")

    def sent(self) -> None:
        """Tell whoever asked that the call is in the ledger."""
        if self.on_sent is not None:
            self.on_sent()


@dataclass(frozen=True, slots=True)
class _Sent:
    """A call on its way: its row in the ledger, when it was wanted, and when it was sent."""

    seq: int
    call: ApiCall
    purpose: Purpose
    asked_at: float
    sent_at: float


class PaidCalls:
    """Spend credits on the record. `day_cap` is credits a UTC day, `run_cap` credits of this process."""

    def __init__(
        self,
        api: TikLive,
        credits: Credits,
        samples: Samples,
        limiter: Limiter,
        clock: Clock,
        events: Events,
        *,
        worker: str,
        slots: int,
        jitter: Callable[[], float],
        day_cap: int | None = None,
        run_cap: int | None = None,
    ) -> None:
        self._api, self._credits, self._samples, self._limiter = api, credits, samples, limiter
        self._clock, self._events, self._worker = clock, events, worker
        self._slots, self._jitter = asyncio.Semaphore(slots), jitter
        self._day_cap, self._run_cap = day_cap, run_cap
        self._open = 0
        self._halted: Halt | None = None
        self._company = Company()
        self.spent = 0
        self.held = False  # the operator's pause: what stands in line is not sent

    async def buy(self, call: ApiCall, purpose: Purpose, read: Callable[[Reply], T]) -> T:
        """Make one call and read its answer with `read`; the answer's errors are the row's outcome.

        Raises CapReached, Held or Stopped before anything is sent, else what the API adapter or `read` raises.
        Once the key was refused or the balance was gone, every later call raises the same and nothing more is sent.
        """
        urgent = purpose.reason is CallReason.CANARY  # the outage that it is to notice may be over in seconds
        asked_at = self._clock.now()
        async with nullcontext() if urgent else self._slots:
            if self.held:
                raise Held("paused by the operator")
            purpose.check()
            moment = await self._limiter.permit(urgent=urgent)
            if self.held:
                raise Held("paused by the operator")
            if self._halted is not None:
                raise type(self._halted)(self._halted.detail)
            purpose.check()
            seq = await self._intend(call, purpose)
            purpose.sent()
            await self._limiter.still(moment)  # a slow database made the row late
            sent = _Sent(seq, call, purpose, asked_at, self._clock.now())
            try:
                answer = read(await self._api.call(call))
            except ClipledgerError as error:
                await self._settle(sent, *_outcome(error))
                await self._tell(call, purpose, error)
                raise
            await self._settle(sent, CallOutcome.OK, 1)
            self._company.succeeded()
            await self._limiter.succeeded()
            return answer

    async def _intend(self, call: ApiCall, purpose: Purpose) -> int:
        # A call on its way counts as spent: a cap holds even when every open call succeeds.
        if self._run_cap is not None and self.spent + self._open >= self._run_cap:
            raise CapReached(f"--max-credits {self._run_cap} is reached")
        intent = CallIn(
            endpoint=call.path,
            aweme_id=purpose.aweme_id,
            source=purpose.source,
            reason=purpose.reason,
            worker=self._worker,
            token=purpose.token,
        )
        self._open += 1
        try:
            return await self._credits.intend(intent, self._clock.now(), self._day_cap)
        except CapReached:
            self._open -= 1
            raise
        except asyncio.CancelledError:
            purpose.sent()  # its row may stand all the same, and only one resolve of an id is the first
            raise

    async def _tell(self, call: ApiCall, purpose: Purpose, error: ClipledgerError) -> None:
        """Send nothing more after a Halt; slow everybody down after a 429; keep the sample of an unknown shape.

        A post that meets a 429 again while others get through slows nobody down.
        """
        if isinstance(error, Halt):
            self._halted = error
        elif isinstance(error, Throttled):
            error.alone = purpose.aweme_id is not None and self._company.is_alone(purpose.aweme_id)
            told = {"endpoint": call.path, "retry_after_s": error.retry_after_s, "alone": error.alone}
            self._events.emit("throttled", **told)
            if not (error.alone and purpose.throttles):
                await self._limiter.throttled(error.retry_after_s, self._jitter())
        elif isinstance(error, MalformedReply):
            self._events.emit("malformed", endpoint=call.path, aweme_id=purpose.aweme_id, why=error.detail)
            now, body = self._clock.now(), error.sample
            await self._samples.keep(Sample(now, call.path, error.detail, body, purpose.aweme_id, purpose.source))

    async def _settle(self, sent: _Sent, outcome: CallOutcome, credits: int) -> None:
        now = self._clock.now()
        self._open -= 1
        self.spent += credits
        await self._credits.settle(sent.seq, outcome, credits, now)
        self._events.emit(
            "call",
            endpoint=sent.call.path,
            reason=sent.purpose.reason,
            outcome=outcome,
            credits=credits,
            seconds=since(sent.sent_at, now),
            waited_s=since(sent.asked_at, sent.sent_at),
            aweme_id=sent.purpose.aweme_id,
            source=sent.purpose.source,
        )


def _outcome(error: ClipledgerError) -> tuple[CallOutcome, int]:
    """Say what a failed call is in the ledger, and what it cost as far as known."""
    match error:
        case Gone():
            return CallOutcome.GONE, 0
        case Throttled():
            return CallOutcome.THROTTLED, 0
        case MalformedReply(reason=Reason.WRONG_ID):
            return CallOutcome.WRONG_ID, 1
        case MalformedReply():
            return CallOutcome.MALFORMED, 1
        case ApiUnreachable() | TooManyOpenFiles():
            return CallOutcome.FAILED, 0
        case ApiUnavailable(reason=Reason.API_MESSAGE):
            return CallOutcome.REFUSED, 0
        case ApiUnavailable():
            return CallOutcome.UNKNOWN, 1  # a lost answer: it may have been a success
    return CallOutcome.REFUSED, 0
