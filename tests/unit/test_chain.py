"""The chain of the audit log: no row can be changed, taken out or put in without its showing."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.chain import FIRST, Act, Entry, Row, Who, broken_at, next_row

WHO = Who("ann", "desk", "1.0")


def chain(length: int) -> list[Row]:
    """Write so many rows."""
    rows: list[Row] = []
    before = FIRST
    for seq in range(1, length + 1):
        rows.append(next_row(seq, before, f"2026-05-29T12:00:0{seq % 10}.000Z", WHO, Entry(Act.HOLD, str(seq), "why")))
        before = rows[-1].hash
    return rows


def test_a_chain_as_written_holds() -> None:
    """Nothing is found in a log that nobody touched; nor in an empty one."""
    assert broken_at(chain(20), 0, FIRST) is None
    assert broken_at([], 0, FIRST) is None


@given(st.integers(0, 9), st.sampled_from(["at", "operator", "host", "version", "act", "subject", "why", "detail"]))
def test_a_changed_word_is_found_where_it_was_changed(nth: int, name: str) -> None:
    """Whichever word of whichever row was changed: that row is named."""
    rows = chain(10)
    rows[nth] = replace(rows[nth], **{name: "another"})
    found = broken_at(rows, 0, FIRST)
    assert found is not None and found[0] == nth + 1


@given(st.integers(0, 8))
def test_a_missing_row_is_found(nth: int) -> None:
    """A row that was taken out is missed at the next one, also when the rows behind it were numbered anew."""
    rows = chain(10)
    del rows[nth]
    found = broken_at(rows, 0, FIRST)
    assert found is not None and found[0] == nth + 2
    renumbered = [replace(row, seq=seq) for seq, row in enumerate(rows, start=1)]
    found = broken_at(renumbered, 0, FIRST)
    assert found is not None and found[0] == nth + 1


def test_a_row_that_was_forged_with_its_hash_is_missed_by_the_next() -> None:
    """Who writes a row anew, hash and all, would have to write every later row anew too."""
    rows = chain(5)
    rows[2] = next_row(3, rows[1].hash, rows[2].at, Who("eve", "desk", "1.0"), Entry(Act.HOLD, "3", "why"))
    assert broken_at(rows, 0, FIRST) == (4, "it does not follow the row before it")
