"""When answers mean an outage, and when a post that is said to be gone is believed to be."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.breaker import (
    CANARY_EVERY,
    FAILED_RUN,
    FEW_CANARIES,
    GONE_MAX,
    GONE_RUN,
    LOST_S,
    MALFORMED_MAX,
    NEIGHBOURS,
    WINDOW,
    Answer,
    Mood,
    Outcome,
    Window,
    in_turn,
    is_lost,
    is_vouched_for,
    probe_delay_s,
)
from clipledger.core.model import AwemeId

A, G, F, M = Answer.ALIVE, Answer.GONE, Answer.FAILED, Answer.MALFORMED
FRESH = Window()
answers = st.lists(st.sampled_from(Answer), max_size=120)


def seen(told: Iterable[Answer], window: Window = FRESH) -> Window:
    """Observe one answer a second, each of another post."""
    start = window.outcomes[-1].at + 1 if window.outcomes else 0.0
    for at, answer in enumerate(told):
        window = window.observe(Outcome(start + at, answer, AwemeId(f"{int(start) + at:019d}")))
    return window


def mixed(gone: int, of: int) -> list[Answer]:
    """Spread `gone` gone answers over `of`, so evenly that they never stand in a long row."""
    return [G if (n + 1) * gone // of > n * gone // of else A for n in range(of)]


def test_nothing_seen_is_calm() -> None:
    """A fresh process suspects nothing and confirms nothing."""
    assert Window().mood() is Mood.CALM
    assert Window().healthy_before() is None
    assert Window().healthy_at_end() is None
    assert Window().evidence() == "last 0 answers: none"


def test_the_thresholds_are_the_documented_ones() -> None:
    """The numbers that stop a run are the ones the operator reads about."""
    assert (WINDOW, GONE_MAX, GONE_RUN, FAILED_RUN, CANARY_EVERY, MALFORMED_MAX) == (50, 25, 5, 20, 50, 3)


@pytest.mark.parametrize(("gone", "mood"), [(25, Mood.CALM), (26, Mood.BURST), (50, Mood.BURST)])
def test_more_than_half_of_the_window_gone_is_a_burst(gone: int, mood: Mood) -> None:
    """26 posts gone among the last 50 answers are an outage until known-alive posts say otherwise; 25 are not."""
    assert seen(mixed(gone, 50)).mood() is mood


def test_a_burst_needs_no_full_window() -> None:
    """A block that begins with the run is seen at the 26th answer, not only at the 50th."""
    assert seen([G] * 25).mood() is not Mood.BURST
    assert seen([G] * 26).mood() is Mood.BURST


@given(answers)
def test_only_the_last_answers_count(old: list[Answer]) -> None:
    """What happened before the last 50 answers has no say any more."""
    assert seen([*old, *[A] * WINDOW]).mood() is Mood.CALM
    assert len(seen(old).outcomes) == min(len(old), WINDOW)


def test_five_gone_in_a_row_raise_doubt() -> None:
    """Five posts gone one after another are asked about at once; four are chance."""
    assert seen([A] * 10 + [G] * 4).mood() is Mood.CALM
    assert seen([A] * 10 + [G] * 5).mood() is Mood.DOUBT


def test_a_living_post_ends_the_doubt() -> None:
    """One living answer within the row shows that the API can still tell the living from the gone."""
    assert seen([G] * 4 + [A] + [G] * 4).mood() is Mood.CALM


def test_failures_do_not_hide_a_row_of_gone() -> None:
    """A time-out or an odd reply between says nothing about the living: the row of gone goes on."""
    assert seen([A, G, G, F, G, G, G, M, G, G, F, G, F]).mood() is Mood.DOUBT


def test_canaries_are_asked_at_most_once_in_fifty() -> None:
    """A dataset full of deleted posts costs one canary in 50 resolves, not one each."""
    window = seen([G] * 8)
    assert window.mood() is Mood.DOUBT
    window = window.vouched(closed=False)
    moods = []
    for _ in range(5):  # 24 gone of 50 are no burst, but each round ends with 8 in a row
        window = seen([A] * 10 + [G] * 8, window)
        moods.append(window.mood())
    assert moods == [Mood.CALM, Mood.CALM, Mood.DOUBT, Mood.DOUBT, Mood.DOUBT]


def test_doubt_comes_back_at_the_fiftieth_answer() -> None:
    """A row of gone that goes on after the canaries is asked about again at the 50th answer, not at the 51st."""
    window = seen([G] * 8).vouched(closed=False)
    window = seen([A] * 41 + [G] * 8, window)
    assert window.mood() is Mood.CALM
    assert seen([G], window).mood() is Mood.DOUBT


@given(answers, answers)
def test_doubt_is_never_renewed_within_fifty(before: list[Answer], after: list[Answer]) -> None:
    """Whatever comes, vouched answers are not doubted again before 50 more are in."""
    window = seen(before).vouched(closed=False)
    for answer in after[: CANARY_EVERY - 1]:
        window = seen([answer], window)
        assert window.mood() is not Mood.DOUBT


def test_vouching_closes_a_burst() -> None:
    """After living canaries a burst starts from an empty window: the same dead posts do not trip it twice."""
    window = seen([G] * 26).vouched(closed=True)
    assert window.outcomes == ()
    assert seen([G] * 25, window).mood() is Mood.CALM
    assert seen([G] * 26, window).mood() is Mood.BURST


def test_vouching_in_doubt_keeps_the_window() -> None:
    """A doubt that canaries dispelled keeps the answers: a burst is still counted over all of them."""
    window = seen([G] * 8).vouched(closed=False)
    assert seen(mixed(18, 30), window).mood() is Mood.BURST


def test_twenty_failures_in_a_row_are_an_outage() -> None:
    """The work stops after 20 failures with nothing else among them, not after the whole queue."""
    assert seen([A] * 5 + [F] * 19).mood() is Mood.CALM
    assert seen([A] * 5 + [F] * 20).mood() is Mood.FAILING


@pytest.mark.parametrize("sign", [A, G, M])
def test_any_other_answer_breaks_a_row_of_failures(sign: Answer) -> None:
    """As long as anything but a failure comes through now and then, work goes on."""
    assert seen([F] * 19 + [sign] + [F] * 19).mood() is Mood.CALM


@given(answers)
def test_the_failures_of_the_window_are_named(told: list[Answer]) -> None:
    """The posts that an outage hit are known by id, each as often as it failed, so that it costs them nothing."""
    window = seen([*told, F, A, F])
    assert window.failed() == tuple(o.aweme_id for o in window.outcomes if o.answer is F)
    assert window.failed()[-2:] == (window.outcomes[-3].aweme_id, window.outcomes[-1].aweme_id)
    assert seen([A, G, M]).failed() == ()
    again = Window()
    for at in range(3):
        again = again.observe(Outcome(float(at), F, AwemeId("7387261234567890123")))
    assert len(again.failed()) == 3


@pytest.mark.parametrize(
    ("before", "after", "believed"),
    [
        ([A, A], [A, A], True),
        ([A, F, A], [G, A, A], True),
        ([A, G], [A, A], False),
        ([A, A], [A, G], False),
        ([A, A], [], False),
        ([], [A, A], False),
        ([F, F, M], [A, A, A], False),
    ],
)
def test_a_lonely_not_found_is_believed_between_living_neighbours(
    before: list[Answer], after: list[Answer], believed: bool
) -> None:
    """A post is believed to be gone at one asking where two calls on either side of it found living posts."""
    assert NEIGHBOURS == 2
    assert is_vouched_for(before, after) is believed


def test_three_malformed_posts_mean_a_changed_api() -> None:
    """Three distinct ids with replies of unknown shape stop the run before more credits are spent on them."""
    assert seen([M, A, A, M, A]).mood() is Mood.CALM
    assert seen([M, A, A, M, A, M, A]).mood() is Mood.CHANGED


def test_one_malformed_post_met_again_is_one() -> None:
    """One odd post, however often it is tried, does not stop the run."""
    window = Window()
    for at in range(10):
        window = window.observe(Outcome(float(at), M, AwemeId("7387261234567890123")))
    assert window.mood() is Mood.CALM


def test_malformed_posts_far_apart_are_forgotten() -> None:
    """A few odd posts in a large dataset are no change of the API: only those within the window count."""
    assert seen([M, *[A] * 30, M, *[A] * 30, M]).mood() is Mood.CALM


def test_suspects_are_confirmed_only_behind_a_whole_window() -> None:
    """While work goes on, a post is declared gone only when 50 later answers form a healthy window."""
    assert seen([G, *[A] * 48]).healthy_before() is None
    assert seen([G, *[A] * 49]).healthy_before() == 0.0
    assert seen([G, *[A] * 50]).healthy_before() == 1.0


@given(answers)
def test_what_is_confirmed_stands_behind_fifty_calm_answers(told: list[Answer]) -> None:
    """No suspect is confirmed by a window that is short, that is not calm, or in which nothing lives."""
    window = seen(told)
    before = window.healthy_before()
    if before is not None:
        assert window.mood() is Mood.CALM
        assert sum(outcome.at >= before for outcome in window.outcomes) == WINDOW
        assert A in told[-WINDOW:]
        assert window.gone <= GONE_MAX


@pytest.mark.parametrize(
    "told",
    [[G] * 50, mixed(26, 50), [A] * 42 + [G] * 8, [A] * 30 + [F] * 20, [A] * 47 + [M] * 3],
    ids=["all gone", "burst", "doubt", "failing", "changed"],
)
def test_no_suspect_is_confirmed_while_answers_are_in_doubt(told: list[Answer]) -> None:
    """Under a burst, a doubt, a run of failures or a changed API nobody is declared dead, at the end neither."""
    assert seen(told).healthy_before() is None
    assert seen(told).healthy_at_end() is None


def test_failures_alone_vouch_for_nobody() -> None:
    """A window without one living answer confirms nothing, however calm it looks."""
    window = seen([G, *([F] * 9 + [M]) * 2, *[F] * 9, *[G] * 3, *[F] * 17])
    assert (window.mood(), len(window.outcomes)) == (Mood.CALM, WINDOW)
    assert window.healthy_before() is None
    assert seen([G, F, F, F]).healthy_at_end() is None


def test_at_the_end_the_last_living_answer_vouches_for_what_came_before_it() -> None:
    """When no more work is due, a post gone before the last living answer is believed, one after it is not."""
    assert seen([A, G, A, A, G]).healthy_at_end() == 3.0
    assert seen([A]).healthy_at_end() == 0.0


@pytest.mark.parametrize(("told", "vouched"), [([G, A], 1.0), ([G, G, A], None), ([G] * 8 + [A], None)])
def test_at_the_end_a_mostly_gone_run_vouches_for_nobody(told: list[Answer], vouched: float | None) -> None:
    """When most answers of a short run were gone, one living answer is not enough to declare them dead."""
    assert seen(told).healthy_at_end() == vouched


@given(answers)
def test_at_the_end_only_the_living_vouch(told: list[Answer]) -> None:
    """The moment before which suspects are confirmed at the end is always that of a living answer."""
    vouched = seen(told).healthy_at_end()
    assert vouched is None or told[int(vouched)] is A


@given(answers)
def test_evidence_is_one_line_that_adds_up(told: list[Answer]) -> None:
    """The line that explains a pause counts every answer of the window, once."""
    line = seen(told).evidence()
    assert "\n" not in line
    counts = [int(word) for word in line.partition(": ")[2].split() if word.isdigit()]
    assert sum(counts) == min(len(told), WINDOW)


def test_evidence_names_what_was_seen() -> None:
    """The operator reads how many answers were alive, gone or failed."""
    assert seen([A, G, G, F]).evidence() == "last 4 answers: 1 alive, 2 gone, 1 failed"


def test_evidence_names_the_last_failure() -> None:
    """An operator reads why calls fail, not only how many: of the failures that said so the latest speaks."""
    window = Window()
    for answer, why in ((F, "api: curl 28 Timeout"), (F, "api: curl 7 Connection refused"), (F, ""), (A, "")):
        window = window.observe(Outcome(0.0, answer, AwemeId("1"), why))
    assert window.evidence() == "last 4 answers: 1 alive, 3 failed; the last failure: api: curl 7 Connection refused"


def test_probes_back_off_to_half_an_hour() -> None:
    """While the breaker is open the API is probed after 1, 2, 4, 8, 16 and then every 30 minutes."""
    waits = [probe_delay_s(n) / 60 for n in range(7)]
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert probe_delay_s(10**6) == 1800


def told_of(*answers: tuple[str, float, Answer]) -> list[Outcome]:
    """Make the answers of canaries, oldest first."""
    return [Outcome(at, answer, AwemeId(name)) for name, at, answer in answers]


def test_canaries_that_were_called_gone_are_asked_last() -> None:
    """Whoever was called gone last time vouches for little: others first, then the longest not asked."""
    pool = [AwemeId(name) for name in "abcde"]
    told = told_of(("a", 1.0, G), ("b", 2.0, G), ("a", 3.0, A), ("c", 4.0, G), ("b", 5.0, G))
    assert in_turn(pool, told, 0) == ["a", "d", "e", "c", "b"], "a came back"
    assert in_turn(pool, told, 1) == ["d", "a", "e", "c", "b"], "the others take turns, one that is alive beside them"
    assert in_turn(pool, [*told, *told_of(("e", 6.0, A))], 1) == ["d", "a", "e", "c", "b"], "whose answer is oldest"
    assert in_turn([], told, 3) == []
    assert in_turn(pool[1:3], told, 5) == ["c", "b"]


MANY = FEW_CANARIES + 1
ALL_GONE = [(f"{n}", n * LOST_S / (MANY - 1), G) for n in range(MANY)]


def test_an_archive_is_lost_when_nobody_answered_for_a_week() -> None:
    """More than a handful of different canaries, all called gone, the first of them a week ago."""
    assert is_lost(told_of(*ALL_GONE), LOST_S)
    assert is_lost(told_of(*ALL_GONE, ("0", LOST_S, G)), LOST_S)


@pytest.mark.parametrize(
    ("told", "now"),
    [
        ([], LOST_S),
        (ALL_GONE, LOST_S - 1.0),
        (ALL_GONE[:-1] * 9, LOST_S),
        ([*ALL_GONE[:4], ("5", LOST_S / 2, A), *ALL_GONE[4:]], LOST_S),
    ],
    ids=["nobody asked", "sooner", "too few", "one alive"],
)
def test_an_archive_is_not_given_up_sooner(told: list[tuple[str, float, Answer]], now: float) -> None:
    """Less than a week, a few canaries asked again and again, or a single living one prove no loss."""
    assert not is_lost(told_of(*told), now)
