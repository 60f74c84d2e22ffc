"""What `status` and `show` tell of the store: where it is, what was found of it, how its files are looked after."""

from __future__ import annotations

from typing import Any


def store_line(store: dict[str, Any]) -> str:
    """Say the same to people."""
    if store["mode"] is None:
        return f"store: {store['url']}, not probed yet"
    problems = "".join(f"; {problem}" for problem in (store["warning"], *store["problems"]) if problem)
    return f"store: {store['url']}, {store['mode']}{problems}"


def care_line(care: dict[str, Any]) -> str:
    """Say the same to people."""
    damaged = f"; DAMAGED: {care['damaged']} posts, `clipledger verify --repair` mends them" if care["damaged"] else ""
    if care["coverage"] is None:
        return f"fixity: {'off' if care['period'] == 'none' else 'nothing to read yet'}{damaged}"
    return (
        f"fixity: {100 * care['coverage']:.1f} % read within {care['period']}, "
        f"oldest check {care['oldest_check_at'][:16]}Z{damaged}"
    )
