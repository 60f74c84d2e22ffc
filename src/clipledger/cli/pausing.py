"""`pause`, `resume`, `stop`: the operator's switches, which every process of the archive obeys within seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from clipledger import sources
from clipledger.archive import Archive, open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context
from clipledger.core.chain import Act
from clipledger.core.errors import UsageError
from clipledger.core.links import WantedShortLink, WantedSource, shown, understand
from clipledger.core.scrub import scrub_text
from clipledger.db.switches import PAUSE, PAUSED, RESUMED, Switch

REASON_MAX = 500
"""Characters of a reason: it is shown on one line of `status`."""


def pause(context: Context, names: Sequence[str], reason: str) -> None:
    """Hold the whole archive, or single sources."""
    if names and reason:
        raise UsageError("--reason is for a pause of the whole archive: leave the sources out")
    if names:
        _tell(context, _with(context, lambda archive: _pause_sources(archive, names, archive.clock.now())), "paused")
        return
    why = scrub_text(" ".join(reason.split()))[:REASON_MAX]  # a signed link may be the reason: it is shown for days
    _with(context, lambda archive: _pause(archive, why))
    _say(
        context,
        {"paused": True, "reason": why},
        "paused: every process finishes what is under way, then waits (--follow) or ends with code 8; "
        "`clipledger resume` goes on",
    )


def resume(context: Context, names: Sequence[str]) -> None:
    """Let the whole archive go on, or single sources."""
    if names:
        _tell(context, _with(context, lambda archive: _pause_sources(archive, names, None)), "resumed")
        return
    was = _with(context, _resume)
    _say(context, {"paused": False, "was_paused": was}, "resumed" if was else "nothing was paused")


def stop(context: Context, names: Sequence[str], everybody: bool, now: bool) -> None:
    """Ask processes to stop, wherever they run: finish what is under way, or drop it with `--now`."""
    if bool(names) == everybody:
        raise UsageError("name the workers to stop, as `clipledger status` lists them, or --all")
    asked, unknown = _with(context, lambda archive: _stop(archive, names, 2 if now else 1))
    if unknown:
        raise UsageError(f"{', '.join(map(shown, unknown))}: no such worker; `clipledger status` lists them")
    _say(context, {"asked": asked}, f"{len(asked)} asked to stop; they do within seconds")


async def _resume(archive: Archive) -> bool:
    switch = await archive.switches.get(PAUSE)
    if switch is None or switch.state != PAUSED:
        return False
    await archive.switches.set(Switch(PAUSE, RESUMED, archive.clock.now(), ""))
    await archive.audit.append(archive.clock.now(), Act.RESUME)
    return True


async def _pause(archive: Archive, why: str) -> None:
    await archive.switches.set(Switch(PAUSE, PAUSED, archive.clock.now(), why))
    await archive.audit.append(archive.clock.now(), Act.PAUSE, why=why)


async def _stop(archive: Archive, names: Sequence[str], how: int) -> tuple[list[str], list[str]]:
    known = [member.worker for member in await archive.members.all()]
    unknown = [name for name in names if name not in known]
    wanted = list(names) or known
    if not unknown:
        await archive.members.ask_to_stop(wanted, how)
    return wanted, unknown


async def _pause_sources(archive: Archive, names: Sequence[str], at: float | None) -> list[str]:
    known = {row.source for row in await archive.sources.all()}
    wanted = {text: text if text in known else _canonical(text, archive.clock.now()) for text in names}
    unknown = [text for text, name in wanted.items() if name not in known]
    if unknown:
        raise UsageError(
            f"{', '.join(map(shown, unknown))}: not a source of this archive; `clipledger sources` lists them"
        )
    changed = await archive.sources.pause(list(wanted.values()), at)
    if never := sorted(set(wanted.values()) - changed):
        raise UsageError(f"{', '.join(never)}: there is no list to read, so nothing to pause")
    act = Act.RESUME if at is None else Act.PAUSE
    await archive.audit.append(archive.clock.now(), act, detail=", ".join(sorted(changed)))
    return sorted(changed)


def _canonical(text: str, now: float) -> str:
    """Give the name under which `add` registered what is typed here."""
    wanted = understand(text, now=now)
    if isinstance(wanted, WantedSource):
        return sources.registry()[wanted.kind].write(wanted.subject, wanted.options)
    return wanted.url if isinstance(wanted, WantedShortLink) else text


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
