"""Count what the events tell: which event adds what to which metric.

Must not: know the metrics library, or keep anything itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason
from clipledger.events import Event, Listener, Plain
from clipledger.metrics.meter import Meter

_Fields = Mapping[str, Plain]
_Hearer = Callable[[Meter, _Fields], None]
_NOT_RESOLVES = frozenset({CallReason.LOOKUP, CallReason.REGIONS})


def listener(meter: Meter) -> Listener:
    """Give the listener that feeds a meter."""

    def hear(event: Event) -> None:
        meter.counter("events", event=event.name).inc()
        meter.gauge("last_event_timestamp_seconds").set(event.at)
        if (hearer := _HEARERS.get(event.name)) is not None:
            hearer(meter, event.fields)

    return hear


def _page(meter: Meter, told: _Fields) -> None:
    meter.counter("pages").inc()
    meter.counter("discovered_videos").inc(_number(told, "new"))


def _source_failed(meter: Meter, told: _Fields) -> None:
    meter.counter("source_failures", reason=_word(told, "reason")).inc()


def _call(meter: Meter, told: _Fields) -> None:
    labels = {name: _word(told, name) for name in ("reason", "endpoint", "outcome")}
    meter.counter("calls", **labels).inc()
    meter.counter("credits", **labels).inc(_number(told, "credits"))
    meter.observe("stage_seconds", told.get("waited_s"), stage="permit")
    if labels["reason"] not in _NOT_RESOLVES:
        stage = "listing" if labels["reason"] == CallReason.PAGE else "resolve"
        meter.observe("stage_seconds", told.get("seconds"), stage=stage)


def _throttled(meter: Meter, told: _Fields) -> None:
    meter.counter("throttled", endpoint=_word(told, "endpoint")).inc()


def _store_throttled(meter: Meter, _told: _Fields) -> None:
    meter.counter("throttled", endpoint="store").inc()


def _resolved(meter: Meter, told: _Fields) -> None:
    meter.observe("discovery_to_resolve_seconds", told.get("since_added_s"))


def _fetched(meter: Meter, told: _Fields) -> None:
    meter.counter("received_bytes").inc(_number(told, "bytes"))
    meter.counter("stored_bytes").inc(_number(told, "bytes"))
    meter.observe("stage_seconds", told.get("seconds"), stage="download")
    meter.observe("stage_seconds", told.get("publish_s"), stage="publish")


def _file_failed(meter: Meter, told: _Fields) -> None:
    meter.counter("received_bytes").inc(_number(told, "bytes"))
    meter.counter("failed_files", kind=_word(told, "kind"), reason=_word(told, "reason")).inc()
    if told.get("reason") == Reason.THROTTLED:
        meter.counter("throttled", endpoint="cdn").inc()


def _stored(meter: Meter, told: _Fields) -> None:
    meter.counter("stored_videos", how="adopted" if told.get("adopted") else "fetched").inc()
    meter.observe("resolve_to_first_byte_seconds", told.get("first_byte_s"))


def _recorded(meter: Meter, told: _Fields) -> None:
    meter.counter("archived_videos").inc(_number(told, "posts"))
    meter.observe("stage_seconds", told.get("seconds"), stage="record")


def _checked(meter: Meter, told: _Fields) -> None:
    meter.counter("checked_files").inc(_number(told, "files"))
    meter.counter("checked_bytes").inc(_number(told, "bytes"))


def _verdict(verdict: str) -> _Hearer:
    def hear(meter: Meter, told: _Fields) -> None:
        meter.counter("failed_attempts", reason=_word(told, "reason"), verdict=verdict).inc()

    return hear


def _lease_lost(meter: Meter, _told: _Fields) -> None:
    meter.counter("leases_lost").inc()


_HEARERS: Mapping[str, _Hearer] = {
    "page": _page,
    "source_failed": _source_failed,
    "call": _call,
    "throttled": _throttled,
    "store_throttled": _store_throttled,
    "resolved": _resolved,
    "fetched": _fetched,
    "file_failed": _file_failed,
    "stored": _stored,
    "recorded": _recorded,
    "checked": _checked,
    "failed": _verdict("failed"),
    "given_back": _verdict("given_back"),
    "suspect": _verdict("suspect"),
    "dead": _verdict("dead"),
    "lease_lost": _lease_lost,
}


def _word(told: _Fields, name: str) -> str:
    return str(told.get(name) or "")


def _number(told: _Fields, name: str) -> float:
    value = told.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
