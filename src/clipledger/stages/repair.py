"""Repair an archived post: fetch damaged and missing files again, write a damaged sidecar anew.

What can be mended without a call is: a copy that stands beside, a sidecar whose content the index still holds. Else one
paid resolve, with the reason `repair`. Damaged bytes go only once whole ones stand beside them, and a post that is
gone meanwhile loses nothing more. Other bytes than were stored first (another rendition, encoded anew) are a new
version: sidecar and custody tell what stood before. Must not: touch the queue, or repair during an outage.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import StrEnum

from clipledger.core import layout, media, parse
from clipledger.core.errors import (
    ClipledgerError,
    Gone,
    Halt,
    LeaseLost,
    MalformedReply,
    NotMedia,
    StorageUnavailable,
    Throttled,
    Transient,
    UrlExpired,
)
from clipledger.core.lifecycle import CallReason, Candidate, CaptureChoice, Want, choose_files
from clipledger.core.links import post_url
from clipledger.core.model import ApiCall, AwemeId, FileKind, MediaType, ObjectKey, Post, Quality, StoredFile
from clipledger.core.ports import Clock, KeyTaken, ObjectStore, Part
from clipledger.core.rotation import following
from clipledger.core.sidecar import Replaced
from clipledger.db.care import Care, Held
from clipledger.db.catalog import SIDECAR, Catalog, FileRow, Record
from clipledger.db.custody import Act, CustodyRow
from clipledger.events import Events
from clipledger.net.cdn import Cdn
from clipledger.stages.damage import Damaged, Look, look
from clipledger.stages.detail import DETAIL
from clipledger.stages.download import stored_as
from clipledger.stages.paid import PaidCalls, Purpose
from clipledger.stages.rewriting import Rewriting
from clipledger.storage.spool import Spool

LEASE_S = 3600.0
"""Longer than any one post takes: its files have a deadline each."""

RESOLVES = 2
"""Links that die while they are used are bought once more, no oftener."""

_HARD = (Halt, LeaseLost, StorageUnavailable)


class How(StrEnum):
    """What became of a post."""

    WHOLE = "whole"
    BUSY = "busy"
    RESTORED = "restored"
    REPLACED = "replaced"
    REWRITTEN = "rewritten"
    GONE = "gone"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Mended:
    """How the repair of one post ended, and why where it failed."""

    aweme_id: AwemeId
    how: How
    files: int = 0
    why: str = ""

    @property
    def is_whole(self) -> bool:
        """Say whether the post is whole now."""
        return self.how not in (How.BUSY, How.GONE, How.FAILED)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What repairing a post would take: `files` to fetch with one call, or none and only what is free."""

    aweme_id: AwemeId
    files: int
    free: int


@dataclass(slots=True)
class _Mending:
    """One post under repair. `files`: what stands under each key of the index, as it will be told of."""

    held: Held
    found: Look
    stamp: int
    sidecar_key: ObjectKey | None
    files: dict[ObjectKey, StoredFile]
    mended: set[ObjectKey] = field(default_factory=set)
    acts: list[CustodyRow] = field(default_factory=list)
    replaced: list[Replaced] = field(default_factory=list)
    parts: int = 0

    @property
    def hurt(self) -> list[Damaged]:
        """List the damaged files, but for the sidecar."""
        return [damaged for damaged in self.found.damaged if damaged.row.kind != SIDECAR]

    @property
    def lost_sidecar(self) -> bool:
        """Say whether the sidecar is not the one that was stored."""
        return any(damaged.row.kind == SIDECAR for damaged in self.found.damaged)

    @property
    def contradiction(self) -> str:
        """Say in what a sidecar that is as it was stored and the index differ: then it is not the store that errs."""
        return "" if self.lost_sidecar else "; ".join(self.found.sidecar)


