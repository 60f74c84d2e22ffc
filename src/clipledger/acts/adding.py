"""Bring sources and single posts into an archive. Costs nothing; known ids are not queued twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from clipledger import sources
from clipledger.acts.kept_out import refuse_list
from clipledger.archive import Archive
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
from clipledger.core.model import BY_HAND, AwemeId
from clipledger.core.times import parse_duration
from clipledger.db.sources import SourceIn
from clipledger.stages.listing import known_regions

LINES_MAX, LISTS_MAX = 10_000, 500
"""Lines, and sources among them, that one request over the web may bring."""

_IN_PARTS = "add them in parts, or with `clipledger add --batch-file FILE`"
_CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class Options:
    """How sources are to be read."""

    region: str = ""
    sort: str = ""
    published_within: int = 0
    every: str | None = None
    max_pages: int | None = None
    priority: int = 0


@dataclass(slots=True)
class Added:
    """What came in: new and known posts and sources, and the names of the new sources; and which posts are withheld."""

    posts_new: int = 0
    posts_known: int = 0
    sources_new: int = 0
    sources_known: int = 0
    names: list[str] = field(default_factory=list)
    withheld: list[AwemeId] = field(default_factory=list)

    @property
    def taken(self) -> int:
        """Count the lines that were understood, whatever became of them."""
        return self.posts_new + self.posts_known + len(self.withheld) + self.sources_new + self.sources_known


async def add(archive: Archive, lines: Iterable[tuple[str, str]], options: Options) -> tuple[Added, list[str]]:
    """Register what each line names, given as (where it is from, its text); good ones are taken, bad ones told."""
    added, problems = Added(), list[str]()
    regions = await known_regions(None, archive.meta, archive.clock)
    posts: list[tuple[AwemeId, str | None]] = []
    for where, text in lines:
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


def check_many(lines: Sequence[str], now: float) -> None:
    """Refuse more than a request may bring, lists above all: each is registered by itself. Raises UsageError."""
    if len(lines) > LINES_MAX:
        raise UsageError(f"{len(lines)} lines at once, {LINES_MAX} at most: {_IN_PARTS}")
    lists = sum(_is_list(line, now) for line in lines)
    if lists > LISTS_MAX:
        raise UsageError(f"{lists} sources at once, {LISTS_MAX} at most (and {LINES_MAX} posts): {_IN_PARTS}")


def check(options: Options) -> None:
    """Refuse options that no source could have; raises UsageError."""
    list_options(region=options.region, sort=options.sort, within=options.published_within)
    if options.every is not None:
        parse_duration(options.every)


def _is_list(line: str, now: float) -> bool:
    try:
        return not isinstance(understand(line, now=now), WantedPost)
    except UsageError:
        return False


async def _tell_log(archive: Archive, added: Added) -> None:
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


async def _queue(archive: Archive, posts: list[tuple[AwemeId, str | None]], options: Options, added: Added) -> None:
    if not posts:
        return
    now = archive.clock.now()
    await archive.sources.register(SourceIn(BY_HAND, "hand", "", now))
    out = await archive.queue.add_by_hand(posts, BY_HAND, options.priority, now)
    added.posts_new, added.posts_known = added.posts_new + out.new, added.posts_known + out.known
    added.withheld += out.withheld
    posts.clear()


async def _register(
    archive: Archive,
    wanted: WantedSource | WantedShortLink,
    options: Options,
    regions: dict[str, str],
    added: Added,
) -> None:
    row = (
        _short_link(wanted, options, archive)
        if isinstance(wanted, WantedShortLink)
        else _list(wanted, options, archive)
    )
    if row.region and regions and row.region not in regions:
        raise UsageError(f"region {row.region} is not one the API knows: see `clipledger regions`")
    await refuse_list(archive, row.source, row.kind, row.subject)
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
