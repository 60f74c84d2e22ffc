"""Everything that moves a video: states, verdicts, and what a failed attempt means.

All transitions of `archive_queue.state` are in `TRANSITIONS`; the diagram in ARCHITECTURE.md is
drawn from it and `verify` knows no other states. Nothing here reads a clock or rolls dice: `now`
(unix seconds) and `jitter` (0..1) are arguments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from clipledger.core.errors import (
    ApiUnavailable,
    ApiUnreachable,
    ClipledgerError,
    Gone,
    Halt,
    MalformedReply,
    NotSent,
    Reason,
    SameBytes,
    StorageUnavailable,
    Throttled,
    Transient,
    UrlExpired,
)
from clipledger.core.model import AwemeId, FileKind, Job, Post, Quality, Rendition, SignedUrl, State

TRANSITIONS: frozenset[tuple[State | None, State, str]] = frozenset(
    {
        (None, State.PENDING, "seen for the first time"),
        (State.PENDING, State.RUNNING, "claimed"),
        (State.RUNNING, State.PENDING, "retry, snooze, suspect, given back, lease ran out"),
        (State.RUNNING, State.STORED, "sidecar stands"),
        (State.STORED, State.ARCHIVED, "in the index"),
        (State.STORED, State.PENDING, "its sidecar is not there"),
        (State.RUNNING, State.DEAD, "attempts used up, said to be gone for days, or it killed three workers"),
        (State.PENDING, State.DEAD, "suspicion confirmed"),
        (State.DEAD, State.PENDING, "put back by the operator, or asked again later"),
        (State.PENDING, State.WITHHELD, "withheld by the operator"),
        (State.ARCHIVED, State.WITHHELD, "withdrawn"),
        (State.DEAD, State.WITHHELD, "withheld by the operator"),
        (State.RUNNING, State.WITHHELD, "withdrawn while it was under way"),
        (State.STORED, State.WITHHELD, "withdrawn before it was in the index"),
        (None, State.WITHHELD, "shown by a list; its author is withheld"),
        (State.WITHHELD, State.ARCHIVED, "restored before its purge"),
        (State.WITHHELD, State.DEAD, "restored before its purge: it was dead"),
        (State.WITHHELD, State.PENDING, "restored before its purge: it was wanted"),
    }
)


class CallReason(StrEnum):
    """Why a paid call is made. `FIRST` is the ordinary one; every other resolve of an id says its own."""

    FIRST = "first"
    URL_EXPIRED = "url_expired"
    CRASH = "crash_after_resolve"
    RETRY = "retry"
    RECHECK = "recheck"
    INTERRUPTED = "interrupted"
    THROTTLED = "throttled"
    MALFORMED = "malformed"
    OPERATOR = "operator_retry"
    CANARY = "canary"
    PAGE = "page"
    LOOKUP = "lookup"
    REGIONS = "regions"
    REFRESH = "refresh"
    REPAIR = "repair"


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's numbers. `retry_base_s` quadruples per attempt up to `retry_cap_s`."""

    attempts_max: int = 5
    retry_base_s: float = 5.0
    retry_cap_s: float = 6 * 3600.0
    throttle_base_s: float = 5.0
    throttle_cap_s: float = 300.0
    suspect_hold_s: float = 3600.0
    gone_rechecks: int = 3
    gone_span_s: float = 24 * 3600.0
    crashes_max: int = 3
    throttles_free: int = 3
    throttles_paid_max: int = 12
    gone_twice: bool = False


LAST_IN_LINE_S = 24 * 3600.0
"""Videos are claimed freshest due first. One that fails as a probe goes back a day behind its place, each time: so each
probe asks another one, and a post that is gone or broken for good does not hide that all others could be had."""


PARKED_S = 10 * 365 * 24 * 3600.0
"""A video with the bytes of many others waits until one of them is asked for all, or the operator accepts them."""

PROBE_MIN_S, PROBE_MAX_S = 3600.0, 24 * 3600.0


def same_bytes_probe_at(alarm_at: float, asked_at: float, now: float) -> float:
    """Say when one of the videos kept back for the same bytes is asked again: half the alarm's age later, 1 to 24 h."""
    return asked_at + min(max((now - alarm_at) / 2, PROBE_MIN_S), PROBE_MAX_S)