class Repair:
    """Mend posts one by one. `is_outage` is asked before each; `period_s` is that of the rotation."""

    def __init__(
        self,
        paid: PaidCalls,
        cdn: Cdn,
        store: ObjectStore,
        spool: Spool,
        catalog: Catalog,
        care: Care,
        rewriting: Rewriting,
        clock: Clock,
        events: Events,
        choice: CaptureChoice,
        *,
        worker: str,
        period_s: float,
        is_outage: Callable[[], bool],
    ) -> None:
        self._paid, self._cdn, self._store, self._spool = paid, cdn, store, spool
        self._catalog, self._care, self._rewriting = catalog, care, rewriting
        self._clock, self._events, self._choice = clock, events, choice
        self._worker, self._period_s, self.is_outage = worker, period_s, is_outage

    @property
    def spent(self) -> int:
        """Give the credits that this process spent, as far as known."""
        return self._paid.spent

    async def mend(self, aweme_id: AwemeId) -> Mended:
        """Repair one post, unless somebody else has it."""
        held = await self._care.hold(aweme_id, self._clock.now(), LEASE_S, self._worker)
        return await self.mend_held(held) if held is not None else Mended(aweme_id, How.BUSY, why="held by another")

    async def estimate(self, aweme_id: AwemeId) -> Estimate:
        """Say what it would take; reads only."""
        mending = await self._begin(Held(aweme_id, 0, None))
        fetch = [each for each in mending.hurt if await self._beside(each.row) is None]
        return Estimate(aweme_id, len(fetch), len(mending.found.damaged) - len(fetch))

    async def mend_held(self, held: Held) -> Mended:
        """Repair a leased post; what is wrong with store, key or balance leaves as it is, the lease given back."""
        try:
            return await self._mend(held)
        except LeaseLost:
            return Mended(held.aweme_id, How.BUSY, why="taken over by another")
        except ClipledgerError:
            await self._care.give_back([held])
            raise

    async def _mend(self, held: Held) -> Mended:
        mending = await self._begin(held)
        if not mending.found.findings:
            mending.mended.update(mending.files)  # a repair may have died when all but this was done
            await self._tidy(mending)
            await self._care.checked(held, self._next(held), self._clock.now())
            return Mended(held.aweme_id, How.WHOLE)
        if why := mending.contradiction:
            return await self._settle(mending, why, How.FAILED, None)
        why, how = await self._files(mending)
        return await self._settle(mending, why, how, await self._record(mending))

    async def _begin(self, held: Held) -> _Mending:
        rows = await self._catalog.files_of(held.aweme_id)
        found = await look(self._store, held.aweme_id, rows, despite=True)
        files = {row.storage_key: _file(row) for row in rows if row.kind != SIDECAR}
        sidecar_key = next((row.storage_key for row in rows if row.kind == SIDECAR), None)
        return _Mending(held, found, round(self._clock.now() * 1000), sidecar_key, files)

    async def _files(self, mending: _Mending) -> tuple[str, How]:
        """Mend the files as far as it goes; say why it did not go all the way, '' when it did."""
        rest = []
        for damaged in mending.hurt:
            if (beside := await self._beside(damaged.row)) is None:
                rest.append(damaged)
            else:
                self._note(mending, damaged, beside)
        try:
            if rest:
                await self._fetch(mending, rest)
        except Gone as error:
            return f"{error.reason}: {error.detail}".strip(": "), How.GONE
        except StorageUnavailable:
            raise
        except (MalformedReply, Throttled, Transient, UrlExpired) as error:
            return f"{error.reason}: {error.detail}".strip(": "), How.FAILED
        return "", How.REPLACED if mending.replaced else How.RESTORED if mending.hurt else How.REWRITTEN

    async def _settle(self, mending: _Mending, why: str, how: How, record: Record | None) -> Mended:
        held, now = mending.held, self._clock.now()
        await self._tidy(mending)  # before it is written down that nothing is left to do here
        if why:
            self._act(mending, Act.NOT_REPAIRED, why)
            stands = await self._care.not_mended(held, now, mending.acts, record)
            self._events.emit("not_repaired", aweme_id=held.aweme_id, how=how, why=why)
        else:
            stands = await self._care.mended(held, self._next(held), now, mending.acts, record)
            self._events.emit("repaired", aweme_id=held.aweme_id, how=how, files=len(mending.found.damaged))
        if not stands:
            raise LeaseLost(f"{held.aweme_id} was taken over")
        return Mended(held.aweme_id, how, len(mending.found.damaged), why)

    def _act(self, mending: _Mending, act: Act, detail: str) -> None:
        key = mending.sidecar_key or next(iter(mending.files), ObjectKey(""))
        aweme_id, now = mending.held.aweme_id, self._clock.now()
        mending.acts.append(CustodyRow(now, aweme_id, act, SIDECAR, key, detail=detail, worker=self._worker))

    async def _record(self, mending: _Mending) -> Record | None:
        """Write the sidecar anew where its bytes are lost or its files changed; give what the index is to hold."""
        files, aweme_id, key = tuple(mending.files.values()), mending.held.aweme_id, mending.sidecar_key
        assert key is not None  # else the index contradicts itself, and nothing is mended
        if mending.lost_sidecar:
            self._act(mending, Act.REWRITTEN, "out of the index: all but the API's reply")
            return await self._rewriting.out_of_index(aweme_id, key, files, mending.replaced, mending.stamp)
        if mending.replaced or any(file.key != former for former, file in mending.files.items()):
            body = mending.found.body
            return await self._rewriting.with_files(aweme_id, key, body, files, mending.replaced, mending.stamp)
        return None

    async def _fetch(self, mending: _Mending, rest: list[Damaged]) -> None:
        """Buy links and fetch what is left; raises what kept the last file from being mended."""
        reason, failure = CallReason.REPAIR, None
        for resolves_left in reversed(range(RESOLVES)):
            post, failures = await self._resolve(mending.held, reason), list[tuple[Damaged, ClipledgerError]]()
            for damaged in rest:
                try:
                    await self._one(mending, damaged, post, exactly=bool(resolves_left))
                except _HARD:
                    raise
                except ClipledgerError as error:
                    failures.append((damaged, error))
            rest, failure = [damaged for damaged, _ in failures], failures[0][1] if failures else None
            if not any(isinstance(error, UrlExpired) for _, error in failures):
                break
            reason = CallReason.URL_EXPIRED
        if failure is not None:
            raise failure

    async def _resolve(self, held: Held, reason: CallReason) -> Post:
        call = ApiCall(DETAIL, (("url", post_url(held.aweme_id)),))
        now = self._clock.now()
        return await self._paid.buy(
            call, Purpose(reason, held.aweme_id), lambda body: parse.detail(body, asked=held.aweme_id, now=now)
        )

    async def _one(self, mending: _Mending, damaged: Damaged, post: Post, *, exactly: bool) -> None:
        """Fetch one file: the rendition that was stored, and where that is refused as such, any that is wanted.

        `exactly`: links that have died are worth buying again before another rendition is taken.
        """
        want = _want(post, damaged.row, self._choice)
        same = [each for each in want.candidates if each.rendition == damaged.row.rendition]
        failure: ClipledgerError = NotMedia("the reply holds no link to it")
        for candidate in [*same, *(each for each in want.candidates if each not in same)]:
            try:
                file = await self._fetch_and_put(mending, damaged, want, candidate, post)
                self._note(mending, damaged, file)
                return
            except _HARD:
                raise
            except ClipledgerError as error:
                failure = error
                if exactly and isinstance(error, UrlExpired):
                    break
        raise failure

    async def _fetch_and_put(
        self, mending: _Mending, damaged: Damaged, want: Want, candidate: Candidate, post: Post
    ) -> StoredFile:
        mending.parts += 1
        async with self._spool.open(post.aweme_id, mending.stamp, mending.parts) as part:
            await self._cdn.fetch(candidate.link, part)
            duration_s = post.duration_s if want.kind is FileKind.VIDEO else None
            whole = media.check(want.kind, part.read_at, part.size_bytes, duration_s=duration_s)
            await part.seal()
            key = await self._put(damaged, part, whole.media_type, mending.stamp)
            return stored_as(want, candidate, key, part, whole.media_type)

    async def _put(self, damaged: Damaged, part: Part, media_type: MediaType, stamp: int) -> ObjectKey:
        """Put whole bytes where damaged ones stand: beside them first, and in their place once they are gone."""
        row = damaged.row
        key = row.storage_key if media_type == row.media_type else layout.key_as(row.storage_key, media_type)
        beside = layout.second_key(key, stamp)
        if damaged.stands and key == row.storage_key:
            await self._store.put_part(beside, part, media_type)
            await self._store.delete(key)
        try:
            await self._store.put_part(key, part, media_type)
        except KeyTaken:  # by what is no file, or by somebody else: left alone
            await self._store.put_part(beside, part, media_type)
            return beside
        return key

    async def _beside(self, row: FileRow) -> StoredFile | None:
        """Find a copy of a file's own bytes that a repair which was killed left beside it."""
        async for key in self._second_keys(row.storage_key):
            if await self._store.digest(key) == (row.bytes, row.sha256):
                return _file(row, key)
        return None

    async def _second_keys(self, key: ObjectKey) -> AsyncIterator[ObjectKey]:
        first = layout.first_key(key)
        stem, ending = first.rsplit(".", 1)
        async for stat in self._store.walk(f"{stem}.t"):
            if stat.key.endswith(f".{ending}") and stat.key != key and layout.first_key(stat.key) == first:
                yield stat.key

    async def _tidy(self, mending: _Mending) -> None:
        """Drop what was superseded: damaged bytes under an old key, and copies that only bridged a repair."""
        used = {file.key for file in mending.files.values()}
        for former in mending.mended:
            for key in [former, *[key async for key in self._second_keys(former)]]:
                if key not in used and _is_ours(key, former):
                    await self._store.delete(key)

    def _note(self, mending: _Mending, damaged: Damaged, file: StoredFile) -> None:
        row, now = damaged.row, self._clock.now()
        mending.files[row.storage_key] = file
        mending.mended.add(row.storage_key)
        same = (file.bytes, file.sha256) == (row.bytes, row.sha256)
        mending.acts.append(
            CustodyRow(
                at=now,
                aweme_id=row.aweme_id,
                act=Act.RESTORED if same else Act.REPLACED,
                kind=row.kind,
                storage_key=file.key,
                bytes=file.bytes,
                sha256=file.sha256,
                was_key=row.storage_key,
                was_bytes=row.bytes,
                was_sha256=row.sha256,
                detail=damaged.what,
                worker=self._worker,
            )
        )
        if not same:
            old = (FileKind(row.kind), row.storage_key, row.bytes, row.sha256)
            mending.replaced.append(Replaced(now, *old, file.key, file.bytes, file.sha256))

    def _next(self, held: Held) -> float:
        now = self._clock.now()
        return following(held.due_at if held.due_at is not None else now, now, self._period_s)


