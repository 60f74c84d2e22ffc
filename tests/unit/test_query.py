"""The search language: what can be asked, and how a mistake is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.errors import UsageError
from clipledger.core.matching import fts5, tsquery
from clipledger.core.query import Query, both, parse
from clipledger.core.times import read_iso_time


@pytest.mark.parametrize(
    ("text", "sqlite", "postgres"),
    [
        ("cats dogs", '("cats") AND ("dogs")', "(('cats')) & (('dogs'))"),
        ('"New York" -dog', '(("new york")) NOT (("dog"))', "(('new' <-> 'york')) & !(('dog'))"),
        ("-dog", '(":") NOT (("dog"))', "!(('dog'))"),
        ("danc*", '("danc"*)', "(('danc':*))"),
        ("a OR b c", '("a" OR "b") AND ("c")', "(('a') | ('b')) & (('c'))"),
        ("東京", '("東 京")', "(('東' <-> '京'))"),
        ("tag:#Dance #x", '("tag:dance") AND ("tag:x")', "('tag:dance') & ('tag:x')"),
        ("from:@Al", '("from:al" OR "author:7")', "('from:al' | 'author:7')"),
        ("music:5 region:US", '("music:5") AND ("region:us")', "('music:5') & ('region:us')"),
        ("NEAR(a b) NOT", '("near a") AND ("b") AND ("not")', "(('near' <-> 'a')) & (('b')) & (('not'))"),
        ("", "", ""),
        ("since:2026-01-01", "", ""),
    ],
)  # fmt: skip
def test_what_can_be_asked(text: str, sqlite: str, postgres: str) -> None:
    """Each form of the language means the same on both databases."""
    query = parse(text)
    assert (fts5(query, {"al": ["7"]}), tsquery(query, {"al": ["7"]})) == (sqlite, postgres)


def test_bounds_are_whole_utc_days_and_narrow_each_other() -> None:
    """since and until include their day; of two bounds the narrower one holds; counts may be written short."""
    query = parse("since:2026-05-01 until:2026-05-31 since:2026-05-02 plays:2k plays:3M")
    assert query.since == read_iso_time("2026-05-02T00:00:00Z")
    assert query.until == read_iso_time("2026-06-01T00:00:00Z")
    assert query.plays_min == 3_000_000
    assert both(query, Query()) == both(Query(), query) == query


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ('cats "new', 6, "not closed"),
        ("a OR", 3, "OR stands between"),
        ("OR a", 1, "OR stands between"),
        ("a OR OR b", 6, "OR stands between"),
        ("a OR -b", 6, "no - beside it"),
        ("cats a*", 6, "at least 2 letters"),
        ("cats foo:x", 6, "is no field"),
        ("since:yesterday", 1, "UTC day"),
        ("since:2026-13-01", 1, "UTC day"),
        ("until:9999-12-31", 1, "UTC day"),
        ("x is:lost", 3, "one of gone"),
        ("x !!!", 3, "holds no word"),
        ("tag:#-", 1, "a tag is"),
        ("music:abc", 1, "digits"),
        ("region:USA", 1, "two letters"),
        ("plays:many", 1, "a count"),
        ("plays:999999999999999G", 1, "at most 1,000,000,000,000,000"),
        ("-since:2026-01-01", 1, "takes no -"),
        ("tag:a*", 1, "takes no *"),
        ("tag:", 1, "nothing to search for"),
    ],
)
def test_a_mistake_is_named_at_its_place(text: str, place: int, why: str) -> None:
    """Whoever mistypes is told in one line where and what would be right."""
    with pytest.raises(UsageError) as told:
        parse(text)
    assert f"place {place}:" in told.value.detail and why in told.value.detail and "\n" not in told.value.detail


@given(st.text(max_size=80))
def test_no_text_breaks_the_language(text: str) -> None:
    """Any text is either understood or refused in one printable line."""
    try:
        query = parse(text)
    except UsageError as error:
        assert error.detail.isprintable()
        return
    assert fts5(query, {}).count('"') % 2 == 0
    tsquery(query, {})


def test_a_search_has_bounds() -> None:
    """Nobody can hand the database a query of any size."""
    for text in ("x" * 1001, " ".join(["ab"] * 65)):
        with pytest.raises(UsageError):
            parse(text)
