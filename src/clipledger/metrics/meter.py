"""The metrics of one process, as the metrics library keeps them: the only file that knows that library.

Must not: know an event; ask the database or the clock.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from clipledger import __version__
from clipledger.core.model import State
from clipledger.db.figures import Figures
from clipledger.events import Plain
from clipledger.metrics.table import BY_NAME, METRICS, STAGES, Kind

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Series = Counter | Gauge | Histogram
S = TypeVar("S", Counter, Gauge, Histogram)


class Meter:
    """All metrics of one process, none but those of the table; `text` writes what a scrape gets."""

    def __init__(self, archive: str, worker: str, roles: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each one, which nothing here reads
        self._registry = CollectorRegistry()
        self._series = {metric.name: self._make(metric.name) for metric in METRICS}
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self.in_flight: Callable[[], int] = lambda: 0
        self.gauge("build_info", version=__version__, python=platform.python_version()).set(1)
        self.gauge("worker_info", archive=archive, worker=worker, roles=roles).set(1)
        for stage in STAGES:
            self._labelled("stage_seconds", Histogram, {"stage": stage})
        self.gauge("in_flight_videos").set_function(lambda: self.in_flight())

    def show(self, figures: Figures, now: float, took_s: float, *, cap: int | None, per_minute: int) -> None:
        """Take over a look at the database."""
        for state in State:
            self.gauge("queue_videos", state=state.value).set(figures.states.get(state.value, 0))
        self._series["clipledger_dead_letters"].clear()  # a reason of which none is left must not stand for ever
        for reason, count in figures.dead.items():
            self.gauge("dead_letters", reason=reason).set(count)
        for state_, count in figures.sources.items():
            self.gauge("sources", state=state_).set(count)
        for which in ("api", "cdn"):
            self.gauge("breaker_open", which=which).set(figures.breaker == f"open:{which}")
        for limiter, pause in figures.pauses.items():
            self.gauge("pause_remaining_seconds", limiter=limiter).set(max(pause.until - now, 0.0))
        self.gauge("oldest_due_age_seconds").set(figures.oldest_due_age_s(now))
        self.gauge("damaged_posts").set(figures.damaged)
        self.gauge("oldest_check_age_seconds").set(figures.oldest_check_age_s(now))
        self.gauge("suspect_videos").set(figures.suspects)
        self.gauge("same_bytes_alarms").set(figures.same_bytes)
        self.gauge("credits_today").set(figures.credits_today)
        self.gauge("credits_cap").set(float("inf") if cap is None else cap)
        self.gauge("rate_limit_calls_per_minute").set(per_minute)
        self.gauge("sample_timestamp_seconds").set(now)
        self.gauge("sample_duration_seconds").set(took_s)

    def could_not_look(self) -> None:
        """Count a look at the database that failed."""
        self.counter("sample_failures").inc()

    def text(self) -> bytes:
        """Write everything as Prometheus text."""
        return generate_latest(self._registry)

    def counter(self, name: str, **labels: str) -> Counter:
        """Give the counter `clipledger_<name>_total` of these labels."""
        return self._labelled(f"{name}_total", Counter, labels)

    def gauge(self, name: str, **labels: str) -> Gauge:
        """Give the gauge `clipledger_<name>` of these labels."""
        return self._labelled(name, Gauge, labels)

    def observe(self, name: str, seconds: Plain, **labels: str) -> None:
        """Put a duration into the histogram `clipledger_<name>`; what was not measured is left out."""
        if isinstance(seconds, int | float):
            self._labelled(name, Histogram, labels).observe(seconds)

    def _labelled(self, name: str, kind: type[S], labels: Mapping[str, str]) -> S:
        series = self._series[f"clipledger_{name}"]
        found = series.labels(**labels) if labels else series
        assert isinstance(found, kind), name
        return found

    def _make(self, name: str) -> _Series:
        row = BY_NAME[name]
        match row.kind:
            case Kind.COUNTER:
                return Counter(row.name, row.about, row.labels, registry=self._registry)
            case Kind.GAUGE:
                return Gauge(row.name, row.about, row.labels, registry=self._registry)
            case Kind.HISTOGRAM:
                return Histogram(row.name, row.about, row.labels, registry=self._registry, buckets=row.buckets)
