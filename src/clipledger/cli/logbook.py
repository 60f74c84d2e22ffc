"""`log` and `cite`, and what `show` tells of a post's origin and custody: what a reader of the archive relies on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from clipledger.answers.custody import log_head, log_rows
from clipledger.answers.posts import citable
from clipledger.archive import Archive, open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, table
from clipledger.core.citing import Style, cite
from clipledger.core.errors import UsageError
from clipledger.db.audit import broken

T = TypeVar("T")


def show_log(context: Context, since: str | None, limit: int) -> None:
    """Print who did what, the newest first, and the head of the chain."""
    rows, head = on_archive(context, lambda archive: log_rows(archive, since, limit))
    if context.json:
        context.document({"log": rows, "head": head})
        return
    cells = [(r["seq"], r["at"][:19], r["operator"], r["act"], r["subject"], r["why"], r["detail"]) for r in rows]
    context.tell(table(cells, ("row", "when", "who", "act", "what", "why", "detail")) if cells else "nothing yet")
    context.tell(f"head: {head}")


def show_head(context: Context) -> None:
    """Print the chain's head alone, to be noted where nobody of this archive can change it."""
    head = on_archive(context, log_head)
    context.document({"head": head}) if context.json else context.tell(head)


def check_head(context: Context, noted: str) -> None:
    """Prove that the log still holds a head that was noted before, and all before and behind it; else exit 7."""
    seq, _, digest = noted.partition(":")
    if not seq.isascii() or not seq.isdecimal() or len(digest) != 64:
        raise UsageError(f"--check {noted[:80]!r}: write ROW:HASH, as `clipledger log --head` gives it")
    why = on_archive(context, lambda archive: _check(archive, int(seq), digest))
    context.exit = Exit.DAMAGED if why else Exit.OK
    if context.json:
        context.document({"holds": not why, "why": why, "exit": context.exit.word})
    elif why:
        context.warn(f"clipledger: {why}")
    else:
        context.tell(f"the log holds, and row {seq} is in it as noted")


def cite_post(context: Context, text: str, style: str) -> None:
    """Print how a post is cited."""
    if style not in tuple(Style):
        raise UsageError(f"--style {style!r}: use one of {', '.join(Style)}")
    cited = cite(on_archive(context, lambda archive: citable(archive, text)), Style(style))
    context.document({"style": style, "citation": cited}) if context.json else context.tell(cited)


def on_archive(context: Context, ask: Callable[[Archive], Awaitable[T]]) -> T:
    """Open the archive for one command that asks it something."""

    async def asked() -> T:
        async with open_archive(context.archive) as archive:
            return await ask(archive)

    return asyncio.run(asked())


async def _check(archive: Archive, seq: int, digest: str) -> str | None:
    if (torn := await broken(archive.db)) is not None:
        return f"the audit log is broken at row {torn[0]}: {torn[1]}"
    found = await archive.audit.hash_of(seq)
    if found is None:
        return f"the audit log ends before row {seq}: rows were cut off"
    return None if found == digest else f"row {seq} of the audit log is another than the one that was noted"
