"""Durations and moments as text, and back."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.errors import UsageError
from clipledger.core.times import iso_time, parse_duration, read_iso_time, until_next, utc_day, write_duration

LONGEST_S = 10 * 366 * 86_400

moments = st.floats(0, 32_503_680_000.0)  # to the year 3000
durations = st.integers(1, LONGEST_S * 1000).map(lambda ms: ms / 1000)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("6h", 21_600),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1.5h", 5400),
        ("0.25s", 0.25),
        ("3660d", LONGEST_S),
        (" 6 H\n", 21_600),
    ],
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    """`90s`, `30m`, `6h`, `7d` and `2w` are understood, with fractions, in either case, with blanks around."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "6", "h", "6 hours", "0s", "0.0h", "-1h", "+1h", "1e3s", "nan", "inf", "1y", "6h30m", "87841h", "1,5h"),
        *("999999999w", "\u0666h", "6\u212a", "1_0s", ".5h", "5.h", "0.0001s", "\x00", "6h\x00", "9" * 5000 + "s"),
    ],
)
def test_anything_else_is_no_duration(text: str) -> None:
    """What is no duration, or none that can be waited for, is refused in one line that shows how to write one."""
    with pytest.raises(UsageError) as refused:
        parse_duration(text)
    assert "6h" in refused.value.detail
    assert refused.value.detail.isprintable()
    assert len(refused.value.detail) < 300


@given(st.text(max_size=12))
def test_no_text_crashes_the_reading_of_durations(text: str) -> None:
    """Any text is a duration within bounds, or a usage error."""
    with suppress(UsageError):
        assert 0 < parse_duration(text) <= LONGEST_S


@given(durations)
def test_a_written_duration_is_read_back(seconds: float) -> None:
    """What the program prints as a duration can be typed in again."""
    assert parse_duration(write_duration(seconds)) == pytest.approx(seconds, abs=5e-4)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(21_600, "6h"), (90, "90s"), (5400, "90m"), (604_800, "1w"), (86_400, "1d"), (0, "0s"), (1.5, "1.5s")],
)
def test_durations_are_written_in_the_largest_whole_unit(seconds: float, text: str) -> None:
    """Six hours are shown as `6h`, not as 21600 seconds."""
    assert write_duration(seconds) == text


@given(moments)
def test_moments_are_read_back(at: float) -> None:
    """A moment written as text is the same moment again, to the millisecond."""
    assert read_iso_time(iso_time(at)) == pytest.approx(at, abs=0.000_51)


@given(moments, moments)
def test_moments_sort_as_text(one: float, other: float) -> None:
    """Moments in the database sort as text in the order in which they were, all of one width, all in UTC."""
    texts = iso_time(one), iso_time(other)
    assert (texts[0] < texts[1]) is (round(one * 1000) < round(other * 1000))
    assert {len(text) for text in texts} == {24}
    assert all(text.endswith("Z") for text in texts)


@given(moments)
def test_moments_are_utc(at: float) -> None:
    """The day in a moment is the UTC day, wherever the machine stands."""
    ms = round(at * 1000)
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    assert iso_time(at)[:19] == moment.strftime("%Y-%m-%dT%H:%M:%S")
    assert utc_day(at) == moment.strftime("%Y-%m-%d")


def test_a_known_moment_is_written_as_documented() -> None:
    """The form is `2026-05-29T12:00:00.123Z`; other ISO 8601 offsets are read too."""
    assert iso_time(1_780_056_000.1234) == "2026-05-29T12:00:00.123Z"
    assert read_iso_time("2026-05-29T14:00:00+02:00") == 1_780_056_000.0


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "2026-05-29T12:00:00"])
def test_a_moment_without_an_offset_is_none(text: str) -> None:
    """A text that is no moment, or does not say in which zone it stands, is refused rather than guessed."""
    with pytest.raises((ValueError, TypeError)):
        read_iso_time(text)


@given(st.floats(0, 4e9), st.sampled_from([1.0, 5.0, 6.7, 20.0]))
def test_beats_fall_together(now: float, every_s: float) -> None:
    """Whoever beats every five seconds beats with all others, and never twice for a timer that came early."""
    left_s = until_next(now, every_s)
    assert every_s / 20 < left_s <= every_s * 1.05
    off = (now + left_s) % every_s
    assert min(off, every_s - off) < 1e-5
