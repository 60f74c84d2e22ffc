"""Make failed ids due again, take note of the dead, accept what many posts show. Must not: run anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from clipledger.archive import Archive
from clipledger.core.chain import Act
from clipledger.core.errors import Reason, UsageError
from clipledger.core.model import AwemeId, State
from clipledger.core.times import iso_time
from clipledger.db.alarms import ALLOWED, Alarms


async def acknowledge(archive: Archive, which: Sequence[AwemeId] | Reason | None) -> int:
    """Note that the operator knows of the dead: those named, or of one reason, or all; UsageError for one not dead."""
    if which is not None and not isinstance(which, Reason):
        alive = [aweme_id for aweme_id in which if await archive.queue.letter(aweme_id) is None]
        if alive:
            raise UsageError(f"{alive[0]}: is not dead; only dead ids are acknowledged")
    await note(archive, Act.ACKNOWLEDGE, which)
    return await archive.queue.acknowledge(which, archive.clock.now())


@dataclass(frozen=True, slots=True)
class Retried:
    """How many ids are due again; of those named, which are withheld (`--undo` alone brings them back) or saved."""

    due: int
    withheld: list[AwemeId]
    archived: list[AwemeId]


async def retry(archive: Archive, which: Sequence[AwemeId] | Reason | None) -> Retried:
    """Make failed and waiting ids due now: those named, or of one reason, or all; UsageError for one never seen."""
    out, saved = list[AwemeId](), list[AwemeId]()
    if which is not None and not isinstance(which, Reason):
        which = list(dict.fromkeys(which))
        for aweme_id in which:
            row = await archive.queue.row(aweme_id)
            if row is None:
                raise UsageError(f"{aweme_id}: this archive has never seen it; `clipledger add {aweme_id}` queues it")
            saved += [aweme_id] * (row.state == State.ARCHIVED)
        out = await archive.queue.withheld(which)
    await note(archive, Act.RETRY, which)
    return Retried(await archive.queue.retry(which, archive.clock.now()), out, saved)


async def accept(archive: Archive, which: Sequence[AwemeId]) -> tuple[int, int]:
    """Accept the videos that these ids were served, or all that raised an alarm; count videos, and posts due again."""
    alarms, now = Alarms(archive.db), archive.clock.now()
    wanted = await alarms.served(which) if which else [alarm.sha256 for alarm in await alarms.all()]
    if which and not wanted:
        raise UsageError(f"{which[0]}: no video was served for it yet")
    await note(archive, Act.RETRY, [f"accepted {sha256}" for sha256 in wanted])
    for sha256 in wanted:
        await alarms.note(sha256, ALLOWED, now, f"accepted by the operator at {iso_time(now)}")
    return len(wanted), sum([await alarms.release(sha256, now) for sha256 in wanted])


async def note(archive: Archive, act: Act, which: Sequence[str] | str | None) -> None:
    """Tell the log of an act on named ids, on all of one reason, or on all."""
    told = "all" if which is None else f"of reason {which}" if isinstance(which, str) else ", ".join(which)
    await archive.audit.append(archive.clock.now(), act, detail=told)
