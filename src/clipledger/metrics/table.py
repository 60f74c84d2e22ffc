"""Every metric, once: its name, kind, labels, scope and meaning.

The meter is built from it, and so is the reference page; the dashboard and the alerts are tested against
it. Must not: import the metrics library; count anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a metric is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Scope(StrEnum):
    """Whose figure it is. Sum what is a process's; of what is the archive's every process tells the same: take max."""

    PROCESS = "process"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `buckets` are upper bounds in the metric's unit."""

    name: str
    kind: Kind
    scope: Scope
    about: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


LABELS: Mapping[str, str] = {
    "archive": "the archive's UUID",
    "endpoint": "path of the API call; `cdn` or `store` for what is no API call",
    "event": "name of an event, see events.md",
    "how": "`fetched`, or `adopted` when it was found complete",
    "kind": "`video`, `image`, `audio`, `cover`",
    "limiter": "row of the table `limits`",
    "outcome": "`ok`, `gone`, `refused`, `throttled`, `failed`, `malformed`, `wrong_id`, `unknown`",
    "python": "version of Python",
    "reason": "a reason out of tables.md: of a call why it was made, else why it failed",
    "roles": "roles of the process, separated by commas",
    "stage": "`permit` (waiting for slot and rate), `listing` (a page's call), `resolve` (a post's call), `download` "
    "(a file), `publish` (a file: checked, synced, put), `record` (a batch into the index)",
    "state": "of videos a state of the queue; of sources `due`, `failing`, `paused`, `waiting`",
    "verdict": "`failed` (again later), `given_back` (untouched), `suspect`, `dead`",
    "version": "version of clipledger",
    "which": "`api` or `cdn`",
    "worker": "name of the process",
}

STAGES = ("permit", "listing", "resolve", "download", "publish", "record")

_QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_PATIENT = (0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0, 900.0, 3600.0, 21_600.0, 86_400.0)

_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
_P, _A = Scope.PROCESS, Scope.ARCHIVE

METRICS = (
    Metric("clipledger_queue_videos", _G, _A, "ids in each state", ("state",)),
    Metric("clipledger_oldest_due_age_seconds", _G, _A, "how long the id due longest has waited; 0 when none is due"),
    Metric("clipledger_suspect_videos", _G, _A, "ids said to be gone and not believed yet"),
    Metric("clipledger_same_bytes_alarms", _G, _A, "videos served for more posts than is usual, not accepted yet"),
    Metric("clipledger_dead_letters", _G, _A, "dead ids", ("reason",)),
    Metric("clipledger_sources", _G, _A, "sources, each in one state", ("state",)),
    Metric("clipledger_breaker_open", _G, _A, "1 while the breaker is open: an outage", ("which",)),
    Metric("clipledger_pause_remaining_seconds", _G, _A, "how long everybody still waits after a 429", ("limiter",)),
    Metric("clipledger_damaged_posts", _G, _A, "archived posts whose files are known not to be what they were"),
    Metric(
        "clipledger_oldest_check_age_seconds", _G, _A, "how long ago the files were read that were not read for longest"
    ),
    Metric("clipledger_credits_today", _G, _A, "credits spent on this UTC day, open calls as one each"),
    Metric("clipledger_credits_cap", _G, _A, "budget.credits_per_day; +Inf without a cap"),
    Metric("clipledger_rate_limit_calls_per_minute", _G, _A, "api.requests_per_minute"),
    Metric("clipledger_sample_timestamp_seconds", _G, _P, "unix time of the look at the database that is shown"),
    Metric("clipledger_sample_duration_seconds", _G, _P, "how long that look took"),
    Metric("clipledger_sample_failures_total", _C, _P, "looks at the database that failed; the last good one is shown"),
    Metric("clipledger_discovered_videos_total", _C, _P, "ids seen for the first time"),
    Metric("clipledger_pages_total", _C, _P, "pages of sources taken in"),
    Metric("clipledger_source_failures_total", _C, _P, "sources that could not be read", ("reason",)),
    Metric("clipledger_calls_total", _C, _P, "calls to the API", ("reason", "endpoint", "outcome")),
    Metric("clipledger_credits_total", _C, _P, "credits spent, as far as known", ("reason", "endpoint", "outcome")),
    Metric("clipledger_throttled_total", _C, _P, "answers with status 429 or like it", ("endpoint",)),
    Metric("clipledger_received_bytes_total", _C, _P, "bytes of media received, whole or not"),
    Metric("clipledger_stored_bytes_total", _C, _P, "bytes of files put into the store"),
    Metric("clipledger_stored_videos_total", _C, _P, "posts completed in the store", ("how",)),
    Metric("clipledger_archived_videos_total", _C, _P, "posts brought into the index"),
    Metric("clipledger_checked_files_total", _C, _P, "stored files read again, as janitor.fixity says"),
    Metric("clipledger_checked_bytes_total", _C, _P, "bytes of these"),
    Metric("clipledger_failed_attempts_total", _C, _P, "attempts that ended without a post", ("reason", "verdict")),
    Metric("clipledger_failed_files_total", _C, _P, "links of files that gave nothing", ("kind", "reason")),
    Metric("clipledger_leases_lost_total", _C, _P, "verdicts that came after another worker took over"),
    Metric("clipledger_events_total", _C, _P, "events by name", ("event",)),
    Metric(
        "clipledger_discovery_to_resolve_seconds",
        _H,
        _P,
        "from an id's discovery to its first paid answer",
        (),
        _PATIENT,
    ),
    Metric(
        "clipledger_resolve_to_first_byte_seconds",
        _H,
        _P,
        "from a resolve's answer to its first file's first byte",
        (),
        _QUICK,
    ),
    Metric("clipledger_stage_seconds", _H, _P, "how long each stage takes", ("stage",), _QUICK),
    Metric("clipledger_in_flight_videos", _G, _P, "posts under way in this process"),
    Metric("clipledger_last_event_timestamp_seconds", _G, _P, "unix time of this process's latest event"),
    Metric("clipledger_build_info", _G, _P, "1; what runs", ("version", "python")),
    Metric("clipledger_worker_info", _G, _P, "1; who runs it, on which archive", ("archive", "worker", "roles")),
)

BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}
