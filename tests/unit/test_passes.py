"""A pass over a list ends, whatever the list does, and says why it ended."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.passes import (
    ADAPT_FACTOR,
    OFFSET_STALE_S,
    STALE_PAGES,
    PageSeen,
    PassState,
    SourceProgress,
    after_page,
    cursor_is_stale,
    next_wait_s,
)

NOW = 1_780_000_000.0
EVERY_S = 6 * 3600.0
TOP = PassState(pages=0, new=0, stale=0, ever_finished=False, newest_first=True, max_pages=5000, every_s=EVERY_S)
PAGE = PageSeen(ids=30, unpinned=30, has_more=True, cursor="2", used_cursor="1")
ENDS = {"end", "known", "loop", "stale", "max_pages"}


def step(state: PassState = TOP, page: PageSeen = PAGE, *, new_ids: int = 30, seen: bool = False) -> SourceProgress:
    return after_page(state, page, new_ids=new_ids, cursor_seen=seen, now=NOW)


@dataclass(frozen=True)
class Answer:
    """One page as a list of unknown intent gives it."""

    ids: int
    new: int
    pinned: int
    has_more: bool
    cursor: str | None


cursors = st.none() | st.sampled_from(["0", "30", "60", "a", "b"]) | st.uuids().map(str)
pages = st.builds(
    lambda ids, new, pinned, has_more, cursor: Answer(ids, min(new, ids), min(pinned, ids), has_more, cursor),
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(0, 3),
    st.booleans() | st.just(True),
    cursors,
)
endless = st.builds(lambda ids, cursor: Answer(ids, ids, 0, True, str(cursor)), st.integers(1, 30), st.uuids())
states = st.builds(
    replace, st.just(TOP), ever_finished=st.booleans(), newest_first=st.booleans(), max_pages=st.integers(1, 40)
)


def read(state: PassState, behaviour: list[Answer]) -> list[tuple[Answer, SourceProgress]]:
    """Read a list to the end of its pass as the listing stage does; it repeats its last page for ever."""
    told: list[tuple[Answer, SourceProgress]] = []
    cursor, met = None, set[str]()
    while not told or told[-1][1].pass_end is None:
        answer = behaviour[min(len(told), len(behaviour) - 1)]
        assert len(told) < state.max_pages, "a pass went on beyond its bound"
        met |= {cursor} if cursor is not None else set()
        page = PageSeen(answer.ids, answer.ids - answer.pinned, answer.has_more, answer.cursor, cursor)
        progress = step(state, page, new_ids=answer.new, seen=answer.cursor in met)
        told.append((answer, progress))
        state = replace(state, pages=progress.pass_pages, new=progress.pass_new, stale=progress.pass_stale)
        cursor = progress.cursor
    return told


@given(states, st.lists(pages | endless, min_size=1, max_size=60))
def test_every_pass_ends_within_its_bound(state: PassState, behaviour: list[Answer]) -> None:
    """Loops, endless `hasMore`, empty pages, missing cursors: no list is read for more than `--max-pages` pages."""
    told = read(state, behaviour)
    last = told[-1][1]
    assert len(told) <= state.max_pages
    assert last.pass_end in ENDS
    assert last.pass_pages == len(told)
    assert last.pass_new == sum(answer.new for answer, _ in told)


@given(states, st.lists(pages | endless, min_size=1, max_size=60))
def test_three_pages_without_news_end_a_pass(state: PassState, behaviour: list[Answer]) -> None:
    """Three pages in a row without a new id are the last ones that are paid for."""
    barren = [not answer.new for answer, _ in read(state, behaviour)]
    runs = [n for n in range(len(barren)) if all(barren[n : n + STALE_PAGES]) and n + STALE_PAGES <= len(barren)]
    assert runs in ([], [len(barren) - STALE_PAGES])


@given(states, st.lists(pages | endless, min_size=1, max_size=60))
def test_a_pass_never_asks_for_the_same_page_twice(state: PassState, behaviour: list[Answer]) -> None:
    """No cursor is followed twice within a pass: a circle costs one round, no more."""
    followed = [progress.cursor for _, progress in read(state, behaviour) if progress.pass_end is None]
    assert None not in followed
    assert len(followed) == len(set(followed))


@given(states, st.lists(pages | endless, min_size=1, max_size=60))
def test_an_ended_pass_begins_at_the_top_again(state: PassState, behaviour: list[Answer]) -> None:
    """After a pass the cursor is cleared and the next reading is due in the future, within the adaptive factor."""
    last = read(state, behaviour)[-1][1]
    assert last.cursor is None
    assert EVERY_S / ADAPT_FACTOR <= last.next_at - NOW <= EVERY_S * ADAPT_FACTOR


def test_a_pass_that_goes_on_is_due_at_once() -> None:
    """Between two pages the source stays due and keeps its cursor, so that a restart goes on there."""
    assert step() == SourceProgress("2", 1, 30, 0, None, NOW, None)


@pytest.mark.parametrize(
    ("page", "end"),
    [
        (replace(PAGE, has_more=False), "end"),
        (replace(PAGE, has_more=False, cursor=None), "end"),
        (replace(PAGE, has_more=False, ids=0, unpinned=0), "end"),
        (replace(PAGE, paged=False), "end"),
        (replace(PAGE, cursor=None), "loop"),
        (replace(PAGE, cursor="1"), "loop"),
        (PAGE, None),
    ],
    ids=["no more", "no more, no cursor", "no more, empty", "not paged", "no cursor", "cursor stands still", "goes on"],
)
def test_the_end_of_a_pass_is_told(page: PageSeen, end: str | None) -> None:
    """What ended a pass is written down in a word: the list's end, or a cursor that leads nowhere."""
    assert step(page=page).pass_end == end


