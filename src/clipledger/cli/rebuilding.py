"""`rebuild`: make the database anew out of the store, prove it against the one there is, or take in what it lacks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clipledger import presence
from clipledger import settings as settings_file
from clipledger.archive import (
    Archive,
    SystemClock,
    database_url,
    identity_of,
    open_archive,
    private_file,
)
from clipledger.cli.copying import target_of
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, size
from clipledger.cli.stopping import signals
from clipledger.core.errors import Misconfigured, UsageError
from clipledger.core.times import iso_time
from clipledger.db import schema
from clipledger.db.comparing import Compared, Difference, differences
from clipledger.db.restoring import Restorer
from clipledger.db.search_index import SearchIndex
from clipledger.events import Events
from clipledger.stages.restoring import Restoring, Tally
from clipledger.worker import Stop

NOT_RESTORED = (
    "credits and their reasons",
    "ids that are not archived: waiting, dead, withheld",
    "sources and how far each was read",
    "who else showed a post, beyond the source that showed it first",
    "counters, handles and disappearances seen after the capture",
)
"""What no sidecar holds."""

SHOWN = 50
KEPT = 10_000
_SCRATCH = "rebuild.db"
_TOLD_EVERY = 10_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What `rebuild` was asked for, as typed."""

    to: str | None
    check: bool
    reconcile: bool
    dry_run: bool


def rebuild(context: Context, asked: Asked) -> None:
    """Rebuild, compare or reconcile; exit 7 when a sidecar cannot be read or the two differ, 130 when stopped."""
    if asked.reconcile and (asked.check or asked.to):
        raise UsageError("--reconcile works on the archive's own database: not with --to or --check")
    identity_of(context.archive)
    body = asyncio.run(_reconcile(context, asked) if asked.reconcile else _rebuild(context, asked))
    body["exit"] = context.exit.word
    if context.json:
        context.document(body)
    else:
        _tell(context, body)


async def _reconcile(context: Context, asked: Asked) -> dict[str, Any]:
    """Take in what the store holds whole and the database does not know as archived; others may be at work."""
    with presence.hold_archive(context.archive):
        async with open_archive(context.archive) as archive:
            tally, done = await _pass(context, archive, only_look=asked.dry_run, keep_cursor=False, after="")
    return _ended(context, tally, done, dry_run=asked.dry_run, reconciled=True)


async def _rebuild(context: Context, asked: Asked) -> dict[str, Any]:
    """Fill a database from the store alone; with --check hold it against the archive's own."""
    settings = settings_file.load(context.archive)
    own = database_url(context.archive, settings)
    scratch = presence.private_folder(context.archive) / _SCRATCH
    aside = asked.check or asked.dry_run
    target = target_of(context.archive, asked.to) if asked.to else (scratch if aside else own)
    with presence.hold_archive(context.archive, alone=target == own or asked.check):
        _forget(scratch)
        try:
            return await _fill(context, asked, target)
        finally:
            _forget(scratch)


async def _fill(context: Context, asked: Asked, target: str | Path) -> dict[str, Any]:
    identity, found = identity_of(context.archive), Compared()
    if isinstance(target, Path):
        private_file(target)
    if (there := schema.create(target, now=SystemClock().now(), archive_uuid=identity)) != identity:
        raise Misconfigured(f"the target holds archive {there}, this is archive {identity}: name an empty database")
    wrong: list[Difference] = []
    async with open_archive(context.archive, database=target) as archive:
        restorer = Restorer(archive.db, archive.removals)
        begun = await restorer.begun()
        if begun is None and not await restorer.is_empty():
            raise Misconfigured(
                "the database holds ids already and is left alone: `clipledger rebuild --reconcile` takes in what it "
                "lacks, --to names an empty one, --check only compares"
            )
        if begun is not None:
            context.warn(f"going on with a rebuild that did not end, behind {begun}")
        tally, done = await _pass(context, archive, only_look=asked.dry_run, keep_cursor=True, after=begun or "")
        if done and not asked.dry_run:
            await _prove(archive)
            await restorer.ended(iso_time(archive.clock.now()))
        if asked.check and done:
            async with open_archive(context.archive) as known:
                async for difference in differences(archive.db, known.db, found):
                    wrong.append(difference)
    body = _ended(context, tally, done, dry_run=asked.dry_run, reconciled=False)
    if asked.check:
        body |= {
            "compared": found.posts,
            "equal": done and not wrong,
            "differences": [asdict(each) for each in wrong[:KEPT]],
            "different": len(wrong),
        }
        context.exit = Exit.DAMAGED if wrong else context.exit
    return body


