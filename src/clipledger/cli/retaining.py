"""`retention` and `db scrub`: do what the retention rules say, or show it; leave nothing deleted in the files."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from clipledger.archive import Archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, size, table
from clipledger.cli.removing import with_archive
from clipledger.core.errors import StorageUnavailable, UsageError
from clipledger.events import Events
from clipledger.stages.retention import Enforced
from clipledger.wiring import removal, retention

SHOWN = 50
"""Posts listed for people; JSON lists all."""

_NO_RULES = "there are no retention rules: write them as [[lifecycle.rules]] into clipledger.toml"


def retain(context: Context, dry_run: bool, limit: int | None) -> None:
    """Delete and move what the rules name, or show exactly what that would be."""
    if dry_run:
        _foretell(context)
        return
    done, scrubbed = with_archive(context, lambda archive: _enforce(context, archive, limit))
    if context.json:
        context.document(asdict(done) | {"scrubbed": scrubbed, "exit": Exit.OK.word})
        return
    context.tell(
        f"deleted {done.deleted} posts, moved {done.cooled} to colder storage, {size(done.bytes)}; {done.held} are held"
    )
    if not scrubbed:
        context.warn("clipledger: deleted text may still be in the database's files: run `clipledger db scrub`")


def scrub(context: Context) -> None:
    """Rewrite the database's files so that nothing deleted is left in them."""
    if not with_archive(context, lambda archive: removal(archive, Events(archive.clock)).scrub(whatever_size=True)):
        raise StorageUnavailable("a reader of another process is in the way: stop what runs on the archive, then again")
    if context.json:
        context.document({"scrubbed": True, "exit": Exit.OK.word})
    else:
        context.tell("nothing that was erased is left in the database's files")


def _foretell(context: Context) -> None:
    rows = with_archive(context, _judged)
    going = [row for row in rows if row["held"] is None]
    total = sum(row["bytes"] for row in going)
    if context.json:
        context.document({"would": rows, "posts": len(going), "bytes": total, "exit": Exit.OK.word})
        return
    told = [(row["aweme_id"], row["action"], row["rule"], size(row["bytes"]), row["held"]) for row in rows[:SHOWN]]
    if told:
        context.tell(table(told, ("id", "action", "rule", "bytes", "held")))
    if len(rows) > SHOWN:
        context.tell(f"... and {len(rows) - SHOWN} more; --json lists them")
    context.tell(f"{len(going)} posts would go, {size(total)}; {len(rows) - len(going)} are held")


async def _judged(archive: Archive) -> list[dict[str, Any]]:
    if not archive.settings.lifecycle.rules:
        raise UsageError(_NO_RULES)
    return [
        {
            "aweme_id": judged.aweme_id,
            "action": judged.rule.action,
            "rule": judged.rule.name,
            "bytes": judged.bytes,
            "held": judged.held,
        }
        async for judged in retention(archive, Events(archive.clock)).judged()
    ]


async def _enforce(context: Context, archive: Archive, limit: int | None) -> tuple[Enforced, bool]:
    if not archive.settings.lifecycle.rules:
        raise UsageError(_NO_RULES)
    events = Events(archive.clock)

    def progress(done: Enforced) -> None:
        if context.loudness >= 0 and sys.stderr.isatty():
            sys.stderr.write(f"\r{done.deleted} deleted, {done.cooled} moved, {size(done.bytes)} \r")

    done = await retention(archive, events).enforce(limit, progress)
    return done, await removal(archive, events).scrub(whatever_size=True)
