"""The whole archive as a dict: what every table should hold after any order of calls.

Must not: touch a database but to read it, or know who calls what (`archive_machine` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Row, select

from clipledger.core.errors import Reason
from clipledger.core.model import AwemeId, ObjectKey, State
from clipledger.db import standing
from clipledger.db.credits import CallOutcome
from clipledger.db.tables import archive_queue, credit_days, dead_letters, posts
from clipledger.db.tables import credits as calls
from clipledger.db.tables import sources as source_rows
from contract.archives import NOW

CRASHES_MAX = 3
LIST = "@a"


@dataclass
class Video:
    """What the model knows of one video."""

    added: float
    due: float
    priority: int
    state: State = State.PENDING
    attempts: int = 0
    token: int = 0
    crashes: int = 0
    throttles: int = 0
    not_founds: int = 0
    rechecks: int = 0
    first_not_found: float | None = None
    first_died: float | None = None
    suspect_at: float | None = None
    suspect_reason: Reason | None = None
    lease: float | None = None
    worker: str | None = None
    resolved: float | None = None
    key: ObjectKey | None = None
    archived: float | None = None
    letter: tuple[Reason, float] | None = None

    def let_go(self, state: State, due: float) -> None:
        """End the attempt."""
        self.state, self.due, self.lease, self.worker = state, due, None, None

    def anew(self, now: float) -> None:
        """Begin again as if never tried."""
        self.let_go(State.PENDING, now)
        self.attempts = self.crashes = self.not_founds = self.throttles = 0
        self.first_not_found = self.letter = None


@dataclass
class Call:
    """What the model knows of one paid call."""

    seq: int
    aweme_id: AwemeId
    token: int
    worker: str
    day: str
    at: float
    outcome: CallOutcome = CallOutcome.SENT
    credits: int = 1


@dataclass
class Model:
    """The whole archive as it should be."""

    now: float = NOW
    videos: dict[AwemeId, Video] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)
    cursor: str | None = None

    def later(self, seconds: float) -> float:
        """Give a moment after now, as the tables hold it."""
        return round(self.now + seconds, 3)

    def running_of(self, worker: str) -> list[Video]:
        """List what a worker holds."""
        return [v for v in self.videos.values() if v.state is State.RUNNING and v.worker == worker]

    def forget_calls(self, worker: str) -> None:
        """Take a worker's open calls for lost answers."""
        for call in self.calls:
            if call.worker == worker and call.outcome is CallOutcome.SENT:
                call.outcome = CallOutcome.UNKNOWN

    def crash(self, lost: Sequence[tuple[AwemeId, Video]]) -> tuple[int, int]:
        """Take videos back from a dead worker; say how many were given back, and how many are dead."""
        for aweme_id, video in lost:
            for call in self.calls:
                if (call.aweme_id, call.token, call.outcome) == (aweme_id, video.token, CallOutcome.SENT):
                    call.outcome = CallOutcome.UNKNOWN
            video.crashes += 1
            dead = video.crashes >= CRASHES_MAX
            video.let_go(State.DEAD if dead else State.PENDING, self.now)
            if dead:
                video.letter = (Reason.WORKER_KILLED, self.now)
        dead_now = sum(video.state is State.DEAD for _, video in lost)
        return len(lost) - dead_now, dead_now

    def spent(self, day: str) -> int:
        """Sum a day up."""
        return sum(call.credits for call in self.calls if call.day == day)


def claimable(video: Video) -> bool:
    """Say whether a video may be claimed once it is due."""
    return video.state is State.PENDING and video.suspect_at is None


_COLUMNS = (
    "state", "attempts", "token", "crashes", "throttles", "not_founds", "rechecks", "first_not_found_at",
    "first_died_at", "suspect_at", "suspect_reason", "lease_until", "worker", "resolved_at", "storage_key",
    "added_at", "priority",
)  # fmt: skip
_FIELDS = (
    "state", "attempts", "token", "crashes", "throttles", "not_founds", "rechecks", "first_not_found", "first_died",
    "suspect_at", "suspect_reason", "lease", "worker", "resolved", "key", "added", "priority",
)  # fmt: skip
_q = archive_queue
_QUEUE = select(_q.c.aweme_id, _q.c.due_at, *(_q.c[name] for name in _COLUMNS))


def row_of(video: Video) -> tuple[object, ...]:
    """Lay a video out as `everything` reads its row."""
    due = video.due if video.state is State.PENDING else None
    return due, *(getattr(video, name) for name in _FIELDS)


def everything(connection: Connection, now: float) -> tuple[object, ...]:
    """Read all that the model speaks of: queue, letters, posts, calls, days, the cursor, and what is due when."""
    return (
        {row.aweme_id: (row.due_at if row.state == State.PENDING else None, *row[2:]) for row in _rows(connection)},
        {i: (reason, at) for i, reason, at in connection.execute(_LETTERS)},
        {i: at for i, at in connection.execute(_INDEXED)},
        {seq: (outcome, cost) for seq, outcome, cost in connection.execute(_PAID)},
        {day: spent for day, spent in connection.execute(_DAYS) if spent},
        connection.execute(_CURSOR).scalar_one(),
        standing.due_count(connection, 0.0, now, 100),
        standing.next_due_at(connection),
    )


def expected(model: Model) -> tuple[object, ...]:
    """Lay the model out as `everything` reads the tables."""
    due = [v.due for v in model.videos.values() if claimable(v)]
    return (
        {i: row_of(v) for i, v in model.videos.items()},
        {i: v.letter for i, v in model.videos.items() if v.letter is not None},
        {i: v.archived for i, v in model.videos.items() if v.archived is not None},
        {call.seq: (call.outcome, call.credits) for call in model.calls},
        {day: spent for day in {call.day for call in model.calls} if (spent := model.spent(day))},
        model.cursor,
        sum(at <= model.now for at in due),
        min(due, default=None),
    )


def _rows(connection: Connection) -> Sequence[Row[tuple[object, ...]]]:
    return connection.execute(_QUEUE).all()


_LETTERS = select(dead_letters.c.aweme_id, dead_letters.c.reason, dead_letters.c.died_at)
_INDEXED = select(posts.c.aweme_id, posts.c.archived_at)
_PAID = select(calls.c.seq, calls.c.outcome, calls.c.credits)
_DAYS = select(credit_days.c.day, credit_days.c.credits)
_CURSOR = select(source_rows.c.cursor).where(source_rows.c.source == LIST)