async def _prove(archive: Archive) -> None:
    """Make sure that search answers as the posts say."""
    if not (await SearchIndex(archive.db).prove()).holds:
        raise Misconfigured("the search index that was made differs from its posts: run `clipledger reindex`")


async def _pass(
    context: Context, archive: Archive, *, only_look: bool, keep_cursor: bool, after: str
) -> tuple[Tally, bool]:
    stop, restoring = Stop(), Restoring(archive.store, Restorer(archive.db, archive.removals), archive.clock)
    async with _shown(context, restoring.tally):
        with signals(stop.step, Events(archive.clock)):
            done = await restoring.act(
                after=after, keep_cursor=keep_cursor, only_look=only_look, stopping=lambda: bool(stop)
            )
    return restoring.tally, done


@asynccontextmanager
async def _shown(context: Context, tally: Tally) -> AsyncIterator[None]:
    """Tell how far it is while it lasts: a line that moves on a terminal, one now and then elsewhere."""

    async def show() -> None:
        told = 0
        while True:
            await asyncio.sleep(0.5)
            line = f"{tally.posts} posts, {tally.restored} restored, {tally.objects} objects of {size(tally.bytes)}"
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{line}  ")
                sys.stderr.flush()
            elif tally.posts - told >= _TOLD_EVERY:
                told = tally.posts
                context.warn(line)

    async with asyncio.TaskGroup() as group:
        shown = group.create_task(show()) if context.loudness >= 0 else None
        yield
        if shown is not None:
            shown.cancel()


def _ended(context: Context, tally: Tally, done: bool, *, dry_run: bool, reconciled: bool) -> dict[str, Any]:
    context.exit = Exit.INTERRUPTED if not done else Exit.DAMAGED if tally.troubled else Exit.OK
    return {
        "done": done,
        "dry_run": dry_run,
        "reconciled": reconciled,
        "posts": tally.posts,
        "known": tally.known,
        "restored": tally.restored,
        "withheld": tally.withheld,
        "incomplete": tally.incomplete,
        "objects": tally.objects,
        "bytes": tally.bytes,
        "unreadable": [asdict(trouble) for trouble in tally.troubles],
        "unreadable_count": tally.troubled,
        "not_restored": [] if reconciled else list(NOT_RESTORED),
    }


def _tell(context: Context, body: dict[str, Any]) -> None:
    for trouble in body["unreadable"][:SHOWN]:
        context.warn(f"{trouble['aweme_id']}: {trouble['what']}")
    for difference in body.get("differences", [])[:SHOWN]:
        context.warn(f"{difference['aweme_id']}: not the same in {', '.join(difference['tables'])}")
    would = "would be restored" if body["dry_run"] else "restored"
    open_ids = f"; {body['incomplete']} ids have files and no sidecar: they are not complete"
    context.tell(
        f"{body['posts']} posts stand whole in the store ({body['objects']} objects, {size(body['bytes'])}): "
        f"{body['restored']} {would}, {body['known']} known already, {body['unreadable_count']} cannot be read"
        + (open_ids if body["incomplete"] else "")
        + (f"; {body['withheld']} were taken out before, and stay out" if body["withheld"] else "")
    )
    if "equal" in body:
        context.tell(f"{body['compared']} archived posts compared: {body['different'] or 'none'} differ")
    if not body["done"]:
        context.warn("stopped: the same command goes on where it was")
    elif body["not_restored"] and not body["dry_run"]:
        context.tell("not in any sidecar, so not restored: " + "; ".join(body["not_restored"]))


def _forget(scratch: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            scratch.with_name(scratch.name + ending).unlink()
