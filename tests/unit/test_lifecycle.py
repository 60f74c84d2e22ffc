"""What a failed attempt does to a video."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core import errors
from clipledger.core.errors import (
    ApiUnavailable,
    ApiUnreachable,
    ArchiveInUse,
    CapReached,
    CdnUnavailable,
    ClipledgerError,
    CreditsExhausted,
    Gone,
    Halt,
    LeaseLost,
    MalformedReply,
    Misconfigured,
    NotMedia,
    Outage,
    Reason,
    RefusedUrl,
    Stopped,
    StorageFull,
    StorageUnavailable,
    Throttled,
    TooLarge,
    Transient,
    TruncatedBody,
    UrlExpired,
    UsageError,
)
from clipledger.core.lifecycle import (
    LAST_IN_LINE_S,
    TRANSITIONS,
    CallReason,
    Policy,
    Settlement,
    after_failure,
    given_back,
    retry_delay_s,
)
from clipledger.core.model import AwemeId, Job, State

NOW = 1_780_000_000.0
DAY_S = 86_400.0
POLICY = Policy()
JOB = Job(
    aweme_id=AwemeId("7387261234567890123"),
    token=7,
    source="user:alice",
    attempts=1,
    added_at=NOW - 60,
    first_seen_day="2026-05-28",
    call_reason=CallReason.FIRST,
)

UNTOLD = (
    ApiUnavailable("something new", reason=Reason.API_MESSAGE),
    ApiUnreachable("connect"),
    StorageUnavailable("EIO"),
)
TRANSIENT = (
    ApiUnavailable("HTTP 503"),
    CdnUnavailable("HTTP 502"),
    TruncatedBody("short"),
    NotMedia("HTML"),
    TooLarge("2 GiB"),
    RefusedUrl("10.0.0.1"),
)
WRONG_ID = MalformedReply("another post", reason=Reason.WRONG_ID)
NOBODYS_FAULT = (
    Misconfigured("key refused"),
    CreditsExhausted("no balance"),
    CapReached("--max-credits"),
    StorageFull("ENOSPC"),
    Outage("20 failed"),
    Stopped("told to stop"),
    Throttled("HTTP 429"),
    MalformedReply("no `videos`"),
)
HALTS = tuple(error for error in NOBODYS_FAULT if isinstance(error, Halt))
GONE = tuple(Gone(reason.value, reason=reason) for reason in (Reason.NOT_FOUND, Reason.PRIVATE, Reason.REGION))
EXPIRED = UrlExpired("HTTP 403")
EVERY_FAILURE = (*TRANSIENT, WRONG_ID, *NOBODYS_FAULT, *GONE, EXPIRED)

jitters = st.floats(0, 1)
jobs = st.builds(
    replace,
    st.just(JOB),
    attempts=st.integers(1, 200),
    call_reason=st.sampled_from(CallReason),
    not_founds=st.integers(0, 10),
    first_not_found_at=st.none() | st.floats(NOW - 30 * DAY_S, NOW),
)


def _named(error: ClipledgerError) -> str:
    return f"{type(error).__name__}-{error.reason}"


def verdict(job: Job, error: ClipledgerError, *, paid: bool = True, jitter: float = 0.5) -> Settlement:
    return after_failure(job, error, paid=paid, now=NOW, policy=POLICY, jitter=jitter)


def test_the_policy_is_the_documented_one() -> None:
    """Without any setting: 5 attempts, three looks over a day before a lonely `gone` is believed, 3 dead workers."""
    assert (POLICY.attempts_max, POLICY.gone_rechecks, POLICY.gone_span_s, POLICY.crashes_max) == (5, 3, DAY_S, 3)
    assert (POLICY.retry_base_s, POLICY.retry_cap_s, POLICY.suspect_hold_s) == (5, 6 * 3600, 3600)
    assert (POLICY.throttle_base_s, POLICY.throttle_cap_s) == (5, 300)


def test_every_state_has_a_way_in() -> None:
    """Every state an id can be in is reached from the moment it is first seen."""
    reached: set[State | None] = {None}
    for _ in State:
        reached |= {to for origin, to, _ in TRANSITIONS if origin in reached}
    assert reached == {None, *State}


def test_only_a_finished_id_rests() -> None:
    """No id is stuck; from `withheld` only the operator leads back, to where the id was at rest or wanted."""
    left = {origin for origin, _, _ in TRANSITIONS}
    assert set(State) <= left
    assert all("restored" in why for origin, _, why in TRANSITIONS if origin is State.WITHHELD)


def test_every_open_state_can_still_be_saved() -> None:
    """Whatever befell an id that is pending, running, stored or dead, it can still come to be archived."""
    saved: set[State | None] = {State.ARCHIVED}
    for _ in State:
        saved |= {origin for origin, to, _ in TRANSITIONS if to in saved}
    assert saved == {None, *State}


def test_archived_is_never_undone_but_by_the_operator() -> None:
    """What is archived stays archived until the operator withdraws it."""
    assert {to for origin, to, _ in TRANSITIONS if origin is State.ARCHIVED} == {State.WITHHELD}


def test_each_transition_is_told_once() -> None:
    """The diagram has one arrow between two states, with one reason on it."""
    arrows = [(origin, to) for origin, to, _ in TRANSITIONS]
    assert len(arrows) == len(set(arrows))
    assert all(why.strip() for _, _, why in TRANSITIONS)


@given(jobs, st.sampled_from(EVERY_FAILURE), st.booleans(), jitters)
def test_verdicts_only_make_known_transitions(job: Job, error: ClipledgerError, paid: bool, jitter: float) -> None:
    """A failed attempt moves its video along the diagram, for the attempt it was, and never into the past."""
    said = verdict(job, error, paid=paid, jitter=jitter)
    assert (State.RUNNING, said.state) in {(origin, to) for origin, to, _ in TRANSITIONS}
    assert (said.aweme_id, said.token) == (job.aweme_id, job.token)
    assert said.due_at >= NOW
    assert (said.reason, said.detail) == (error.reason, error.detail)


@given(jobs, st.sampled_from(EVERY_FAILURE), st.booleans(), jitters)
def test_death_is_always_a_counted_attempt(job: Job, error: ClipledgerError, paid: bool, jitter: float) -> None:
    """A dead letter's attempts include the one that ended it, and nothing dead is still a suspect."""
    said = verdict(job, error, paid=paid, jitter=jitter)
    if said.state is State.DEAD:
        assert said.burn
        assert not said.suspect


