"""How a generated page is laid out. Must not: know what it says."""

from __future__ import annotations

from collections.abc import Sequence

Cells = Sequence[str]


def table(head: Cells, rows: Sequence[Cells]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
