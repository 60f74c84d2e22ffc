"""Read sources: page by page into the queue, each page one transaction with its cursor.

A restart goes on at the saved cursor; what ends a pass is decided in `core.passes`. Listing waits while
more is freshly queued than the API can resolve within a minute, so that resolving follows on its heels.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

from clipledger import sources
from clipledger.core import links, pace, parse
from clipledger.core.errors import ApiUnavailable, ClipledgerError, Gone, Halt, Held, LeaseLost, Reason, Stopped
from clipledger.core.lifecycle import CallReason, Policy, retry_delay_s
from clipledger.core.model import ApiCall, Page, Post
from clipledger.core.passes import PageSeen, PassState, SourceProgress, after_page, cursor_is_stale
from clipledger.core.ports import Clock
from clipledger.core.times import parse_duration
from clipledger.db.intake import Decide, PageIn
from clipledger.db.meta import Meta
from clipledger.db.queue import Queue
from clipledger.db.sources import SourceJob, Sources
from clipledger.events import Events
from clipledger.net.cdn import Cdn
from clipledger.settings import Settings
from clipledger.sources.kind import SourceKind, SourceQuery
from clipledger.stages.paid import PaidCalls, Purpose

FRESH_S = 60.0
"""Resolving is to follow listing within this many seconds."""

REGIONS_KEPT_S = 30 * 86_400.0
_PAGE = 30
_GATE_S = 0.5
_NEVER = 253_370_764_800.0  # the year 9999: a source that is read once


class Listing:
    """Read one source at a time, as far as it goes."""

    def __init__(
        self,
        paid: PaidCalls,
        meta: Meta,
        queue: Queue,
        sources_table: Sources,
        cdn: Cdn,
        clock: Clock,
        events: Events,
        settings: Settings,
        policy: Policy,
        *,
        gated: bool,
        on_page: Callable[[], None],
    ) -> None:
        self._paid, self._meta, self._queue, self._sources = paid, meta, queue, sources_table
        self._cdn, self._clock, self._events = cdn, clock, events
        self._settings, self._policy = settings, policy
        self._gated = gated and settings.listing.backlog
        self._pages_open, self._on_page = 0, on_page
        self._regions = asyncio.Lock()
        self._crowded = False

    async def act(self, job: SourceJob, stopping: Callable[[], bool], jitter: float) -> None:
        """Read a claimed source until its pass ends, the run stops, or it fails; failures go into its row."""
        try:
            if job.kind == "link":
                await self._follow_link(job)
            else:
                await self._read_pass(job, stopping)
        except Stopped:
            await self._sources.release(job)
        except (Halt, LeaseLost):
            await self._sources.release(job)
            raise
        except Held:
            await self._sources.release(job)
        except ClipledgerError as error:
            await self._failed(job, error, jitter)

    async def _read_pass(self, job: SourceJob, stopping: Callable[[], bool]) -> None:
        kind = sources.registry()[job.kind]
        await self._check_region(job, stopping)
        job = await self._with_entity(kind, job, stopping)
        if job.cursor is None or cursor_is_stale(kind.newest_first, job.cursor_at, self._clock.now()):
            await self._sources.begin_pass(job, self._clock.now())
            job = replace(job, cursor=None, pass_started_at=self._clock.now(), pass_pages=0, pass_new=0, pass_stale=0)
        while not stopping():
            await self._room(stopping)
            if stopping():
                break
            progress = await self._page(kind, job, stopping)
            if progress.pass_end is not None:
                return
            job = _moved(job, progress)
        await self._sources.release(job)

    async def _page(self, kind: SourceKind, job: SourceJob, stopping: Callable[[], bool]) -> SourceProgress:
        self._pages_open += 1
        try:
            call = kind.request(_query(job, self._settings))
            now, keep = self._clock.now, self._settings.capture.lean
            purpose = Purpose(CallReason.PAGE, source=job.source, stopping=stopping)
            page = await self._paid.buy(call, purpose, lambda body: kind.read(body, now(), keep))
            return await self._keep(kind, job, page)
        finally:
            self._pages_open -= 1

    async def _keep(self, kind: SourceKind, job: SourceJob, page: Page) -> SourceProgress:
        now = self._clock.now()
        state = PassState(
            pages=job.pass_pages,
            new=job.pass_new,
            stale=job.pass_stale,
            ever_finished=job.full_pass_at is not None,
            newest_first=kind.newest_first,
            max_pages=job.max_pages or self._settings.listing.max_pages,
            every_s=job.every_s or parse_duration(self._settings.listing.every),
        )
        seen = PageSeen(
            ids=len(page.posts),
            unpinned=sum(not post.pinned for post in page.posts),
            has_more=page.has_more,
            cursor=page.cursor,
            used_cursor=job.cursor,
            paged=kind.paged,
        )

        def decide(new_ids: int, cursor_seen: bool) -> SourceProgress:
            return after_page(state, seen, new_ids=new_ids, cursor_seen=cursor_seen, now=now)

        if job.region and page.posts:
            # Told by a list of another region: /post-detail/ takes none, but what can be seen there may be had now.
            await self._queue.shown_in_region([post.aweme_id for post in page.posts], job.source, now)
        out = await self._queue.add_page(self._page_in(job, page, now, decide))
        if out.progress is None:
            raise LeaseLost(f"{job.source} was taken over")
        self._events.emit(
            "page", source=job.source, ids=len(page.posts), new=out.new, bad=page.bad_items, end=out.progress.pass_end
        )
        self._on_page()
        return out.progress

    async def _with_entity(self, kind: SourceKind, job: SourceJob, stopping: Callable[[], bool]) -> SourceJob:
        """Look the numeric id of a handle or tag up once; it is kept for ever, a renamed handle keeps its id."""
        call = kind.lookup(job.subject)
        if call is None or job.entity_id is not None:
            return job
        purpose = Purpose(CallReason.LOOKUP, source=job.source, stopping=stopping)
        entity = await self._paid.buy(call, purpose, kind.read_entity)
        await self._sources.save_entity(job.source, entity.id, entity.declared, self._clock.now())
        self._events.emit("looked_up", source=job.source, id=entity.id, declared=entity.declared)
        return replace(job, entity_id=entity.id)

    async def _check_region(self, job: SourceJob, stopping: Callable[[], bool]) -> None:
        """Refuse a region the API does not know before a page is paid for with it."""
        if not job.region:
            return
        async with self._regions:  # bought once, whoever comes first
            known = await known_regions(self._paid, self._meta, self._clock, stopping)
        if known and job.region not in known:
            raise ApiUnavailable(f"region {job.region} is not in `clipledger regions`", reason=Reason.REGION)

    async def _follow_link(self, job: SourceJob) -> None:
        target = await self._cdn.redirect_target(_short_url(job.subject, self._settings.listing.short_link_url))
        aweme_id = links.from_redirect(target or "", self._clock.now())
        if aweme_id is None:
            raise Gone("the short link leads to no post")
        now, page = self._clock.now(), Page((Post(aweme_id),), None, False)
        done = SourceProgress(None, 1, 1, 0, "end", _NEVER, now)
        await self._queue.add_page(self._page_in(job, page, now, lambda _new, _seen: done))
        self._events.emit("page", source=job.source, ids=1, new=1, bad=0, end="end")

    async def _room(self, stopping: Callable[[], bool]) -> None:
        """Once more is freshly queued than can be resolved within the minute, wait until none of it waits.

        Videos are claimed freshest first: going on as soon as there is room for one more page would leave
        the oldest of them at the bottom for as long as there are pages.
        """
        while self._gated and not stopping() and await self._is_crowded():
            await self._clock.sleep(_GATE_S)

    async def _is_crowded(self) -> bool:
        most = pace.backlog_limit(self._settings.api.requests_per_minute)
        fresh = await self._queue.backlog(self._clock.now(), FRESH_S, most + 1)
        self._crowded = fresh + _PAGE * self._pages_open > (0 if self._crowded else most)
        return self._crowded

    def _page_in(self, job: SourceJob, page: Page, now: float, decide: Decide) -> PageIn:
        return PageIn(
            source=job.source,
            token=job.token,
            posts=page.posts,
            now=now,
            cursor_used=job.cursor,
            cursor_next=page.cursor,
            decide=decide,
            bad_items=page.bad_items,
            keep_hint=self._settings.capture.lean,
            priority=job.priority,
            lease_until=now + self._settings.queue.lease_s,
            seen_since=(job.pass_started_at or 0.0) if job.full_pass_at is None else 0.0,
        )

    async def _failed(self, job: SourceJob, error: ClipledgerError, jitter: float) -> None:
        now = self._clock.now()
        delay_s = retry_delay_s(job.failures + 1, self._policy, jitter)
        if isinstance(error, Gone) or error.reason is Reason.REGION:
            # Nothing to hurry for: a deleted account or tag is asked again at its usual time.
            delay_s = job.every_s or parse_duration(self._settings.listing.every)
        await self._sources.fail(job, error.reason, error.detail, now + delay_s)
        self._events.emit(
            "source_failed",
            source=job.source,
            reason=error.reason,
            again_in_s=max(round(delay_s, 1), 0.1),
            why=error.detail,
        )


async def known_regions(
    paid: PaidCalls | None, meta: Meta, clock: Clock, stopping: Callable[[], bool] | None = None
) -> dict[str, str]:
    """Give the API's region codes and names, bought once a month and kept; {} when they cannot be had now."""
    kept = await meta.get("regions")
    if kept is not None:
        at, regions = json.loads(kept)
        if clock.now() - at < REGIONS_KEPT_S or paid is None:
            return dict(regions)
    if paid is None:
        return {}
    fresh = await paid.buy(ApiCall("/region-list/"), Purpose(CallReason.REGIONS, stopping=stopping), parse.regions)
    await meta.set("regions", json.dumps([clock.now(), fresh]))
    return fresh


def _query(job: SourceJob, settings: Settings) -> SourceQuery:
    return SourceQuery(
        subject=job.subject,
        entity_id=job.entity_id,
        region=job.region or settings.listing.region,
        sort=job.sort,
        published_within=job.published_within,
        cursor=job.cursor,
    )


def _moved(job: SourceJob, progress: SourceProgress) -> SourceJob:
    return replace(
        job,
        cursor=progress.cursor,
        pass_pages=progress.pass_pages,
        pass_new=progress.pass_new,
        pass_stale=progress.pass_stale,
    )


def _short_url(url: str, instead: str) -> str:
    return f"{instead.rstrip('/')}/t/{url.rstrip('/').rpartition('/')[2]}" if instead else url
