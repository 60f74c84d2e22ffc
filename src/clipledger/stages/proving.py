"""Prove the store before work: that it is this archive's, that it can be written, and how it must be put to.

What was found is remembered in the database, with the place it was found for. Must not: know any store by its
kind, or print.
"""

from __future__ import annotations

import json
from typing import Protocol, runtime_checkable

from clipledger.core.errors import Misconfigured, StorageGone
from clipledger.core.ports import Clock, ObjectStore
from clipledger.db.catalog import Catalog
from clipledger.db.meta import Meta
from clipledger.storage.mark import OBJECT, Markable
from clipledger.storage.probe import Mode, StoreProbe, from_json, probe

AGAIN_S = 86_400.0
"""A store is probed anew after a day: somebody may have upgraded it, or put something in front of it."""

WITNESSES = 5
"""So many posts archived last are looked for: one file may be damaged, but not all of the last ones."""

_AHEAD_S = 86_400.0  # what another machine dates ahead of this one's clock counts too
_KEY = "store_probe"
_MARKED = "store_marked"


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


async def recognise(
    store: ObjectStore, meta: Meta, catalog: Catalog, clock: Clock, *, place: str, identity: str
) -> None:
    """Make sure that the store is this archive's own and is there: never take a missing disk for an empty archive.

    Misconfigured when it bears another archive's mark. StorageGone when the mark is gone that stood there, and when
    none of the files stands that the database knows.
    """
    await check_mark(store, meta, place=place, identity=identity)
    last = await catalog.canaries(WITNESSES, clock.now() + _AHEAD_S)
    files = [row.storage_key for rows in (await catalog.files_of_many(last)).values() for row in rows]
    for key in files:
        if await store.stat(key) is not None:
            return
    if files:
        raise StorageGone(
            f"{store.url} holds no file of the {len(last)} posts archived last: is its disk mounted, and is this "
            "the place where they were stored? `clipledger verify` tells what is missing"
        )


async def claim_place(store: ObjectStore, meta: Meta, *, place: str, identity: str) -> None:
    """Mark the store as this archive's, once it is recognised and can be written."""
    if not isinstance(store, Markable) or await meta.get(_MARKED) == place:
        return
    await store.set_mark(identity)
    await check_mark(store, meta, place=place, identity=identity)
    await meta.set(_MARKED, place)


async def check_mark(store: ObjectStore, meta: Meta, *, place: str, identity: str) -> None:
    """Read whose place the store is. Misconfigured: another archive's. StorageGone: its mark stood and is gone."""
    if not isinstance(store, Markable):
        return
    found = await store.mark()
    if found not in (None, identity):
        raise Misconfigured(
            f"{store.url} belongs to archive {found}, this is archive {identity}: give each archive a place of its "
            f"own in storage.url; if that archive is no more, remove {OBJECT} there"
        )
    if found is None and await meta.get(_MARKED) == place:
        raise StorageGone(
            f"{store.url} is not this archive's place any more: {OBJECT} is gone from it. Is its disk mounted? "
            f"If it was emptied on purpose, write {identity} into {OBJECT} there"
        )


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
