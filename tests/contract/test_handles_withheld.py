"""Posts that tell a withdrawn author's handle and no id, and ids that only their lists showed: on either database."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from clipledger.core.model import Author, AwemeId, ObjectKey, State
from clipledger.db import authors
from clipledger.db.bans import Named
from clipledger.db.books import Books
from clipledger.db.database import Database
from clipledger.db.queue import Queue
from clipledger.db.removals import Grounds, Removals
from clipledger.db.samples import Sample, Samples
from contract.archives import NOW, in_archive, page_of, post, raw, vid
from contract.queues import claim
from contract.test_custody import ALICE, BOB, WHO, archived

pytestmark = pytest.mark.usefixtures("backend")

NAMED_ONLY = Author("", "Alice")
GROUNDS = Grounds("they asked", "letter B", delay_s=86_400.0, author_id=ALICE.id)
AT_ONCE = replace(GROUNDS, delay_s=0.0)


async def bear(db: Database, author: Author) -> None:
    """Have an author be seen with a handle."""
    await db.write(lambda connection: authors.meet(connection, [authors.Met(author, NOW)]))


async def erase(removals: Removals, *ids: AwemeId) -> None:
    """Withdraw posts of Alice's, and erase them."""
    await removals.take(ids, AT_ONCE, NOW)
    assert len(await removals.begin(ids, NOW)) == len(ids)
    assert len(await removals.end(ids, NOW)) == len(ids)


def test_what_tells_only_the_handle_is_an_authors_too(tmp_path: Path) -> None:
    """It is listed, hidden by a sweep, and brought back with the rest; one with another's id never is."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        await archived(db, 2, author=NAMED_ONLY)
        await archived(db, 3, author=Author("108", "bob"))
        await archived(db, 4, author=Author("", "bob"))
        removals = Removals(db, WHO)
        assert await removals.of_author(ALICE.id) == [vid(1), vid(2)]
        assert await removals.named(ALICE.id) == Named((vid(2),))
        await removals.withhold_author(ALICE.id, GROUNDS, NOW)
        found = await removals.strays("")
        assert set(found) == {vid(1), vid(2)}
        assert await removals.take_strays(list(found), found[vid(1)], 7.0, NOW) == [vid(1), vid(2)]
        assert set((await removals.hidden_of(ALICE.id, found[vid(1)])).for_ban) == {vid(1), vid(2)}
        lifted = await removals.lift_ban(ALICE.id, "a mistake", NOW + 1)
        assert lifted is not None and lifted.back == (vid(1), vid(2))
        assert not [finding async for finding in Books(db).check()]

    in_archive(tmp_path, act)
    assert raw(tmp_path, "SELECT author_id, author_handle FROM posts ORDER BY aweme_id")[1] == ("", "Alice")


def test_a_handle_that_others_bore_takes_nobody_out(tmp_path: Path) -> None:
    """A post that tells it and no id may be the other's: it is told as unsure, stays, and later ones come in."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        await archived(db, 2, author=NAMED_ONLY)
        await bear(db, Author(BOB.id, "ALICE"))
        removals = Removals(db, WHO)
        assert await removals.of_author(ALICE.id) == [vid(1)]
        assert await removals.named(ALICE.id) == Named((), (vid(2),))
        await removals.withhold_author(ALICE.id, GROUNDS, NOW)
        assert set(await removals.strays("")) == {vid(1)}
        await Queue(db).add_page(page_of([post(5, author=NAMED_ONLY)]))
        assert [job.aweme_id for job in await claim(Queue(db), 9)] == [vid(5)]

    in_archive(tmp_path, act)


