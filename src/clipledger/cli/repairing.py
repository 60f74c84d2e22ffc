"""`verify --repair`: fetch again what a check found damaged or missing, or say what that would cost."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clipledger import presence
from clipledger.archive import Archive, prove_store
from clipledger.cli.exits import Exit, exit_of
from clipledger.cli.output import Context
from clipledger.cli.stopping import signals
from clipledger.core.errors import Halt, Misconfigured, StorageUnavailable, UsageError
from clipledger.core.model import ApiKey, AwemeId
from clipledger.events import Events
from clipledger.net.wire import CurlWire
from clipledger.settings import read_key
from clipledger.stages.repair import Estimate, How, Mended, Repair
from clipledger.wiring import janitor, new_worker_name, repair
from clipledger.worker import Stop

AT_ONCE = 4
"""Posts repaired side by side: each waits for the API and the CDN most of the time."""

SHOWN = 50


@dataclass(frozen=True, slots=True)
class Wish:
    """What `verify --repair` was asked for, as typed."""

    dry_run: bool
    max_credits: int | None


@dataclass(slots=True)
class _Work:
    """Posts still to be repaired, what became of the others, and what ended the work early."""

    left: list[AwemeId]
    done: list[Mended]
    halted: Halt | None = None


def wish_of(repair: bool, dry_run: bool, max_credits: int | None, *, files: bool) -> Wish | None:
    """Read the options that go with --repair; `files`: the check looks at files."""
    if not repair and (dry_run or max_credits is not None):
        raise UsageError("--dry-run and --max-credits go with --repair")
    if repair and not files:
        raise UsageError("--repair mends files: not with --ledger alone")
    return Wish(dry_run, max_credits) if repair else None


def needed_key(wish: Wish | None) -> ApiKey | None:
    """Give the key that a repair needs, before any file is read; None where none is needed."""
    key = read_key()
    if key is None and wish is not None and not wish.dry_run:
        raise Misconfigured("no API key: --repair buys links; set TIKLIVEAPI_KEY, or TIKLIVEAPI_KEY_FILE, or --dry-run")
    return key


async def repair_found(
    context: Context, archive: Archive, wish: Wish, ids: Sequence[AwemeId], *, others: bool
) -> dict[str, Any]:
    """Repair what a check found in files, and set the exit code: 0 when that was all and all is whole now.

    `others`: the check found something that no repair of files can mend.
    """
    stop, worker, wire, events = Stop(), new_worker_name(), CurlWire(), Events(archive.clock)
    with presence.hold_archive(archive.folder), presence.hold_worker(archive.folder, worker):
        try:
            mender = repair(archive, wire, needed_key(wish), events, worker, wish.max_credits)
            if wish.dry_run:
                return _foretold([await mender.estimate(aweme_id) for aweme_id in ids])
            await janitor(archive, events).recover()
            if ids:
                await prove_store(archive, files_missing=True)
            work = _Work(list(reversed(ids)), [])
            with signals(stop.step, events):
                async with asyncio.TaskGroup() as group:
                    for _ in range(AT_ONCE):
                        group.create_task(_take(mender, work, stop, context, len(ids)))
        finally:
            await wire.close()
    code = _ending(work, stop)
    context.exit = Exit.DAMAGED if others and code is Exit.OK else code
    return _told(work, mender.spent)


async def _take(mender: Repair, work: _Work, stop: Stop, context: Context, total: int) -> None:
    while work.left and work.halted is None and not stop:
        aweme_id = work.left.pop()
        try:
            work.done.append(await mender.mend(aweme_id))
        except Halt as error:
            work.halted = error
            work.left.append(aweme_id)
        except StorageUnavailable as error:
            work.done.append(Mended(aweme_id, How.FAILED, why=error.detail))
        if context.loudness >= 0 and sys.stderr.isatty():
            sys.stderr.write(f"\r{len(work.done)} of {total} posts repaired \r")


def _ending(work: _Work, stop: Stop) -> Exit:
    if work.halted is not None:
        return exit_of(work.halted)
    if work.left and stop:
        return Exit.INTERRUPTED
    return Exit.OK if all(mended.is_whole for mended in work.done) else Exit.DAMAGED


def _foretold(estimates: Sequence[Estimate]) -> dict[str, Any]:
    return {
        "dry_run": True,
        "posts": len(estimates),
        "credits": sum(estimate.files > 0 for estimate in estimates),
        "files": sum(estimate.files for estimate in estimates),
        "free": sum(not estimate.files for estimate in estimates),
        "results": [asdict(estimate) for estimate in estimates],
    }


def _told(work: _Work, spent: int) -> dict[str, Any]:
    counts = Counter(mended.how for mended in work.done)
    return {
        "dry_run": False,
        "posts": len(work.done) + len(work.left),
        "credits": spent,
        "whole": sum(mended.is_whole for mended in work.done),
        "left": len(work.left),
        **{how.value: counts[how] for how in How if how is not How.WHOLE},
        "why": work.halted.detail if work.halted is not None else None,
        "results": [asdict(mended) for mended in work.done],
    }


def tell_repair(context: Context, told: dict[str, Any]) -> None:
    """Say to people what was repaired, or what it would cost."""
    if told["dry_run"]:
        context.tell(
            f"--repair would spend {told['credits']} credits on {told['files']} files: one a post, and one more where "
            f"links die meanwhile; {told['free']} posts are repaired without any. Nothing was changed"
        )
        return
    for mended in [each for each in told["results"] if each["why"]][:SHOWN]:
        context.warn(f"{mended['aweme_id']}: not repaired: {mended['why']}; what is left of it stays")
    context.tell(
        f"repaired {told['whole']} of {told['posts']} posts for {told['credits']} credits: {told['restored']} as they "
        f"were, {told['replaced']} with other bytes (a new version, see `clipledger show ID`), {told['rewritten']} "
        f"sidecars; {told['gone']} are gone, {told['failed'] + told['busy']} failed, {told['left']} left"
        + (f": {told['why']}" if told["why"] else "")
    )
