"""Six hundred posts on a bad week, end to end: the command line, a real port, and a judge who knows the world."""

from __future__ import annotations

from pathlib import Path

import pytest

from process.harness import BRISK, Archive, Sim, archive_for, simulator

pytestmark = pytest.mark.slow

DETAIL = "/post-detail/"


def test_a_bad_week_ends_with_books_that_balance(tmp_path: Path) -> None:
    """On a bad week each id is saved or told why not, byte for byte, each credit with its reason, and none twice."""
    with simulator(600, f"hostile,{BRISK}") as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        summary = archive.finish()
        assert summary["states"]["archived"] > 450
        report = archive.audited(sim)
        assert report.files > 3 * report.states["archived"] and report.states["dead"]
        every_id_is_in_one_state(archive, sim)
        every_credit_has_its_reason(archive, sim)
        a_second_run_changes_nothing(archive, sim)
        the_balance_is_told(archive)


def every_id_is_in_one_state(archive: Archive, sim: Sim) -> None:
    ledger = sim.ledger()
    served = {file["id"] for file in ledger["served"]} | set(ledger["shown"])
    queued = dict(archive.rows("SELECT aweme_id, state FROM archive_queue"))
    assert served <= queued.keys() and set(queued.values()) == {"archived", "dead"}
    assert {file["id"] for file in ledger["served"]} <= set(archive.ids("archived"))


def every_credit_has_its_reason(archive: Archive, sim: Sim) -> None:
    sql = "SELECT reason, COUNT(*), COUNT(DISTINCT aweme_id) FROM credits WHERE endpoint = ? GROUP BY reason"
    reasons = {reason: calls for reason, calls, _ in archive.rows(sql, DETAIL)}
    distinct = archive.one("SELECT COUNT(DISTINCT aweme_id) FROM credits WHERE endpoint = ?", DETAIL)
    assert sim.details() == distinct + sum(calls for reason, calls in reasons.items() if reason != "first")
    assert {"first", "url_expired", "retry"} <= reasons.keys()
    assert archive.one("SELECT COUNT(*) FROM credits WHERE outcome = 'sent'") == 0


def a_second_run_changes_nothing(archive: Archive, sim: Sim) -> None:
    files, details = archive.media(), sim.details()
    archive.cli("run", code=3)
    assert sim.details() == details
    assert archive.media() == files


def the_balance_is_told(archive: Archive) -> None:
    line = archive.cli("verify").out
    assert "the books balance and every file is whole" in line
    told = archive.json("status")
    assert f"{told['ids']['seen']} seen = {told['ids']['archived']} archived + {told['ids']['dead']} dead" in line
    for row in [told["ids"], *told["sources"]]:
        assert row["seen"] == row["archived"] + row["dead"] + row["withheld"] + row["waiting"], row
        assert row["dead"] == sum(row["reasons"].values()), row
    assert sum(row["seen"] for row in told["sources"]) == archive.one("SELECT COUNT(*) FROM sightings")


def test_a_file_served_again_and_again_in_one_body_is_not_whole(tmp_path: Path) -> None:
    """A CDN that sends the same video over and over in one endless body gives no video; the next answer does."""
    with simulator(40, "endless=0.5:1,patience=1") as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        archive.finish()
        archive.audited(sim)
        details = {row[0] for row in archive.rows("SELECT last_detail FROM archive_queue")}
        assert "more than one MP4 in a row" in details
