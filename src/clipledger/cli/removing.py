"""`withdraw`: take posts out for good, in two steps, and tell those who were given copies."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TypeVar

from clipledger import presence
from clipledger.acts.removing import Asked, Withdrawn, foretell, noted_told, restore, restored_told
from clipledger.acts.removing import withdraw as take
from clipledger.answers.custody import PAGE, authors_out, ban_row, notices
from clipledger.archive import Archive, open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, size, some, table
from clipledger.core.errors import UsageError
from clipledger.core.model import State
from clipledger.core.times import iso_time
from clipledger.db.bans import Ban

T = TypeVar("T")


def withdraw(context: Context, asked: Asked) -> None:
    """Withdraw posts, or with `undo` take them out of quarantine again; a held one is refused, and nothing done."""
    if bool(asked.ids) == (asked.author is not None):
        raise UsageError("name the posts to withdraw, or --author @HANDLE, not both")
    _refuse_unsaid(asked)
    if asked.undo:
        _restore(context, asked)
    elif asked.dry_run:
        _foretell(context, asked)
    else:
        _withdraw(context, asked)


def _refuse_unsaid(asked: Asked) -> None:
    """Name all that is missing at once, and what does not go together."""
    if asked.undo and (asked.now or asked.dry_run):
        raise UsageError("--undo takes neither --now nor --dry-run: it brings back what is not erased yet")
    wanted = [("--reason", asked.reason)] + ([] if asked.undo else [("--request", asked.request)])
    missing = [option for option, text in wanted if not text.strip()]
    if not missing or asked.dry_run:
        return
    named = " and ".join(missing)
    if asked.undo:
        raise UsageError(f"{named} is missing: the audit log keeps why it was brought back")
    tells = "are missing: they stay" if len(missing) > 1 else "is missing: it stays"
    raise UsageError(f"{named} {tells} in the receipt when the post is gone")


def refuse_beside_a_list(asked: Asked) -> None:
    """Refuse to list where something was to be done: it would not be."""
    if asked != Asked([], None, "", "", now=False, dry_run=False, undo=False):
        raise UsageError("--authors and --notices only list: name no posts and nothing to do beside them")


def list_notices(context: Context, since: str | None) -> None:
    """Print one JSON line for each removal: who was given copies compares the ids and the sha256s."""
    for notice in with_archive(context, lambda archive: notices(archive, since)):
        context.line(notice)


def list_authors(context: Context) -> None:
    """List the authors who are kept out: nothing of theirs is shown, and nothing is archived."""

    async def everybody(archive: Archive) -> list[Ban]:
        found = list[Ban]()
        while page := await authors_out(archive, found[-1].author_id if found else "", PAGE):
            found += page
        return found

    bans = with_archive(context, everybody)
    if context.json:
        context.document({"authors": [ban_row(ban) for ban in bans], "exit": Exit.OK.word})
        return
    rows = [(ban.author_id, iso_time(ban.asked_at), ban.reason, ban.request) for ban in bans]
    context.tell(table(rows, ("author", "since", "reason", "request")) if rows else "no author is kept out")
    if rows:
        context.tell("`clipledger withdraw --author ID --undo --reason TEXT` lets one in again")


def with_archive(context: Context, ask: Callable[[Archive], Awaitable[T]]) -> T:
    """Open the archive for one command that changes it."""

    async def asked() -> T:
        async with open_archive(context.archive) as archive:
            with presence.hold_archive(archive.folder):
                return await ask(archive)

    return asyncio.run(asked())


def _withdraw(context: Context, asked: Asked) -> None:
    done = with_archive(context, lambda archive: take(archive, asked))
    if context.json:
        context.document(_told(done))
        return
    taken = done.taken
    context.tell(f"{len(taken.taken)} withdrawn: hidden from search and exports, and never archived again")
    if done.stood is not None:
        first = f"on {iso_time(done.stood.asked_at)} ({done.stood.request or done.stood.reason})"
        context.tell(f"the author was withdrawn already {first}: that stands, and this request is in the log")
    if taken.noted:
        named = [f"{each} (on {iso_time(on.asked_at)}, {on.request})" for each, on in taken.noted.items()]
        context.tell(f"was withdrawn already: {some(named)}: both requests are in the log, and the earlier date stands")
    _tell_named(context, done)
    if taken.unseen:
        context.tell(f"never seen here: {some(taken.unseen)}: kept out from now on")
    if taken.before:
        context.tell(f"{len(taken.before)} were erased before")
    if asked.now:
        context.tell(f"erased: {done.purged.posts} posts, {done.purged.files} files, {size(done.purged.bytes)}")
    if done.due is not None:
        context.tell(f"erased for good {_when(*done.due)}, by any run or `clipledger janitor`; until then --undo")
    if taken.under_way:
        context.tell(f"{len(taken.under_way)} were under way: what a worker may still store is erased with the rest")
    if not done.scrubbed:
        context.warn("clipledger: deleted text may still be in the database's files: run `clipledger db scrub`")


def _tell_named(context: Context, done: Withdrawn) -> None:
    """Say what of an author's was found by the handle alone, and what waited."""
    if done.named.theirs:
        context.tell(f"{len(done.named.theirs)} of them tell the author's handle and no id")
    if done.named.unsure:
        left = (
            f"{len(done.named.unsure)} posts tell no id, and a handle that others bore too: {some(done.named.unsure)}"
        )
        context.warn(f"clipledger: {left}: not withdrawn; look at them, and name them by id")
    if done.paused:
        context.tell(f"paused, as each page would cost a credit: {', '.join(done.paused)}")
    if done.kept_waiting:
        context.tell(f"{done.kept_waiting} ids of their lists were waiting: kept out, no credit is spent on them")


