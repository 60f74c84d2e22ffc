"""Stand between the queue and the claims: stop when the answers mean an outage, and say who is dead.

Keeps two windows (`core.breaker`): resolves, and downloads. Before every claim `admit` is asked; it
confirms suspects whose window closed healthy, asks canaries in doubt, and raises `Outage` when the
breaker is open. What is open is kept in the database: the next process probes before it works.
"""

from __future__ import annotations

from collections.abc import Sequence

from clipledger.core.breaker import (
    NEIGHBOURS,
    REFUSED_MAX,
    SHARE_WINDOW,
    WINDOW,
    Answer,
    Mood,
    Outcome,
    Share,
    Window,
    is_vouched_for,
)
from clipledger.core.errors import ClipledgerError, Gone, Outage, Reason
from clipledger.core.lifecycle import LAST_IN_LINE_S, Policy
from clipledger.core.model import AwemeId
from clipledger.core.ports import Clock
from clipledger.db.catalog import Catalog
from clipledger.db.credits import Credits
from clipledger.db.queue import Queue
from clipledger.db.suspects import Suspect
from clipledger.db.switches import Switch, Switches
from clipledger.events import Events
from clipledger.stages.canaries import Canaries
from clipledger.stages.paid import PaidCalls

RESOLVES = ("/post-detail/", "/download-video/")
PROBES = 3
"""Jobs let through one after another while the breaker is open and no canary can answer."""

SUSPECTS_MAX = 1000
"""So many suspects are looked at in one go; the rest wait for the next."""

SHARE_CANARIES = 10
"""Where more are gone than usual, so many canaries are asked at most."""

_API, _CDN = "open:api", "open:cdn"
_PARTIAL = "partial_block"