def test_every_error_class_has_a_verdict() -> None:
    """No failure that a stage may meet is without a verdict; the three that are no video's failure are a bug here."""
    nobodys_video = {ClipledgerError, ArchiveInUse, LeaseLost, UsageError}
    kinds = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ClipledgerError)
    } - nobodys_video
    assert all(isinstance(verdict(JOB, kind("x")), Settlement) for kind in kinds)
    for kind in nobodys_video:
        with pytest.raises(TypeError, match=kind.__name__):
            verdict(JOB, kind("x"))


@pytest.mark.parametrize("error", NOBODYS_FAULT, ids=_named)
@pytest.mark.parametrize("attempts", [1, 5, 100])
def test_what_is_nobodys_fault_uses_up_no_attempt(error: ClipledgerError, attempts: int) -> None:
    """A refused key, an empty balance, a cap, a full disk, an outage, 429 or a changed API burns no attempt: ever."""
    said = verdict(replace(JOB, attempts=attempts), error)
    assert said.state is State.PENDING
    assert not said.burn
    assert not said.suspect


@pytest.mark.parametrize("error", HALTS, ids=_named)
def test_a_halt_gives_the_work_back_untouched(error: ClipledgerError) -> None:
    """What stops the whole run leaves its videos due at once, so that the next run takes them up."""
    assert verdict(JOB, error).due_at == NOW


def test_a_shutdown_gives_the_work_back_untouched() -> None:
    """A shutdown is nobody's failure: the video is due at once and its attempt is given back."""
    said = given_back(replace(JOB, attempts=POLICY.attempts_max), paid=False, now=NOW)
    assert said == Settlement(
        JOB.aweme_id, JOB.token, State.PENDING, NOW, False, Reason.SHUTDOWN, "", CallReason.FIRST, False
    )


