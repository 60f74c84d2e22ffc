"""`retry` and `failures --acknowledge`: put failed rows back, take note of the dead, accept what many posts show."""

from __future__ import annotations

from collections.abc import Sequence

from clipledger.acts.putting_back import accept, acknowledge, retry
from clipledger.answers.words import a_reason
from clipledger.cli.exits import Exit
from clipledger.cli.looking import asked, post_id
from clipledger.cli.output import Context, some, tell_withheld
from clipledger.core.errors import Reason, UsageError


def acknowledge_dead(context: Context, ids: Sequence[str], reason: str | None) -> None:
    """Take note of dead ids: the books still show them, the next run's exit code does not."""
    if ids and reason is not None:
        raise UsageError("name ids, or --reason R, or neither for all dead ids")
    which = [post_id(text) for text in ids] if ids else a_reason(reason)
    count = asked(context, lambda archive: acknowledge(archive, which))
    if context.json:
        context.document({"acknowledged": count, "exit": Exit.OK.word})
    else:
        context.tell(f"{count} dead ids acknowledged; they stay in the books and no longer lead to exit 3")


def retry_ids(context: Context, ids: Sequence[str], reason: str | None, everything: bool, taken: bool = False) -> None:
    """Make failed and waiting ids due now; `taken`: also the videos for which posts were kept back."""
    if taken and reason not in (None, Reason.SAME_BYTES):
        raise UsageError("--accept goes with ids, or with --reason same_bytes")
    if taken:
        accept_bytes(context, ids)
        return
    if sum((bool(ids), reason is not None, everything)) != 1:
        raise UsageError("name the ids to retry, or --reason R, or --all")
    which = [post_id(text) for text in ids] if ids else a_reason(reason)
    done = asked(context, lambda archive: retry(archive, which))
    if context.json:
        told = {"due_again": done.due, "withheld": done.withheld, "archived": done.archived}
        context.document(told | {"exit": Exit.OK.word})
        return
    context.tell(f"{done.due} due again" + ("; `clipledger run` takes them up" if done.due else ""))
    if done.archived:
        context.tell(f"archived already: {some(done.archived)}; `clipledger verify` says whether the files are whole")
    tell_withheld(context, done.withheld)


def accept_bytes(context: Context, ids: Sequence[str]) -> None:
    """Accept the videos that these ids were served, or every one that raised an alarm: their posts are due now."""
    which = [post_id(text) for text in ids]
    videos, due = asked(context, lambda archive: accept(archive, which))
    if context.json:
        context.document({"accepted": videos, "due_again": due, "exit": Exit.OK.word})
    else:
        context.tell(
            f"{videos} videos accepted for any number of posts, {due} posts due again; `clipledger run` goes on"
        )
