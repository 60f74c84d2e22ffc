"""`pause`, `resume`, `stop`: the operator's switches, which every process of the archive obeys within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from clipledger.acts import pausing as acts
from clipledger.archive import Archive, open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context
from clipledger.core.errors import UsageError
from clipledger.core.links import shown


def pause(context: Context, names: Sequence[str], reason: str) -> None:
    """Hold the whole archive, or single sources."""
    if names and reason:
        raise UsageError("--reason is for a pause of the whole archive: leave the sources out")
    if names:
        _tell(
            context, _with(context, lambda archive: acts.pause_sources(archive, names, archive.clock.now())), "paused"
        )
        return
    why = _with(context, lambda archive: acts.pause(archive, reason))
    _say(
        context,
        {"paused": True, "reason": why},
        "paused: every process finishes what is under way, then waits (--follow) or ends with code 8; "
        "`clipledger resume` goes on",
    )


def resume(context: Context, names: Sequence[str]) -> None:
    """Let the whole archive go on, or single sources."""
    if names:
        _tell(context, _with(context, lambda archive: acts.pause_sources(archive, names, None)), "resumed")
        return
    was = _with(context, acts.resume)
    _say(context, {"paused": False, "was_paused": was}, "resumed" if was else "nothing was paused")


def stop(context: Context, names: Sequence[str], everybody: bool, now: bool) -> None:
    """Ask processes to stop, wherever they run: finish what is under way, or drop it with `--now`."""
    if bool(names) == everybody:
        raise UsageError("name the workers to stop, as `clipledger status` lists them, or --all")
    asked, unknown = _with(context, lambda archive: acts.stop(archive, names, 2 if now else 1))
    if unknown:
        raise UsageError(f"{', '.join(map(shown, unknown))}: no such worker; `clipledger status` lists them")
    _say(context, {"asked": asked}, f"{len(asked)} asked to stop; they do within seconds")


def _tell(context: Context, changed: list[str], word: str) -> None:
    _say(context, {word: changed}, f"{word}: {', '.join(changed)}")


def _say(context: Context, body: dict[str, Any], words: str) -> None:
    if context.json:
        context.document(body | {"exit": Exit.OK.word})
    else:
        context.tell(words)


def _with(context: Context, act: Callable[[Archive], Awaitable[Any]]) -> Any:
    async def acted() -> Any:
        async with open_archive(context.archive) as archive:
            return await act(archive)

    return asyncio.run(acted())
