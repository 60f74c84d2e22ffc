"""`plot`: pictures of growth, intake, losses and credits, into a file or onto the terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from clipledger.archive import Archive, open_archive
from clipledger.cli.output import Context
from clipledger.core.errors import UsageError
from clipledger.core.links import WantedPost, shown, understand
from clipledger.core.times import iso_time
from clipledger.core.words import tag_of
from clipledger.db.series import Curves, Series
from clipledger.export import blocks, pictures

_DAILY = {
    "intake": "posts archived a day",
    "gone": "archived posts found to be gone, a day",
    "credits": "credits a day",
}


def growth(context: Context, aweme_id: str | None, author: str | None, tag: str | None, to: Path | None) -> None:
    """Draw plays over time."""
    if sum(each is not None for each in (aweme_id, author, tag)) != 1:
        raise UsageError("name one of: a post's ID, --author @HANDLE, --tag TAG")

    async def read(archive: Archive) -> tuple[str, Series]:
        curves = Curves(archive.db)
        if aweme_id is not None:
            wanted = understand(aweme_id, now=archive.clock.now())
            if not isinstance(wanted, WantedPost):
                raise UsageError(f"'{shown(aweme_id)}' is not a post: give its id or its URL")
            return f"plays of {wanted.aweme_id}", await curves.growth_of(wanted.aweme_id)
        if author is not None:
            return f"plays of @{author.removeprefix('@')}", await curves.growth_by(author)
        return f"plays of #{tag_of(tag or '')}", await curves.growth_with(tag_of(tag or ""))

    _show(context, read, to, bars=False)


def daily(context: Context, what: str, days: int, to: Path | None) -> None:
    """Draw a count a day."""

    async def read(archive: Archive) -> tuple[str, Series]:
        return _DAILY[what], await Curves(archive.db).daily(what, archive.clock.now() - days * 86_400.0)

    _show(context, read, to, bars=True)


def _show(
    context: Context, read: Callable[[Archive], Awaitable[tuple[str, Series]]], to: Path | None, *, bars: bool
) -> None:
    if to is not None:
        pictures.check(to)
    title, series = asyncio.run(_read(context, read))
    if series.of > 1:
        title += (
            f", {series.of} posts" if series.posts == series.of else f", the {series.posts} most played of {series.of}"
        )
    if to is not None:
        pictures.save(to, series.points, title, bars=bars)
    if context.json:
        points = [{"at": iso_time(at), "value": int(value)} for at, value in series.points]
        context.document({"title": title, "points": points, "file": str(to) if to else None, "exit": context.exit.word})
    elif to is not None:
        context.tell(f"{title}: {to}")
    else:
        context.tell(blocks.draw(series.points, title, bars=bars, plain=not _blocks_can_be_shown()))


async def _read(context: Context, read: Callable[[Archive], Awaitable[tuple[str, Series]]]) -> tuple[str, Series]:
    async with open_archive(context.archive) as archive:
        return await read(archive)


def _blocks_can_be_shown() -> bool:
    try:
        "▁█".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
