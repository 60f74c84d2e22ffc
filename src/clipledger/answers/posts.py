"""Everything known of one id: state, why, files, attribution, custody, credits, sightings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from clipledger.answers.store import custody_told
from clipledger.answers.words import post_id, timed
from clipledger.archive import Archive
from clipledger.core.citing import Citable
from clipledger.core.errors import UsageError
from clipledger.core.links import created_second, post_url
from clipledger.core.model import AwemeId, State
from clipledger.core.times import iso_time
from clipledger.db.catalog import PostRow
from clipledger.db.withheld import Receipt, Receipts

_TELLING = ("author_part", "storage_key", "asked_url", "last_detail", "hint")
"""Of a row in the queue: what names the author of a withheld post."""

_STEPS = (("added_at", "seen"), ("resolved_at", "resolved"), ("stored_at", "stored"))


async def known(archive: Archive, aweme_id: AwemeId) -> dict[str, Any] | None:
    """Tell what the tables hold of one id; None when it was never seen."""
    row = await archive.queue.row(aweme_id)
    if row is None:
        return None
    post = await archive.catalog.post(aweme_id)
    withheld = row.state == State.WITHHELD
    return {
        "aweme_id": aweme_id,
        "state": row.state,
        "url": post_url(aweme_id, post.author_handle, is_photo=post.is_photo)
        if post is not None
        else (None if withheld else row.asked_url) or post_url(aweme_id),
        "queue": timed(asdict(row) | (dict.fromkeys(_TELLING) if withheld else {})),
        "post": timed(asdict(post)) if post is not None else None,
        "files": [timed(asdict(file)) for file in await archive.catalog.files_of(aweme_id)],
        "custody": await custody_told(archive, aweme_id),
        "availability": [timed(asdict(run)) for run in await archive.catalog.availability(aweme_id)],
        "dead_letter": await _letter(archive, aweme_id),
        "past": [timed(asdict(event)) for event in await archive.samples.events_of(aweme_id)],
        "sightings": [timed(asdict(seen)) for seen in await archive.books.sightings(aweme_id)],
        "credits": [timed(asdict(call)) for call in await archive.credits.of(aweme_id)],
    }


async def attributed(archive: Archive, aweme_id: AwemeId) -> dict[str, Any] | None:
    """Tell what is known of an id, where it comes from, what happened to it, when and by whom; None if never seen."""
    body = await known(archive, aweme_id)
    if body is None:
        return None
    post, receipt = await archive.catalog.post(aweme_id), await Receipts(archive.db).of(aweme_id)
    return body | {
        "attribution": _attribution(aweme_id, post, body["files"]) if post is not None else None,
        "withheld": _withheld(receipt) if receipt is not None else None,
        "provenance": await _provenance(archive, aweme_id, body),
    }


async def citable(archive: Archive, text: str) -> Citable:
    """Give what a citation needs of an archived post; UsageError for one that is not here."""
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


async def _letter(archive: Archive, aweme_id: AwemeId) -> dict[str, Any] | None:
    letter = await archive.queue.letter(aweme_id)
    return timed(asdict(letter)) if letter is not None else None


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
