"""Resolve: one paid answer about one post, with links that live for minutes.

The links never leave the attempt that bought them: no queue, no table, no other process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from clipledger.core import parse
from clipledger.core.breaker import Answer
from clipledger.core.errors import Gone, MalformedReply, Reason, TooManyOpenFiles, Transient
from clipledger.core.lifecycle import CallReason
from clipledger.core.links import post_url
from clipledger.core.model import ApiCall, Job, Post, Reply
from clipledger.core.ports import Clock
from clipledger.stages.guard import Guard
from clipledger.stages.paid import PaidCalls, Purpose

DETAIL = "/post-detail/"
LEAN = "/download-video/"


@dataclass(slots=True)
class Attempt:
    """One claimed job under way.

    `paid` turns true before the first call that may cost a credit; `resolved` says whether its links are
    there: what fails then speaks against those who deliver. `answered_at` is when they came. Once `stopping` says so,
    no call is sent for it any more: Stopped.
    """

    job: Job
    stopping: Callable[[], bool] | None = None
    paid: bool = False
    resolved: bool = False
    answered_at: float = 0.0

    def mark_paid(self) -> None:
        """Note that a call for this attempt is in the ledger."""
        self.paid = True


class Detail:
    """Buy what the API knows of a post. `lean` asks the smaller endpoint and gives thin metadata."""

    def __init__(self, paid: PaidCalls, guard: Guard, clock: Clock, *, lean: bool) -> None:
        self._paid, self._guard, self._clock, self._lean = paid, guard, clock, lean

    async def resolve(self, attempt: Attempt, reason: CallReason) -> Post:
        """Buy one answer for the attempt's post and tell the guard what it was."""
        job = attempt.job
        attempt.resolved = False
        purpose = Purpose(
            reason, job.aweme_id, job.source, job.token, attempt.mark_paid, attempt.stopping, throttles=job.throttles
        )
        try:
            post = await self._paid.buy(self._call(job), purpose, lambda body: self._read(body, job))
        except Gone:
            self._guard.resolved(job.aweme_id, Answer.GONE)
            raise
        except MalformedReply as error:
            another = error.reason is Reason.WRONG_ID
            self._guard.resolved(job.aweme_id, Answer.FAILED if another else Answer.MALFORMED, error.detail)
            raise
        except TooManyOpenFiles:
            raise  # our own trouble: it says nothing of the API
        except Transient as error:
            self._guard.resolved(job.aweme_id, Answer.FAILED, error.detail)
            raise
        self._guard.resolved(job.aweme_id, Answer.ALIVE)
        attempt.resolved, attempt.answered_at = True, self._clock.now()
        return post

    def _is_lean(self, job: Job) -> bool:
        # The smaller endpoint gives a photo post's sound as if it were video: only a list item tells them apart.
        return self._lean and job.hint is not None and not parse.is_photo_hint(job.hint)

    def _call(self, job: Job) -> ApiCall:
        return ApiCall(LEAN if self._is_lean(job) else DETAIL, (("url", post_url(job.aweme_id)),))

    def _read(self, body: Reply, job: Job) -> Post:
        now = self._clock.now()
        if self._is_lean(job):
            return parse.links_reply(body, asked=job.aweme_id, hint=job.hint, now=now)
        return parse.detail(body, asked=job.aweme_id, now=now)
