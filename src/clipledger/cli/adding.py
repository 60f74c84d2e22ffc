"""`init` and `add`: bring an archive into being, and ids and sources into the archive."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from clipledger.acts.adding import Added, Options, add, check
from clipledger.archive import SystemClock, create_archive, open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, tell_withheld
from clipledger.core.errors import UsageError

LINE_MAX = 64 * 1024


def initialise(context: Context, folder: Path) -> None:
    """Create an archive in `folder`, or say that it is one already."""
    made = create_archive(folder, SystemClock())
    if context.json:
        context.document({"archive": str(folder.resolve()), "created": made})
    elif made:
        context.tell(f"made an archive in {folder}\nnext: clipledger --archive {folder} add @handle '#tag' ...")
    else:
        context.tell(f"{folder} is an archive already; nothing was changed")


def add_sources(context: Context, what: Sequence[str], batch_file: str | None, options: Options) -> None:
    """Register what was typed and what a batch file holds; good lines are taken, bad ones listed."""
    if not what and batch_file is None:
        raise UsageError("nothing to add: name a source, a URL or an id, or give --batch-file")
    check(options)
    added, problems = asyncio.run(_added(context.archive, _lines(what, batch_file), options))
    for problem in problems:
        context.warn(f"clipledger: {problem}")
    if context.json:
        context.document(
            {
                "posts": {"new": added.posts_new, "known": added.posts_known},
                "sources": {"new": added.sources_new, "known": added.sources_known},
                "withheld": added.withheld,
                "problems": problems,
                "exit": (Exit.USAGE if problems else Exit.OK).word,
            }
        )
    else:
        context.tell(
            f"posts: {added.posts_new} new, {added.posts_known} known; "
            f"sources: {added.sources_new} new, {added.sources_known} known"
        )
        tell_withheld(context, added.withheld)
    context.exit = Exit.USAGE if problems else Exit.OK


async def _added(folder: Path, lines: Iterator[tuple[str, str]], options: Options) -> tuple[Added, list[str]]:
    async with open_archive(folder) as archive:
        return await add(archive, lines, options)


def _lines(what: Sequence[str], batch: str | None) -> Iterator[tuple[str, str]]:
    for text in what:
        yield "", text
    if batch is None:
        return
    name = "stdin" if batch == "-" else batch
    try:
        with _opened(batch) as file:
            for number, line in enumerate(_bounded(file), start=1):
                text = line.split(" #", 1)[0].strip() if not line.startswith("#") or _is_tag(line) else ""
                if text:
                    yield f"{name}:{number}: ", text
    except OSError as error:
        raise UsageError(f"--batch-file {batch}: {error.strerror}") from None


def _opened(batch: str) -> TextIO:
    if batch != "-":
        return Path(batch).open(encoding="utf-8-sig", errors="surrogateescape")
    if sys.stdin is None:
        raise UsageError("--batch-file -: standard input is closed")
    return open(sys.stdin.fileno(), encoding="utf-8-sig", errors="surrogateescape", closefd=False)


def _bounded(file: TextIO) -> Iterator[str]:
    """Read lines of any length in bounded memory: what goes beyond `LINE_MAX` characters is dropped, not a new line."""
    while line := file.readline(LINE_MAX):
        rest = line
        while rest and not rest.endswith("\n"):
            rest = file.readline(LINE_MAX)
        yield line


def _is_tag(line: str) -> bool:
    """Tell `#dance` (a tag) from `# a comment` and `#!`: a tag has its name right behind the sign."""
    return len(line) > 1 and (line[1].isalnum() or line[1] == "_") and len(line.split()) == 1