class Guard:
    """The breaker's shell. One per process; the ledger and the switch are shared by all."""

    def __init__(
        self,
        paid: PaidCalls,
        queue: Queue,
        catalog: Catalog,
        credits: Credits,
        switches: Switches,
        clock: Clock,
        events: Events,
        policy: Policy,
    ) -> None:
        self._paid, self._queue, self._catalog, self._credits = paid, queue, catalog, credits
        self._switches, self._clock, self._events, self._policy = switches, clock, events, policy
        self._resolves, self._deliveries = Window(), Window()
        self._suspects = True  # there may be some from before
        self._usual, self._recent = Share(), Share()
        self._recent_since = clock.now()
        self._until_share = 0  # resolves until the share of the gone is judged again
        self._partial = False  # a part of all posts is answered not found, alive or not
        self._canaries = Canaries(paid, RESOLVES[0], catalog, credits, clock)
        self._unvouched = False  # a run of not-founds was seen, and not every canary asked was alive
        self._refused: set[AwemeId] = set()  # whose links were refused since a file was last delivered
        self._deceived: str | None = None  # why the CDN is not believed, whatever it delivers
        self._open: str | None = None
        self._open_since = 0.0
        self._changed = False  # it opened on replies of a shape we do not know
        self._probes_left = PROBES

    @property
    def is_open(self) -> bool:
        """True while the breaker is open: what is answered now is nothing to go by."""
        return self._open is not None

    def excuses(self, error: ClipledgerError) -> bool:
        """Say whether a failure is nobody's: while the breaker is open, it is.

        But an archive of few posts may have lost them all, and so may one whose canaries were all called gone for a
        week. There a post that is gone is noted down each time, or the breaker would never close.
        """
        return self._open is not None and not (isinstance(error, Gone) and self._open == _API and self._canaries.mute)

    async def load(self) -> None:
        """Take up the window and the switch where the last process left them; an outage's answers tell nothing."""
        switch = await self._switches.get("breaker")
        self._open = None
        if switch is not None and switch.state != "closed":
            self._open, self._open_since = switch.state, switch.since
        self._suspects = await self._queue.suspect_count() > 0
        self._usual = Share(*await self._credits.share(RESOLVES))
        partial = await self._switches.get(_PARTIAL)
        if partial is not None and partial.state != "closed":
            self._partial, self._recent_since = True, partial.since
        outcomes = await self._credits.outcomes(RESOLVES, WINDOW)
        if self._open is not None:
            self._changed = self._open == _API and Window(tuple(outcomes)).mood() is Mood.CHANGED
            return
        for outcome in outcomes:
            if switch is None or outcome.at > switch.since:
                self._resolves = self._resolves.observe(outcome)

    def resolved(self, aweme_id: AwemeId, answer: Answer, why: str = "") -> None:
        """Note what one resolve came to; `why`: what a failure said of itself."""
        self._resolves = self._resolves.observe(Outcome(self._clock.now(), answer, aweme_id, why))
        self._suspects |= answer is Answer.GONE
        if answer in (Answer.ALIVE, Answer.GONE):
            self._recent = self._recent.plus(Share(answer is Answer.GONE, 1))
            self._until_share -= 1

    def delivered(self, aweme_id: AwemeId, *, whole: bool, why: str = "") -> None:
        """Note whether a resolved post's bytes came whole; `why` not."""
        if whole:
            self._refused.clear()
        answer = Answer.ALIVE if whole else Answer.FAILED
        self._deliveries = self._deliveries.observe(Outcome(self._clock.now(), answer, aweme_id, why))

    def link_refused(self, aweme_id: AwemeId) -> bool:
        """Note that the CDN no longer honours a post's link; say whether a new one is worth a credit now.

        It is while other files are delivered: then the link was too old. Where every link is refused it is not.
        """
        self._refused.add(aweme_id)
        return self._open is None and len(self._refused) < REFUSED_MAX

    def distrust_cdn(self, evidence: str) -> None:
        """Note proof that the CDN serves one file in place of others: nothing more is bought until it is mended."""
        self._deceived = evidence

    async def admit(self, in_flight: int) -> int | None:
        """Say how many more jobs may be claimed: None for no limit. Raises Outage while the breaker is open."""
        if self._open is not None:
            return await self._probe(in_flight)
        mood = self._resolves.mood()
        if self._deceived is not None:
            evidence, self._deceived = self._deceived, None
            await self._trip(_CDN, evidence)
        if self._deliveries.mood() is Mood.FAILING:
            await self._trip(_CDN, f"downloads: {self._deliveries.evidence()}")
        if mood in (Mood.FAILING, Mood.CHANGED):
            await self._trip(_API, self._resolves.evidence(), changed=mood is Mood.CHANGED)
        if self._suspects:
            await self._judge_share()
        # Where a part is known to be blocked, many gone tell nothing new: nobody is believed dead meanwhile.
        if self._suspects and not self._partial and mood in (Mood.BURST, Mood.DOUBT):
            await self._question(mood)
        await self._confirm(self._resolves.healthy_before())
        # While every link is refused, one at a time finds out whether they are honoured again.
        return None if len(self._refused) < REFUSED_MAX else max(0, 1 - in_flight)

    async def close(self, *, older_than_s: float = 0.0) -> int:
        """Settle the suspects when nothing is due now; give how many stay unconfirmed.

        Does nothing while the oldest of them is younger than `older_than_s`.
        """
        oldest = await self._queue.suspects(1)
        if not oldest or self._clock.now() - oldest[0].suspect_at < older_than_s:
            return 0
        await self._judge_share()
        if self._partial:
            return await self._hold_back()
        await self._confirm(self._resolves.healthy_at_end())
        if not (left := await self._queue.suspect_count()):
            return 0
        asked_at = self._clock.now()
        alive, gone = await self._ask_canaries(2, enough=1)
        if alive:
            self._resolves = self._resolves.vouched(closed=True)
            await self._confirm(asked_at)
            return 0
        if gone:
            await self._trip(_API, self._canaries_gone(gone), count=self._canaries.few)
        due_at = asked_at + self._policy.suspect_hold_s
        await self._queue.acquit_suspects(asked_at, due_at, count=True)
        self._events.emit("unconfirmed", suspects=left, why="nothing alive answered beside them")
        return left

    async def _confirm(self, seen_before: float | None) -> None:
        if seen_before is None or not self._suspects:
            return
        if self._partial:
            await self._hold_back()
            return
        suspects = [s for s in await self._queue.suspects(SUSPECTS_MAX) if s.suspect_at <= seen_before]
        if suspects:
            rechecked = await self._recheck(suspects) if self._unvouched or self._policy.gone_twice else 0
            self._unvouched = False
            confirmed = await self._queue.confirm_suspects(suspects[-1].suspect_at, self._clock.now())
            if rechecked:
                self._events.emit("asked_again", ids=rechecked)
            if confirmed:
                self._events.emit("confirmed_gone", ids=confirmed)
        self._suspects = await self._queue.suspect_count() > 0

    async def _recheck(self, suspects: Sequence[Suspect]) -> int:
        """Have those asked again, once, that no living answers stood beside: it may have been a short outage."""
        doubted = [
            suspect.aweme_id
            for suspect in suspects
            if not suspect.not_founds
            and (
                self._policy.gone_twice
                or not is_vouched_for(*await self._credits.neighbours(suspect.aweme_id, RESOLVES, NEIGHBOURS))
            )
        ]
        return await self._queue.recheck_suspects(doubted, self._clock.now())

    async def _judge_share(self) -> None:
        """Ask several canaries when more posts are gone than usual: a block need not concern every post.

        Several of them gone beside living ones mean such a block; none means that the posts are really gone.
        """
        if self._until_share > 0:
            return
        if not self._recent.is_unusual(self._usual):
            if self._recent.asked >= SHARE_WINDOW:
                await self._share_is_usual()
            return
        alive, gone = await self._ask_canaries(SHARE_CANARIES, enough=SHARE_CANARIES, gone_enough=2)
        self._events.emit("canaries", alive=alive, gone=gone, evidence=f"{self._recent.gone} of {self._recent.asked}")
        if gone and not alive:
            await self._trip(_API, self._canaries_gone(gone), count=self._canaries.few)
        if not gone or (gone == 1 and not self._partial):
            await self._share_is_usual()
            return
        await self._set_partial(f"{self._recent.gone} of {self._recent.asked} gone; so were {gone} canaries")
        self._begin_share()

    async def _share_is_usual(self) -> None:
        self._usual = self._usual.plus(self._recent)
        if self._partial:
            await self._set_partial("")
        self._begin_share()

    def _begin_share(self) -> None:
        self._recent, self._until_share = Share(), SHARE_WINDOW
        if not self._partial:  # else the canaries stay those from before the block
            self._recent_since = self._clock.now()

    async def _set_partial(self, evidence: str) -> None:
        """Note whether a part of all posts is blocked: other processes, and the next one, are to know."""
        self._partial = bool(evidence)
        state = "open" if evidence else "closed"
        await self._switches.set(Switch(_PARTIAL, state, self._recent_since, evidence))
        self._events.emit("partial_block", state=state, evidence=evidence)

    async def _hold_back(self) -> int:
        """Believe nobody who is called gone now: each is asked again an hour later; give how many.

        Who is called gone at three such looks over a day is dead all the same (`lifecycle`).
        """
        now, hold_s = self._clock.now(), self._policy.suspect_hold_s
        held = await self._queue.acquit_suspects(now, now + hold_s, count=True, every_s=hold_s)
        self._suspects = False
        if held:
            self._events.emit("held_back", suspects=held)
        return held

    def _canaries_gone(self, gone: int) -> str:
        return f"{gone} known-alive posts answered not found; {self._resolves.evidence()}"

    async def _question(self, mood: Mood) -> None:
        asked_at, burst = self._clock.now(), mood is Mood.BURST
        alive, gone = await self._ask_canaries(6 if burst else 2, enough=3 if burst else 1)
        self._events.emit("canaries", alive=alive, gone=gone, evidence=self._resolves.evidence())
        if burst and alive < 3:
            await self._trip(
                _API,
                f"{self._resolves.evidence()}; {alive} of {alive + gone} posts known to be alive answered",
                count=self._canaries.few and gone > 0 and not alive,
            )
        if gone and not alive:
            await self._trip(_API, self._canaries_gone(gone), count=self._canaries.few)
        if gone >= 2 and not self._partial:
            await self._set_partial(f"{self._resolves.evidence()}; so were {gone} canaries, others not")
        self._unvouched |= gone > 0 or not alive
        self._resolves = self._resolves.vouched(closed=burst)
        if burst:
            await self._confirm(asked_at)

    async def _ask_canaries(self, wanted: int, *, enough: int, gone_enough: int | None = None) -> tuple[int, int]:
        """Ask up to `wanted` canaries that were archived before what is in question; stop at `enough` alive."""
        began = min((outcome.at for outcome in self._resolves.outcomes), default=self._clock.now())
        return await self._canaries.ask(
            wanted,
            enough=enough,
            before=min(began, self._recent_since),
            open_since=self._open_since if self._open is not None else None,
            gone_enough=gone_enough,
        )

    async def _trip(self, state: str, evidence: str, *, count: bool = False, changed: bool = False) -> None:
        now, window = self._clock.now(), self._deliveries if state == _CDN else self._resolves
        self._open, self._open_since, self._probes_left, self._changed = state, now, PROBES, changed
        self._canaries.odd = self._canaries.lost = False
        self._resolves, self._deliveries = Window(), Window()
        await self._switches.set(Switch("breaker", state, now, evidence))
        hold_s = self._policy.suspect_hold_s
        acquitted = await self._queue.acquit_suspects(now, now, reason=Reason.OUTAGE, count=count, every_s=hold_s)
        await self._queue.refund(window.failed())
        self._events.emit("breaker_opened", evidence=evidence, acquitted=acquitted)
        raise Outage(evidence)

    async def _probe(self, in_flight: int) -> int:
        """Half-open: canaries first, then a few single jobs; the first whole answer closes the breaker.

        Where shapes changed, so many jobs in a row: a kind of post that is answered as before speaks for no other.
        """
        if await self._recovered():
            return await self._reclose()
        if in_flight:
            return 0
        if self._is_still_changed():
            self._probes_left = 0
        if self._probes_left == 0:
            self._probes_left = PROBES
            raise await self._still_open()
        self._probes_left -= 1
        return 1

    def _is_still_changed(self) -> bool:
        """Say whether a probe met a reply of unknown shape: others would cost a credit each and tell no more.

        Where a canary met it too few are left to choose another one from, jobs are probed all the same.
        """
        probed = any(outcome.answer is Answer.MALFORMED for outcome in self._resolves.outcomes)
        return probed or (self._canaries.odd and not self._canaries.few)

    async def _recovered(self) -> bool:
        window = self._deliveries if self._open == _CDN else self._resolves
        alive = sum(outcome.answer is Answer.ALIVE for outcome in window.outcomes)
        if self._changed:
            return await self._known_again() >= PROBES
        if alive:
            return True
        first_look = self._probes_left == PROBES and not window.outcomes and self._open != _CDN
        return first_look and (await self._ask_canaries(2, enough=1))[0] > 0

    async def _known_again(self) -> int:
        """Count the whole answers since the last of an unknown shape, whichever process and round had them."""
        outcomes = [o for o in await self._credits.outcomes(RESOLVES, WINDOW) if o.at >= self._open_since]
        last = max((n for n, o in enumerate(outcomes, 1) if o.answer is Answer.MALFORMED), default=0)
        return sum(outcome.answer is Answer.ALIVE for outcome in outcomes[last:])

    async def _reclose(self) -> int:
        """Begin anew: nobody who was called gone while the breaker was open is a suspect."""
        now = self._clock.now()
        acquitted = await self._queue.acquit_suspects(now, now, reason=Reason.OUTAGE)
        await self._switches.set(Switch("breaker", "closed", now, "an answer came whole"))
        self._resolves, self._deliveries = Window(), Window()
        self._open, self._probes_left = None, PROBES
        self._events.emit("breaker_closed", acquitted=acquitted)
        return 1

    async def _still_open(self) -> Outage:
        switch = await self._switches.get("breaker")
        self._resolves, self._deliveries = Window(), Window()
        now, hold_s = self._clock.now(), self._policy.suspect_hold_s
        # Behind whoever is last in line, so that the next probes ask others.
        last = await self._queue.next_due_at()
        due_at = min(now - LAST_IN_LINE_S, last - 1.0 if last is not None else now)
        count = self._canaries.mute
        await self._queue.acquit_suspects(now, due_at, Reason.OUTAGE, count=count, every_s=hold_s)
        return Outage(f"still: {switch.evidence if switch else 'no answer came whole'}")
