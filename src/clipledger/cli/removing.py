"""`withdraw`: take posts out for good, in two steps, and tell those who were given copies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TypeVar

from clipledger import presence
from clipledger.acts.removing import Asked, foretell, restore
from clipledger.acts.removing import withdraw as take
from clipledger.answers.custody import notices
from clipledger.archive import Archive, open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, size, table
from clipledger.core.errors import UsageError
from clipledger.core.times import iso_time

T = TypeVar("T")


PAGE = 1000


def withdraw(context: Context, asked: Asked) -> None:
    """Withdraw posts, or with `undo` take them out of quarantine again; a held one is refused, and nothing done."""
    if bool(asked.ids) == (asked.author is not None):
        raise UsageError("name the posts to withdraw, or --author @HANDLE, not both")
    if not asked.dry_run:
        for option, text in (("--reason", asked.reason), ("--request", asked.request)):
            if not text.strip() and not (asked.undo and option == "--request"):
                raise UsageError(f"{option} is missing: it stays in the receipt when the post is gone")
    if asked.undo:
        _restore(context, asked)
    elif asked.dry_run:
        _foretell(context, asked)
    else:
        _withdraw(context, asked)


def list_notices(context: Context, since: str | None) -> None:
    """Print one JSON line for each removal: who was given copies compares the ids and the sha256s."""
    for notice in with_archive(context, lambda archive: notices(archive, since)):
        context.line(notice)


def with_archive(context: Context, ask: Callable[[Archive], Awaitable[T]]) -> T:
    """Open the archive for one command that changes it."""

    async def asked() -> T:
        async with open_archive(context.archive) as archive:
            with presence.hold_archive(archive.folder):
                return await ask(archive)

    return asyncio.run(asked())


def _withdraw(context: Context, asked: Asked) -> None:
    taken, purged, scrubbed, due_at = with_archive(context, lambda archive: take(archive, asked))
    body = {
        "withdrawn": list(taken.taken),
        "purged_before": list(taken.before),
        "under_way": list(taken.under_way),
        "purge_at": iso_time(due_at) if due_at is not None else None,
        "purged": asdict(purged),
        "scrubbed": scrubbed,
        "exit": Exit.OK.word,
    }
    if context.json:
        context.document(body)
        return
    context.tell(f"{len(taken.taken)} withdrawn: hidden from search and exports, and never archived again")
    if asked.now:
        context.tell(f"erased: {purged.posts} posts, {purged.files} files, {size(purged.bytes)}")
    if due_at is not None:
        context.tell(f"erased for good after {iso_time(due_at)}, by any run or `clipledger janitor`; until then --undo")
    if taken.under_way:
        context.tell(f"{len(taken.under_way)} were under way: what a worker may still store is erased with the rest")
    if not scrubbed:
        context.warn("clipledger: deleted text may still be in the database's files: run `clipledger db scrub`")


def _foretell(context: Context, asked: Asked) -> None:
    rows = with_archive(context, lambda archive: foretell(archive, asked))
    if context.json:
        context.document({"would_withdraw": rows, "exit": Exit.OK.word})
        return
    told = [(row["aweme_id"], row["state"], row["files"], size(row["bytes"]), row["held"]) for row in rows]
    context.tell(table(told, ("id", "state", "files", "bytes", "held")) if told else "nothing is archived of it")


def _restore(context: Context, asked: Asked) -> None:
    if asked.author is not None or asked.now:
        raise UsageError("--undo takes ids: an author stays withheld")
    restored = with_archive(context, lambda archive: restore(archive, asked))
    if context.json:
        context.document({"restored": restored, "exit": Exit.OK.word})
    else:
        context.tell(f"{len(restored)} restored: as they were before")
