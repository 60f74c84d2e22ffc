"""Authors who are taken out, on either database: nobody reads of them until they are restored, and nobody else goes."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection

from clipledger.archive import Archive
from clipledger.core.errors import UsageError
from clipledger.core.model import Author, ObjectKey
from clipledger.db import withheld
from clipledger.db.audit import AuditLog
from clipledger.db.authors import Authors
from clipledger.db.bans import Ban, Hidden
from clipledger.db.books import Books
from clipledger.db.database import Database
from clipledger.db.holds import AUTHOR, ID, Holds, Placed
from clipledger.db.queue import Queue
from clipledger.db.removals import Grounds, Lifted, Removals
from clipledger.db.series import Curves
from clipledger.db.withheld import Receipts
from clipledger.export.manifest import Kind
from contract.archives import NOW, in_archive, page_of, post, raw, vid
from contract.export_archives import aweme, exported, fill, lay, tree, with_archive
from contract.queues import claim
from contract.test_custody import ALICE, BOB, GROUNDS, WHO, archived
from contract.test_exports import told_of

pytestmark = pytest.mark.usefixtures("backend")

CAROL = Author("109", "carol", "Carol")


async def listed(db: Database) -> set[str]:
    """Name whom the list of authors shows; by id and by handle it is the same."""
    known = Authors(db)
    page = {row.author_id for row in await known.page("", 100)}
    for who in (ALICE, BOB, CAROL):
        assert {row.author_id for row in await known.of(who.id)} == page & {who.id}
        assert {row.author_id for row in await known.called(who.handle)} == page & {who.id}
    return page


def test_who_is_withheld_is_in_no_list_of_authors(tmp_path: Path) -> None:
    """Whose posts are all withdrawn, or who is withheld, is nobody; who has another post, or only dead ones, stays."""

    async def act(db: Database) -> None:
        await archived(db, 1, 2)
        await archived(db, 3, author=BOB)
        await Queue(db).add_page(page_of([post(4, author=CAROL)], token=1))  # known by a list alone, never archived
        removals = Removals(db, WHO)
        await removals.take([vid(1), vid(4)], GROUNDS, NOW)
        assert await listed(db) == {ALICE.id, BOB.id, CAROL.id}
        await removals.take([vid(2)], GROUNDS, NOW)
        assert await listed(db) == {BOB.id, CAROL.id}
        with pytest.raises(UsageError, match="nobody of that handle"):
            await Curves(db).growth_by("alice")
        await removals.restore([vid(2)], "a mistake", NOW + 1)
        assert await listed(db) == {ALICE.id, BOB.id, CAROL.id}
        await removals.withhold_author(CAROL.id, GROUNDS, NOW)
        await removals.withhold_author(BOB.id, GROUNDS, NOW)
        assert await listed(db) == {ALICE.id}

    in_archive(tmp_path, act)


def test_a_list_brings_no_name_of_a_withheld_author_back(tmp_path: Path) -> None:
    """A list that shows an id of theirs which waits already tells no handle of theirs and no counter."""

    async def act(db: Database) -> None:
        queue, removals = Queue(db), Removals(db, WHO)
        await queue.add_by_hand([(vid(5), None)], "by-hand", 0, NOW)
        await removals.withhold_author(ALICE.id, GROUNDS, NOW)
        await queue.add_page(page_of([post(5, 10, 1, author=ALICE)], now=NOW + 60))

    in_archive(tmp_path, act)
    for table in ("authors", "author_handles", "post_metrics_history"):
        assert raw(tmp_path, f"SELECT count(*) FROM {table}") == [(0,)], table


def test_a_withdrawn_author_leaves_every_export(tmp_path: Path) -> None:
    """The next incremental export of each kind drops the author's row, and is the full one; restored, it is back."""

    async def act(archive: Archive) -> None:
        await fill(archive, 30)
        kinds = (Kind.PARQUET, Kind.CSV, Kind.JSONL, Kind.DATASET)
        for kind in kinds:
            await exported(archive, tmp_path / kind, kind)
        whole = tree(tmp_path / Kind.PARQUET)
        theirs = [aweme(number) for number in range(30) if number % 5 == 3 and number % 7]
        removals = Removals(archive.db, WHO)
        await removals.take(theirs, GROUNDS, NOW)
        for kind in kinds:
            outcome = await exported(archive, tmp_path / kind, kind)
            assert not outcome.full and outcome.rows["authors"] == 4
            assert "h3" not in told_of(tmp_path / kind), kind
        await exported(archive, tmp_path / "anew")
        assert tree(tmp_path / "anew") == tree(tmp_path / Kind.PARQUET)
        await removals.restore(theirs, "a mistake", NOW + 1)
        await exported(archive, tmp_path / Kind.PARQUET)
        assert tree(tmp_path / Kind.PARQUET) == whole

    with_archive(lay(tmp_path / "archive"), act)


