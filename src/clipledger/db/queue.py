"""The queue of videos: every way an id comes in, is handed out, is settled, is looked at.

The door to `archive_queue`; the statements are in `intake`, `leases`, `settling`, `suspects`,
`retries` and `standing`. Times are unix seconds and come from the caller. Settling calls return
False when the attempt's lease was lost: then nothing was changed. Must not: decide what a failure
means, or when.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from sqlalchemy import Connection

from clipledger.core.errors import Reason
from clipledger.core.lifecycle import Settlement
from clipledger.core.model import AwemeId, Job, ObjectKey, Quality, State
from clipledger.db import intake, leases, retries, settling, standing, suspects, withheld
from clipledger.db.database import Database
from clipledger.db.intake import AddedOut, PageIn, PageOut
from clipledger.db.leases import CHUNK, Released
from clipledger.db.retries import RECHECKS_MAX, Recheck
from clipledger.db.standing import Failure, QueueRow
from clipledger.db.suspects import Suspect

HAND_CHUNK = 2000
"""Ids given by hand in one transaction: 20 ms of the write lock."""


class Queue:
    """The table `archive_queue` and what belongs to it."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._resolved = db.batched(settling.mark_resolved)
        self._stored = db.batched(settling.mark_stored)
        self._settle = db.batched(settling.settle)

    # Coming in

    async def add_page(self, page: PageIn) -> PageOut:
        """Take in one page of a list and move its source on, in one transaction."""
        return await self._db.write(lambda connection: intake.add_page(connection, page))

    async def add_by_hand(
        self, ids: Sequence[tuple[AwemeId, str | None]], source: str, priority: int, now: float
    ) -> AddedOut:
        """Take in ids with the URL each was asked by; any number, in transactions of `HAND_CHUNK`."""
        new, distinct = 0, len({aweme_id for aweme_id, _ in ids})
        out = dict[AwemeId, None]()
        for start in range(0, len(ids), HAND_CHUNK):
            chunk = ids[start : start + HAND_CHUNK]
            add = partial(intake.add_by_hand, asked=chunk, source=source, priority=priority, now=now)
            part = await self._db.write(add)
            new += part.new
            out |= dict.fromkeys(part.withheld)
        return AddedOut(new, distinct - new - len(out), tuple(out))

    # Handed out

    async def claim(self, n: int, now: float, lease_s: float, worker: str, *, alone: bool = False) -> list[Job]:
        """Claim at most `n` due videos, highest priority first, then the freshest due; in that order.

        `alone` gives those that must be tried with nothing else under way: see `leases.CRASHES_ALONE`.
        """
        return await self._db.write(lambda connection: leases.claim(connection, n, now, lease_s, worker, alone=alone))

    async def renew(self, jobs: Sequence[Job], now: float, lease_s: float) -> set[AwemeId]:
        """Lengthen the leases of running jobs; return the ids whose lease was lost."""
        if not jobs:
            return set()
        return await self._db.write(lambda connection: leases.renew(connection, jobs, now + lease_s))

    async def release_expired(
        self, now: float, crashes_max: int, limit: int = CHUNK, *, spare: Sequence[str] = ()
    ) -> Released:
        """Take back videos whose lease ran out, at most `limit`; one that keeps killing workers is dead.

        Those of the workers in `spare` are left alone.
        """
        return await self._db.write(
            lambda connection: leases.release_expired(connection, now, crashes_max, limit, spare)
        )

    async def release_worker(self, worker: str, now: float, crashes_max: int) -> Released:
        """Take back all that a worker known to be dead held: videos, sources, open calls."""
        given_back = dead = 0
        while True:
            part = await self._db.write(
                lambda connection: leases.release_worker(connection, worker, now, crashes_max, CHUNK)
            )
            given_back, dead = given_back + part.given_back, dead + part.dead
            if part.given_back + part.dead < CHUNK:
                return Released(given_back, dead)

    async def give_back(self, worker: str, now: float) -> int:
        """Take back all that a worker still held when it stopped by itself; burns nothing. Return how many videos."""
        return await self._sweep(lambda connection: leases.give_back(connection, worker, now, CHUNK))

    # Settled

    async def mark_resolved(
        self,
        job: Job,
        now: float,
        author_part: str,
        storage_key: ObjectKey,
        thin: bool = False,
        rendition: Quality | None = None,
        *,
        anew: bool = False,
        video_sha256: str | None = None,
        author_id: str = "",
        handle: str = "",
    ) -> bool:
        """Note that a paid resolve answered; author part and key stay as first fixed, the key unless `anew`.

        `rendition` and `video_sha256` are those of the video about to be published; None leaves what was noted. A
        post that turns out to be a withheld author's is withheld: its lease is lost.
        """
        told = settling.Resolved(job.aweme_id, job.token, now, author_part, storage_key, thin, rendition, anew)
        told = replace(told, video_sha256=video_sha256, author_id=author_id, handle=handle)
        return await self._resolved(told)

    async def mark_stored(self, job: Job, now: float) -> bool:
        """Note that the sidecar stands."""
        return await self._stored(settling.Stood(job.aweme_id, job.token, now))

    async def settle(self, settlement: Settlement, now: float) -> bool:
        """Write the verdict on a failed attempt, with its dead letter when it is final."""
        return await self._settle(settling.Ended(settlement, now))

    async def refund(self, ids: Sequence[AwemeId]) -> None:
        """Give an attempt back to each of `ids` that is still wanted: an outage uses up none."""
        if ids:
            await self._db.write(lambda connection: retries.refund(connection, ids))

    async def recheck_gone(self, which: Sequence[Recheck], now: float) -> int:
        """Have dead posts asked again to which one of `which` applies; return how many."""
        parts = (which[at : at + RECHECKS_MAX] for at in range(0, len(which), RECHECKS_MAX))
        again = (partial(retries.recheck_gone, which=part, now=now, limit=CHUNK) for part in parts)
        return sum([await self._sweep(each) for each in again])

    async def shown_in_region(self, ids: Sequence[AwemeId], source: str, now: float) -> int:
        """Have those asked again that are dead for their region and that a source shows for the first time."""
        return await self._db.write(lambda connection: retries.shown_in_region(connection, ids, source, now))

    async def unstore(self, aweme_id: AwemeId, detail: str, now: float) -> bool:
        """Put a stored video back whose sidecar is not there; False when it is not stored."""
        return await self._db.write(lambda connection: retries.unstore(connection, aweme_id, detail, now))

    async def retry(self, which: Sequence[AwemeId] | Reason | None, now: float) -> int:
        """Make failed and waiting videos due now: those named, or of one reason, or all. Return how many."""
        if which is not None and not isinstance(which, Reason):
            return sum([await self._retry(which[at : at + CHUNK], now) for at in range(0, len(which), CHUNK)])
        count, after = 0, ""
        while found := await self._to_retry(after, which, now):
            count += await self._retry(found, now)
            after = found[-1]
        return count

    async def _to_retry(self, after: str, reason: Reason | None, now: float) -> list[AwemeId]:
        return await self._db.read(lambda connection: retries.to_retry(connection, after, reason, now, CHUNK))

    async def _retry(self, ids: Sequence[AwemeId], now: float) -> int:
        return await self._db.write(lambda connection: retries.retry(connection, ids, now))

    # Suspected

    async def suspects(self, limit: int) -> list[Suspect]:
        """List videos said to be gone, the oldest suspicion first."""
        return await self._db.read(lambda connection: suspects.suspects(connection, limit))

    async def suspect_count(self) -> int:
        """Count videos said to be gone."""
        return await self._db.read(suspects.suspect_count)

    async def confirm_suspects(self, seen_before: float, now: float) -> int:
        """Declare suspects dead whose suspicion is not younger than `seen_before`; return how many."""
        return await self._sweep(lambda connection: suspects.confirm(connection, seen_before, now, CHUNK))

    async def recheck_suspects(self, ids: Sequence[AwemeId], now: float) -> int:
        """Have suspects asked a second time, now; return how many."""
        return await self._db.write(lambda connection: suspects.recheck(connection, ids, now)) if ids else 0

    async def acquit_suspects(
        self, now: float, due_at: float, reason: Reason | None = None, *, count: bool = False, every_s: float = 0.0
    ) -> int:
        """Put every suspect back, due at `due_at`; `count` when the answer was not an outage's. Return how many.

        Nobody is counted more often than once in `every_s`.
        """
        step = partial(suspects.acquit, now=now, due_at=due_at, reason=reason, every_s=every_s if count else None)
        return await self._sweep(lambda connection: step(connection, limit=CHUNK))

    async def _sweep(self, step: Callable[[Connection], int]) -> int:
        total = 0
        while True:
            changed = await self._db.write(step)
            total += changed
            if changed < CHUNK:
                return total

    # Looked at

    async def row(self, aweme_id: AwemeId) -> QueueRow | None:
        """Look one id up."""
        return await self._db.read(lambda connection: standing.row(connection, aweme_id))

    async def withheld(self, ids: Sequence[AwemeId]) -> list[AwemeId]:
        """Give those of `ids` that are withheld, in their order."""
        out = set[str]()
        for at in range(0, len(ids), CHUNK):
            out |= await self._db.read(partial(withheld.withheld, ids=ids[at : at + CHUNK]))
        return [aweme_id for aweme_id in ids if aweme_id in out]

    async def counts(self) -> dict[State, int]:
        """Count the ids in each state; ids in a state we do not know are `verify`'s to find."""
        found = await self._db.read(standing.counts)
        return {state: found.get(state, 0) for state in State}

    async def backlog(self, now: float, window_s: float, cap: int) -> int:
        """Count claimable videos that fell due in the last `window_s`; stop at `cap`."""
        return await self._db.read(lambda connection: standing.due_count(connection, now - window_s, now, cap))

    async def due_count(self, now: float, cap: int) -> int:
        """Count claimable videos due at `now`; stop at `cap`."""
        return await self._db.read(lambda connection: standing.due_count(connection, 0.0, now, cap))

    async def next_due_at(self) -> float | None:
        """Tell when the earliest claimable video falls due; None when there is none."""
        return await self._db.read(standing.next_due_at)

    async def next_lease_end(self) -> float | None:
        """Tell when the first lease of a running video runs out; None when none is running."""
        return await self._db.read(standing.next_lease_end)

    async def waiting(self, limit: int) -> list[QueueRow]:
        """List pending videos that failed before, the soonest due first."""
        return await self._db.read(lambda connection: standing.waiting(connection, limit))

    async def failures(
        self, limit: int, reason: Reason | None = None, after: tuple[float, str] | None = None
    ) -> list[Failure]:
        """List dead letters, the latest first, behind one that is known by its moment and id."""
        return await self._db.read(lambda connection: standing.failures(connection, limit, reason, after))

    async def unacknowledged(self) -> int:
        """Count the dead that no operator has taken note of."""
        return await self._db.read(standing.unacknowledged)

    async def acknowledge(self, which: Sequence[AwemeId] | Reason | None, now: float) -> int:
        """Note that the operator knows of the dead: those named, or of one reason, or all. Return how many."""
        return await self._db.write(lambda connection: settling.acknowledge(connection, which, now))

    async def letter(self, aweme_id: AwemeId) -> Failure | None:
        """Look one dead letter up."""
        return await self._db.read(lambda connection: standing.letter(connection, aweme_id))

    async def summarise_letters(self, before: float, now: float, limit: int = CHUNK) -> int:
        """Drop the detail of dead letters older than `before`, at most `limit`; id, reason and date stay."""
        return await self._db.write(lambda connection: settling.summarise_letters(connection, before, now, limit))

    async def latencies(self, limit: int = 10_000) -> list[float]:
        """List seconds from discovery to first resolve of the videos that answered last."""
        return await self._db.read(lambda connection: standing.latencies(connection, limit))