@pytest.mark.parametrize("erased", [False, True])
def test_what_comes_later_under_the_handle_is_kept_out(tmp_path: Path, erased: bool) -> None:
    """From a list and from an answer that tell no id, also once the name is erased; let in again, they wait."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        queue, removals = Queue(db), Removals(db, WHO)
        await removals.withhold_author(ALICE.id, GROUNDS, NOW)
        if erased:
            await erase(removals, vid(1))
        await queue.add_by_hand([(vid(5), None), (vid(6), None)], "by-hand", 0, NOW)
        jobs = {job.aweme_id: job for job in await claim(queue, 2)}
        told = (NOW + 1, "a", ObjectKey("videos/k"))
        assert not await queue.mark_resolved(jobs[vid(5)], *told, handle="aLice")
        assert await queue.mark_resolved(jobs[vid(6)], *told, author_id=BOB.id, handle="alice")
        await queue.add_page(page_of([post(7, author=NAMED_ONLY), post(8, author=Author("", "carol"))]))
        assert (await queue.counts())[State.WITHHELD] == (3 if erased else 2)
        lifted = await removals.lift_ban(ALICE.id, "a mistake", NOW + 2)
        assert lifted is not None and lifted.again == 2
        await queue.add_page(page_of([post(9, author=NAMED_ONLY)]))
        assert vid(9) in {job.aweme_id for job in await claim(queue, 9, now=NOW + 100)}

    in_archive(tmp_path, act)
    assert raw(tmp_path, "SELECT count(*) FROM meta WHERE key LIKE 'kept_out:%'") == [(0,)]


def test_a_mark_yields_to_who_bears_the_handle_since(tmp_path: Path) -> None:
    """Once another author is seen with an erased one's handle, posts that tell it alone come in again."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        removals = Removals(db, WHO)
        await removals.withhold_author(ALICE.id, GROUNDS, NOW)
        await erase(removals, vid(1))
        await bear(db, Author(BOB.id, "alice"))
        await Queue(db).add_page(page_of([post(7, author=NAMED_ONLY)]))
        assert [job.aweme_id for job in await claim(Queue(db), 9)] == [vid(7)]

    in_archive(tmp_path, act)
    ((key, value),) = raw(tmp_path, "SELECT key, value FROM meta WHERE key LIKE 'kept_out:%'")
    assert "alice" not in str(key) and value == ALICE.id


def test_ids_that_only_their_lists_showed_cost_nothing(tmp_path: Path) -> None:
    """What waits for an author's own list alone is kept out at once, and waits again; what another list shows stays."""

    async def act(db: Database) -> None:
        queue, removals = Queue(db), Removals(db, WHO)
        await queue.add_page(page_of([post(n) for n in range(1, 106)], source="@a"))
        await queue.add_page(page_of([post(2)], source="#cats"))
        assert await removals.keep_waiting_out(ALICE.id, ["@a"], NOW) == 0, "nobody is withheld"
        await removals.withhold_author(ALICE.id, GROUNDS, NOW)
        assert await removals.keep_waiting_out(ALICE.id, [], NOW) == 0
        assert await removals.keep_waiting_out(ALICE.id, ["@a"], NOW) == 104
        assert [job.aweme_id for job in await claim(queue, 9)] == [vid(2)]
        lifted = await removals.lift_ban(ALICE.id, "a mistake", NOW + 1)
        assert lifted is not None and lifted.again == 104

    in_archive(tmp_path, act)


def test_replies_that_name_an_erased_author_go_too(tmp_path: Path) -> None:
    """Samples of ids kept out for the author, and any that holds the author's id or handle, whoever's post it is of."""

    async def act(db: Database) -> None:
        await archived(db, 1)
        samples, removals = Samples(db), Removals(db, WHO)
        await removals.withhold_author(ALICE.id, GROUNDS, NOW)
        await Queue(db).add_page(page_of([post(5, author=ALICE)]))
        bodies = ("{", '{"id": 107}', '{"unique_id": "Alice"}', "see @ALICE", '{"malice": "palice"}', '{"name": "bob"}')
        ids = (vid(5), vid(6), vid(7), None, vid(8), vid(9))
        for body, aweme_id in zip(bodies, ids, strict=True):
            await samples.keep(Sample(NOW, "resolve", "unread", body, aweme_id))
        assert len(await samples.newest()) == 6
        await erase(removals, vid(1))
        assert [sample.aweme_id for sample in await samples.newest()] == [vid(9), vid(8)]

    in_archive(tmp_path, act)


def test_an_author_of_whom_nothing_was_archived_leaves_no_reply(tmp_path: Path) -> None:
    """Withdrawn at once, the replies go though there was no post to erase, and the file is to be scrubbed."""

    async def act(db: Database) -> None:
        samples, removals = Samples(db), Removals(db, WHO)
        await removals.withhold_author(ALICE.id, GROUNDS, NOW)
        await samples.keep(Sample(NOW, "resolve", "unread", '{"author": {"id": "107"}}', vid(6)))
        await removals.forget_name(ALICE.id, NOW)
        assert await samples.newest() == []

    in_archive(tmp_path, act)
    assert raw(tmp_path, "SELECT count(*) FROM meta WHERE key = 'scrub_due'") == [(1,)]