def test_an_author_without_posts_leaves_the_export_with_the_ban(tmp_path: Path) -> None:
    """Withholding an author of whom nothing is archived rewrites the day file that names them."""

    async def act(archive: Archive) -> None:
        await fill(archive, 10)
        await archive.db.write(lambda connection: connection.exec_driver_sql("DELETE FROM posts WHERE author_id='103'"))
        await exported(archive, tmp_path / "out")
        assert "h3" in told_of(tmp_path / "out")
        await Removals(archive.db, WHO).withhold_author("103", Grounds("r", "q"), NOW)
        await exported(archive, tmp_path / "out")
        assert "h3" not in told_of(tmp_path / "out")

    with_archive(lay(tmp_path / "archive"), act)


def test_all_of_an_author_is_what_is_in_quarantine_too(tmp_path: Path) -> None:
    """Posts that were withdrawn before and are not erased belong to an author's, and are purged at once when asked."""

    async def act(db: Database) -> None:
        await archived(db, 1, 2)
        removals = Removals(db, WHO)
        await removals.take([vid(1)], GROUNDS, NOW)
        assert await removals.of_author(ALICE.id) == [vid(1), vid(2)]
        at_once = Grounds("r", "q")
        taken = await removals.take(await removals.of_author(ALICE.id), at_once, NOW + 1)
        assert set(taken.taken) == {vid(1), vid(2)}
        begun = await removals.begin([vid(1), vid(2)], NOW + 1)
        assert {purge.aweme_id for purge in begun} == {vid(1), vid(2)}
        await removals.end([vid(1), vid(2)], NOW + 1)
        assert await removals.of_author(ALICE.id) == []

    in_archive(tmp_path, act)


def test_a_ban_is_lifted_and_what_was_kept_out_for_it_waits_again(tmp_path: Path) -> None:
    """Ids that a list showed, or that were under way, wait again; not others', nor what was withdrawn by itself."""

    async def act(db: Database) -> None:
        queue, removals = Queue(db), Removals(db, WHO)
        await archived(db, 1, 2)
        await removals.take([vid(2)], Grounds("another", "letter 8", delay_s=9.0), NOW)
        await removals.withhold_author(ALICE.id, GROUNDS, NOW)
        await removals.withhold_author(BOB.id, GROUNDS, NOW)
        await removals.take([vid(1)], GROUNDS, NOW)
        await queue.add_page(page_of([post(5), post(3, author=ALICE), post(4, author=BOB), post(6, author=ALICE)]))
        job = (await claim(queue, 1))[0]
        assert job.aweme_id == vid(5)
        assert not await queue.mark_resolved(job, NOW + 1, "a", ObjectKey("videos/k"), author_id=ALICE.id)
        taken = await removals.take([vid(6)], Grounds("by itself", "letter 9", delay_s=9.0), NOW + 2)
        assert (taken.taken, taken.before) == ((vid(6),), ()), "from now on it is out for its own sake"

        ban = await removals.ban_on(ALICE.id)
        assert ban == Ban(ALICE.id, "they asked", "letter 7")
        assert await removals.hidden_of(ALICE.id, ban) == Hidden((vid(1),), (vid(2),))
        assert await removals.restore([vid(1)], "a mistake", NOW + 3) == [vid(1)]
        assert again_of(await removals.lift_ban(ALICE.id, "a mistake", NOW + 3)) == 2
        assert await removals.lift_ban(ALICE.id, "a mistake", NOW + 3) is None
        await db.write(lambda connection: refuse_late(connection, vid(3)))
        assert again_of(await removals.lift_ban(ALICE.id, "again", NOW + 4)) == 1, "a page came in just then"
        assert await removals.ban_on(ALICE.id) is None
        assert await listed(db) == {ALICE.id}
        assert {job.aweme_id for job in await claim(queue, 9, now=NOW + 100)} == {vid(3), vid(5)}
        told = [(row.act, row.why, row.detail) for row in await AuditLog(db, WHO).about(f"author:{ALICE.id}")]
        assert told == [
            ("withdraw", "they asked", "letter 7"),
            ("restore", "a mistake", "ids waiting again: 2"),
            ("restore", "again", "ids waiting again: 1"),
        ]
        assert not [finding async for finding in Books(db).check() if "lease" not in finding.what]

    in_archive(tmp_path, act)
    states = raw(tmp_path, "SELECT aweme_id, state FROM archive_queue WHERE state = 'withheld' ORDER BY 1")
    assert states == [(vid(n), "withheld") for n in (2, 4, 6)]
    assert raw(tmp_path, "SELECT author_id FROM withheld_authors") == [(BOB.id,)]


