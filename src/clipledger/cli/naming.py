"""`read` and `remove`: do something with sources that are named as they were added."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from clipledger import sources
from clipledger.archive import Archive, open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context
from clipledger.core.chain import Act
from clipledger.core.errors import UsageError
from clipledger.core.links import WantedShortLink, WantedSource, shown, understand


def read_again(context: Context, names: Sequence[str]) -> None:
    """Make sources due now; the next run reads them."""
    done = asyncio.run(_each(context, names, remove=False))
    _tell(context, "due", done, f"{', '.join(done)}: due now; `clipledger run` reads it")


def remove(context: Context, names: Sequence[str]) -> None:
    """Stop reading sources; what they showed stays."""
    done = asyncio.run(_each(context, names, remove=True))
    _tell(context, "removed", done, f"{', '.join(done)}: not read any more; what it showed stays in the archive")


async def _each(context: Context, names: Sequence[str], *, remove: bool) -> list[str]:
    async with open_archive(context.archive) as archive:
        known = {row.source.lower(): row.source for row in await archive.sources.all() if row.kind != "hand"}
        found = [_known(known, name) for name in names]  # all of them first: nothing is done by halves
        for source in found:
            await _do(archive, source, remove)
    return found


async def _do(archive: Archive, source: str, remove: bool) -> None:
    if remove:
        await archive.sources.remove(source)
        await archive.audit.append(archive.clock.now(), Act.DROP_SOURCE, source)
    else:
        await archive.sources.read_now(source, archive.clock.now())


def _known(known: dict[str, str], name: str) -> str:
    for written in (name, _canonical(name)):
        if written is not None and written.lower() in known:
            return known[written.lower()]
    raise UsageError(f"{shown(name)}: no source of this archive; `clipledger sources` lists them")


def _canonical(name: str) -> str | None:
    """Write a source as `add` keeps it; None for what is no source at all."""
    try:
        wanted = understand(name, now=time.time())  # noqa: TID251 - bounds what can be an id
    except UsageError:
        return None
    if isinstance(wanted, WantedSource):
        return sources.registry()[wanted.kind].write(wanted.subject, wanted.options)
    return wanted.url if isinstance(wanted, WantedShortLink) else None


def _tell(context: Context, word: str, done: Sequence[str], text: str) -> None:
    if context.json:
        context.document({word: list(done), "exit": Exit.OK.word})
    else:
        context.tell(text)
