"""`init` and `add`: bring an archive into being, and ids and sources into the archive."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from clipledger import sources
from clipledger.archive import Archive, SystemClock, create_archive, open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context
from clipledger.core.chain import Act
from clipledger.core.errors import UsageError
from clipledger.core.links import (
    ListOptions,
    WantedPost,
    WantedShortLink,
    WantedSource,
    list_options,
    shown,
    understand,
)
from clipledger.core.model import AwemeId
from clipledger.core.times import parse_duration
from clipledger.db.sources import SourceIn
from clipledger.stages.listing import known_regions

BY_HAND = "by-hand"
"""The source of every post that was added by id or URL."""

LINE_MAX = 64 * 1024
_CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class Options:
    """How sources are to be read."""

    region: str
    sort: str
    published_within: int
    every: str | None
    max_pages: int | None
    priority: int


@dataclass(slots=True)
class _Added:
    posts_new: int = 0
    posts_known: int = 0
    sources_new: int = 0
    sources_known: int = 0
    names: list[str] = field(default_factory=list)


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
    _check(options)
    added, problems = asyncio.run(_add(context.archive, what, batch_file, options))
    for problem in problems:
        context.warn(f"clipledger: {problem}")
    if context.json:
        context.document(
            {
                "posts": {"new": added.posts_new, "known": added.posts_known},
                "sources": {"new": added.sources_new, "known": added.sources_known},
                "problems": problems,
                "exit": (Exit.USAGE if problems else Exit.OK).word,
            }
        )
    else:
        context.tell(
            f"posts: {added.posts_new} new, {added.posts_known} known; "
            f"sources: {added.sources_new} new, {added.sources_known} known"
        )
    context.exit = Exit.USAGE if problems else Exit.OK


def _check(options: Options) -> None:
    list_options(region=options.region, sort=options.sort, within=options.published_within)
    if options.every is not None:
        parse_duration(options.every)


async def _add(folder: Path, what: Sequence[str], batch: str | None, options: Options) -> tuple[_Added, list[str]]:
    added, problems = _Added(), []
    async with open_archive(folder) as archive:
        regions = await known_regions(None, archive.meta, archive.clock)
        posts: list[tuple[AwemeId, str | None]] = []
        for where, text in _lines(what, batch):
            try:
                wanted = understand(text, now=archive.clock.now())
                _check_taken(text, wanted, options)
                if isinstance(wanted, WantedPost):
                    posts.append((wanted.aweme_id, wanted.asked_url))
                else:
                    await _register(archive, wanted, options, regions, added)
            except UsageError as error:
                problems.append(f"{where}{error.detail}")
            if len(posts) >= _CHUNK:
                await _queue(archive, posts, options, added)
        await _queue(archive, posts, options, added)
        await _tell_log(archive, added)
    return added, problems


async def _tell_log(archive: Archive, added: _Added) -> None:
    if added.posts_new or added.names:
        detail = f"{added.posts_new} posts, {added.sources_new} sources new: {', '.join(added.names)}"
        await archive.audit.append(archive.clock.now(), Act.ADD, detail=detail)


def _check_taken(text: str, wanted: WantedPost | WantedShortLink | WantedSource, options: Options) -> None:
    """Refuse options that a kind does not take: ignored in silence, they would be missed much later."""
    kind = wanted.kind if isinstance(wanted, WantedSource) else "post"
    listed = isinstance(wanted, WantedSource)
    taken = sources.registry()[wanted.kind].options if isinstance(wanted, WantedSource) else frozenset[str]()
    given = (
        ("--region", options.region, "region" in taken),
        ("--sort", options.sort, "sort" in taken),
        ("--published-within", options.published_within, "within" in taken),
        ("--every", options.every, listed),
        ("--max-pages", options.max_pages, listed),
    )
    if wrong := [name for name, value, is_taken in given if value and not is_taken]:
        what = "post" if kind == "post" else f"{kind} source"
        raise UsageError(f"'{shown(text)}': a {what} takes no {' and no '.join(wrong)}; add it in a command of its own")


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


async def _queue(archive: Archive, posts: list[tuple[AwemeId, str | None]], options: Options, added: _Added) -> None:
    if not posts:
        return
    now = archive.clock.now()
    await archive.sources.register(SourceIn(BY_HAND, "hand", "", now))
    out = await archive.queue.add_by_hand(posts, BY_HAND, options.priority, now)
    added.posts_new, added.posts_known = added.posts_new + out.new, added.posts_known + out.known
    posts.clear()


async def _register(
    archive: Archive,
    wanted: WantedSource | WantedShortLink,
    options: Options,
    regions: dict[str, str],
    added: _Added,
) -> None:
    row = (
        _short_link(wanted, options, archive)
        if isinstance(wanted, WantedShortLink)
        else _list(wanted, options, archive)
    )
    if row.region and regions and row.region not in regions:
        raise UsageError(f"region {row.region} is not one the API knows: see `clipledger regions`")
    if await archive.sources.register(row):
        added.sources_new += 1
        added.names.append(row.source)
    else:
        added.sources_known += 1


def _short_link(wanted: WantedShortLink, options: Options, archive: Archive) -> SourceIn:
    now = archive.clock.now()
    return SourceIn(wanted.url, "link", wanted.url, now, priority=options.priority)


def _list(wanted: WantedSource, options: Options, archive: Archive) -> SourceIn:
    kind, now = sources.registry()[wanted.kind], archive.clock.now()
    narrowed = _narrowed(wanted.options, options, kind.options)
    return SourceIn(
        kind.write(wanted.subject, narrowed),
        wanted.kind,
        wanted.subject,
        now,
        region=narrowed.region,
        sort=narrowed.sort,
        published_within=narrowed.within,
        priority=options.priority,
        every_s=round(parse_duration(options.every)) if options.every is not None else None,
        max_pages=options.max_pages,
    )


def _narrowed(written: ListOptions, options: Options, taken: frozenset[str]) -> ListOptions:
    """Let what is written in the source itself win; the command's options go to the kinds that take them."""
    return list_options(
        region=written.region or (options.region if "region" in taken else ""),
        sort=written.sort or (options.sort if "sort" in taken else ""),
        within=written.within or (options.published_within if "within" in taken else 0),
    )
