"""When answers mean an outage: a window over the last resolves, judged without a clock or a call.

During a real upstream block every public post answered with the not-found text. So a post that
the API calls gone is only a suspect until the window around it has closed healthy; a burst of
them is an outage until known-alive posts (canaries) say otherwise; and a run of failures with
nothing but failures in it stops the work instead of burning attempts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from clipledger.core.model import AwemeId

WINDOW = 50
GONE_MAX = 25
"""More than this many gone among the last `WINDOW` resolves is a burst."""

GONE_RUN = 5
"""So many gone in a row are suspicious: at a natural tenth gone that is one run in 10^5, a canary every second day."""

FAILED_RUN = 20
"""So many failures in a row, of API or CDN, are an outage: one page of work, not a dataset."""

CANARY_EVERY = 50
"""While suspicion lasts, canaries are asked at most once in so many resolves."""

MALFORMED_MAX = 3
"""So many distinct ids with a reply of unknown shape, within the window, mean a changed API."""


REFUSED_MAX = 3
"""Links of so many posts refused, no file delivered meanwhile: it is not their age, new ones would not help."""

FEW_CANARIES = 10
"""An archive of so few posts may have lost them all: that they are gone does not prove an outage."""

LOST_S = 7 * 24 * 3600.0
"""Where more than `FEW_CANARIES` were asked for so long while the breaker was open and all were called gone, the
archive has lost its posts, or the outage does not end: canaries that are not alive any more prove neither."""

SHARE_MIN, SHARE_WINDOW = 20, 200
"""The share of the gone is judged over 20 resolves or more; once canaries answered, 200 later."""

PRIOR_GONE, PRIOR_ASKED = 5, 50
"""What a new archive takes for its usual share of the gone: a tenth, believed as much as fifty answers."""

NEIGHBOURS = 2
"""A not-found is believed at one asking where so many resolves sent just before it, and just after it, found
living posts: two in three, at a natural tenth gone. An outage of more than one call leaves none such."""


class Answer(StrEnum):
    """What one resolve (or the download after it) came to."""

    ALIVE = "alive"
    GONE = "gone"
    FAILED = "failed"
    MALFORMED = "malformed"


_FAILURES = frozenset({Answer.FAILED, Answer.MALFORMED})


class Mood(Enum):
    """What the window says. `DOUBT` asks canaries and goes on, `BURST` goes on only if all are alive."""

    CALM = auto()
    DOUBT = auto()
    BURST = auto()
    FAILING = auto()
    CHANGED = auto()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One answer at `at` (unix seconds); `why`: what a failure said of itself."""

    at: float
    answer: Answer
    aweme_id: AwemeId
    why: str = ""


@dataclass(frozen=True, slots=True)
class Window:
    """The last `WINDOW` outcomes, oldest first, and how many came since canaries last answered."""

    outcomes: tuple[Outcome, ...] = ()
    since_canary: int = CANARY_EVERY

    def observe(self, outcome: Outcome) -> Window:
        """Take in one more outcome."""
        return Window((*self.outcomes, outcome)[-WINDOW:], self.since_canary + 1)

    def vouched(self, *, closed: bool) -> Window:
        """Note that canaries are alive; `closed` starts the window anew, as after a burst."""
        return Window(() if closed else self.outcomes, 0)

    def mood(self) -> Mood:
        """Judge the window as it stands."""
        if all(outcome.answer is Answer.ALIVE for outcome in self.outcomes):
            return Mood.CALM
        if len(_ids(self.outcomes, Answer.MALFORMED)) >= MALFORMED_MAX:
            return Mood.CHANGED
        if _tail(self.outcomes, Answer.FAILED) >= FAILED_RUN:
            return Mood.FAILING
        if self.gone > GONE_MAX:
            return Mood.BURST
        if _tail(self._judging, Answer.GONE) >= GONE_RUN and self.since_canary >= CANARY_EVERY:
            return Mood.DOUBT
        return Mood.CALM

    def failed(self) -> tuple[AwemeId, ...]:
        """Name the posts that failed within the window, each as often as it did."""
        return tuple(outcome.aweme_id for outcome in self.outcomes if outcome.answer is Answer.FAILED)

    @property
    def gone(self) -> int:
        """How many of the window's answers were gone."""
        return sum(o.answer is Answer.GONE for o in self.outcomes)

    @property
    def _judging(self) -> tuple[Outcome, ...]:
        return tuple(o for o in self.outcomes if o.answer in (Answer.ALIVE, Answer.GONE))

    def healthy_before(self) -> float | None:
        """Give the time before which suspects are confirmed while work goes on; None for not yet.

        A whole window of later answers stands between a suspect and its confirmation.
        """
        full = len(self.outcomes) == WINDOW and self.mood() is Mood.CALM
        return self.outcomes[0].at if full and self._answered() else None

    def healthy_at_end(self) -> float | None:
        """Give the time before which suspects are confirmed when no more work is due.

        The last living answer vouches for what came before it, unless most answers were gone.
        """
        if self.mood() is not Mood.CALM or self.gone * 2 > len(self.outcomes):
            return None
        return max((o.at for o in self.outcomes if o.answer is Answer.ALIVE), default=None)

    def _answered(self) -> bool:
        return any(o.answer is Answer.ALIVE for o in self.outcomes)

    def evidence(self) -> str:
        """Say in one line what the window holds, and what the last failure said of itself."""
        counts = {answer: sum(o.answer is answer for o in self.outcomes) for answer in Answer}
        told = ", ".join(f"{count} {answer}" for answer, count in counts.items() if count)
        why = next((o.why for o in reversed(self.outcomes) if o.answer in _FAILURES and o.why), "")
        return f"last {len(self.outcomes)} answers: {told or 'none'}" + (f"; the last failure: {why}" if why else "")