@dataclass(frozen=True, slots=True)
class Settlement:
    """One row of an attempt's end, as the queue writes it (fenced by `token`).

    `state` is PENDING or DEAD. `burn` False gives the attempt back. `call_reason` labels the next
    paid resolve. `suspect` holds the reason of a `Gone` that is not believed yet. `throttled`: one more 429.
    """

    aweme_id: AwemeId
    token: int
    state: State
    due_at: float
    burn: bool
    reason: Reason
    detail: str
    call_reason: CallReason
    suspect: bool = False
    throttled: bool = False


def after_failure(
    job: Job,
    error: ClipledgerError,
    *,
    paid: bool,
    now: float,
    policy: Policy,
    jitter: float,
    outage: bool = False,
) -> Settlement:
    """Say what a failed attempt does to its video. `paid`: this attempt had bought a resolve.

    `outage`: the breaker is open. Then a failure uses up nothing and puts nobody under suspicion.
    """
    if isinstance(error, SameBytes):
        return _give_back(job, error, now + PARKED_S, _again(job, paid, CallReason.RECHECK))
    if outage and not isinstance(error, Halt | NotSent):
        why = CallReason.RECHECK if isinstance(error, Gone) else CallReason.RETRY
        place = min(now, job.due_at if job.due_at is not None else now)  # behind those who failed since its last turn
        return _give_back(job, error, place - LAST_IN_LINE_S, _again(job, paid, why))
    match error:
        case Gone():
            return _suspect(job, error, now, policy)
        case Halt() | NotSent():
            return _give_back(job, error, now, _again(job, paid, CallReason.INTERRUPTED))
        case Throttled():
            return replace(_throttled(job, error, paid, now, policy, jitter), throttled=True)
        case MalformedReply() if error.reason is not Reason.WRONG_ID:
            due = now + policy.retry_cap_s * (1 + jitter)
            return _give_back(job, error, due, _again(job, paid, CallReason.MALFORMED))
        case ApiUnreachable() | ApiUnavailable(reason=Reason.API_MESSAGE) | StorageUnavailable():
            # We are cut off, told something nobody has documented, or cannot store: none says anything of the video.
            due = now + patient_delay_s(now - job.added_at, policy, jitter)
            return _give_back(job, error, due, _again(job, paid, CallReason.RETRY))
        case UrlExpired():
            return _retry(job, error, now, policy, jitter, CallReason.URL_EXPIRED)
        case Transient() | MalformedReply():
            return _retry(job, error, now, policy, jitter, _again(job, paid, CallReason.RETRY))
    raise TypeError(f"no verdict for {type(error).__name__}")


def _throttled(job: Job, error: Throttled, paid: bool, now: float, policy: Policy, jitter: float) -> Settlement:
    """Wait, uncounted; but a post that is refused again and again while others get through has attempts like any.

    Where each look is paid and no others are there to tell, the twelfth look ends it: a day and a half of waiting.
    """
    why = _again(job, paid, CallReason.THROTTLED)
    if error.costly and job.throttles + 1 >= policy.throttles_paid_max:
        return _settle(job, State.DEAD, now, True, error, why)
    if error.alone and job.throttles >= policy.throttles_free:
        return _retry(job, error, now, policy, jitter, why)
    told_s = min(error.retry_after_s or 0.0, policy.throttle_cap_s)
    if error.costly or job.throttles >= policy.throttles_free:
        # Paid looks become rare soon; free ones once a few told nothing new, for two such posts can keep a run open.
        return _give_back(job, error, now + max(told_s, retry_delay_s(job.throttles + 1, policy, jitter)), why)
    grown_s = max((now - job.added_at) / 4, policy.throttle_base_s) * (1 + jitter)
    return _give_back(job, error, now + max(told_s, min(grown_s, policy.throttle_cap_s)), why)


def given_back(job: Job, *, paid: bool, now: float, reason: Reason = Reason.SHUTDOWN) -> Settlement:
    """Return a video untouched: a shutdown is nobody's failure."""
    return _give_back(job, ClipledgerError(reason=reason), now, _again(job, paid, CallReason.INTERRUPTED))


def retry_delay_s(attempts: int, policy: Policy, jitter: float) -> float:
    """Quadruple per attempt, capped, spread by up to half again: 5-8 s, 20-30 s, 80-120 s, 5-8 min ..."""
    grown: float = policy.retry_base_s * 4.0 ** min(max(attempts - 1, 0), 15)
    return min(grown, policy.retry_cap_s) * (1 + 0.5 * jitter)