def test_a_circle_of_cursors_is_a_loop() -> None:
    """A cursor that was already met in this pass ends it, even when the page brought news."""
    assert step(seen=True).pass_end == "loop"


def test_an_empty_page_with_more_is_stepped_over() -> None:
    """An empty page that promises more is stepped over, twice; at the third in a row the pass ends."""
    empty = replace(PAGE, ids=0, unpinned=0)
    ends = [step(replace(TOP, stale=stale), empty, new_ids=0).pass_end for stale in range(STALE_PAGES)]
    assert ends == [None, None, "stale"]


def test_news_forgive_barren_pages() -> None:
    """A page with a new id starts the count of barren pages anew."""
    assert step(replace(TOP, stale=2), new_ids=1).pass_stale == 0


def test_a_first_pass_is_not_cut_short_by_one_known_page() -> None:
    """A source that was never read to its end is read on below a page of known ids."""
    assert step(new_ids=0).pass_end is None


def test_a_later_pass_ends_at_the_first_known_page() -> None:
    """Newest first, a source read to its end before costs one page when nothing is new."""
    assert step(replace(TOP, ever_finished=True), new_ids=0).pass_end == "known"


def test_pinned_posts_do_not_hide_new_ones() -> None:
    """A page of known pinned posts only is no sign that the rest is known: new posts behind them are met."""
    pinned_only = replace(PAGE, ids=3, unpinned=0)
    assert step(replace(TOP, ever_finished=True), pinned_only, new_ids=0).pass_end is None


def test_a_ranked_list_is_read_past_a_known_page() -> None:
    """Where the order is not by date, new ids may stand below known ones: three barren pages end it, not one."""
    ranked = replace(TOP, ever_finished=True, newest_first=False)
    ends = [step(replace(ranked, stale=stale), new_ids=0).pass_end for stale in range(STALE_PAGES)]
    assert ends == [None, None, "known"]


def test_the_page_cap_ends_a_pass() -> None:
    """`--max-pages N` reads N pages, not N+1."""
    state = replace(TOP, max_pages=2)
    assert step(state).pass_end is None
    assert step(replace(state, pages=1)).pass_end == "max_pages"


@pytest.mark.parametrize(
    ("state", "page", "new_ids", "full"),
    [
        (TOP, replace(PAGE, has_more=False), 30, True),
        (replace(TOP, ever_finished=True), PAGE, 0, True),
        (replace(TOP, stale=2), PAGE, 0, False),
        (replace(TOP, max_pages=1), PAGE, 30, False),
        (TOP, replace(PAGE, cursor=None), 30, False),
    ],
    ids=["end", "known", "stale", "max_pages", "loop"],
)
def test_only_a_whole_reading_counts_as_whole(state: PassState, page: PageSeen, new_ids: int, full: bool) -> None:
    """Only a pass that met the list's end, or ids known from there on, owes nothing more."""
    progress = step(state, page, new_ids=new_ids)
    assert progress.pass_end is not None
    assert progress.full_pass_at == (NOW if full else None)


@given(st.floats(60, 10**7), st.integers(0, 10**6), st.booleans())
def test_polling_adapts_within_the_factor(every_s: float, new_ids: int, first: bool) -> None:
    """A source is read at most four times more or less often than its `--every` says."""
    assert every_s / ADAPT_FACTOR <= next_wait_s(every_s, new_ids, first=first) <= every_s * ADAPT_FACTOR


def test_the_bounds_are_the_documented_ones() -> None:
    """Three barren pages, offsets good for an hour, polling within a factor of four."""
    assert (STALE_PAGES, OFFSET_STALE_S, ADAPT_FACTOR) == (3, 3600, 4)


def test_polling_follows_what_was_found() -> None:
    """A busy source is read four times as often, a silent one half as often, and any other at its own time."""
    waits = [next_wait_s(EVERY_S, new, first=False) / EVERY_S for new in (1000, 30, 29, 1, 0)]
    assert waits == [0.25, 0.25, 1, 1, 2]
    assert next_wait_s(EVERY_S, 10_000, first=True) == EVERY_S


def test_a_first_pass_does_not_hurry_the_next() -> None:
    """What a first pass finds is history, no sign of a busy source: the second comes at the source's own time."""
    last = replace(PAGE, has_more=False)
    assert step(page=last).next_at == NOW + EVERY_S
    assert step(replace(TOP, ever_finished=True), last).next_at == NOW + EVERY_S / 4
    assert step(replace(TOP, ever_finished=True, new=29), last, new_ids=0).next_at == NOW + EVERY_S


@pytest.mark.parametrize(
    ("newest_first", "age_s", "stale"),
    [(True, 10 * OFFSET_STALE_S, False), (False, OFFSET_STALE_S + 1, True), (False, OFFSET_STALE_S, False)],
)
def test_only_offset_cursors_age(newest_first: bool, age_s: float, stale: bool) -> None:
    """A saved offset older than an hour is not trusted, because rankings move; a time cursor is good for ever."""
    assert cursor_is_stale(newest_first, NOW - age_s, NOW) is stale


def test_a_source_without_a_cursor_has_no_stale_one() -> None:
    """A source that was never begun begins at the top."""
    assert not cursor_is_stale(False, None, NOW)
