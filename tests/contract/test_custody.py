"""Removals, holds and the audit log on either database: what one writes, the other sees, and nobody undoes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from clipledger.core.chain import Act, Who
from clipledger.core.model import Author, AwemeId, FileKind, MediaType, ObjectKey, Quality, State, StoredFile
from clipledger.db.audit import AuditLog, broken
from clipledger.db.books import Books
from clipledger.db.catalog import Catalog, Record, SidecarFile
from clipledger.db.database import Database
from clipledger.db.holds import AUTHOR, ID, SOURCE, Holds
from clipledger.db.queue import Queue
from clipledger.db.removals import Grounds, Removals
from clipledger.db.withheld import Receipts
from contract.archives import NOW, archive_at, call_of, in_archive, new_archive, page_of, post, raw, vid
from contract.queues import claim

pytestmark = pytest.mark.usefixtures("backend")

WHO = Who("ann", "desk", "1.0")
ALICE, BOB = Author("107", "alice", "Alice"), Author("108", "bob", "Bob")
GROUNDS = Grounds("they asked", "letter 7", delay_s=86_400.0)
CONTENT = (
    "posts",
    "files",
    "post_metrics_history",
    "hashtags",
    "availability",
    "refreshes",
    "post_search",
    "quarantine",
    "authors",
    "author_handles",
    "events",
    "reply_samples",
)


async def archived(db: Database, *numbers: int, author: Author = ALICE) -> None:
    """Archive posts that the source @a showed, each with one file."""
    queue = Queue(db)
    posts = [post(n, 10, 1, author=author, title=f"secret{n} of #tag{n}", music_id=f"99{n}") for n in numbers]
    await queue.add_page(page_of(posts))
    jobs = {job.aweme_id: job for job in await claim(queue, len(numbers))}
    records = []
    for each in posts:
        job, key = jobs[each.aweme_id], ObjectKey(f"videos/dt=2026-05-28/author={author.handle}/{each.aweme_id}.mp4")
        from clipledger.db.credits import Credits

        await Credits(db).intend(call_of(job), NOW, None)
        await queue.mark_resolved(job, NOW, author.handle, key)
        await queue.mark_stored(job, NOW)
        file = StoredFile(FileKind.VIDEO, key, 100, f"{int(each.aweme_id):064x}", MediaType.MP4, Quality.HD)
        sidecar = ObjectKey(key.replace(".mp4", ".json"))
        records.append(Record(each, key, sidecar, 100, file.sha256, (file,), SidecarFile(9, "s" * 64), NOW, False))
    assert await Catalog(db).record(records, NOW) == len(numbers)


def on(folder: Path, act: Callable[[Database], Awaitable[None]]) -> None:
    """Run `act` on a new archive."""
    in_archive(folder, act)


def dump(folder: Path, *, but: tuple[str, ...] = ()) -> dict[str, list[tuple[object, ...]]]:
    """Read every row of the tables that hold content."""
    return {name: sorted(raw(folder, f"SELECT * FROM {name}"), key=str) for name in CONTENT if name not in but}


def mentions(folder: Path, *words: str) -> list[str]:
    """Name the tables in which a word stands, whatever the column."""
    told = {**dump(folder), "archive_queue": raw(folder, "SELECT * FROM archive_queue")}
    return [name for name, rows in told.items() if any(word in str(rows).lower() for word in words)]


def test_a_withdrawn_post_is_in_no_table_that_is_read(tmp_path: Path) -> None:
    """From the moment it is withdrawn neither search nor catalog nor list of authors' posts has it; the id stays."""

    async def act(db: Database) -> None:
        await archived(db, 1, 2)
        taken = await Removals(db, WHO).take([vid(1)], GROUNDS, NOW)
        assert (taken.taken, taken.held, taken.before) == ((vid(1),), {}, ())
        assert await Catalog(db).post(vid(1)) is None and await Catalog(db).files_of(vid(1)) == []
        assert (await Queue(db).counts())[State.WITHHELD] == 1
        assert not [finding async for finding in Books(db).check()]

    on(tmp_path, act)
    assert {name for name in mentions(tmp_path, "secret1")} == {"quarantine"}
    assert raw(tmp_path, "SELECT aweme_id, sha256 FROM removed_files WHERE kind = 'video'") == [
        (vid(1), f"{int(vid(1)):064x}")
    ]


