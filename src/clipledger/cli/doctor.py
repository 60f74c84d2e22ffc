"""`doctor`: green, yellow and red lines, each with what to do next."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from clipledger.cli.exits import Exit, exit_of
from clipledger.cli.output import Context, one_line
from clipledger.doctor.finding import Colour, Finding
from clipledger.doctor.online import COST
from clipledger.doctor.round import examine

_WORST_FIRST = (Exit.BUG, Exit.STORAGE, Exit.MISCONFIGURED, Exit.CAP, Exit.OUTAGE)
"""Of several red findings the first of these is the exit code: what is kept, what is asked for, what passes."""

_MARKS = {Colour.GREEN: "\x1b[32m", Colour.YELLOW: "\x1b[33m", Colour.RED: "\x1b[1;31m"}


def doctor(context: Context, *, online: bool) -> None:
    """Look everything over; exit 0 without a red finding, else with the worst one's code."""
    if online:
        context.warn(COST)
    findings = asyncio.run(_examine(context, online))
    codes = {exit_of(finding.cause) for finding in findings if finding.cause is not None}
    context.exit = next((code for code in _WORST_FIRST if code in codes), Exit.OK)
    if context.json:
        context.document(
            {
                "exit": context.exit.word,
                "archive": str(context.archive.resolve()),
                "findings": [_plain(finding) for finding in findings],
            }
        )
        return
    counts = ", ".join(f"{sum(f.colour is colour for f in findings)} {colour.value}" for colour in Colour)
    context.tell(counts)


async def _examine(context: Context, online: bool) -> list[Finding]:
    findings = []
    async for finding in examine(context.archive, ask_api=online):
        findings.append(finding)
        if not context.json:
            _show(context, finding)
    return findings


def _show(context: Context, finding: Finding) -> None:
    word = f"{finding.colour.value:6}"
    if sys.stdout is not None and sys.stdout.isatty():
        word = f"{_MARKS[finding.colour]}{word}\x1b[0m"
    more = [f"({finding.means})"] if finding.colour is Colour.GREEN and finding.means else []
    lines = [" ".join([f"{finding.check:14}", one_line(finding.found), *more])]
    if finding.colour is not Colour.GREEN:
        lines += [f"{'':21} {one_line(text)}" for text in (finding.means, f"-> {finding.next}") if text]
    context.marked(word, "\n".join(lines))


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "colour": finding.colour.value,
        "found": finding.found,
        "means": finding.means,
        "next": finding.next,
        "exit": exit_of(finding.cause).word if finding.cause is not None else None,
    }
