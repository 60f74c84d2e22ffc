"""The operator's switches, which every process of the archive obeys within seconds."""

from __future__ import annotations

from collections.abc import Sequence

from clipledger.acts.kept_out import refuse_list
from clipledger.answers.words import source_name
from clipledger.archive import Archive
from clipledger.core.chain import Act
from clipledger.core.errors import UsageError
from clipledger.core.links import shown
from clipledger.core.scrub import scrub_text
from clipledger.db.switches import PAUSE, PAUSED, RESUMED, Switch

REASON_MAX = 500
"""Characters of a reason: it is shown on one line of `status`."""


async def resume(archive: Archive) -> bool:
    """Let the whole archive go on; False when it was not paused."""
    switch = await archive.switches.get(PAUSE)
    if switch is None or switch.state != PAUSED:
        return False
    await archive.switches.set(Switch(PAUSE, RESUMED, archive.clock.now(), ""))
    await archive.audit.append(archive.clock.now(), Act.RESUME)
    return True


async def pause(archive: Archive, why: str) -> str:
    """Hold the whole archive, whose processes finish what is under way; give the reason as it is shown."""
    why = scrub_text(" ".join(why.split()))[:REASON_MAX]  # a signed link may be the reason: it is shown for days
    await archive.switches.set(Switch(PAUSE, PAUSED, archive.clock.now(), why))
    await archive.audit.append(archive.clock.now(), Act.PAUSE, why=why)
    return why


async def stop(archive: Archive, names: Sequence[str], how: int) -> tuple[list[str], list[str]]:
    """Ask workers to stop, all if none is named; `how`: 1 in good order, 2 at once. Give the asked, the unknown."""
    known = [member.worker for member in await archive.members.all()]
    unknown = [name for name in names if name not in known]
    wanted = list(names) or known
    if not unknown:
        await archive.members.ask_to_stop(wanted, how)
    return wanted, unknown


async def pause_sources(archive: Archive, names: Sequence[str], at: float | None) -> list[str]:
    """Hold single sources from `at` on, None to let them go on; give their names. UsageError for one that is none."""
    known = {row.source: row for row in await archive.sources.all()}
    wanted = {text: text if text in known else source_name(text, archive.clock.now()) for text in names}
    unknown = [text for text, name in wanted.items() if name not in known]
    if unknown:
        raise UsageError(
            f"{', '.join(map(shown, unknown))}: not a source of this archive; `clipledger sources` lists them"
        )
    for row in (known[name] for name in wanted.values() if at is None):
        await refuse_list(archive, row.source, row.kind, row.subject, row.entity_id or "")
    changed = await archive.sources.pause(list(wanted.values()), at)
    if never := sorted(set(wanted.values()) - changed):
        raise UsageError(f"{', '.join(never)}: there is no list to read, so nothing to pause")
    act = Act.RESUME if at is None else Act.PAUSE
    await archive.audit.append(archive.clock.now(), act, detail=", ".join(sorted(changed)))
    return sorted(changed)