def test_what_is_restored_is_as_it_was(tmp_path: Path) -> None:
    """Out of quarantine every row comes back to the letter, and no receipt stays."""
    before: list[object] = []

    async def act(db: Database) -> None:
        await archived(db, 1, 2, 3)
        before.append(dump(tmp_path, but=("refreshes",)))
        removals = Removals(db, WHO)
        await removals.take([vid(1), vid(2), vid(9)], GROUNDS, NOW)
        assert await removals.restore([vid(1), vid(2)], "a mistake", NOW + 5) == [vid(1), vid(2)]
        assert await removals.restore([vid(1)], "again", NOW + 5) == []
        assert not [finding async for finding in Books(db).check()]

    on(tmp_path, act)
    assert dump(tmp_path, but=("refreshes",)) == before[0]
    assert raw(tmp_path, "SELECT aweme_id, state FROM removals") == [(vid(9), "quarantined")]
    assert raw(tmp_path, "SELECT count(*) FROM archive_queue WHERE state = 'archived'") == [(3,)]


def test_a_purge_leaves_only_the_receipt(tmp_path: Path) -> None:
    """Once purged no table holds a word, a handle or a counter of the post; id, sha256, reason and reference stay."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        await archived(db, 2, author=BOB)
        removals = Removals(db, WHO)
        await removals.take([vid(1)], GROUNDS, NOW)
        assert await removals.begin([vid(1)], NOW) == [], "its quarantine is not over"
        begun = await removals.begin([vid(1)], NOW + 86_401)
        assert [purge.aweme_id for purge in begun] == [vid(1)] and begun[0].author_part == "alice"
        assert await removals.end([vid(1), vid(2)], NOW + 86_402) == [vid(1)]
        assert await removals.end([vid(1)], NOW + 86_403) == [], "another process was first"
        receipt = await Receipts(db).of(vid(1))
        assert receipt is not None and receipt.purged_at == NOW + 86_402
        assert (receipt.reason, receipt.request, receipt.who) == ("they asked", "letter 7", "ann@desk")
        assert {file.sha256 for file in receipt.files} == {f"{int(vid(1)):064x}", "s" * 64}
        assert not [finding async for finding in Books(db).check()]

    on(tmp_path, act)
    assert mentions(tmp_path, "secret1", "alice", "107'", "tag1'", "991") == []
    assert "posts" in mentions(tmp_path, "secret2") and "authors" in mentions(tmp_path, "bob")


def test_a_withheld_id_that_is_seen_again_stays_out(tmp_path: Path) -> None:
    """A list that shows it, an `add` and a `retry` change nothing: no counters, no author, no attempt, no credit."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        removals, queue = Removals(db, WHO), Queue(db)
        await removals.take([vid(1), vid(7)], Grounds("r", "q"), NOW)
        await removals.begin([vid(1), vid(7)], NOW)
        await removals.end([vid(1), vid(7)], NOW)
        shown = [post(n, 99, 9, author=ALICE, title=f"secret{n}") for n in (1, 7)]
        await queue.add_page(page_of(shown, now=NOW + 60, token=1))
        await queue.add_by_hand([(vid(1), "https://www.tiktok.com/@alice/video/1")], "by-hand", 0, NOW + 61)
        await queue.retry([vid(1), vid(7)], NOW + 62)
        assert await queue.retry(None, NOW + 62) == 0
        assert await claim(queue, 5, now=NOW + 100) == []

    on(tmp_path, act)
    assert mentions(tmp_path, "secret", "alice") == []
    assert raw(tmp_path, "SELECT source FROM sightings WHERE aweme_id = ?", vid(1)) == [("@a",)]


def test_a_withheld_author_is_never_asked_for_again(tmp_path: Path) -> None:
    """What a withheld author posts later is withheld when a list shows it, before a credit is spent."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        await Removals(db, WHO).withhold_author(ALICE.id, GROUNDS, NOW)
        queue = Queue(db)
        shown = [post(2, author=ALICE), post(3, author=BOB), post(4)]
        out = await queue.add_page(page_of(shown, now=NOW + 60))
        assert (out.new, out.known) == (3, 0)
        claimed = await claim(queue, 5, now=NOW + 100)
        assert {job.aweme_id for job in claimed} == {vid(3), vid(4)}
        job = next(job for job in claimed if job.aweme_id == vid(4))
        told = (job, NOW + 101, "a", ObjectKey("videos/k"))
        assert not await queue.mark_resolved(*told, author_id=ALICE.id), "a list that tells no author"
        assert not await queue.mark_stored(job, NOW + 102)
        others = next(job for job in claimed if job.aweme_id == vid(3))
        assert await queue.mark_resolved(others, *told[1:], author_id=BOB.id)
        assert not [finding async for finding in Books(db).check() if "lease" not in finding.what]

    on(tmp_path, act)
    assert raw(tmp_path, "SELECT aweme_id, state FROM archive_queue WHERE state = 'withheld' ORDER BY 1") == [
        (vid(2), "withheld"),
        (vid(4), "withheld"),
    ]


@pytest.mark.parametrize(("kind", "subject"), [(ID, vid(1)), (AUTHOR, ALICE.id), (SOURCE, "@a")])
def test_a_hold_beats_every_removal(tmp_path: Path, kind: str, subject: str) -> None:
    """A held post is not withdrawn; a hold placed during quarantine stops the purge; released, it goes on."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        removals, holds = Removals(db, WHO), Holds(db, WHO)
        placed = await holds.place(kind, subject, "court order 3", NOW)
        assert (placed.posts, placed.too_late) == (1, 0)
        taken = await removals.take([vid(1)], GROUNDS, NOW)
        assert taken.taken == () and taken.held == {vid(1): "court order 3"}
        assert await holds.release(kind, subject, "over", NOW)
        assert not await holds.release(kind, subject, "over", NOW)
        await removals.take([vid(1)], Grounds("r", "q"), NOW)
        await holds.place(kind, subject, "court order 4", NOW)
        assert await removals.begin([vid(1)], NOW) == []
        await holds.release(kind, subject, "over", NOW)
        assert [purge.aweme_id for purge in await removals.begin([vid(1)], NOW)] == [vid(1)]
        assert (await holds.place(kind, subject, "too late", NOW)).too_late == 1
        assert [row.reason for row in await holds.all()] == ["court order 3", "court order 4", "too late"]

    on(tmp_path, act)