def again_of(lifted: Lifted | None) -> int:
    """Give how many ids wait again."""
    assert lifted is not None
    return lifted.again


def refuse_late(connection: Connection, aweme_id: str) -> None:
    """Keep an id out for its author, as who looked before the ban was lifted does."""
    withheld.withhold(connection, [aweme_id], NOW + 3)
    withheld.refuse(connection, {aweme_id: ALICE.id}, NOW + 3)


def test_who_is_erased_is_forgotten_though_ids_are_kept_out(tmp_path: Path) -> None:
    """That later ids are kept out for an author does not keep the name, and a hold says that nothing is left."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        removals = Removals(db, WHO)
        await removals.withhold_author(ALICE.id, GROUNDS, NOW)
        await removals.take([vid(1)], Grounds("r", "q"), NOW)
        await Queue(db).add_page(page_of([post(3, author=ALICE)], now=NOW + 1, token=1))
        await removals.begin([vid(1)], NOW + 1)
        assert await Holds(db, WHO).place(ID, vid(1), "h", NOW + 1) == Placed(1, 1)
        await removals.end([vid(1)], NOW + 2)
        holds = Holds(db, WHO)
        assert await holds.place(ID, vid(1), "h", NOW + 3) == Placed(1, 0, erased=1)
        assert await holds.place(ID, vid(3), "h", NOW + 3) == Placed(1, 0, never_kept=1)
        assert await holds.place(ID, vid(8), "h", NOW + 3) == Placed(0, 0)
        assert await holds.place(AUTHOR, ALICE.id, "h", NOW + 3) == Placed(0, 0)

    in_archive(tmp_path, act)
    assert raw(tmp_path, "SELECT count(*) FROM authors") == [(0,)]


def test_what_is_added_or_taken_out_unseen_is_told(tmp_path: Path) -> None:
    """An `add` of a withheld id counts it as that and leaves no sighting; an id never seen is named when taken out."""

    async def act(db: Database) -> None:
        await archived(db, 1, 2)
        removals, queue = Removals(db, WHO), Queue(db)
        taken = await removals.take([vid(1), vid(7)], GROUNDS, NOW)
        assert taken.taken == (vid(1), vid(7)) and taken.unseen == (vid(7),)
        assert (await removals.take([vid(7)], GROUNDS, NOW)).unseen == ()
        out = await queue.add_by_hand([(vid(n), None) for n in (1, 2, 7, 9)], "by-hand", 0, NOW)
        assert (out.new, out.known, out.withheld) == (1, 1, (vid(1), vid(7)))
        assert await queue.withheld([vid(2), vid(1), vid(7), vid(8)]) == [vid(1), vid(7)]
        soon = await removals.take([vid(2)], Grounds("r", "q", delay_s=5.0), NOW)
        assert await Receipts(db).purge_span(soon.taken) == (NOW + 5, NOW + 5)
        assert await Receipts(db).purge_span([vid(1), vid(2)]) == (NOW + 5, NOW + 86_400)
        assert await Receipts(db).purge_span([vid(9)]) is None

    in_archive(tmp_path, act)
    assert raw(tmp_path, "SELECT aweme_id FROM sightings WHERE source = 'by-hand' ORDER BY 1") == [(vid(2),), (vid(9),)]
