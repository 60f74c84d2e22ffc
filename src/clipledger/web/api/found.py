"""What disappeared; authors and tags."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from clipledger.answers import finding
from clipledger.core.times import read_iso_time
from clipledger.db.tags import Tags
from clipledger.web.api.paging import After, Limit, Named, moment_key, read_moment_key
from clipledger.web.desk import AtDesk
from clipledger.web.problems import Problem

router = APIRouter(tags=["found"])


class GoneRow(BaseModel):
    """One post that is not there any more; not `archived`: it was gone before it could be saved."""

    aweme_id: str
    archived: bool
    author_id: str
    author_handle: str
    title: str
    created_at: str
    first_seen_at: str | None
    last_seen_at: str | None
    gone_at: str
    reason: str
    tags: list[str]


class GoneOut(BaseModel):
    """What disappeared, the latest first."""

    gone: list[GoneRow]
    next: str | None


class HandleOut(BaseModel):
    """A handle that an author bore."""

    handle: str
    first_seen_at: str
    last_seen_at: str


class AuthorOut(BaseModel):
    """One author, with every handle of theirs and how many posts are archived."""

    author_id: str
    handle: str
    nickname: str
    first_seen_at: str
    last_seen_at: str
    archived: int
    handles: list[HandleOut]


class AuthorsOut(BaseModel):
    """Authors by id."""

    authors: list[AuthorOut]
    next: str | None


class TagOut(BaseModel):
    """One tag, without #, and how many archived posts have it."""

    tag: str
    posts: int


class TagsOut(BaseModel):
    """Tags by name."""

    tags: list[TagOut]
    next: str | None


@router.get("/gone")
async def gone(
    desk: AtDesk,
    since: Annotated[str | None, Query(max_length=20, description="Within this time, such as 7d.")] = None,
    source: Named = None,
    author: Named = None,
    tag: Named = None,
    limit: Limit = 100,
    after: After = None,
) -> GoneOut:
    """List what disappeared, saved or not, the latest first."""
    told = await finding.gone(desk.archive, since, source, author, tag, limit + 1, read_moment_key(after))
    page = [GoneRow(**row) for row in told["gone"][:limit]]
    more = len(told["gone"]) > limit
    return GoneOut(gone=page, next=moment_key(read_iso_time(page[-1].gone_at), page[-1].aweme_id) if more else None)


@router.get("/authors")
async def authors(
    desk: AtDesk,
    author_id: Annotated[str | None, Query(alias="id", max_length=300, description="The one of this id.")] = None,
    handle: Annotated[
        str | None, Query(max_length=300, description="Who has or had it, however it is written.")
    ] = None,
    limit: Limit = 100,
    after: After = None,
) -> AuthorsOut:
    """List authors by id; or the one of an id, or whoever has or had a handle."""
    if author_id is not None or handle is not None:
        named = finding.author(desk.archive, author_id) if author_id is not None else _called(desk, handle or "")
        return AuthorsOut(authors=[_author(row) for row in await named], next=None)
    rows = await finding.authors(desk.archive, None, after or "", limit + 1)
    page = [_author(row) for row in rows[:limit]]
    return AuthorsOut(authors=page, next=page[-1].author_id if len(rows) > limit else None)


@router.get("/authors/{handle}")
async def author(
    desk: AtDesk, handle: Annotated[str, Path(max_length=100, description="With or without @.")]
) -> AuthorsOut:
    """Tell who has or had a handle, the one seen last first."""
    rows = await _called(desk, handle)
    if not rows:
        raise Problem(404, "nobody", "this archive has seen nobody of that handle", "see /api/v1/authors")
    return AuthorsOut(authors=[_author(row) for row in rows], next=None)


@router.get("/tags")
async def tags(
    desk: AtDesk,
    start: Annotated[str, Query(max_length=100, description="Only tags that begin so.")] = "",
    limit: Limit = 100,
    after: After = None,
) -> TagsOut:
    """List tags by name."""
    rows = await Tags(desk.archive.db).page(start.removeprefix("#").casefold(), after or "", limit + 1)
    page = [TagOut(tag=row.tag, posts=row.posts) for row in rows[:limit]]
    return TagsOut(tags=page, next=page[-1].tag if len(rows) > limit else None)


async def _called(desk: AtDesk, handle: str) -> list[dict[str, Any]]:
    return await finding.authors(desk.archive, handle, "", 1) if handle else []


def _author(row: dict[str, Any]) -> AuthorOut:
    return AuthorOut(**row)
