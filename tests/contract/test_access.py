"""Who may enter, and what the web pages through, on either database."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.core.access import IDLE_S, SESSION_S, Role, Scope
from clipledger.core.chain import Act, Who
from clipledger.core.errors import Reason
from clipledger.core.lifecycle import CallReason, Settlement
from clipledger.core.model import AwemeId, State
from clipledger.db.access import PASSWORD, SESSIONS_MAX, TOKEN, Access, Grant
from clipledger.db.audit import AuditLog, broken
from clipledger.db.credits import CallIn, Credits
from clipledger.db.database import Database
from clipledger.db.gone import Gone, Wanted
from clipledger.db.queue import Queue
from clipledger.db.tags import TagRow, Tags
from contract.archives import NOW, in_archive, raw, vid

pytestmark = pytest.mark.usefixtures("backend")

WHO = Who("ada", "here", "1")


def a_grant(name: str, kind: str, digest: str, expires_at: float | None = None) -> Grant:
    return Grant(name, kind, Role.VIEWER, (Scope.API, Scope.FEEDS), digest, NOW, expires_at)


def test_a_grant_is_kept_and_its_end_ends_everything(tmp_path: Path) -> None:
    """What was granted is what is read; a token that is over, and a grant that is revoked, let nobody in."""

    async def act(db: Database) -> None:
        access = Access(db, WHO)
        assert await access.is_open()
        assert await access.grant(a_grant("robot", TOKEN, "d1", NOW + 60)) is True
        assert not await access.is_open()
        assert await access.by_token("d1", NOW) == a_grant("robot", TOKEN, "d1", NOW + 60)
        assert await access.by_token("d1", NOW + 60) is None and await access.by_token("d2", NOW) is None
        assert await access.grant(a_grant("ada", PASSWORD, "d3")) is True
        assert await access.by_token("d3", NOW) is None, "a password's hash is no token's"
        await access.enter("s1", "ada", NOW, "10.0.0.7")
        assert await access.by_session("s1", NOW + 5) == a_grant("ada", PASSWORD, "d3")
        assert await access.grant(a_grant("ada", PASSWORD, "d4")) is False
        assert await access.by_session("s1", NOW + 5) is None, "a new password ends what the old one began"
        assert await access.revoke("ada", NOW, may_open=True) and not await access.revoke("ada", NOW, may_open=True)
        assert [each.name for each in await access.all()] == ["robot"]
        assert await broken(db) is None

    in_archive(tmp_path, act)
    acts = raw(tmp_path, "SELECT act, subject FROM audit_log WHERE subject LIKE 'access:%' ORDER BY seq")
    assert [each[0] for each in acts] == ["grant", "grant", "login", "grant", "revoke"]


def test_a_session_ends_when_it_should(tmp_path: Path) -> None:
    """A week without use ends a session; use keeps it, but for thirty days at most; too many push the oldest out."""

    async def act(db: Database) -> None:
        access = Access(db, WHO)
        await access.grant(a_grant("ada", PASSWORD, "d"))
        await access.enter("idle", "ada", NOW, "")
        assert await access.by_session("idle", NOW + IDLE_S) is None
        await access.enter("used", "ada", NOW, "")
        at = NOW
        while at < NOW + SESSION_S - IDLE_S:
            at += IDLE_S - 60
            assert await access.by_session("used", min(at, NOW + SESSION_S - 1)) is not None
        assert await access.by_session("used", NOW + SESSION_S) is None
        for nth in range(SESSIONS_MAX + 1):
            await access.enter(f"s{nth}", "ada", NOW + nth, "")
        assert await access.by_session("s0", NOW + 200) is None
        assert await access.by_session(f"s{SESSIONS_MAX}", NOW + 200) is not None

    in_archive(tmp_path, act)


def test_lists_go_on_behind_a_key(tmp_path: Path) -> None:
    """Dead ids, calls and the log are read page by page: none twice, none left out, also at one and the same moment."""

    async def act(db: Database) -> None:
        queue, credits, log = Queue(db), Credits(db), AuditLog(db, WHO)
        await queue.add_by_hand([(vid(n), None) for n in range(7)], "by-hand", 0, NOW)
        for job in await queue.claim(7, NOW, 60, "w"):
            end = Settlement(job.aweme_id, job.token, State.DEAD, NOW, True, Reason.NOT_FOUND, "", CallReason.RETRY)
            await queue.settle(end, NOW + int(job.aweme_id) % 3)
        whole = await queue.failures(100)
        found, key = [], None
        while page := await queue.failures(2, None, key):
            found += page
            key = (page[-1].died_at, page[-1].aweme_id)
        assert found == whole and len(whole) == 7
        gone, before = [], None
        while lost := await Gone(db).never_resolved(Wanted(before=before), 2):
            gone += lost
            before = (lost[-1].gone_at, lost[-1].aweme_id)
        assert gone == await Gone(db).never_resolved(Wanted(), 100) and len(gone) == 7
        for nth in range(5):
            await credits.intend(CallIn("/post-detail/", vid(nth), None, CallReason.FIRST, "w"), NOW)
        first = await credits.ledger(1 << 62, 3)
        rest = await credits.ledger(first[-1].seq, 3)
        assert [row.aweme_id for row in (*first, *rest)] == [vid(n) for n in (4, 3, 2, 1, 0)]
        for _ in range(4):
            await log.append(NOW, Act.ADD)
        newest = await log.before(1 << 62, 1)
        assert [row.seq for row in await log.before(newest[0].seq, 10)] == list(range(newest[0].seq - 1, 0, -1))

    in_archive(tmp_path, act)


def test_tags_are_counted_by_name(tmp_path: Path) -> None:
    """Tags come in order, each with its posts; the signs of a pattern mean themselves."""

    async def act(db: Database) -> None:
        for number, tag in enumerate(("cats", "cats", "ca%ts", "ca_ts", "dogs", "catsé")):
            raw(tmp_path, "INSERT INTO hashtags (aweme_id, tag) VALUES (?, ?)", AwemeId(vid(number)), tag)
        tags = Tags(db)
        assert await tags.page("cats", "", 10) == [TagRow("cats", 2), TagRow("catsé", 1)]
        assert await tags.page("ca_", "", 10) == [TagRow("ca_ts", 1)]
        assert await tags.page("ca%", "", 10) == [TagRow("ca%ts", 1)]
        whole = await tags.page("", "", 10)
        assert len(whole) == 5
        assert await tags.page("", whole[2].tag, 10) == whole[3:]

    in_archive(tmp_path, act)
