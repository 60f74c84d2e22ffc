"""The archive itself: database, store, clock, pace, breaker, workers, leftovers.

Must not: change anything but marks in `meta`: how long a durable write took, and what the store was found to be.
"""

from __future__ import annotations

import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from clipledger import presence
from clipledger.archive import Archive, prove_store
from clipledger.core.errors import ClipledgerError, Misconfigured, Outage, StorageFull
from clipledger.core.times import iso_time, parse_duration
from clipledger.db.engine import storage_error
from clipledger.db.figures import Figures, server_time
from clipledger.db.tables import SCHEMA_VERSION
from clipledger.doctor.finding import Finding, green, red, yellow

CHECK_S = 5.0
"""How long the database's pages are looked over, at most."""

SLOW_WRITE_S = 0.1
SKEW_S = 2.0
"""The shared rate's proof and the leases bear a second; links die by their own date."""

_WRITES = 5
_RESTORE = "stop every run, keep the file, restore the database from a backup"


def whole(path: Path) -> Finding:
    """Look over the pages of a SQLite file, for at most `CHECK_S`. Blocks."""
    ends = time.monotonic() + CHECK_S
    if not path.exists():
        gone = Misconfigured(f"{path} is not there")
        return red("database file", gone.detail, "the index is lost; files and sidecars are not", _RESTORE, gone)
    try:
        db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=CHECK_S)
        try:
            db.set_progress_handler(lambda: time.monotonic() > ends, 10_000)
            told = [row[0] for row in db.execute("PRAGMA quick_check(3)")]
            mode = db.execute("PRAGMA journal_mode").fetchone()[0]
        finally:
            db.close()
    except sqlite3.Error as error:
        if error.args == ("interrupted",):
            return green(
                "database file",
                f"{_size(path)}; no damage met within {CHECK_S:.0f} s",
                "too large to be read whole here",
            )
        refused = storage_error(error)
        if refused is None or isinstance(refused, Misconfigured):
            return _damaged(path, str(error))
        means, next_ = (
            "the index cannot be opened",
            "check that it is there, its rights and its folder's, and free space",
        )
        return red("database file", f"{path.name}: {refused.detail}", means, next_, refused)
    if told != ["ok"]:
        return _damaged(path, "; ".join(told))
    if mode != "wal":
        return yellow(
            "database file",
            f"whole, {_size(path)}, journal mode {mode}",
            "readers wait for writers",
            "let a run open it once",
        )
    return green("database file", f"whole, {_size(path)}, journal mode {mode}")


def _damaged(path: Path, why: str) -> Finding:
    told = f"{path.name}: {' '.join(why.split())[:200]}"
    return red(
        "database file", told, "the index is damaged; the files and sidecars are not", _RESTORE, Misconfigured(told)
    )


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:,.1f} MB"


async def database(archive: Archive) -> Finding:
    """Say that the database was opened, and measure durable writes."""
    took = []
    for _ in range(_WRITES):
        began = time.perf_counter()
        await archive.meta.set("doctor_at", iso_time(archive.clock.now()))
        took.append(time.perf_counter() - began)
    median_s = statistics.median(took)
    found = f"schema {SCHEMA_VERSION}, archive {archive.uuid}; a durable write takes {median_s * 1000:.1f} ms"
    if median_s > SLOW_WRITE_S:
        means = f"a post needs some six; at most about {1 / median_s:.0f} commits a second"
        return yellow(
            "database", found, means, "put the database on a local disk (not NFS), or find what keeps it busy"
        )
    return green("database", found, "opened, of this program's schema, of this very folder")


async def store(archive: Archive) -> Finding:
    """Try the store: whether it can be written, and what keeps it from replacing what stands."""
    try:
        found = await prove_store(archive, anew=True)
    except ClipledgerError as error:
        return red(
            "store",
            error.detail,
            "nothing could be kept: a run would not begin",
            "check space, rights, mount, credentials and bucket",
            error,
        )
    where = f"{found.url} can be written, {found.mode.value}"
    if troubles := [*([found.warning] if found.warning else []), *found.problems]:
        return yellow("store", where, "; ".join(troubles), "see docs/howto/archive-to-a-bucket.md")
    return green("store", where)


def file_clock(folder: Path, now: Callable[[], float]) -> Finding:
    """Hold this machine's clock against that of the archive's file system, which another machine may keep. Blocks."""
    try:
        with tempfile.TemporaryFile(dir=folder / presence.PRIVATE) as file:
            file.write(b"?")
            file.flush()
            skew_s = Path(f"/proc/self/fd/{file.fileno()}").stat().st_mtime - now()
    except OSError as error:
        cause = StorageFull(f"{folder / presence.PRIVATE}: {error.strerror}")
        return red(
            "clock", cause.detail, "no file can be made there: a run would not begin", "check space and rights", cause
        )
    return _skewed("clock", skew_s, "the file system's")


