"""What an operator watches is what the tables hold, on either database."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from clipledger.core.lifecycle import CallReason
from clipledger.db.credits import CallIn, CallOutcome, Credits
from clipledger.db.database import Database
from clipledger.db.figures import SOURCE_STATES, figures, rates, server_time
from clipledger.db.paces import PaceRow
from clipledger.db.queue import Queue
from clipledger.db.switches import Switch, Switches
from contract.archives import NOW, in_archive, is_postgres, raw, vid

pytestmark = pytest.mark.usefixtures("backend")


def test_an_empty_archive_has_figures(tmp_path: Path) -> None:
    """Nothing yet is nothing of everything: no figure is missing where there are no rows."""

    async def act(db: Database) -> None:
        found = await figures(db, NOW)
        assert (found.states, found.dead, found.pauses) == ({}, {}, {})
        assert found.oldest_due_at is None and found.oldest_due_age_s(NOW) == 0.0
        assert (found.suspects, found.breaker, found.credits_today, found.open_calls) == (0, "closed", 0, 0)
        assert found.sources == dict.fromkeys(SOURCE_STATES, 0)
        assert await rates(db, NOW, 60.0) == await rates(db, NOW, 3600.0)

    in_archive(tmp_path, act)


def test_depth_and_age_of_the_queue(tmp_path: Path) -> None:
    """States are counted, and the age is that of the id that has been due longest, whatever its priority."""

    async def act(db: Database) -> None:
        queue = Queue(db)
        await queue.add_by_hand([(vid(1), None)], "by-hand", 0, NOW - 500)
        await queue.add_by_hand([(vid(2), None), (vid(3), None)], "by-hand", 5, NOW - 100)
        found = await figures(db, NOW)
        assert found.states == {"pending": 3} and found.oldest_due_age_s(NOW) == 500.0
        await queue.claim(3, NOW, 60, "w")
        found = await figures(db, NOW)
        assert found.states == {"running": 3} and found.oldest_due_age_s(NOW) == 0.0

    in_archive(tmp_path, act)


def test_pauses_breaker_and_money(tmp_path: Path) -> None:
    """A 429's pause, an open breaker, the day's credits and the calls still open are shown as they stand."""

    async def act(db: Database) -> None:
        until, _ = await PaceRow(db, "api").throttle(NOW, 30.0, 0.0)
        await Switches(db).set(Switch("breaker", "open:cdn", NOW, "x"))
        credits = Credits(db)
        first = await credits.intend(CallIn("/post-detail/", vid(1), None, CallReason.FIRST, "w"), NOW - 30)
        await credits.settle(first, CallOutcome.THROTTLED, 0, NOW - 29)
        await credits.intend(CallIn("/post-detail/", vid(1), None, CallReason.FIRST, "w"), NOW - 600)
        found = await figures(db, NOW)
        assert found.pauses["api"].until == pytest.approx(until, abs=0.001) and found.pauses["api"].throttles == 1
        assert (found.breaker, found.credits_today, found.open_calls) == ("open:cdn", 1, 1)
        minute, hour = await rates(db, NOW, 60.0), await rates(db, NOW, 3600.0)
        assert (minute.calls, minute.credits, minute.throttled) == (1, 0, 1)
        assert (hour.calls, hour.credits, hour.throttled) == (2, 1, 1)

    in_archive(tmp_path, act)


def test_each_source_is_in_one_state(tmp_path: Path) -> None:
    """Sources are counted once each: paused before failing, failing before due; sightings by hand are no source."""

    async def act(db: Database) -> None:
        rows = (
            ("@a", None, None, NOW - 1),
            ("@b", None, "not_found", NOW - 1),
            ("@c", NOW, "x", NOW),
            ("@d", None, None, NOW + 9),
        )
        for name, paused_at, reason, next_at in rows:
            raw(
                tmp_path,
                "INSERT INTO sources (source, kind, subject, added_at, paused_at, last_reason, next_at) "
                "VALUES (?,?,?,?,?,?,?)",
                name, "user", name, _text(NOW), _text(paused_at), reason, _text(next_at),
            )  # fmt: skip
        await Queue(db).add_by_hand([(vid(1), None)], "by-hand", 0, NOW)
        assert (await figures(db, NOW)).sources == {"due": 1, "failing": 1, "paused": 1, "waiting": 1}

    in_archive(tmp_path, act)


def test_only_a_server_keeps_a_time_of_its_own(tmp_path: Path) -> None:
    """A database server is asked for its time; a file has none."""

    async def act(db: Database) -> None:
        found = await server_time(db)
        assert (found is not None) is is_postgres()
        assert found is None or abs(found - time.time()) < 60

    in_archive(tmp_path, act)


def _text(at: float | None) -> str | None:
    from clipledger.core.times import iso_time

    return iso_time(at) if at is not None else None
