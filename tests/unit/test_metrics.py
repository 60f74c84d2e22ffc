"""What is counted: every event, each figure in the metric that the table names."""

from __future__ import annotations

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clipledger.core.told import EVENTS
from clipledger.db.figures import Figures, Pause
from clipledger.events import Event
from clipledger.metrics.hearing import _HEARERS, listener
from clipledger.metrics.meter import Meter
from clipledger.metrics.table import METRICS, STAGES, Kind


def sample(text: bytes, name: str, **labels: str) -> float | None:
    """Read one value out of a scrape; None when it is not there."""
    for family in text_string_to_metric_families(text.decode()):
        for found in family.samples:
            if found.name == name and found.labels == labels:
                return float(found.value)
    return None


@pytest.fixture
def meter() -> Meter:
    return Meter("uuid", "host-1", "capture")


def tell(meter: Meter, name: str, **fields: object) -> bytes:
    listener(meter)(Event(1_780_000_000.0, name, fields))  # type: ignore[arg-type]
    return meter.text()


def test_a_scrape_holds_the_table_and_nothing_else(meter: Meter) -> None:
    """Every metric of the reference is in a scrape, and none but those and the library's own of the process."""
    kinds = {family.name: family.type for family in text_string_to_metric_families(meter.text().decode())}
    for row in METRICS:
        name = row.name.removesuffix("_total") if row.kind is Kind.COUNTER else row.name
        assert kinds.pop(name) == row.kind.value, row.name
    assert all(re.match(r"(process|python)_", name) for name in kinds), kinds


def test_series_that_are_awaited_stand_at_zero(meter: Meter) -> None:
    """What alerts look at is there from the first scrape: a series that appears at 1 shows no increase."""
    text = meter.text()
    for stage in STAGES:
        assert sample(text, "clipledger_stage_seconds_count", stage=stage) == 0.0
    assert sample(text, "clipledger_leases_lost_total") == 0.0
    assert sample(text, "clipledger_worker_info", archive="uuid", worker="host-1", roles="capture") == 1.0


def test_a_paid_call_counts_once(meter: Meter) -> None:
    """A call is one call, what it cost in credits, how long it waited and how long it took."""
    text = tell(
        meter, "call", endpoint="/post-detail/", reason="first", outcome="ok", credits=1, seconds=0.2, waited_s=1.5
    )
    labels = {"endpoint": "/post-detail/", "reason": "first", "outcome": "ok"}
    assert sample(text, "clipledger_calls_total", **labels) == 1.0
    assert sample(text, "clipledger_credits_total", **labels) == 1.0
    assert sample(text, "clipledger_stage_seconds_sum", stage="resolve") == 0.2
    assert sample(text, "clipledger_stage_seconds_sum", stage="permit") == 1.5
    text = tell(
        meter, "call", endpoint="/user-posts/", reason="page", outcome="gone", credits=0, seconds=0.3, waited_s=0.0
    )
    assert sample(text, "clipledger_stage_seconds_sum", stage="listing") == 0.3
    assert sample(text, "clipledger_stage_seconds_count", stage="resolve") == 1.0


def test_files_and_posts(meter: Meter) -> None:
    """Bytes received count whether or not the file was whole; stored ones only when it stands."""
    tell(meter, "fetched", aweme_id="1", kind="video", bytes=100, seconds=0.5, publish_s=0.1)
    tell(meter, "file_failed", aweme_id="1", kind="cover", bytes=7, reason="throttled", why="")
    tell(meter, "stored", aweme_id="1", bytes=100, files=1, adopted=False, first_byte_s=0.25)
    text = tell(meter, "stored", aweme_id="2", bytes=100, files=1, adopted=True, first_byte_s=None)
    assert sample(text, "clipledger_received_bytes_total") == 107.0
    assert sample(text, "clipledger_stored_bytes_total") == 100.0
    assert sample(text, "clipledger_throttled_total", endpoint="cdn") == 1.0
    assert sample(text, "clipledger_stored_videos_total", how="adopted") == 1.0
    assert sample(text, "clipledger_resolve_to_first_byte_seconds_count") == 1.0
    assert sample(text, "clipledger_stage_seconds_sum", stage="publish") == 0.1


def test_every_event_is_counted_by_name(meter: Meter) -> None:
    """Also what has no metric of its own can be watched, by its name."""
    for name in EVENTS:
        text = tell(meter, name)
    assert all(sample(text, "clipledger_events_total", event=name) == 1.0 for name in EVENTS)
    assert sample(text, "clipledger_last_event_timestamp_seconds") == 1_780_000_000.0


def test_what_feeds_a_metric_is_told_somewhere() -> None:
    """No metric waits for an event, or a field, that the table of events does not know."""
    assert set(_HEARERS) <= set(EVENTS)


def test_a_look_at_the_database(meter: Meter) -> None:
    """The archive's figures are shown as they are, and a reason of which none is left goes away again."""
    figures = Figures(
        states={"pending": 3, "dead": 1}, oldest_due_at=900.0, suspects=2, dead={"not_found": 1}, breaker="open:cdn",
        pauses={"api": Pause(1030.0, 1)}, credits_today=9, open_calls=0, sources={"due": 1},
    )  # fmt: skip
    meter.show(figures, 1000.0, 0.5, cap=None, per_minute=200)
    text = meter.text()
    assert sample(text, "clipledger_queue_videos", state="pending") == 3.0
    assert sample(text, "clipledger_queue_videos", state="archived") == 0.0
    assert sample(text, "clipledger_oldest_due_age_seconds") == 100.0
    assert sample(text, "clipledger_breaker_open", which="cdn") == 1.0
    assert sample(text, "clipledger_breaker_open", which="api") == 0.0
    assert sample(text, "clipledger_pause_remaining_seconds", limiter="api") == 30.0
    assert sample(text, "clipledger_credits_cap") == float("inf")
    assert sample(text, "clipledger_dead_letters", reason="not_found") == 1.0
    meter.show(Figures({}, None, 0, {}, "closed", {}, 0, 0, {}), 1010.0, 0.5, cap=5, per_minute=200)
    text = meter.text()
    assert sample(text, "clipledger_dead_letters", reason="not_found") is None
    assert sample(text, "clipledger_breaker_open", which="cdn") == 0.0 and sample(text, "clipledger_credits_cap") == 5.0
