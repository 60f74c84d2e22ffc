"""Capture one video, top to bottom: adopt or resolve, fetch, check, publish, sidecar last.

A signed link stays inside `act`. Whatever fails leaves as one of our errors; the worker above decides
what it means. Nothing here retries but two things: an expired link is resolved again at once (twice at
most, the reason recorded, and not while the CDN refuses everybody), and an upload is repeated in place,
because the credit is spent by then. What an earlier attempt published stands and is kept: files are never
fetched twice or replaced.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from clipledger import __version__
from clipledger.core import layout, media, sidecar
from clipledger.core.errors import (
    ClipledgerError,
    Halt,
    LeaseLost,
    NotMedia,
    SameBytes,
    StorageThrottled,
    StorageUnavailable,
    Throttled,
    UrlExpired,
)
from clipledger.core.lifecycle import CallReason, Candidate, CaptureChoice, Want, choose_files
from clipledger.core.model import FileKind, Job, MediaType, ObjectKey, Post, Quality, StoredFile
from clipledger.core.ports import Clock, KeyTaken, ObjectStore, Part
from clipledger.core.times import since
from clipledger.db.queue import Queue
from clipledger.events import Events
from clipledger.net.cdn import Cdn
from clipledger.stages.detail import Attempt, Detail
from clipledger.stages.fresh import Fresh
from clipledger.stages.guard import Guard
from clipledger.stages.likeness import Likeness
from clipledger.stages.standing import claims_its_key, standing_files
from clipledger.storage.spool import Spool

EXPIRED_RESOLVES = 2
UPLOAD_TRIES = 3

_HARD = (Halt, LeaseLost, SameBytes, StorageUnavailable)
"""Failures that another link of the same file cannot mend, or must not be tried to."""


@dataclass(slots=True)
class _Capture:
    """One post under way: what is stored so far survives a second resolve of the same attempt.

    `arrived` is how many bytes of the latest file came, whole or not; `first_byte_s` how long after the
    resolve the first byte of any came.
    """

    attempt: Attempt
    job: Job
    author_part: str
    key: ObjectKey
    files: dict[tuple[FileKind, int], StoredFile]
    rendition: Quality | None = None
    missing: set[str] = field(default_factory=set)
    parts: int = 0
    arrived: int = 0
    first_byte_s: float | None = None


@dataclass(frozen=True, slots=True)
class Captured:
    """A post that is complete: how many bytes it has, and whether it was found already there."""

    bytes: int
    files: int
    adopted: bool = False
    first_byte_s: float | None = None


class Download:
    """Turn a claimed job into a complete post in the store."""

    def __init__(
        self,
        detail: Detail,
        queue: Queue,
        store: ObjectStore,
        spool: Spool,
        cdn: Cdn,
        clock: Clock,
        events: Events,
        choice: CaptureChoice,
        guard: Guard,
        likeness: Likeness,
        fresh: Fresh,
        *,
        slots: int,
    ) -> None:
        self._guard, self._likeness, self._fresh = guard, likeness, fresh
        self._detail, self._queue, self._store, self._spool = detail, queue, store, spool
        self._cdn, self._clock, self._events, self._choice = cdn, clock, events, choice
        self._slots = asyncio.Semaphore(slots)

    async def act(self, attempt: Attempt) -> Captured:
        """Capture the attempt's post. Returns when its sidecar stands and the queue says `stored`."""
        if (adopted := await self._adopt(attempt.job)) is not None:
            return adopted
        standing = await standing_files(self._store, attempt.job)
        post = await self._detail.resolve(attempt, CallReason(attempt.job.call_reason))
        capture = await self._fix_place(attempt, post, standing)
        for resolves_left in reversed(range(EXPIRED_RESOLVES + 1)):
            try:
                await self._fetch_missing(capture, post)
                break
            except UrlExpired:
                if not self._guard.link_refused(attempt.job.aweme_id) or not resolves_left:
                    raise
                post = await self._detail.resolve(attempt, CallReason.URL_EXPIRED)
                if post.is_photo != _is_photo(capture):  # another attempt gives it the place of its kind
                    raise NotMedia("called photos and a video by turns") from None
        return await self._complete(capture, post)

    async def _adopt(self, job: Job) -> Captured | None:
        """Take a sidecar that already stands: an attempt that died after its last write costs no credit."""
        if job.storage_key is None:
            return None
        key = layout.sidecar_of(job.storage_key)
        try:
            body = await self._store.read(key, sidecar.MAX_BYTES)
        except KeyError:
            return None
        try:
            found = sidecar.read_of(body, job.aweme_id)
        except sidecar.BadSidecar as error:
            await self._set_aside(job, key, body, str(error))
            return None
        await self._mark_stored(job)
        self._events.emit("adopted", aweme_id=job.aweme_id)
        return Captured(sum(file.bytes for file in found.files), len(found.files), adopted=True)

    async def _set_aside(self, job: Job, key: ObjectKey, body: bytes, why: str) -> None:
        """Keep what stands where the sidecar belongs beside it: else no attempt could ever complete the post."""
        await self._store.put_bytes(layout.second_key(key, job.token), body, MediaType.JSON)
        await self._store.delete(key)
        self._events.emit("sidecar_lost", aweme_id=job.aweme_id, key=key, why=why)

    async def _fix_place(
        self, attempt: Attempt, post: Post, standing: dict[tuple[FileKind, int], StoredFile]
    ) -> _Capture:
        """Fix the keys in the row before the first byte is stored: a retry or a renamed handle meets them again."""
        job = attempt.job
        author = job.author_part or layout.author_part(post.author.handle, post.author.id)
        key = _main_key(job.first_seen_day, author, post)
        moved = job.storage_key not in (None, key)
        if moved:
            await self._may_move(job, post)
        capture = _Capture(attempt, job, author, key, standing)
        await self._note(capture, post, None, anew=moved)
        if job.author_part is None:
            self._events.emit(
                "resolved",
                aweme_id=job.aweme_id,
                source=job.source,
                since_added_s=since(job.added_at, attempt.answered_at),
            )
        return capture

    async def _may_move(self, job: Job, post: Post) -> None:
        """Let a post that is now said to be of the other kind have another key, unless files stand under its first."""
        now_is = "photos" if post.is_photo else "a video"
        if (stands := await claims_its_key(self._store, job)) is not None:
            raise NotMedia(f"now said to be {now_is}, but {stands} stands already and is kept")
        self._events.emit("place_moved", aweme_id=job.aweme_id, key=job.storage_key, why=f"now said to be {now_is}")

    async def _note(
        self, capture: _Capture, post: Post, rendition: Quality | None, sha256: str | None = None, *, anew: bool = False
    ) -> None:
        """Write down where the post goes, and which rendition and bytes its video has, before it is published."""
        now = self._clock.now()
        if not await self._queue.mark_resolved(
            capture.job,
            now,
            capture.author_part,
            capture.key,
            post.thin,
            rendition,
            anew=anew,
            video_sha256=sha256,
            author_id=post.author.id if sha256 is None else "",
            handle=post.author.handle if sha256 is None else "",
        ):
            raise LeaseLost(f"{capture.job.aweme_id} was taken over, or its author is withheld")
        capture.rendition = rendition

    async def _fetch_missing(self, capture: _Capture, post: Post) -> None:
        wants = choose_files(post, self._choice)
        if not wants:
            raise NotMedia("the reply holds no media link")
        for want in wants:
            if (want.kind, want.position) not in capture.files:
                await self._obtain(capture, want, post)

    async def _obtain(self, capture: _Capture, want: Want, post: Post) -> None:
        failures: list[ClipledgerError] = []
        for candidate in want.candidates:
            try:
                capture.files[want.kind, want.position] = await self._fetch_and_put(capture, want, candidate, post)
                capture.missing.discard(_called(want))
                return
            except _HARD:
                raise
            except ClipledgerError as error:
                failures.append(error)
                self._told_failed(capture, want, error)
        if want.required:
            raise _worst(failures)
        capture.missing.add(_called(want))

    def _told_failed(self, capture: _Capture, want: Want, error: ClipledgerError) -> None:
        self._events.emit(
            "file_failed",
            aweme_id=capture.job.aweme_id,
            kind=want.kind,
            bytes=capture.arrived,
            reason=error.reason,
            why=error.detail,
        )

    async def _fetch_and_put(self, capture: _Capture, want: Want, candidate: Candidate, post: Post) -> StoredFile:
        capture.parts += 1
        opened = self._spool.open(post.aweme_id, capture.job.token, capture.parts, candidate.size_hint)
        async with opened as part:
            async with self._slots:
                seconds = await self._fetch(capture, candidate, part)
            received_at = self._clock.now()
            duration_s = post.duration_s if want.kind is FileKind.VIDEO else None
            whole = media.check(want.kind, part.read_at, part.size_bytes, duration_s=duration_s)
            await part.seal()
            if want.kind is FileKind.VIDEO:
                # Noted first and counted then: of several workers at once the last one sees all the others.
                await self._note(capture, post, candidate.rendition, part.sha256)
                await self._likeness.admit(capture.job, part.sha256)
            key = await self._publish(capture, _key(capture, want, whole.media_type), part, whole.media_type)
            self._events.emit(
                "fetched",
                aweme_id=post.aweme_id,
                kind=want.kind,
                bytes=part.size_bytes,
                seconds=seconds,
                publish_s=since(received_at, self._clock.now()),
            )
            return stored_as(want, candidate, key, part, whole.media_type)

    async def _fetch(self, capture: _Capture, candidate: Candidate, part: Part) -> float:
        """Download one link; give how long it took in seconds."""
        began = self._clock.now()
        try:
            response = await self._cdn.fetch(candidate.link, part)
        finally:
            capture.arrived = part.size_bytes
        if capture.first_byte_s is None and response.first_byte_at is not None:
            capture.first_byte_s = since(capture.attempt.answered_at, response.first_byte_at)
        return since(began, self._clock.now())

    async def _publish(self, capture: _Capture, key: ObjectKey, part: Part, media_type: MediaType) -> ObjectKey:
        """Put a sealed part under its key, or beside it when other bytes stand there: both are kept."""
        for _ in range(2):
            try:
                await self._persist(partial(self._store.put_part, key, part, media_type))
                return key
            except KeyTaken:
                self._events.emit("key_taken", aweme_id=capture.job.aweme_id, key=key)
                key = layout.second_key(key, capture.job.token)
        raise StorageUnavailable(f"{key}: taken twice by other bytes")

    async def _persist(self, put: Callable[[], Awaitable[bool]]) -> None:
        """Upload, in place again when the store fails: the credit is spent by now, and the bytes are here."""
        for _ in range(UPLOAD_TRIES - 1):
            try:
                await put()
                return
            except StorageThrottled:
                raise  # its patience was used up below
            except StorageUnavailable:
                await self._clock.sleep(1.0)
        await put()

    async def _complete(self, capture: _Capture, post: Post) -> Captured:
        files = tuple(capture.files.values())
        job = capture.job
        body = sidecar.write(
            post,
            files,
            captured_at=self._clock.now(),
            version=__version__,
            missing=sorted(capture.missing),
            origin=sidecar.Origin(job.source, job.added_at, job.asked_url),
        )
        key = layout.sidecar_of(capture.key)
        try:
            await self._persist(partial(self._store.put_bytes, key, body, MediaType.JSON))
            self._fresh.keep(key, body)
        except KeyTaken:
            # Another worker completed this very post first: its sidecar is as good as ours.
            self._events.emit("key_taken", aweme_id=post.aweme_id, key=key)
        await self._mark_stored(capture.job)
        return Captured(sum(file.bytes for file in files), len(files), first_byte_s=capture.first_byte_s)

    async def _mark_stored(self, job: Job) -> None:
        if not await self._queue.mark_stored(job, self._clock.now()):
            raise LeaseLost(f"{job.aweme_id} was taken over")


