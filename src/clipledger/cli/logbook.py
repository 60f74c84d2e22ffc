"""`log` and `cite`, and what `show` tells of a post's origin and custody: what a reader of the archive relies on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from clipledger.archive import Archive, open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, table
from clipledger.cli.removing import post_id
from clipledger.core.chain import Act
from clipledger.core.citing import Citable, Style, cite
from clipledger.core.errors import UsageError
from clipledger.core.links import created_second, post_url
from clipledger.core.model import AwemeId
from clipledger.core.times import iso_time, parse_duration
from clipledger.db.audit import broken
from clipledger.db.catalog import PostRow
from clipledger.db.withheld import Receipt, Receipts

T = TypeVar("T")

_STEPS = (("added_at", "seen"), ("resolved_at", "resolved"), ("stored_at", "stored"))


def show_log(context: Context, since: str | None, limit: int) -> None:
    """Print who did what, the newest first, and the head of the chain."""
    rows, head = on_archive(context, lambda archive: _rows(archive, since, limit))
    if context.json:
        context.document({"log": rows, "head": head})
        return
    cells = [(r["seq"], r["at"][:19], r["operator"], r["act"], r["subject"], r["why"], r["detail"]) for r in rows]
    context.tell(table(cells, ("row", "when", "who", "act", "what", "why", "detail")) if cells else "nothing yet")
    context.tell(f"head: {head}")


def show_head(context: Context) -> None:
    """Print the chain's head alone, to be noted where nobody of this archive can change it."""
    head = on_archive(context, _head)
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
    cited = cite(on_archive(context, lambda archive: _citable(archive, text)), Style(style))
    context.document({"style": style, "citation": cited}) if context.json else context.tell(cited)


def on_archive(context: Context, ask: Callable[[Archive], Awaitable[T]]) -> T:
    """Open the archive for one command that asks it something."""

    async def asked() -> T:
        async with open_archive(context.archive) as archive:
            return await ask(archive)

    return asyncio.run(asked())


async def attributed(
    archive: Archive, aweme_id: AwemeId, told: Callable[[Archive, AwemeId], Awaitable[dict[str, Any] | None]]
) -> dict[str, Any] | None:
    """Add to what is known of a post where it comes from, and what happened to it, when and by whom."""
    body = await told(archive, aweme_id)
    if body is None:
        return None
    post, receipt = await archive.catalog.post(aweme_id), await Receipts(archive.db).of(aweme_id)
    return body | {
        "attribution": _attribution(aweme_id, post, body["files"]) if post is not None else None,
        "withheld": _withheld(receipt) if receipt is not None else None,
        "provenance": await _provenance(archive, aweme_id, body),
    }


async def note(archive: Archive, act: Act, which: Sequence[str] | str | None) -> None:
    """Tell the log of an act on named ids, on all of one reason, or on all."""
    told = "all" if which is None else f"of reason {which}" if isinstance(which, str) else ", ".join(which)
    await archive.audit.append(archive.clock.now(), act, detail=told)


async def _rows(archive: Archive, since: str | None, limit: int) -> tuple[list[dict[str, Any]], str]:
    from_at = archive.clock.now() - parse_duration(since) if since else 0.0
    return [asdict(row) for row in await archive.audit.newest(from_at, limit)], await _head(archive)


async def _head(archive: Archive) -> str:
    seq, digest = await archive.audit.head()
    return f"{seq}:{digest}"


async def _check(archive: Archive, seq: int, digest: str) -> str | None:
    if (torn := await broken(archive.db)) is not None:
        return f"the audit log is broken at row {torn[0]}: {torn[1]}"
    found = await archive.audit.hash_of(seq)
    if found is None:
        return f"the audit log ends before row {seq}: rows were cut off"
    return None if found == digest else f"row {seq} of the audit log is another than the one that was noted"


async def _citable(archive: Archive, text: str) -> Citable:
    aweme_id = post_id(archive, text)
    post = await archive.catalog.post(aweme_id)
    if post is None:
        if await Receipts(archive.db).of(aweme_id) is not None:
            raise UsageError(f"{aweme_id}: is withheld; there is nothing here to cite")
        raise UsageError(f"{aweme_id}: is not archived; only what is kept here can be cited")
    return Citable(
        aweme_id,
        post.author_nickname,
        post.author_handle,
        post.title,
        float(post.create_time if post.create_time is not None else created_second(aweme_id)),
        post.archived_at,
        post_url(aweme_id, post.author_handle or "_", is_photo=post.is_photo),
        post.sha256 or "",
        post.is_photo,
    )


def _attribution(aweme_id: AwemeId, post: PostRow, files: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "author_id": post.author_id,
        "author": post.author_nickname,
        "handle": f"@{post.author_handle}",
        "url": post_url(aweme_id, post.author_handle or "_", is_photo=post.is_photo),
        "captured_at": iso_time(post.archived_at),
        "sha256": {file["storage_key"]: file["sha256"] for file in files},
    }


def _withheld(receipt: Receipt) -> dict[str, Any]:
    return {
        "state": receipt.state,
        "reason": receipt.reason,
        "request": receipt.request,
        "rule": receipt.rule,
        "who": receipt.who,
        "since": iso_time(receipt.asked_at),
        "erased": iso_time(receipt.purged_at) if receipt.purged_at is not None else None,
        "erased_after": iso_time(receipt.purge_at),
        "sha256": [file.sha256 for file in receipt.files],
    }


async def _provenance(archive: Archive, aweme_id: AwemeId, body: dict[str, Any]) -> list[dict[str, str]]:
    """Tell what happened, oldest first: what the program did, what was observed, and what people did."""
    queue, found = body["queue"], list[dict[str, str]]()
    found += [{"at": queue[name], "what": what, "who": ""} for name, what in _STEPS if queue.get(name)]
    if body["post"] is not None and queue.get("settled_at"):
        found.append({"at": queue["settled_at"], "what": "archived", "who": ""})
    if (letter := body["dead_letter"]) is not None:
        found.append({"at": letter["died_at"], "what": f"dead: {letter['reason']}", "who": ""})
    found += [
        {"at": run["first_at"], "what": f"{run['state']} {run['reason']}".strip(), "who": ""}
        for run in body["availability"]
        if run["state"] == "gone"
    ]
    for row in await archive.audit.about(aweme_id):
        why = f": {row.why}" if row.why else ""
        found.append({"at": row.at, "what": f"{row.act}{why}", "who": f"{row.operator}@{row.host}"})
    return sorted(found, key=lambda each: each["at"])
