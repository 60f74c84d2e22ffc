"""Place and release holds: what is held is never removed, whatever rule or request says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clipledger.answers.words import author_id_of, clean, post_id, source_name
from clipledger.archive import Archive
from clipledger.core.errors import UsageError
from clipledger.core.model import AwemeId
from clipledger.db.holds import AUTHOR, ID, SOURCE


@dataclass(frozen=True, slots=True)
class Asked:
    """What `hold` was asked for, as typed."""

    ids: Sequence[str]
    author: str | None
    source: str | None
    reason: str
    release: bool


async def hold(archive: Archive, asked: Asked) -> list[dict[str, Any]]:
    """Place holds, or with `release` end them; tell of each what it covers."""
    if sum((bool(asked.ids), asked.author is not None, asked.source is not None)) != 1:
        raise UsageError("name the posts to hold, or --author @HANDLE, or --source SOURCE")
    if not asked.reason.strip():
        raise UsageError("--reason is missing: it tells whoever asks later why this may not be removed")
    subjects = await _subjects(archive, asked)
    if asked.release:
        await _refuse_unheld(archive, subjects)
    return [await _one(archive, kind, subject, asked) for kind, subject in subjects]


async def _one(archive: Archive, kind: str, subject: str, asked: Asked) -> dict[str, Any]:
    now, why = archive.clock.now(), clean(asked.reason)
    named = {"kind": kind, "subject": subject}
    if asked.release:
        await archive.holds.release(kind, subject, why, now)
        return named
    unseen = kind == ID and await archive.queue.row(AwemeId(subject)) is None
    return named | asdict(await archive.holds.place(kind, subject, why, now)) | {"never_seen": unseen}


async def _subjects(archive: Archive, asked: Asked) -> list[tuple[str, str]]:
    if asked.author is not None:
        return [(AUTHOR, await author_id_of(archive, asked.author))]
    if asked.source is not None:
        return [(SOURCE, await _source(archive, asked.source))]
    return [(ID, post_id(archive, text)) for text in asked.ids]


async def _source(archive: Archive, text: str) -> str:
    known = {row.source for row in await archive.sources.all()}
    name = text if text in known else source_name(text, archive.clock.now())
    if name not in known:
        raise UsageError(f"{text}: not a source of this archive; `clipledger sources` lists them")
    return name


async def _refuse_unheld(archive: Archive, subjects: Sequence[tuple[str, str]]) -> None:
    lasting = {(row.kind, row.subject) for row in await archive.holds.all() if row.released_at is None}
    for kind, subject in subjects:
        if (kind, subject) not in lasting:
            raise UsageError(f"{kind} {subject}: there is no such hold; `clipledger holds` lists them")