def _file(row: FileRow, key: ObjectKey | None = None) -> StoredFile:
    return StoredFile(
        kind=FileKind(row.kind),
        key=key or row.storage_key,
        bytes=row.bytes,
        sha256=row.sha256,
        media_type=MediaType(row.media_type),
        rendition=Quality(row.rendition) if row.rendition is not None else None,
        position=row.position,
    )


def _want(post: Post, row: FileRow, choice: CaptureChoice) -> Want:
    """Find what to fetch for a file; NotMedia when the post is of another kind now, or the reply has no such file."""
    quality = Quality(row.rendition) if row.rendition is not None and not row.position else choice.quality
    kind = FileKind.IMAGE if row.position else FileKind(row.kind)
    for want in choose_files(post, CaptureChoice(quality, covers=True, audio=True)):
        if (want.kind, want.position) == (kind, row.position) and want.candidates:
            return want
    raise NotMedia(f"the reply holds no {kind.value} {row.position or ''}".rstrip())


def _is_ours(key: ObjectKey, damaged: ObjectKey) -> bool:
    """Say whether a key is the damaged file's own, or one that a repair made: its millisecond is no attempt's token."""
    parts = layout.parse_key(key)
    return key == damaged or (parts is not None and (parts.token or 0) >= 10**12)
