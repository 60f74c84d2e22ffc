"""Find out by trying what a store keeps of its promises, and choose how to put: what it says of itself is no proof.

Everything that is tried lies under `.clipledger-probe/`, which no key can reach, and is removed afterwards.
Must not: know a product by name, or remember a result (the database does).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from clipledger.core.errors import ClipledgerError, Halt, StorageThrottled
from clipledger.core.ports import ObjectStore

FOLDER = ".clipledger-probe"

_SMALL, _OTHER = b"clipledger probe, first\n", b"clipledger probe, second, other bytes\n"


class Mode(StrEnum):
    """How a put keeps from replacing what stands."""

    CONDITIONAL = "conditional"  # the store refuses: If-None-Match, a link, create mode
    CONDITIONAL_SINGLE = "conditional-single"  # it refuses single puts; before the end of a multipart we look
    HEAD_THEN_PUT = "head-then-put"  # it replaces silently: we look, compare, put, and look again


class Trial(StrEnum):
    """What came of one put that must not replace."""

    CREATED = "created"
    TAKEN = "taken"
    DAMAGED = "damaged"  # refused for its checksum
    UNKNOWN = "unknown"  # the store does not know how


@runtime_checkable
class Triable(Protocol):
    """A store that can be tried beneath its own promises: one request, no look before or after."""

    async def attempt(self, name: str, body: bytes, *, sha256: str, multipart: bool) -> Trial:
        """Put under `name` on the condition that nothing stands there."""
        ...

    async def names(self, prefix: str) -> list[str]:
        """List the names below a prefix of the store's own, at most a thousand."""
        ...

    async def drop(self, name: str) -> None:
        """Remove what stands under a name."""
        ...


@dataclass(frozen=True, slots=True)
class StoreProbe:
    """What was found. `refuses_*`: whether a put onto what stands is refused; None where it was not tried.

    `checks_sums`: bytes that are not those of their checksum are refused. `lists_at_once`: what was put
    is in the next listing. `problems` are sentences for the operator.
    """

    url: str
    at: float
    mode: Mode
    refuses_single: bool | None = None
    refuses_multipart: bool | None = None
    checks_sums: bool | None = None
    lists_at_once: bool | None = None
    problems: tuple[str, ...] = ()

    @property
    def warning(self) -> str | None:
        """Say in one line what the operator should know of the mode; None when all promises are kept."""
        match self.mode:
            case Mode.CONDITIONAL:
                return None
            case Mode.CONDITIONAL_SINGLE:
                return "the store ignores If-None-Match at the end of a multipart upload: we look before each"
            case Mode.HEAD_THEN_PUT:
                return (
                    "the store replaces objects silently: we look before each put; "
                    "let nothing else write below this prefix"
                )

    def as_json(self) -> dict[str, Any]:
        """Give plain values."""
        return {**asdict(self), "mode": self.mode.value, "problems": list(self.problems), "warning": self.warning}


def from_json(found: Mapping[str, Any]) -> StoreProbe:
    """Read `as_json` back; ValueError, KeyError or TypeError when it is something else."""
    fields = {name: found[name] for name in StoreProbe.__slots__}
    return StoreProbe(**{**fields, "mode": Mode(found["mode"]), "problems": tuple(found["problems"])})


async def probe(store: ObjectStore, *, now: float, token: str) -> StoreProbe:
    """Try a store; `token` names this trial and no other. One that cannot be written raises what `check` would.

    A store that cannot be tried from outside (a folder, memory) keeps its promises by construction and is
    only checked for being writable.
    """
    if not isinstance(store, Triable):
        await store.check()
        return StoreProbe(store.url, now, Mode.CONDITIONAL)
    found = StoreProbe(store.url, now, Mode.CONDITIONAL)
    folder = f"{FOLDER}/{token}"
    try:
        found = await _single(store, f"{folder}/single", found)
        found = await _damaged(store, f"{folder}/damaged", found)
        found = await _multipart(store, f"{folder}/multipart", found)
        listed = await store.names(f"{folder}/")
        found = replace(found, lists_at_once=f"{folder}/single" in listed)
    finally:
        left = await _clean(store, folder)
    return _judged(_with(found, *left))


async def _single(store: Triable, name: str, found: StoreProbe) -> StoreProbe:
    first = await _attempt(store, name, _SMALL)
    if first is Trial.UNKNOWN:
        return _with(replace(found, refuses_single=False), "it does not know If-None-Match on a put")
    return replace(found, refuses_single=await _attempt(store, name, _OTHER) is Trial.TAKEN)


async def _damaged(store: Triable, name: str, found: StoreProbe) -> StoreProbe:
    wrong = hashlib.sha256(_OTHER).hexdigest()
    refused = await store.attempt(name, _SMALL, sha256=wrong, multipart=False) is Trial.DAMAGED
    found = replace(found, checks_sums=refused)
    return found if refused else _with(found, "it does not check the sha256 of what it is given")


async def _multipart(store: Triable, name: str, found: StoreProbe) -> StoreProbe:
    try:
        first = await _attempt(store, name, _SMALL, multipart=True)
        second = await _attempt(store, name, _OTHER, multipart=True)
    except (Halt, StorageThrottled):
        raise
    except ClipledgerError as error:
        return _with(replace(found, refuses_multipart=False), f"multipart uploads fail: {error.detail}")
    return replace(found, refuses_multipart=first is Trial.CREATED and second is Trial.TAKEN)


async def _attempt(store: Triable, name: str, body: bytes, *, multipart: bool = False) -> Trial:
    return await store.attempt(name, body, sha256=hashlib.sha256(body).hexdigest(), multipart=multipart)


async def _clean(store: Triable, folder: str) -> list[str]:
    problems = []
    for name in ("single", "damaged", "multipart"):
        try:
            await store.drop(f"{folder}/{name}")
        except ClipledgerError as error:
            problems = [f"what was tried cannot be removed ({error.detail}): it stays below {FOLDER}/"]
    return problems


def _judged(found: StoreProbe) -> StoreProbe:
    if not found.refuses_single:
        mode = Mode.HEAD_THEN_PUT
    else:
        mode = Mode.CONDITIONAL if found.refuses_multipart else Mode.CONDITIONAL_SINGLE
    return replace(found, mode=mode)


def _with(found: StoreProbe, *problems: str) -> StoreProbe:
    return replace(found, problems=found.problems + problems)
