"""What the operator's rules do to an archived post: delete it, move it to a colder storage class, or keep it.

A rule holds when every condition that it names holds; the first rule that holds decides. A post under a
legal hold is kept whatever the rules say: that is not for this module to know. Must not: read a clock, or
know a table.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from clipledger.core.errors import UsageError
from clipledger.core.sizes import parse_size
from clipledger.core.times import parse_duration

COLD_BYTES_MIN = 128 * 2**10
"""Colder classes bill every object as if it had so many bytes at least: smaller ones stay where they are."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of `[[lifecycle.rules]]`; a condition that is not set does not matter.

    `source`: as `clipledger sources` shows it. `older_than`: since the capture. `larger_than`: bytes, as 500M.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    action: Literal["delete", "cold", "keep"]
    source: str | None = None
    older_than: str | None = None
    region: str | None = None
    gone: bool | None = None
    larger_than: str | None = None

    def __post_init__(self) -> None:
        """Refuse a rule that cannot be read, and one that would delete everything."""
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", self.name):
            raise ValueError(f"name {self.name!r}: use up to 40 of a-z, 0-9, - and _")
        conditions = (self.source, self.older_than, self.region, self.gone, self.larger_than)
        if self.action != "keep" and all(condition is None for condition in conditions):
            raise ValueError(f"rule {self.name} has no condition: it would {self.action} the whole archive")
        if self.region is not None and not re.fullmatch("[A-Z]{2}", self.region):
            raise ValueError(f"rule {self.name}: region {self.region!r}: write two capital letters, such as US")
        try:
            self.older_than_s, self.larger_than_bytes  # noqa: B018 - read, so that a wrong one is met at the start
        except UsageError as error:
            raise ValueError(f"rule {self.name}: {error.detail}") from None

    @property
    def older_than_s(self) -> float | None:
        """Give the age in seconds."""
        return None if self.older_than is None else parse_duration(self.older_than)

    @property
    def larger_than_bytes(self) -> int | None:
        """Give the size in bytes."""
        return None if self.larger_than is None else parse_size(self.larger_than)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at: one archived post. `bytes` counts all its files; `sources` are those that showed it."""

    aweme_id: str
    archived_at: float
    region: str
    gone: bool
    bytes: int
    sources: frozenset[str]


def deciding(rules: Sequence[Rule], facts: Facts, now: float) -> Rule | None:
    """Give the rule that decides over a post; None when none holds: it is kept."""
    return next((rule for rule in rules if _holds(rule, facts, now)), None)


def _holds(rule: Rule, facts: Facts, now: float) -> bool:
    older_than_s, larger_than_bytes = rule.older_than_s, rule.larger_than_bytes
    return (
        (rule.source is None or rule.source in facts.sources)
        and (older_than_s is None or now - facts.archived_at > older_than_s)
        and (rule.region is None or rule.region == facts.region)
        and (rule.gone is None or rule.gone == facts.gone)
        and (larger_than_bytes is None or facts.bytes > larger_than_bytes)
    )