def _called(want: Want) -> str:
    """Name a wanted file as the sidecar's `missing` does: `cover`, `image 3`."""
    return f"{want.kind.value} {want.position}" if want.position else want.kind.value


def _main_key(day: str, author: str, post: Post) -> ObjectKey:
    if post.is_photo:
        return layout.sidecar_key(day, author, post.aweme_id, True)
    return layout.video_key(day, author, post.aweme_id)


def _is_photo(capture: _Capture) -> bool:
    """Say what kind of post has the place that was fixed: the main key of photos is their sidecar's."""
    return capture.key == layout.sidecar_of(capture.key)


def _key(capture: _Capture, want: Want, media_type: MediaType) -> ObjectKey:
    day, author, aweme_id = capture.job.first_seen_day, capture.author_part, capture.job.aweme_id
    is_photo = _is_photo(capture)
    match want.kind:
        case FileKind.COVER:
            return layout.cover_key(day, aweme_id, media_type)
        case FileKind.AUDIO:
            return layout.audio_key(day, author, aweme_id, is_photo, media_type)
        case FileKind.IMAGE:
            return layout.photo_key(day, author, aweme_id, want.position, media_type)
        case FileKind.VIDEO:
            return capture.key


def stored_as(want: Want, candidate: Candidate, key: ObjectKey, part: Part, media_type: MediaType) -> StoredFile:
    """Describe a file as it was stored for a want."""
    # A slide that turned out to be video is a video of its own, in the one rendition slides have.
    live = want.kind is FileKind.IMAGE and media_type is MediaType.MP4
    kind = FileKind.VIDEO if live else want.kind
    rendition = Quality.STANDARD if live else candidate.rendition
    return StoredFile(kind, key, part.size_bytes, part.sha256, media_type, rendition, want.position)


def _worst(failures: Sequence[ClipledgerError]) -> ClipledgerError:
    """Choose what to report when no link gave the file: first what new links or a pause may mend."""
    for kind in (UrlExpired, Throttled):
        for failure in failures:
            if isinstance(failure, kind):
                return failure
    return failures[-1]