@pytest.mark.parametrize("error", UNTOLD, ids=_named)
def test_what_says_nothing_of_the_video_never_kills_it(error: ClipledgerError) -> None:
    """An unknown message, a network that is down, a store that fails: no attempt is used up, the waits grow."""
    said = [verdict(replace(JOB, attempts=99, added_at=NOW - age), error) for age in (0, 60, 3600, 10**7)]
    assert all(s.state is State.PENDING and not s.burn and not s.suspect for s in said)
    waits = [s.due_at - NOW for s in said]
    assert waits == sorted(waits)
    assert POLICY.retry_base_s <= waits[0] and waits[-1] <= 1.5 * POLICY.retry_cap_s


@pytest.mark.parametrize("error", (*TRANSIENT, WRONG_ID, EXPIRED), ids=_named)
def test_a_failure_is_retried_until_the_attempts_are_used_up(error: ClipledgerError) -> None:
    """A failing video lives through `attempts_max - 1` counted attempts and is dead, with the reason, at the last."""
    said = [verdict(replace(JOB, attempts=n), error) for n in range(1, POLICY.attempts_max + 1)]
    assert [s.state for s in said] == [State.PENDING] * (POLICY.attempts_max - 1) + [State.DEAD]
    assert all(s.burn and not s.suspect for s in said)
    assert {s.reason for s in said} == {error.reason}


@given(st.lists(st.sampled_from(EVERY_FAILURE), max_size=40), jitters)
def test_a_video_never_dies_of_messages_before_its_attempts_are_used_up(
    story: list[ClipledgerError], jitter: float
) -> None:
    """Whatever else happens between, only `attempts_max` counted failures, or days of `gone`, make a row dead."""
    counted = 0
    for error in story:
        said = verdict(replace(JOB, attempts=counted + 1), error, jitter=jitter)
        counted += said.burn
        if said.state is State.DEAD:
            break
        assert counted < POLICY.attempts_max
    else:
        return
    assert counted == POLICY.attempts_max


@pytest.mark.parametrize("error", GONE, ids=_named)
def test_gone_is_a_suspect_first(error: Gone) -> None:
    """A post that the API calls deleted, private or barred is held back, uncounted, until its window closed."""
    said = verdict(replace(JOB, attempts=POLICY.attempts_max + 1), error)
    assert said.state is State.PENDING
    assert said.suspect
    assert not said.burn
    assert said.due_at == NOW + POLICY.suspect_hold_s
    assert said.reason is error.reason


@pytest.mark.parametrize(
    ("not_founds", "days", "dead"),
    [(0, None, False), (1, 5.0, False), (2, 0.9, False), (2, None, False), (2, 1.0, True), (9, 30.0, True)],
)
def test_gone_is_believed_without_a_living_neighbour_only_after_days(
    not_founds: int, days: float | None, dead: bool
) -> None:
    """With nothing alive to vouch, a post is dead after three looks over a day, not sooner."""
    first = None if days is None else NOW - days * DAY_S
    said = verdict(replace(JOB, not_founds=not_founds, first_not_found_at=first), GONE[0])
    assert (said.state is State.DEAD) is dead
    assert said.suspect is not dead
    assert said.reason is Reason.NOT_FOUND


@given(jobs, st.sampled_from(EVERY_FAILURE), st.booleans(), jitters)
def test_an_outage_uses_up_nothing(job: Job, error: ClipledgerError, paid: bool, jitter: float) -> None:
    """While the breaker is open no failure burns an attempt, nobody is dead of it and nobody becomes a suspect."""
    said = after_failure(job, error, paid=paid, now=NOW, policy=POLICY, jitter=jitter, outage=True)
    assert said.state is State.PENDING
    assert not said.burn
    assert not said.suspect
    assert said.due_at <= NOW
    assert said.call_reason is not CallReason.FIRST if paid else said.call_reason == job.call_reason