def _told(done: Withdrawn) -> dict[str, object]:
    first, last = done.due if done.due is not None else (None, None)
    return {
        "withdrawn": list(done.taken.taken),
        "never_seen": list(done.taken.unseen),
        "purged_before": list(done.taken.before),
        "under_way": list(done.taken.under_way),
        "by_handle": list(done.named.theirs),
        "unsure": list(done.named.unsure),
        "kept_waiting": done.kept_waiting,
        "paused": list(done.paused),
        "withdrawn_already": noted_told(done),
        "purge_at": iso_time(first) if first is not None else None,
        "purge_last_at": iso_time(last) if last is not None else None,
        "purged": asdict(done.purged),
        "scrubbed": done.scrubbed,
        "exit": Exit.OK.word,
    }


def _when(first: float, last: float) -> str:
    """Say from when to when: what was withdrawn before keeps its earlier date."""
    if iso_time(first)[:16] == iso_time(last)[:16]:
        return f"after {iso_time(last)}"
    return f"between {iso_time(first)} and {iso_time(last)}"


def _foretell(context: Context, asked: Asked) -> None:
    rows = with_archive(context, lambda archive: foretell(archive, asked))
    if context.json:
        context.document({"would_withdraw": rows, "exit": Exit.OK.word})
        return
    told = [(row["aweme_id"], row["state"], row["files"], size(row["bytes"]), row["held"]) for row in rows]
    if not told:
        context.tell("nothing is archived of it")
        return
    context.tell(table(told, ("id", "state", "files", "bytes", "held")))
    held = [row["aweme_id"] for row in rows if row["held"]]
    if held:
        context.tell(f"nothing would be withdrawn: on hold are {some(held)}")
        return
    fresh = [row for row in rows if row["state"] != State.WITHHELD]
    files, sizes = (sum(row[name] for row in fresh) for name in ("files", "bytes"))
    before = f"; {len(rows) - len(fresh)} are out already" if len(fresh) < len(rows) else ""
    context.tell(f"would withdraw: {len(fresh)} ids, {files} files, {size(sizes)}{before}")


def _restore(context: Context, asked: Asked) -> None:
    done = with_archive(context, lambda archive: restore(archive, asked))
    if context.json:
        context.document(restored_told(done) | {"exit": Exit.OK.word})
        return
    context.tell(f"{len(done.posts)} restored: as they were before")
    if done.author_id is not None:
        context.tell(f"author {done.author_id}: let in again; {done.due_again} ids that were kept out wait again")
    if done.stay_out:
        context.tell(f"withdrawn by themselves, and still out: {some(done.stay_out)}; `withdraw ID --undo`")
    if done.erasing:
        context.tell(f"being erased: {len(done.erasing)} posts: {some(done.erasing)}: too late to bring them back")
    if len(done.requests) > 1:
        context.tell(f"{len(done.requests)} requests had asked for it, lifted as one: {'; '.join(done.requests)}")
    for source in done.paused:
        context.tell(f"still paused: `clipledger resume {source}` has it read again")
