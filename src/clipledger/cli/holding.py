"""`hold` and `holds`: keep what must not be removed, whatever rule or request says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clipledger import sources
from clipledger.archive import Archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, table
from clipledger.cli.removing import author_id_of, clean, post_id, with_archive
from clipledger.core.errors import UsageError
from clipledger.core.links import WantedShortLink, WantedSource, understand
from clipledger.core.times import iso_time
from clipledger.db.holds import AUTHOR, ID, SOURCE, Hold


@dataclass(frozen=True, slots=True)
class Asked:
    """What `hold` was asked for, as typed."""

    ids: Sequence[str]
    author: str | None
    source: str | None
    reason: str
    release: bool


def hold(context: Context, asked: Asked) -> None:
    """Place holds, or with `release` end them."""
    if sum((bool(asked.ids), asked.author is not None, asked.source is not None)) != 1:
        raise UsageError("name the posts to hold, or --author @HANDLE, or --source SOURCE")
    if not asked.reason.strip():
        raise UsageError("--reason is missing: it tells whoever asks later why this may not be removed")
    done = with_archive(context, lambda archive: _each(archive, asked))
    word = "released" if asked.release else "held"
    if context.json:
        context.document({word: done, "exit": Exit.OK.word})
        return
    for row in done:
        covers = "" if asked.release else f": covers {row['posts']} known posts, and those to come"
        context.tell(f"{word}: {row['kind']} {row['subject']}{covers if row['kind'] != ID else ''}")
        if row.get("too_late"):
            context.warn(f"clipledger: {row['too_late']} of them were being erased already")


def list_holds(context: Context, everything: bool) -> None:
    """Print the holds that last, or all there ever were."""
    rows = with_archive(context, lambda archive: archive.holds.all())
    told = [_row(row) for row in rows if everything or row.released_at is None]
    if context.json:
        context.document({"holds": told})
        return
    cells = [(r["kind"], r["subject"], r["placed_at"][:16], r["who"], r["reason"], r["released_at"]) for r in told]
    context.tell(table(cells, ("kind", "what", "since", "who", "reason", "released")) if cells else "nothing is held")


async def _each(archive: Archive, asked: Asked) -> list[dict[str, Any]]:
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
    return named | asdict(await archive.holds.place(kind, subject, why, now))


async def _subjects(archive: Archive, asked: Asked) -> list[tuple[str, str]]:
    if asked.author is not None:
        return [(AUTHOR, await author_id_of(archive, asked.author))]
    if asked.source is not None:
        return [(SOURCE, await _source(archive, asked.source))]
    return [(ID, post_id(archive, text)) for text in asked.ids]


async def _source(archive: Archive, text: str) -> str:
    known = {row.source for row in await archive.sources.all()}
    name = text if text in known else _canonical(text, archive.clock.now())
    if name not in known:
        raise UsageError(f"{text}: not a source of this archive; `clipledger sources` lists them")
    return name


def _canonical(text: str, now: float) -> str:
    wanted = understand(text, now=now)
    if isinstance(wanted, WantedSource):
        return sources.registry()[wanted.kind].write(wanted.subject, wanted.options)
    return wanted.url if isinstance(wanted, WantedShortLink) else text


async def _refuse_unheld(archive: Archive, subjects: Sequence[tuple[str, str]]) -> None:
    lasting = {(row.kind, row.subject) for row in await archive.holds.all() if row.released_at is None}
    for kind, subject in subjects:
        if (kind, subject) not in lasting:
            raise UsageError(f"{kind} {subject}: there is no such hold; `clipledger holds` lists them")


def _row(row: Hold) -> dict[str, Any]:
    times = {"placed_at": iso_time(row.placed_at)}
    times |= {"released_at": iso_time(row.released_at)} if row.released_at is not None else {}
    return asdict(row) | times
