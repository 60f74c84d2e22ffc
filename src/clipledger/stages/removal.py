"""Remove posts: hide them at once, erase them when quarantine is over, and leave nothing in the database's files.

Every step can be cut off and taken up again, by this process or another: what was begun is in the table
`removals` until nothing of it is left. Must not: decide who may remove what, or touch what is held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clipledger.core import layout
from clipledger.core.errors import Misconfigured, StorageUnavailable
from clipledger.core.model import AwemeId, ObjectKey
from clipledger.core.ports import Bucket, Clock, ObjectStore
from clipledger.core.tombstone import RECALLED_S, RemovedFile, Tombstone
from clipledger.db import search_index
from clipledger.db.bans import Ban
from clipledger.db.database import Database
from clipledger.db.meta import Meta
from clipledger.db.purging import SCRUB_DUE, Purge
from clipledger.db.removals import CHUNK, Grounds, Lifted, Removals, Taken
from clipledger.db.withheld import Receipt, Receipts
from clipledger.events import Events
from clipledger.stages.tombstones import Tombstones
from clipledger.storage.spool import Spool

SCRUB_BYTES_MAX = 256 * 2**20
"""A larger database file is not rewritten by itself: nobody can write meanwhile, and others wait 10 s at most."""

PASS_MAX = 1000
"""Posts that one pass of the janitor erases."""

_LET_IN = "its author was let in just then"

_PARTS_MAX = 100_000


@dataclass(slots=True)
class Purged:
    """What was erased."""

    posts: int = 0
    files: int = 0
    bytes: int = 0


class Removal:
    """Take posts out of one archive. `bucket`: the store, where it is one that can do more than delete."""

    def __init__(
        self,
        removals: Removals,
        db: Database,
        meta: Meta,
        store: ObjectStore,
        bucket: Bucket | None,
        spool: Spool,
        clock: Clock,
        events: Events,
    ) -> None:
        self._removals, self._db, self._meta = removals, db, meta
        self._store, self._bucket, self._spool = store, bucket, spool
        self._clock, self._events = clock, events
        self._receipts, self._tombstones = Receipts(db), Tombstones(store)

    async def withhold_author(self, author_id: str, grounds: Grounds) -> Ban | None:
        """Keep out what an author posts from now on, whatever becomes of the database; give the ban that stood before.

        The store learns of it first: whoever is cut off in between is asked again, and a database made anew knows.
        """
        now = self._clock.now()
        await self._tombstones.lay([self._removals.stone_of_author(author_id, grounds, now)])
        return await self._removals.withhold_author(author_id, grounds, now)

    async def withdraw(self, ids: Sequence[str], grounds: Grounds) -> Taken:
        """Hide posts at once; they are erased once their quarantine is over."""
        parts = list[Taken]()
        for at in range(0, len(ids), CHUNK):
            parts.append(await self._removals.take(ids[at : at + CHUNK], grounds, self._clock.now()))
            await self._remember(parts[-1].taken, anew=not grounds.author_id and not grounds.rule)
        return Taken(
            tuple(each for part in parts for each in part.taken),
            {each: why for part in parts for each, why in part.held.items()},
            tuple(each for part in parts for each in part.before),
            tuple(each for part in parts for each in part.under_way),
            tuple(each for part in parts for each in part.unseen),
            {each: on for part in parts for each, on in part.noted.items()},
        )

    async def restore(self, ids: Sequence[str], why: str) -> list[str]:
        """Take posts out of quarantine again; give those that were in it."""
        back = list[str]()
        for at in range(0, len(ids), CHUNK):
            some = ids[at : at + CHUNK]
            await self._tombstones.lift(some)
            back += await self._removals.restore(some, why, self._clock.now())
            await self._tombstones.lift([each for each in some if each in back])  # laid by a sweep meanwhile
            await self._remember([each for each in some if each not in back])  # a purge was quicker
        return back

    async def readmit_author(self, author_id: str, why: str) -> Lifted | None:
        """Let an author in again, with what is hidden for the ban; None if nobody was kept out.

        The store forgets first, as with posts: whoever is cut off in between finds the ban standing, and lifts it.
        """
        await self._tombstones.lift_author(author_id)
        lifted = await self._removals.lift_ban(author_id, why, self._clock.now())
        await self._tombstones.lift(lifted.back if lifted is not None else ())
        return lifted

    async def tidy(self) -> None:
        """Do what is due; a store that fails is told, and asked again with the next pass."""
        try:
            await self.take_out_strays()
            for author_id in await self._removals.let_in():
                await self._removals.lift_ban(author_id, _LET_IN, self._clock.now())
            purged = await self.purge_due(PASS_MAX)
        except (Misconfigured, StorageUnavailable) as error:
            self._events.emit("purge_failed", why=error.detail)
            return
        await self.scrub()
        if purged.posts:
            self._events.emit("purged", posts=purged.posts, files=purged.files, bytes=purged.bytes)

    async def take_out_strays(self) -> None:
        """Take out what came in of authors who are kept out: stored when they were, or brought back from the store."""
        after = ""
        while strays := await self._removals.strays(after):
            after = list(strays)[-1]
            for ban in dict.fromkeys(strays.values()):
                ids = [aweme_id for aweme_id, told in strays.items() if told == ban]
                await self._remember(await self._removals.take_strays(ids, ban, RECALLED_S, self._clock.now()))

    async def purge_due(self, limit: int) -> Purged:
        """Erase at most so many posts whose quarantine is over, but for those that are held."""
        purged, after = Purged(), ""
        while purged.posts < limit:
            ids = await self._removals.due(self._clock.now(), after, min(CHUNK, limit - purged.posts))
            if not ids:
                break
            after = ids[-1]
            await self._purge(ids, purged)
        return purged

    async def purge(self, ids: Sequence[str], on_step: Callable[[Purged], None] = lambda _: None) -> Purged:
        """Erase those of these posts that are due and not held."""
        purged = Purged()
        for at in range(0, len(ids), CHUNK):
            await self._purge(ids[at : at + CHUNK], purged)
            on_step(purged)
        return purged

    async def scrub(self, *, whatever_size: bool = False) -> bool:
        """Leave nothing of what was purged in the database's files; False when that is still to be done."""
        if not await self._meta.get(SCRUB_DUE):
            return True
        if not whatever_size and self._db.backend.size_bytes() > SCRUB_BYTES_MAX:
            return False
        await self._db.write(search_index.optimise)
        if not await self._db.scrub():
            return False
        await self._meta.set(SCRUB_DUE, "")
        return True

    async def _purge(self, ids: Sequence[str], purged: Purged) -> None:
        begun = await self._removals.begin(ids, self._clock.now())
        await self._remember([purge.aweme_id for purge in begun])
        await self._sweep_spool({purge.aweme_id for purge in begun})
        for purge in begun:
            erased = await self._erase(purge)
            purged.files += len(erased)
            purged.bytes += sum(file.bytes for file in erased)
        purged.posts += len(await self._removals.end([purge.aweme_id for purge in begun], self._clock.now()))

    async def _remember(self, ids: Sequence[str], *, anew: bool = False) -> None:
        """Have the store know that posts are taken out: a database made anew from it must not bring them back.

        `anew`: what it says of the grounds may no longer be so. What came back while it was told is forgotten again.
        """
        stones = [_stone(receipt) for receipt in await self._receipts.of_all(ids)]
        await (self._tombstones.renew(stones) if anew else self._tombstones.lay(stones))
        still = {receipt.aweme_id for receipt in await self._receipts.of_all(ids)} if stones else set()
        await self._tombstones.lift([stone.aweme_id for stone in stones if stone.aweme_id not in still])

    async def _erase(self, purge: Purge) -> list[RemovedFile]:
        """Erase every file of a post, known or not; the sidecar first, so that nobody takes the rest for a post."""
        standing = await self._standing(purge)
        erased = []
        for key, size_bytes in standing.items():
            parts = layout.parse_key(key)
            sha256 = purge.known.get(key) or await self._digest(key)
            erased.append(RemovedFile(sha256, parts.kind if parts is not None else "other", size_bytes))
        strange = [file for key, file in zip(standing, erased, strict=True) if key not in purge.known]
        if strange:
            await self._removals.found(purge.aweme_id, strange)
        for key in sorted(self._keys(purge, standing), key=lambda key: not key.endswith(".json")):
            await (self._store.delete(key) if self._bucket is None else self._bucket.erase(key))
        return erased

    async def _standing(self, purge: Purge) -> dict[ObjectKey, int]:
        """Find what stands of a post: where the catalog knew it, and beside, where attempts may have left more."""
        standing: dict[ObjectKey, int] = {}
        for prefix in _prefixes(purge):
            async for stat in self._store.walk(prefix):
                parts = layout.parse_key(stat.key)
                if parts is not None and parts.aweme_id == purge.aweme_id:
                    standing[stat.key] = stat.size_bytes
        return standing

    def _keys(self, purge: Purge, standing: dict[ObjectKey, int]) -> set[ObjectKey]:
        keys = set(standing) | {ObjectKey(key) for key in purge.known}
        if purge.day is not None and purge.author_part is not None:
            # Also where nothing stands: a folder may hold what a killed writer left.
            keys.add(layout.video_key(purge.day, purge.author_part, purge.aweme_id))
        return keys

    async def _digest(self, key: ObjectKey) -> str:
        try:
            return (await self._store.digest(key))[1]
        except KeyError:  # another process was quicker, and has noted it
            return ""

    async def _sweep_spool(self, ids: set[AwemeId]) -> None:
        for leftover in await self._spool.leftovers(self._clock.now(), float("-inf"), _PARTS_MAX) if ids else ():
            if leftover.aweme_id in ids:
                await self._spool.remove(leftover)


def _stone(receipt: Receipt) -> Tombstone:
    return Tombstone(
        receipt.aweme_id,
        "",
        receipt.reason,
        receipt.request,
        receipt.rule,
        receipt.who,
        receipt.asked_at,
        receipt.purge_at,
        receipt.files,
    )


def _prefixes(purge: Purge) -> list[str]:
    """Name where files of a post may lie: under the day and author of the queue, and of every key that is known."""
    places = {(purge.day, purge.author_part)}
    for key in purge.known:
        if (parts := layout.parse_key(key)) is not None:
            places.add((parts.day, parts.author_part))
    found = {f"covers/dt={day}/{purge.aweme_id}" for day, _ in places if day is not None}
    for day, author in places:
        if day is not None and author is not None:
            found |= {f"{folder}/dt={day}/author={author}/{purge.aweme_id}" for folder in ("videos", "photos")}
    return sorted(found)