def test_each_probe_of_an_outage_asks_another_video() -> None:
    """A video that failed while the breaker was open comes last in line, so that one bad post is not every probe."""
    said = after_failure(JOB, TRANSIENT[0], paid=True, now=NOW, policy=POLICY, jitter=0.5, outage=True)
    assert said.due_at == NOW - LAST_IN_LINE_S
    again = replace(JOB, due_at=said.due_at)
    later = after_failure(again, TRANSIENT[0], paid=True, now=NOW + 60, policy=POLICY, jitter=0.5, outage=True)
    assert later.due_at < said.due_at  # or it would stand before all who failed a minute ago, and be every probe
    halted = after_failure(JOB, HALTS[0], paid=True, now=NOW, policy=POLICY, jitter=0.5, outage=True)
    assert halted == verdict(JOB, HALTS[0])


@given(st.integers(1, 1000), jitters)
def test_retries_wait_longer_each_time(attempts: int, jitter: float) -> None:
    """With the same dice, a later attempt never comes sooner than an earlier one did."""
    assert retry_delay_s(attempts, POLICY, jitter) <= retry_delay_s(attempts + 1, POLICY, jitter)


@given(st.integers(-5, 10_000), jitters)
def test_retries_are_capped(attempts: int, jitter: float) -> None:
    """No retry waits longer than the cap and its half again, none less than the base."""
    assert POLICY.retry_base_s <= retry_delay_s(attempts, POLICY, jitter) <= 1.5 * POLICY.retry_cap_s


@given(st.integers(1, 6), jitters, jitters)
def test_retries_keep_their_order_whatever_the_dice(attempts: int, one: float, other: float) -> None:
    """Below the cap, jitter never makes a later attempt wait less than an earlier one."""
    assert retry_delay_s(attempts, POLICY, one) < retry_delay_s(attempts + 1, POLICY, other)


def test_the_first_retries_are_the_documented_ones() -> None:
    """The waits are those that the documentation tells: 5-8 s, 20-30 s, 80-120 s, 5-8 min."""
    spans = [(retry_delay_s(n, POLICY, 0), retry_delay_s(n, POLICY, 1)) for n in (1, 2, 3, 4)]
    assert spans == [(5, 7.5), (20, 30), (80, 120), (320, 480)]


def test_jitter_spreads_retries() -> None:
    """Videos that failed together do not come back together."""
    assert retry_delay_s(2, POLICY, 0.1) != retry_delay_s(2, POLICY, 0.9)


@given(st.none() | st.floats(0, 10**9), jitters)
def test_a_throttled_video_waits_within_bounds(told_s: float | None, jitter: float) -> None:
    """429 waits what the answer told, at least 5 s, at most 5 min, whatever number the other side sends."""
    wait_s = verdict(JOB, Throttled("429", retry_after_s=told_s), jitter=jitter).due_at - NOW
    assert POLICY.throttle_base_s <= wait_s <= POLICY.throttle_cap_s
    assert wait_s >= min(told_s or 0.0, POLICY.throttle_cap_s) - 1e-3  # the last bits of a unix second


@given(jitters)
def test_a_throttled_video_that_is_told_nothing_waits_seconds(jitter: float) -> None:
    """429 without a Retry-After waits 5 to 10 seconds at first, then longer: each further look is paid."""
    fresh, old = replace(JOB, added_at=NOW), replace(JOB, added_at=NOW - 600)
    waits = [verdict(job, Throttled("429"), jitter=jitter).due_at - NOW for job in (fresh, old)]
    assert waits == pytest.approx([5 * (1 + jitter), 150 * (1 + jitter)], abs=1e-3)


def refused(throttles: int, attempts: int = 1, *, costly: bool = True, alone: bool = False) -> Settlement:
    """Say what the next 429 does to a post that met so many."""
    error = Throttled("429", costly=costly)
    error.alone = alone
    return verdict(replace(JOB, throttles=throttles, attempts=attempts), error, paid=True, jitter=0.0)


