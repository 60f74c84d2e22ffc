"""`plan` and `credits`: what it will cost, and what it did cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from process.harness import Archive, finished_archive

pytestmark = pytest.mark.slow


def test_the_guides_plan_needs_no_archive(tmp_path: Path) -> None:
    """Where there is no archive `plan` gives the guide's 10,400 credits for 10,000 posts a day, in JSON too."""
    nowhere = Archive(tmp_path)
    assert (
        "10,000 detail calls + 400 listing calls = 10,400 credits a day"
        in nowhere.cli("plan", "--videos-per-day", "10000").out
    )
    told = nowhere.json("plan", "--videos-per-day", "10000", "--table", "s3-tiered", "--months", "3")
    assert told["per_day"]["credits"] == 10_400 and told["assumed"]["measured_on_this_archive"] is False
    assert [month["number"] for month in told["months"]["s3-tiered"]] == [1, 2, 3]
    assert list(tmp_path.iterdir()) == [], "planning must leave nothing behind"


def test_prices_and_mixes_that_are_none_are_refused(tmp_path: Path) -> None:
    """A wrong mix, table, price file or duration is one clear line and exit 2."""
    nowhere = Archive(tmp_path)
    (tmp_path / "prices.toml").write_text("[mine]\ncurrency = 'EUR'\ntiers = 3\n", encoding="utf-8")
    for words in (
        ("--source-mix", "user=x"),
        ("--source-mix", "user=0.5"),
        ("--table", "nope"),
        ("--prices", "absent.toml"),
        ("--prices", str(tmp_path / "prices.toml")),
        ("--keep", "soon"),
    ):
        nowhere.cli("plan", "--videos-per-day", "10", *words, code=2).says()


def test_the_ledger_says_where_the_credits_went(tmp_path: Path) -> None:
    """`credits` sums the same ledger up four ways, and names what bought no post of its own."""
    archive = finished_archive(tmp_path / "archive")
    told = archive.json("credits")
    spent = archive.one("SELECT sum(credits) FROM credits")
    assert told["credits"] == spent > 0
    for by in ("by_day", "by_reason", "by_endpoint", "by_source"):
        assert sum(line["credits"] for line in told[by]) == spent, by
    calls = archive.one("SELECT count(*) FROM credits")
    assert sum(line["calls"] for line in told["by_reason"]) == calls
    archive.change("UPDATE credits SET reason = 'url_expired' WHERE seq = (SELECT max(seq) FROM credits)")
    assert archive.json("credits")["wasted"]["url_expired"] == 1
    assert "bought no post of their own" in archive.cli("credits", "--since", "7d").out
    capped = archive.json("credits", CLIPLEDGER_BUDGET__CREDITS_PER_DAY="3")
    assert capped["forecast"]["cap"] == 3 and capped["forecast"]["next_30_days"] <= 90
