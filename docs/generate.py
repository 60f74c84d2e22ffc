"""Write the reference pages and the state diagram from the code itself, so that they cannot go stale.

`python docs/generate.py` writes them; `--check` changes nothing, names the stale ones and exits 1.
Everything comes from the program's own objects: the commands, the settings model, the tables, the
transitions, the table of faults; what a page says is in `written/`. Must not: read a clock, an
environment variable, an archive or a terminal's width.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT / "src"))

# Help pages are folded at this width wherever they are made.
os.environ |= {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}

from written.layout import table
from written.program import commands, exit_codes, faults, settings
from written.stored import exports, tables
from written.told import events, metrics

_BANNER = "<!-- Written by docs/generate.py: edit the code it is made from, then run `make docs`. -->\n\n"
_RATIOS = ("<!-- ratios: begin (docs/generate.py) -->", "<!-- ratios: end -->")
_STATES_BEGIN, _STATES_END = "<!-- states: begin (docs/generate.py) -->", "<!-- states: end -->"


def main(arguments: Sequence[str]) -> int:
    """Write every page, or with `--check` name the stale ones; give the exit code."""
    stale = [(path, text) for path, text in pages() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        sys.stderr.writelines(f"stale: {path.relative_to(ROOT)}; run `make docs`\n" for path, _ in stale)
        return 1 if stale else 0
    for path, text in stale:
        path.write_text(text, encoding="utf-8")
    return 0


def pages() -> Iterator[tuple[Path, str]]:
    """Yield every generated file and what it should hold."""
    made: tuple[tuple[str, Callable[[], str]], ...] = (
        ("cli.md", commands),
        ("settings.md", settings),
        ("exit-codes.md", exit_codes),
        ("tables.md", tables),
        ("exports.md", exports),
        ("faults.md", faults),
        ("events.md", events),
        ("metrics.md", metrics),
    )
    for name, write in made:
        yield DOCS / "reference" / name, _BANNER + write()
    house = ROOT / "ARCHITECTURE.md"
    yield house, between(house.read_text(encoding="utf-8"), states())
    fast = DOCS / "explanation" / "performance.md"
    yield fast, between(fast.read_text(encoding="utf-8"), ratios(), _RATIOS)


def between(text: str, inner: str, marks: tuple[str, str] = (_STATES_BEGIN, _STATES_END)) -> str:
    """Put `inner` between two markers, those of the state diagram; ValueError when they are not there."""
    head, begin, rest = text.partition(marks[0])
    _, end, tail = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"{marks[0]} ... {marks[1]} is missing")
    return f"{head}{begin}\n{inner}{end}{tail}"


def ratios() -> str:
    """Lay out what the benchmarks of speed measured last, `benchmarks/figures.json`."""
    known = json.loads((ROOT / "benchmarks" / "figures.json").read_text(encoding="utf-8"))
    rows = [
        (
            line["figure"],
            f"{line['must']:g}",
            f"{line['aim']:g}",
            f"{line['measured']:.3g}",
            _verdict(line),
            f"`{name}`",
        )
        for name, report in sorted(known.items())
        for line in report["ratios"]
    ]
    return table(("figure", "must", "aim", "measured", "", "benchmark"), rows)


def _verdict(line: Mapping[str, Any]) -> str:
    return "reached" if line["reached"] else "**missed**"


def states() -> str:
    """Draw the life of an id as a Mermaid diagram, from `core.lifecycle.TRANSITIONS`."""
    from clipledger.core.lifecycle import TRANSITIONS
    from clipledger.core.model import State

    order = {None: -1} | {state: at for at, state in enumerate(State)}
    rows = sorted(TRANSITIONS, key=lambda row: (order[row[0]], order[row[1]]))
    ends = [state for state in State if not any(before is state for before, _, _ in rows)]
    lines = [f"    {before.value if before else '[*]'} --> {after.value}: {why}" for before, after, why in rows]
    lines += [f"    {state.value} --> [*]" for state in ends]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"]) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