async def database_clock(archive: Archive) -> Finding:
    """Hold this machine's clock against the database server's, by which several machines are compared."""
    before = archive.clock.now()
    theirs = await server_time(archive.db)
    if theirs is None:
        return green("clock (database)", "the database is a file: one clock")
    return _skewed("clock (database)", theirs - (before + archive.clock.now()) / 2, "the database server's")


def server_clock(skew_s: float) -> Finding:
    """Say how this machine's clock stands to the API's."""
    return _skewed("clock (API)", skew_s, "the API's", coarse_s=1.0)


def _skewed(check: str, skew_s: float, whose: str, coarse_s: float = 0.0) -> Finding:
    found = f"{abs(skew_s):.1f} s {'behind' if skew_s > 0 else 'ahead of'} {whose} clock"
    if abs(skew_s) > SKEW_S + coarse_s:
        means = "leases, pauses and the dates of links are judged by a clock that is off"
        return yellow(check, found, means, "let the machine keep its time by NTP")
    return green(check, f"within {SKEW_S:.0f} s of {whose} clock")


async def pace(archive: Archive, figures: Figures, now: float) -> Finding:
    """Say how fast calls may go, and whether everybody waits."""
    limit = f"{archive.settings.api.requests_per_minute} calls a minute"
    paused = [f"{name} until {iso_time(pause.until)}" for name, pause in figures.pauses.items() if pause.until > now]
    throttles = max((pause.throttles for pause in figures.pauses.values()), default=0)
    if paused:
        means = f"{throttles} answers with status 429 in a row: every process waits"
        return yellow(
            "pace", f"{limit}; paused: {', '.join(paused)}", means, "wait; is api.requests_per_minute your plan's?"
        )
    return green("pace", f"{limit}; nobody waits")


async def breaker(archive: Archive, figures: Figures, _now: float) -> Finding:
    """Say whether an outage is known."""
    if figures.breaker == "closed":
        return green("breaker", "closed")
    switch = await archive.switches.get("breaker")
    since = f" since {iso_time(switch.since)}: {switch.evidence}" if switch is not None else ""
    found = f"{figures.breaker}{since}"
    means = "the answers of the API or the CDN could not be believed; nothing is declared dead meanwhile"
    return red("breaker", found, means, "run again later: it probes first, and closes by itself", Outage(found))


async def credits(archive: Archive, figures: Figures, _now: float) -> Finding:
    """Hold today's spending against the cap."""
    cap = archive.settings.budget.credits_per_day
    found = f"{figures.credits_today} credits today, " + ("no cap" if cap is None else f"cap {cap}")
    if cap is not None and figures.credits_today >= cap:
        return yellow(
            "credits", found, "runs end with exit 5 until midnight UTC", "wait, or raise budget.credits_per_day"
        )
    return green("credits", found)


async def sources(_archive: Archive, figures: Figures, _now: float) -> Finding:
    """Count the sources that could not be read."""
    found = ", ".join(f"{count} {state}" for state, count in figures.sources.items() if count) or "none yet"
    if figures.sources["failing"]:
        return yellow(
            "sources", found, "their last reading failed", "`clipledger sources` says why; they are asked again"
        )
    return green("sources", found)


async def same_video(_archive: Archive, figures: Figures, _now: float) -> Finding:
    """Count the videos that were served for more posts than is usual."""
    if figures.same_bytes:
        return yellow(
            "same video",
            f"{figures.same_bytes} videos were served for more posts than is usual",
            "a placeholder, or a clip that many posted: later posts wait",
            "`clipledger status` names them; real copies: clipledger retry --reason same_bytes --accept",
        )
    return green("same video", "none was served for many posts")


def workers(folder: Path) -> Finding:
    """Count the processes at work on this machine, and those that died."""
    locks = folder / presence.PRIVATE / "workers"
    if locks.exists() and not os.access(locks, os.R_OK | os.W_OK | os.X_OK):
        cause = StorageFull(f"{locks}: not readable and writable for this user")
        return red(
            "workers", cause.detail, "a run could not begin", "give the folder to the user that runs clipledger", cause
        )
    dead = presence.dead_workers(folder)
    alive = len(list(locks.glob("*.lock"))) - len(dead)
    found = f"{alive} at work on this machine, {len(dead)} dead"
    if dead:
        return yellow(
            "workers",
            found,
            "what the dead held is not worked on",
            "the next run takes it back, or `clipledger janitor`",
        )
    return green("workers", found)


async def leftovers(archive: Archive, figures: Figures, now: float) -> Finding:
    """Count what earlier deaths left lying about."""
    after_s = parse_duration(archive.settings.janitor.parts_after)
    parts = await archive.spool.leftovers(now, after_s)
    size = sum(part.size_bytes for part in parts)
    waiting = figures.states.get("stored", 0)
    found = (
        f"{len(parts)} abandoned parts ({size / 1e6:.1f} MB), {figures.open_calls} calls without an answer, "
        f"{waiting} posts not in the index yet"
    )
    if parts:
        return yellow("leftovers", found, "they take room and nothing else", "clipledger janitor")
    return green("leftovers", found)