def test_the_log_is_one_chain_however_many_write(tmp_path: Path) -> None:
    """Rows that several processes write at once follow one another: none is lost, none has two successors."""
    where = new_archive(tmp_path)

    async def main() -> None:
        async with Database.open(where) as one, Database.open(where) as other, Database.open(where) as third:
            async with asyncio.TaskGroup() as group:
                for n in range(20):
                    for nth, db in enumerate((one, other, third)):
                        log = AuditLog(db, Who(f"p{nth}", "desk", "1.0"))
                        group.create_task(log.append(NOW, Act.ADD, f"{n}"))
            assert await broken(one) is None
            assert (await AuditLog(one, WHO).head())[0] == 60

    asyncio.run(main())
    assert raw(tmp_path, "SELECT operator, count(*) FROM audit_log GROUP BY operator ORDER BY 1") == [
        ("p0", 20),
        ("p1", 20),
        ("p2", 20),
    ]


def test_the_database_itself_refuses_to_change_the_log(tmp_path: Path) -> None:
    """Neither our own code nor a hand with SQL changes or deletes a row; who drops the triggers is found out."""
    where = new_archive(tmp_path)

    async def main() -> None:
        async with Database.open(where) as db:
            log = AuditLog(db, WHO)
            for n in range(3):
                await log.append(NOW + n, Act.HOLD, f"{n}", "why")
            for sql in ("UPDATE audit_log SET why = 'x' WHERE seq = 2", "DELETE FROM audit_log WHERE seq = 3"):
                with pytest.raises(DBAPIError, match="append-only"):
                    await db.write(lambda connection, sql=sql: connection.exec_driver_sql(sql))
            assert await broken(db) is None

    asyncio.run(main())
    if isinstance(where, Path):
        raw(tmp_path, "DROP TRIGGER audit_log_keep")
    else:
        raw(tmp_path, "DROP TRIGGER audit_log_keep ON audit_log")
    raw(tmp_path, "UPDATE audit_log SET why = 'never mind' WHERE seq = 2")

    async def look() -> None:
        async with Database.open(archive_at(tmp_path)) as db:
            found = [finding async for finding in Books(db).check()]
            assert [finding.what for finding in found] == [
                "the audit log is broken at row 2: its words were changed after it was written"
            ]

    asyncio.run(look())


def test_what_is_done_stands_in_the_log_with_who_and_why(tmp_path: Path) -> None:
    """Withdrawing, holding, releasing, restoring and purging each leave one row a post, and nothing of its content."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        removals, holds, log = Removals(db, WHO), Holds(db, WHO), AuditLog(db, WHO)
        await holds.place(ID, vid(1), "h", NOW)
        await holds.release(ID, vid(1), "r", NOW)
        await removals.take([vid(1)], Grounds("w", "ref"), NOW)
        await removals.restore([vid(1)], "u", NOW)
        await removals.take([vid(1)], Grounds("w", "ref"), NOW)
        await removals.begin([vid(1)], NOW)
        await removals.end([vid(1)], NOW)
        told = [(row.act, row.why, row.operator) for row in await log.about(vid(1))]
        assert told == [
            (act, why, "ann")
            for act, why in [
                ("hold", "h"),
                ("release", "r"),
                ("withdraw", "w"),
                ("restore", "u"),
                ("withdraw", "w"),
                ("purge", ""),
            ]
        ]

    on(tmp_path, act)
    assert "secret1" not in str(raw(tmp_path, "SELECT * FROM audit_log"))
    assert AwemeId(vid(1)) in str(raw(tmp_path, "SELECT * FROM audit_log"))
