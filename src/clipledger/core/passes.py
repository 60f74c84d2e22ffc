"""How one pass over a list goes on or ends: bounded whatever the list does.

A pass runs from the top of a list to one of its ends. Lists are known to loop, to stand still, to
give empty pages and to say `hasMore` for ever; every such way ends in a word in `pass_end`.
"""

from __future__ import annotations

from dataclasses import dataclass

STALE_PAGES = 3
"""Pages in a row without a new id that end a pass."""

COMPLETE = ("end", "known")
"""Ends after which nothing below is owed. After any other the next pass goes down the whole list again."""

OFFSET_STALE_S = 3600.0
"""An offset cursor older than this is not trusted: rankings move, so the pass begins again."""

ADAPT_FACTOR = 4.0
"""A source is read at most this much more or less often than its `--every`."""


@dataclass(frozen=True, slots=True)
class PassState:
    """Where a source's running pass stands before a page."""

    pages: int
    new: int
    stale: int
    ever_finished: bool
    newest_first: bool
    max_pages: int
    every_s: float


@dataclass(frozen=True, slots=True)
class PageSeen:
    """What one page was: ids on it, those of them that are not pinned, and how it goes on."""

    ids: int
    unpinned: int
    has_more: bool
    cursor: str | None
    used_cursor: str | None
    paged: bool = True


@dataclass(frozen=True, slots=True)
class SourceProgress:
    """The source's row after a page. `pass_end` is None while the pass goes on."""

    cursor: str | None
    pass_pages: int
    pass_new: int
    pass_stale: int
    pass_end: str | None
    next_at: float
    full_pass_at: float | None


def after_page(state: PassState, page: PageSeen, *, new_ids: int, cursor_seen: bool, now: float) -> SourceProgress:
    """Decide how a pass goes on. `cursor_seen`: the next cursor was already met in this pass."""
    stale = 0 if new_ids else state.stale + 1
    end = _end(state, page, stale, new_ids, cursor_seen)
    new = state.new + new_ids
    if end is None:
        return SourceProgress(page.cursor, state.pages + 1, new, stale, None, now, None)
    full_at = now if end in COMPLETE else None
    next_at = now + next_wait_s(state.every_s, new, first=not state.ever_finished)
    return SourceProgress(None, state.pages + 1, new, stale, end, next_at, full_at)


def _end(state: PassState, page: PageSeen, stale: int, new_ids: int, cursor_seen: bool) -> str | None:
    if not page.paged or not page.has_more:
        return "end"
    if page.cursor is None or page.cursor == page.used_cursor or cursor_seen:
        return "loop"
    if state.ever_finished and state.newest_first and page.unpinned and not new_ids:
        # Newest first: an unpinned page of known ids means that everything below is known too.
        return "known"
    if stale >= STALE_PAGES:
        return "known" if state.ever_finished else "stale"
    return "max_pages" if state.pages + 1 >= state.max_pages else None


def next_wait_s(every_s: float, new_ids: int, *, first: bool) -> float:
    """Adapt the wait to what a pass found: sooner when much was new, later when nothing was."""
    if first:
        return every_s
    if new_ids == 0:
        return every_s * 2.0
    return every_s / ADAPT_FACTOR if new_ids >= 30 else every_s


def cursor_is_stale(newest_first: bool, cursor_at: float | None, now: float) -> bool:
    """Say whether a saved cursor must not be trusted any more: only offsets age."""
    return not newest_first and cursor_at is not None and now - cursor_at > OFFSET_STALE_S
