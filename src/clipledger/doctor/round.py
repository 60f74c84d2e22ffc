"""The whole round: every check in order, each finding told as soon as it is there.

What the archive's state does not allow to be looked at is left out, after a red finding that says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from clipledger.archive import Archive, SystemClock, database_url, identity_of, open_archive
from clipledger.core.errors import ClipledgerError, Misconfigured, StorageFull
from clipledger.core.model import ApiKey, State
from clipledger.core.ports import Clock
from clipledger.db.figures import Figures, figures
from clipledger.doctor import inside, machine, online, reach, wishes
from clipledger.doctor.finding import Finding, green, red
from clipledger.settings import Settings

T = TypeVar("T")


async def examine(folder: Path, *, ask_api: bool) -> AsyncIterator[Finding]:
    """Look everything over; `ask_api` allows one paid call."""
    clock = SystemClock()
    yield machine.python()
    settings, told = wishes.settings_of(folder)
    for finding in (*machine.packages(settings), machine.sqlite(), machine.descriptors(settings), told):
        yield finding
    key, told = wishes.key()
    yield told
    if settings is None:
        yield await _told("disk", lambda: machine.disk(folder, None))
        return
    wrong = wishes.base_url(settings, key)
    yield wrong or await reach.host(settings.api.base_url)
    if (missing := _archive(folder)) is not None:
        yield missing
        yield await _told("disk", lambda: machine.disk(folder, None))
        return
    async for finding in _inside(folder, settings, clock, key if ask_api else None):
        yield finding


def _archive(folder: Path) -> Finding | None:
    try:
        identity_of(folder)
    except Misconfigured as error:
        next_ = f"clipledger init {folder}" if "no archive" in error.detail else "check the folder's rights"
        return red("archive", error.detail, "there is nothing to work on", next_, error)
    return None


async def _inside(folder: Path, settings: Settings, clock: Clock, key: ApiKey | None) -> AsyncIterator[Finding]:
    yield await _told("clock", lambda: _in_thread(lambda: inside.file_clock(folder, clock.now)))
    file = database_url(folder, settings)
    if isinstance(file, Path) and file.parent.is_dir():
        yield await _told("database file", lambda: _in_thread(lambda: inside.whole(file)))
    try:
        async with open_archive(folder, clock) as archive:
            async for finding in _opened(archive, key):
                yield finding
    except ClipledgerError as error:
        yield _stands_in_the_way("archive", error)
        yield await _told("disk", lambda: machine.disk(folder, None))


async def _opened(archive: Archive, key: ApiKey | None) -> AsyncIterator[Finding]:
    for check, look in _LOOKS:
        yield await _told(check, lambda look=look: look(archive))  # type: ignore[misc]
    try:
        now = archive.clock.now()
        found = await figures(archive.db, now)
    except (ClipledgerError, SQLAlchemyError) as error:
        yield _stands_in_the_way("tables", error)
        return
    for check, tell in _TABLES:
        yield await _told(check, lambda tell=tell: tell(archive, found, now))  # type: ignore[misc]
    if key is None:
        yield green("api call", "not made", "--online makes one: 1 credit")
        return
    async for finding in online.ask(archive, key):
        yield finding


async def _disk(archive: Archive) -> Finding:
    counts = await archive.queue.counts()
    _files, size = await archive.catalog.size()
    archived = counts[State.ARCHIVED]
    return machine.disk(archive.folder, size / archived if archived else None)


async def _workers(archive: Archive) -> Finding:
    return inside.workers(archive.folder)


_LOOKS: tuple[tuple[str, Callable[[Archive], Awaitable[Finding]]], ...] = (
    ("database", inside.database),
    ("clock (database)", inside.database_clock),
    ("disk", _disk),
    ("store", inside.store),
    ("workers", _workers),
)
_TABLES: tuple[tuple[str, Callable[[Archive, Figures, float], Awaitable[Finding]]], ...] = (
    ("pace", inside.pace),
    ("breaker", inside.breaker),
    ("credits", inside.credits),
    ("sources", inside.sources),
    ("same video", inside.same_video),
    ("leftovers", inside.leftovers),
)


async def _told(check: str, look: Callable[[], Finding | Awaitable[Finding]]) -> Finding:
    """Make one check; what stands in its way is a finding too."""
    try:
        found = look()
        return found if isinstance(found, Finding) else await found
    except (ClipledgerError, OSError, SQLAlchemyError) as error:
        return _stands_in_the_way(check, error)


def _stands_in_the_way(check: str, error: Exception) -> Finding:
    next_ = "see the message, and docs/howto/recover-from-a-crash.md"
    match error:
        case ClipledgerError():
            return red(check, error.detail, "a run would meet the same", next_, error)
        case OSError():
            cause = StorageFull(f"{error.filename}: {error.strerror}")
            return red(check, cause.detail, "a run would meet the same", "check rights, space and mount", cause)
    told = f"a query fails: {str(error.__cause__ or error).splitlines()[0][:160]}"
    return red(check, told, "the tables are not as this program made them", next_, Misconfigured(told))


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, work)
