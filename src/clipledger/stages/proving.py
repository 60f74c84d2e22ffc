"""Prove the store before work: that it can be written, and how it must be put to so that nothing is replaced.

What was found is remembered in the database for a day, with the place it was found for. Must not: know
any store by its kind, or print.
"""

from __future__ import annotations

import json
from typing import Protocol, runtime_checkable

from clipledger.core.errors import Misconfigured
from clipledger.core.ports import Clock, ObjectStore
from clipledger.db.meta import Meta
from clipledger.storage.probe import Mode, StoreProbe, from_json, probe

AGAIN_S = 86_400.0
"""A store is probed anew after a day: somebody may have upgraded it, or put something in front of it."""

_KEY = "store_probe"


@runtime_checkable
class _Modal(Protocol):
    mode: Mode


async def prove(
    store: ObjectStore, meta: Meta, clock: Clock, *, place: str, token: str, anew: bool = False
) -> StoreProbe:
    """Prove a store and set its mode; probe it when that was not done within a day, or `anew`.

    `place` tells one store from another (its URL and its endpoint), `token` this trial from others. Raises
    Misconfigured, StorageFull or StorageUnavailable, in one line, when it cannot be written.
    """
    known = await remembered(meta, place)
    if known is not None and not anew and 0 <= clock.now() - known.at < AGAIN_S:
        await store.check()
        found = known
    else:
        found = await probe(store, now=clock.now(), token=token)
        await meta.set(_KEY, json.dumps({"place": place, **found.as_json()}))
    adopt(store, found)
    return found


async def remembered(meta: Meta, place: str) -> StoreProbe | None:
    """Look up what was last found of the store at `place`; None when that was another, or nothing was."""
    text = await meta.get(_KEY)
    try:
        kept = json.loads(text or "null")
        return from_json(kept) if kept["place"] == place else None
    except (ValueError, KeyError, TypeError):
        return None


def adopt(store: ObjectStore, found: StoreProbe) -> None:
    """Put a store into the mode that was found."""
    if isinstance(store, _Modal):
        store.mode = found.mode
    elif found.mode is not Mode.CONDITIONAL:
        raise Misconfigured(f"{store.url} replaces objects silently, and there is no safe way to use it as it is")
