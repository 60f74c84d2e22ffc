"""Where an archive's posts come from, and what of them is missing and why: the facts of a data card.

Runs on the caller's snapshot. What is withheld is a number and nothing more. Must not: write, or phrase.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from clipledger.core.model import State
from clipledger.core.times import iso_time
from clipledger.db.index_tables import availability
from clipledger.db.tables import archive_queue, dead_letters, post_metrics_history, posts, sightings, sources


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """One source: canonical text, kind, since when it is read, how it ended last, and the ids that it showed.

    `refresh`: the steps at which its posts are asked again; None: those of the settings.
    """

    source: str
    kind: str
    region: str
    sort: str
    added_at: str
    full_pass_at: str | None
    refresh: str | None
    ids: int


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is known of an archive. `dates` are the first and the last moment of each kind, None without any."""

    sources: tuple[SourceFacts, ...]
    states: dict[str, int]
    dead: dict[str, int]
    gone: int
    dates: dict[str, str | None]


_withheld = select(archive_queue.c.aweme_id).where(archive_queue.c.state == State.WITHHELD)
_SHOWN = (
    select(sightings.c.source, func.count().label("n"))
    .where(sightings.c.aweme_id.not_in(_withheld))
    .group_by(sightings.c.source)
    .subquery()
)
_SOURCES = (
    select(
        sources.c.source,
        sources.c.kind,
        sources.c.region,
        sources.c.sort,
        sources.c.added_at,
        sources.c.full_pass_at,
        sources.c.refresh,
        func.coalesce(_SHOWN.c.n, 0),
    )
    .join(_SHOWN, _SHOWN.c.source == sources.c.source, isouter=True)
    .order_by(sources.c.source)
)
_STATES = select(archive_queue.c.state, func.count()).group_by(archive_queue.c.state)
_DEAD = select(dead_letters.c.reason, func.count()).group_by(dead_letters.c.reason)
_GONE = select(func.count()).where(
    availability.c.state == "gone",
    availability.c.ended_at.is_(None),
    availability.c.aweme_id.in_(select(posts.c.aweme_id)),
    availability.c.aweme_id.not_in(_withheld),
)
_shown_posts = posts.c.aweme_id.not_in(_withheld)
_history = post_metrics_history.c
_SEEN = _history.aweme_id.not_in(_withheld)
_DATES = {
    "first_archived": select(func.min(posts.c.archived_at)).where(_shown_posts),
    "last_archived": select(func.max(posts.c.archived_at)).where(_shown_posts),
    "first_observed": select(func.min(_history.observed_at)).where(_SEEN),
    "last_observed": select(func.max(_history.observed_at)).where(_SEEN),
}


def provenance(connection: Connection) -> Provenance:
    """Gather the facts."""
    return Provenance(
        tuple(
            SourceFacts(*row[:4], iso_time(row[4]), iso_time(row[5]) if row[5] is not None else None, *row[6:])
            for row in connection.execute(_SOURCES)
        ),
        dict(sorted(tuple(row) for row in connection.execute(_STATES))),
        dict(sorted(tuple(row) for row in connection.execute(_DEAD))),
        int(connection.execute(_GONE).scalar_one()),
        {name: _told(connection.execute(statement).scalar()) for name, statement in _DATES.items()},
    )


def _told(at: float | None) -> str | None:
    return iso_time(at) if at is not None else None
