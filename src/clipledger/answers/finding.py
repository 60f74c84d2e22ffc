"""Find posts, authors and what disappeared."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from clipledger.archive import Archive
from clipledger.core.errors import UsageError
from clipledger.core.links import WantedSource, post_url, shown, understand
from clipledger.core.query import Query, both, parse
from clipledger.core.times import iso_time, parse_duration
from clipledger.core.words import tag_of
from clipledger.db.authors import AuthorRow, Authors
from clipledger.db.gone import Gone, GonePost, Wanted
from clipledger.db.search import Facets, Hit, Search, Sort
from clipledger.sources import registry


@dataclass(frozen=True, slots=True)
class Asked:
    """What `search` was asked for, as typed."""

    words: str
    fields: dict[str, str | None]
    gone: bool
    sort: str
    limit: int
    after: str | None
    facets: bool


async def search(archive: Archive, asked: Asked, query: Query, sort: Sort) -> dict[str, Any]:
    """Give one page of what matches, how many do, and how they spread if that was asked for."""
    found = Search(archive.db)
    page = await found.find(query, sort, asked.limit, asked.after)
    return {
        "posts": [tile(hit) for hit in page.hits],
        "matches": await found.count(query),
        "after": page.after,
        "sort": sort.value,
        "facets": _facets(await found.facets(query)) if asked.facets else None,
    }


async def gone(
    archive: Archive,
    since: str | None,
    source: str | None,
    author: str | None,
    tag: str | None,
    limit: int,
    before: tuple[float, str] | None = None,
) -> dict[str, Any]:
    """List what disappeared, saved or not, the latest first."""
    from_at = archive.clock.now() - parse_duration(since) if since else None
    named = source_of(archive, source) if source else None
    wanted = Wanted(from_at, named, author, tag_of(tag) if tag else None, before)
    gone = Gone(archive.db)
    found = sorted(
        [*await gone.archived(wanted, limit), *await gone.never_resolved(wanted, limit)],
        key=lambda each: (each.gone_at, each.aweme_id),
        reverse=True,
    )[:limit]
    who = Counter(f"@{each.author_handle}" for each in found if each.archived)
    tags = Counter(f"#{tag}" for each in found for tag in each.tags)
    return {"gone": [_gone_row(each) for each in found], "authors": _counted(who), "tags": _counted(tags)}


async def authors(archive: Archive, who: str | None, after: str, limit: int) -> list[dict[str, Any]]:
    """List authors by id behind one, or who has or had a handle."""
    known = Authors(archive.db)
    return [_author(row) for row in (await known.called(who) if who else await known.page(after, limit))]


async def author(archive: Archive, author_id: str) -> list[dict[str, Any]]:
    """Tell of the one author of an id, which every author has one of, whatever they call themselves."""
    return [_author(row) for row in await Authors(archive.db).of(author_id)]


def query_of(asked: Asked) -> Query:
    """Read what is searched for: words, and fields beside them."""
    query = parse(asked.words)
    for name, value in asked.fields.items():
        if value is not None:
            quoted = value.replace('"', "")
            query = both(query, parse(f'{name}:"{quoted}"'))
    return both(query, parse("is:gone")) if asked.gone else query


def sort_of(text: str) -> Sort:
    """Read an order; raises UsageError that names them all."""
    try:
        return Sort(text)
    except ValueError:
        raise UsageError(f"--sort {text!r}: use one of {', '.join(Sort)}") from None


def tile(hit: Hit) -> dict[str, Any]:
    """Write one post that was found."""
    row = asdict(hit)
    gone_at = row.pop("gone_at")
    return row | {
        "created": iso_time(float(int(hit.aweme_id) >> 32)),
        "url": post_url(hit.aweme_id, hit.author_handle, is_photo=hit.is_photo),
        "gone_at": iso_time(gone_at) if gone_at is not None else None,
    }


def _facets(facets: Facets) -> dict[str, Any]:
    return {
        "counted": facets.counted,
        "complete": facets.complete,
        "authors": [{"value": f"@{handle}", "author_id": who, "posts": n} for who, handle, n in facets.authors],
        "tags": [{"value": f"#{tag}", "posts": n} for tag, n in facets.tags],
        "regions": [{"value": region or "-", "posts": n} for region, n in facets.regions],
        "months": [{"value": month, "posts": n} for month, n in facets.months],
    }


def source_of(archive: Archive, text: str) -> str:
    """Read the name of a source; raises UsageError."""
    match understand(text, now=archive.clock.now()):
        case WantedSource(kind, subject, options):
            return registry()[kind].write(subject, options)
    raise UsageError(f"'{shown(text)}' is not a source: use @handle, #tag, search:WORDS ...")


def _counted(counts: Counter[str]) -> list[dict[str, Any]]:
    return [{"value": value, "posts": n} for value, n in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]


def _gone_row(post: GonePost) -> dict[str, Any]:
    return _moments(asdict(post)) | {"tags": list(post.tags)}


def _author(row: AuthorRow) -> dict[str, Any]:
    return _moments(asdict(row)) | {"handles": [_moments(asdict(each)) for each in row.handles]}


def _moments(row: dict[str, Any]) -> dict[str, Any]:
    return {key: iso_time(value) if key.endswith("_at") and value is not None else value for key, value in row.items()}