def patient_delay_s(age_s: float, policy: Policy, jitter: float) -> float:
    """Wait a quarter of the video's age, within the bounds of a retry: grows without an attempt being counted."""
    return min(max(age_s / 4, policy.retry_base_s), policy.retry_cap_s) * (1 + 0.5 * jitter)


def _again(job: Job, paid: bool, why: CallReason) -> CallReason:
    # Nothing was bought: the next resolve is still made for the reason this one was to be made for.
    return why if paid else CallReason(job.call_reason)


def _retry(job: Job, error: ClipledgerError, now: float, policy: Policy, jitter: float, why: CallReason) -> Settlement:
    if job.attempts >= policy.attempts_max:
        return _settle(job, State.DEAD, now, True, error, why)
    return _settle(job, State.PENDING, now + retry_delay_s(job.attempts, policy, jitter), True, error, why)


def _give_back(job: Job, error: ClipledgerError, due_at: float, why: CallReason) -> Settlement:
    return _settle(job, State.PENDING, due_at, False, error, why)


def _suspect(job: Job, error: Gone, now: float, policy: Policy) -> Settlement:
    first = job.first_not_found_at if job.first_not_found_at is not None else now
    if job.not_founds + 1 >= policy.gone_rechecks and now - first >= policy.gone_span_s:
        return _settle(job, State.DEAD, now, True, error, CallReason.RECHECK)
    return _settle(job, State.PENDING, now + policy.suspect_hold_s, False, error, CallReason.RECHECK, suspect=True)


def _settle(
    job: Job, state: State, due_at: float, burn: bool, error: ClipledgerError, why: CallReason, *, suspect: bool = False
) -> Settlement:
    return Settlement(job.aweme_id, job.token, state, due_at, burn, error.reason, error.detail, why, suspect)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One link that may give a wanted file, tried in order within one resolve."""

    link: SignedUrl
    rendition: Quality | None = None
    size_hint: int | None = None


@dataclass(frozen=True, slots=True)
class Want:
    """One file of a post: the first candidate whose bytes are whole is stored.

    `position` numbers slides from 1. A want that is not `required` may be missing from a complete
    post; the sidecar then lists it under `missing`.
    """

    kind: FileKind
    candidates: tuple[Candidate, ...]
    position: int = 0
    required: bool = True


@dataclass(frozen=True, slots=True)
class CaptureChoice:
    """What the operator wants of each post."""

    quality: Quality = Quality.HD
    covers: bool = True
    audio: bool = False


def choose_files(post: Post, choice: CaptureChoice) -> tuple[Want, ...]:
    """Plan the files of a post, in the order in which they are fetched.

    A photo post gives its slides in order and its sound; `play` never becomes an MP4 there.
    An empty tuple means that the reply holds no link to what was chosen.
    """
    wants = _slides(post) if post.is_photo else _video(post.renditions, choice.quality)
    if not any(want.candidates for want in wants):
        return ()
    if post.audio and (post.is_photo or choice.audio):
        wants += (Want(FileKind.AUDIO, _plain(post.audio), required=post.is_photo),)
    if post.covers and choice.covers:
        wants += (Want(FileKind.COVER, _plain(post.covers), required=False),)
    return wants


def _video(renditions: Sequence[Rendition], quality: Quality) -> tuple[Want, ...]:
    order = {
        Quality.HD: (Quality.HD, Quality.STANDARD),
        Quality.STANDARD: (Quality.STANDARD, Quality.HD),
        Quality.WATERMARKED: (Quality.WATERMARKED, Quality.STANDARD, Quality.HD),
    }[quality]
    found = tuple(
        Candidate(r.link, r.quality, r.size_hint) for wanted in order for r in renditions if r.quality is wanted
    )
    return (Want(FileKind.VIDEO, found),) if found else ()


def _slides(post: Post) -> tuple[Want, ...]:
    wants = []
    for position, slide in enumerate(post.slides, start=1):
        links = [link for link in (slide.video, slide.image) if link is not None]
        # A slide the reply gives no link for is not waited for, and told as missing.
        wants.append(Want(FileKind.IMAGE, _plain(links), position, required=bool(links)))
    return tuple(wants)


def _plain(links: Sequence[SignedUrl]) -> tuple[Candidate, ...]:
    return tuple(Candidate(link) for link in links)