def _tail(outcomes: Sequence[Outcome], answer: Answer) -> int:
    run = 0
    for outcome in reversed(outcomes):
        if outcome.answer is not answer:
            break
        run += 1
    return run


def _ids(outcomes: Sequence[Outcome], answer: Answer) -> set[AwemeId]:
    return {o.aweme_id for o in outcomes if o.answer is answer}


def is_vouched_for(before: Sequence[Answer], after: Sequence[Answer]) -> bool:
    """Say whether the answers to the `NEIGHBOURS` resolves on either side of a not-found speak for believing it."""
    return all(sum(answer is Answer.ALIVE for answer in side) >= NEIGHBOURS for side in (before, after))


def in_turn(pool: Sequence[AwemeId], told: Sequence[Outcome], turn: int) -> list[AwemeId]:
    """Put canaries in the order in which they are asked. `told`: what they were answered so far, oldest first.

    Those that were not called gone last time come first and take turns: one that was really deleted must not keep
    the breaker open for ever. Second is one that was found alive, the longest ago: an author who deleted everything
    would else hide the others. Those called gone follow, the longest not asked first.
    """
    last = {outcome.aweme_id: outcome for outcome in told}
    gone = [each for each in pool if each in last and last[each].answer is Answer.GONE]
    fresh = [each for each in pool if each not in last or last[each].answer is not Answer.GONE]
    first = turn % len(fresh) if fresh else 0
    line = fresh[first:] + fresh[:first]
    if found := [each for each in line[1:] if each in last]:
        second = min(found, key=lambda each: last[each].at)
        line.remove(second)
        line.insert(1, second)
    return line + sorted(gone, key=lambda each: last[each].at)


def is_lost(told: Sequence[Outcome], now: float) -> bool:
    """Say whether canaries prove nothing any more. `told`: what they were answered since the breaker opened."""
    if any(outcome.answer is Answer.ALIVE for outcome in told) or len(_ids(told, Answer.GONE)) <= FEW_CANARIES:
        return False
    return now - min(outcome.at for outcome in told) >= LOST_S


@dataclass(frozen=True, slots=True)
class Share:
    """How many of some resolves were called gone."""

    gone: int = 0
    asked: int = 0

    def plus(self, other: Share) -> Share:
        """Add another count."""
        return Share(self.gone + other.gone, self.asked + other.asked)

    def is_unusual(self, usual: Share) -> bool:
        """Say whether so many gone, given what is `usual` here, are more than chance: three deviations and one.

        A block of a part of all posts shows in this alone: no window is ever full of it.
        """
        if self.asked < SHARE_MIN:
            return False
        rate = (usual.gone + PRIOR_GONE) / (usual.asked + PRIOR_ASKED)
        expected = self.asked * rate
        return self.gone > expected + 3.0 * math.sqrt(expected * (1.0 - rate)) + 1.0


def probe_delay_s(probes: int) -> float:
    """Wait between probes while the breaker is open: 1 min, doubling, at most 30 min."""
    return min(60.0 * 2.0 ** min(probes, 10), 1800.0)