def test_a_media_link_that_is_throttled_is_bought_ever_more_rarely() -> None:
    """A 429 of the CDN costs a credit a look: the looks come after 5, 20, 80 s ... 6 h, and the twelfth is the last."""
    waits = [refused(met).due_at - NOW for met in range(11)]
    assert waits == pytest.approx([5, 20, 80, 320, 1280, 5120, 20480, 21600, 21600, 21600, 21600], abs=1e-3)
    assert all(refused(met).state is State.PENDING and not refused(met).burn for met in range(11))
    free = [refused(met, costly=False).due_at - NOW for met in (2, 3, 5)]
    assert free[0] <= POLICY.throttle_cap_s and free[1:] == pytest.approx([320, 5120], abs=1e-3), "free looks at first"
    assert refused(11).state is State.DEAD and refused(10_000, costly=False).state is State.PENDING


@pytest.mark.parametrize("costly", [True, False])
def test_a_post_refused_alone_has_attempts_like_any(costly: bool) -> None:
    """While others get through, the first three 429s of a post are free; from then on each uses up an attempt."""
    burnt = [refused(met, alone=True, costly=costly).burn for met in range(6)]
    assert burnt == [False, False, False, True, True, True]
    assert not any(refused(met, alone=False, costly=costly).burn for met in range(6))
    assert refused(7, 5, alone=True, costly=costly).state is State.DEAD
    assert all(refused(met, costly=costly).throttled for met in range(3))


@given(jitters)
def test_an_unknown_shape_waits_for_hours(jitter: float) -> None:
    """A reply of unknown shape is asked for again after 6 to 12 hours, not in a loop that spends credits."""
    wait_s = verdict(JOB, NOBODYS_FAULT[-1], jitter=jitter).due_at - NOW
    assert POLICY.retry_cap_s <= wait_s <= 2 * POLICY.retry_cap_s


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ApiUnavailable("x"), CallReason.RETRY),
        (CdnUnavailable("x"), CallReason.RETRY),
        (StorageUnavailable("x"), CallReason.RETRY),
        (WRONG_ID, CallReason.RETRY),
        (EXPIRED, CallReason.URL_EXPIRED),
        (Throttled("x"), CallReason.THROTTLED),
        (MalformedReply("x"), CallReason.MALFORMED),
        (StorageFull("x"), CallReason.INTERRUPTED),
        (Outage("x"), CallReason.INTERRUPTED),
        (GONE[0], CallReason.RECHECK),
    ],
    ids=lambda value: value.value if isinstance(value, CallReason) else _named(value),
)
def test_a_further_paid_resolve_says_why(error: ClipledgerError, why: CallReason) -> None:
    """The next paid resolve of an id carries the reason that made it necessary."""
    assert verdict(JOB, error, paid=True).call_reason is why


def test_a_shutdown_after_a_paid_resolve_is_told_as_such() -> None:
    """A video given back after its resolve was bought is resolved again as `interrupted`."""
    assert given_back(JOB, paid=True, now=NOW).call_reason is CallReason.INTERRUPTED


@given(jobs, st.sampled_from((*EVERY_FAILURE, None)), jitters)
def test_no_second_paid_resolve_passes_for_the_first(job: Job, error: ClipledgerError | None, jitter: float) -> None:
    """Once a resolve of an id was paid for, no later one is labelled `first`: the credit rows tell them apart."""
    said = given_back(job, paid=True, now=NOW) if error is None else verdict(job, error, paid=True, jitter=jitter)
    assert said.call_reason is not CallReason.FIRST


@given(jobs, st.sampled_from((*TRANSIENT, *NOBODYS_FAULT, WRONG_ID, None)), jitters)
def test_an_unpaid_attempt_keeps_the_reason_of_its_call(job: Job, error: ClipledgerError | None, jitter: float) -> None:
    """An attempt that bought nothing leaves the reason of the call that is still to be made as it was."""
    said = given_back(job, paid=False, now=NOW) if error is None else verdict(job, error, paid=False, jitter=jitter)
    assert said.call_reason == job.call_reason


def test_transient_failures_are_a_class_of_their_own() -> None:
    """What counts as an attempt and what halts never overlap: an error answers `what now?` in one way."""
    kinds = [Transient, Halt, Gone, Throttled, UrlExpired, MalformedReply]
    assert all(not issubclass(one, other) for one in kinds for other in kinds if one is not other)
