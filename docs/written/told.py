"""The pages of what a run tells: events and metrics."""

from __future__ import annotations

from written.layout import Cells, table

# Events and metrics


def events() -> str:
    """List every event with its fields, and what each field means."""
    from clipledger.core.told import EVENTS, FIELDS, ORIGIN

    def row(name: str) -> Cells:
        told = EVENTS[name]
        marks = [word for word, holds in (("each", told.each), ("kept", told.rare)) if holds]
        return f"`{name}`", told.level.value, ", ".join(marks), told.about, ", ".join(f"`{f}`" for f in told.fields)

    return (
        "# Events\n\n"
        "What a run tells as it happens, one JSON line an event, in one form wherever it goes: on stdout with `--json`,\n"
        "on stderr with `--log-format json`, in the file of `--log-file`. Lines are ASCII; ids are text; no line holds\n"
        "a key or a signed link. The last line is the summary, whose `event` is `summary`.\n\n"
        "Names and fields stay; new ones may come. A field that does not apply is null or left out.\n\n"
        "## Fields of every line\n\n"
        + table(("field", "meaning"), [(f"`{name}`", about) for name, about in ORIGIN.items()])
        + "\n## Events\n\n*each*: one for every post, call or file; the plain lines of a terminal show it only with `-v`.\n"
        "*kept*: also in the table `events`, and shown by `status`.\n\n"
        + table(("event", "level", "", "what happened", "fields"), [row(name) for name in EVENTS])
        + "\n## Fields of events\n\n"
        + table(("field", "meaning"), [(f"`{name}`", about) for name, about in sorted(FIELDS.items())])
    )


def metrics() -> str:
    """List every metric with its labels."""
    from clipledger.metrics.table import LABELS, METRICS

    rows = [
        (f"`{row.name}`", row.kind.value, row.scope.value, ", ".join(f"`{label}`" for label in row.labels), row.about)
        for row in METRICS
    ]
    bounds = [(f"`{row.name}`", " ".join(f"{bound:g}" for bound in row.buckets)) for row in METRICS if row.buckets]
    return (
        "# Metrics\n\n"
        "Served by `clipledger run --metrics-port N` at `/metrics` as Prometheus text, beside `/healthz`. They come with\n"
        "the extra `metrics`. How to scrape them, the dashboard and the alerts:\n"
        "[watch-a-running-archive.md](../howto/watch-a-running-archive.md).\n\n"
        "*process*: of this process since it began; sum over processes. *archive*: of the whole archive, read from its\n"
        "database, and the same in every process; take the max. The database is looked at only when somebody scrapes, at\n"
        "most every 5 s and never for more than a twentieth of the time.\n\n"
        + table(("metric", "kind", "scope", "labels", "meaning"), rows)
        + "\nThe library's own `process_*`, `python_info` and `python_gc_*` are there too.\n\n## Labels\n\n"
        + table(("label", "values"), [(f"`{name}`", about) for name, about in LABELS.items()])
        + "\n## Buckets\n\nUpper bounds in seconds.\n\n"
        + table(("metric", "buckets"), bounds)
    )
