"""Tell whether the bytes served as a post's video may be its own: a placeholder is served for many posts.

More than `most` posts with the same bytes raise an alarm. From then on posts that are served them wait: nothing is
stored, no attempt is used up, and one of them is asked again for all. A canary, an archived post fetched once more,
tells a CDN that serves one file for everybody from a clip that many accounts really posted. Must not: store anything.
"""

from __future__ import annotations

from clipledger.core import parse
from clipledger.core.errors import ClipledgerError, Halt, SameBytes
from clipledger.core.lifecycle import CallReason, CaptureChoice, choose_files
from clipledger.core.links import post_url
from clipledger.core.model import ApiCall, AwemeId, FileKind, Job
from clipledger.core.ports import Clock
from clipledger.db.alarms import ALLOWED, DISPROVED, RAISED, Alarms
from clipledger.db.catalog import Catalog
from clipledger.events import Events
from clipledger.net.cdn import Cdn
from clipledger.stages.detail import DETAIL
from clipledger.stages.guard import Guard
from clipledger.stages.paid import PaidCalls, Purpose
from clipledger.storage.spool import Spool

CANARY_EVERY = 50
"""While posts go on being kept back a canary is fetched once in so many: the CDN may have got worse."""

CANARY_POOL = 20


class Likeness:
    """Admit a video's bytes, or keep its post back. One per process; the alarms are shared by all."""

    def __init__(
        self,
        alarms: Alarms,
        catalog: Catalog,
        paid: PaidCalls,
        cdn: Cdn,
        spool: Spool,
        guard: Guard,
        clock: Clock,
        events: Events,
        choice: CaptureChoice,
        *,
        most: int | None,
    ) -> None:
        self._alarms, self._catalog, self._paid, self._cdn, self._spool = alarms, catalog, paid, cdn, spool
        self._guard, self._clock, self._events, self._choice = guard, clock, events, choice
        self._most = most
        self._since_canary = CANARY_EVERY
        self._fetched = 0

    async def admit(self, job: Job, sha256: str) -> None:
        """Let the bytes pass that were noted for a post; raises SameBytes when too many posts have them."""
        if self._most is None:
            return
        if job.video_sha256 not in (None, sha256):
            await self._it_was_served_other_bytes(job, str(job.video_sha256))
        state, holders = await self._alarms.standing(sha256, self._most + 1)
        if state == ALLOWED or (state is None and holders <= self._most):
            return
        if state is None:
            await self._raise_alarm(job, sha256)
        await self._look_further(sha256)
        raise SameBytes(f"more than {self._most} posts were served these bytes: sha256 {sha256}")

    async def _raise_alarm(self, job: Job, sha256: str) -> None:
        evidence = f"served for more than {self._most} posts, {job.aweme_id} the latest"
        await self._alarms.note(sha256, RAISED, self._clock.now(), evidence)
        self._events.emit("same_bytes", aweme_id=job.aweme_id, sha256=sha256, evidence=evidence)

    async def _it_was_served_other_bytes(self, job: Job, before: str) -> None:
        """Note that an alarm was right: whoever waits with the post that now has bytes of its own is asked again."""
        state = await self._alarms.state(before)
        if state not in (RAISED, DISPROVED):
            return
        if state == RAISED:
            await self._disprove(before, f"{job.aweme_id} was served it at first, and later other bytes")
        released = await self._alarms.release(before, self._clock.now())
        if released:
            self._events.emit("same_bytes_over", sha256=before, ids=released)

    async def _disprove(self, sha256: str, evidence: str) -> None:
        await self._alarms.note(sha256, DISPROVED, self._clock.now(), evidence)
        self._events.emit("placeholder", sha256=sha256, evidence=evidence)

    async def _look_further(self, sha256: str) -> None:
        """Fetch a canary now and then; when it too is served what is not its own, stop believing the CDN."""
        self._since_canary += 1
        if self._since_canary <= CANARY_EVERY or self._guard.is_open:
            return
        self._since_canary = 0
        canary = await self._canary(sha256)
        if canary is None or not await self._is_deceived(canary[0], canary[1]):
            return
        evidence = f"{canary[0]}, archived with bytes of its own, was served those of others"
        await self._disprove(sha256, evidence)
        self._guard.distrust_cdn(f"downloads: {evidence}")

    async def _canary(self, sha256: str) -> tuple[AwemeId, str] | None:
        """Choose an archived video with other bytes than these, and tell which."""
        pool = await self._catalog.canaries(CANARY_POOL, self._clock.now())
        files = await self._catalog.files_of_many(pool)
        for aweme_id in pool:
            for file in files.get(aweme_id, ()):
                if file.kind == FileKind.VIDEO and file.position == 0 and file.sha256 != sha256:
                    return aweme_id, file.sha256
        return None

    async def _is_deceived(self, aweme_id: AwemeId, own: str) -> bool:
        """Fetch an archived video once more: are its bytes those of other posts now? No answer tells nothing."""
        call, now = ApiCall(DETAIL, (("url", post_url(aweme_id)),)), self._clock.now()
        try:
            post = await self._paid.buy(
                call, Purpose(CallReason.CANARY, aweme_id), lambda body: parse.detail(body, asked=aweme_id, now=now)
            )
            wants = [want for want in choose_files(post, self._choice) if want.kind is FileKind.VIDEO]
            if not wants or not wants[0].candidates:
                return False
            self._fetched += 1
            async with self._spool.open(aweme_id, 0, self._fetched) as part:
                await self._cdn.fetch(wants[0].candidates[0].link, part)
                await part.seal()
                served = part.sha256
        except Halt:
            raise
        except ClipledgerError:
            return False
        return served != own and await self._alarms.holders(served, 1) > 0
