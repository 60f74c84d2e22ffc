"""`retry` and `failures --acknowledge`: put failed rows back, take note of the dead, accept what many posts show.

Must not: run anything; the next `run` takes up what is due.
"""

from __future__ import annotations

from collections.abc import Sequence

from clipledger.archive import Archive
from clipledger.cli.exits import Exit
from clipledger.cli.logbook import note
from clipledger.cli.looking import a_reason, asked, post_id
from clipledger.cli.output import Context
from clipledger.core.chain import Act
from clipledger.core.errors import Reason, UsageError
from clipledger.core.model import AwemeId
from clipledger.core.times import iso_time
from clipledger.db.alarms import ALLOWED, Alarms


def acknowledge_dead(context: Context, ids: Sequence[str], reason: str | None) -> None:
    """Take note of dead ids: the books still show them, the next run's exit code does not."""
    if ids and reason is not None:
        raise UsageError("name ids, or --reason R, or neither for all dead ids")
    which = [post_id(text) for text in ids] if ids else a_reason(reason)

    async def ask(archive: Archive) -> int:
        if ids:
            dead = [aweme_id for aweme_id in which or () if await archive.queue.letter(AwemeId(aweme_id)) is None]
            if dead:
                raise UsageError(f"{dead[0]}: is not dead; only dead ids are acknowledged")
        await note(archive, Act.ACKNOWLEDGE, which)
        return await archive.queue.acknowledge(which, archive.clock.now())

    count = asked(context, ask)
    if context.json:
        context.document({"acknowledged": count, "exit": Exit.OK.word})
    else:
        context.tell(f"{count} dead ids acknowledged; they stay in the books and no longer lead to exit 3")


def retry_ids(context: Context, ids: Sequence[str], reason: str | None, everything: bool, accept: bool = False) -> None:
    """Make failed and waiting ids due now; `accept` the videos for which posts were kept back."""
    if accept and reason not in (None, Reason.SAME_BYTES):
        raise UsageError("--accept goes with ids, or with --reason same_bytes")
    if accept:
        accept_bytes(context, ids)
        return
    if sum((bool(ids), reason is not None, everything)) != 1:
        raise UsageError("name the ids to retry, or --reason R, or --all")
    which = [post_id(text) for text in ids] if ids else a_reason(reason)

    async def ask(archive: Archive) -> int:
        for aweme_id in which if ids and which else ():
            if await archive.queue.row(AwemeId(aweme_id)) is None:
                raise UsageError(f"{aweme_id}: this archive has never seen it; `clipledger add {aweme_id}` queues it")
        await note(archive, Act.RETRY, which)
        return await archive.queue.retry(which, archive.clock.now())

    count = asked(context, ask)
    if context.json:
        context.document({"due_again": count, "exit": Exit.OK.word})
    else:
        context.tell(f"{count} due again; `clipledger run` takes them up")


def accept_bytes(context: Context, ids: Sequence[str]) -> None:
    """Accept the videos that these ids were served, or every one that raised an alarm: their posts are due now."""
    which = [post_id(text) for text in ids]

    async def ask(archive: Archive) -> tuple[int, int]:
        alarms, now = Alarms(archive.db), archive.clock.now()
        wanted = await alarms.served(which) if which else [alarm.sha256 for alarm in await alarms.all()]
        if which and not wanted:
            raise UsageError(f"{which[0]}: no video was served for it yet")
        await note(archive, Act.RETRY, [f"accepted {sha256}" for sha256 in wanted])
        for sha256 in wanted:
            await alarms.note(sha256, ALLOWED, now, f"accepted by the operator at {iso_time(now)}")
        return len(wanted), sum([await alarms.release(sha256, now) for sha256 in wanted])

    videos, due = asked(context, ask)
    if context.json:
        context.document({"accepted": videos, "due_again": due, "exit": Exit.OK.word})
    else:
        context.tell(
            f"{videos} videos accepted for any number of posts, {due} posts due again; `clipledger run` goes on"
        )
