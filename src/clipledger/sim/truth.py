"""What is true of a post, for a judge: is it alive, which bytes are its files, how should its row end.

Must not: count or change anything; asking for the truth is not an event in the world.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clipledger.sim import files
from clipledger.sim.faults import Door
from clipledger.sim.population import Post
from clipledger.sim.reply import FileRef
from clipledger.sim.scene import Scene

_UNFIT = frozenset({"hd_403", "hd_empty", "hd_is_html", "hd_truncated"})


@dataclass(frozen=True, slots=True)
class TrueFile:
    """One file as it is when it is served right. `fit` False: the CDN never serves it whole."""

    ref: FileRef
    sha256: str
    bytes: int
    media_type: str
    fit: bool = True


@dataclass(frozen=True, slots=True)
class Truth:
    """One post at one moment. `why`: alive, unborn, deleted, private, region_locked, unknown.

    `expected_state` is the queue state an id asked for at that moment should end in. `dies_at`
    None: never. `sources` are the lists that show it, by first handle: `@handle`, `#tag`, `music:ID`.
    """

    id: str
    kind: str
    alive: bool
    why: str
    expected_state: str
    created_at: int
    dies_at: float | None
    listed: bool
    sources: tuple[str, ...]
    post: Post | None = None


def of(scene: Scene, post_id: str, at: float) -> Truth:
    """Tell the truth of an id, also of one that never was."""
    post = scene.population.find(post_id)
    if post is None:
        return Truth(post_id, "none", False, "unknown", "dead", 0, None, False, ())
    why = post.fate(at)
    alive = why == "alive"
    return Truth(
        post_id,
        "photo" if post.is_photo else "video",
        alive,
        why,
        "archived" if alive else "dead",
        post.create_time,
        post.death[1] if post.death else None,
        post.listed(at),
        (f"@{post.author.first_handle}", *(f"#{tag}" for tag in post.tags), f"music:{post.sound.id}"),
        post,
    )


def true_files(scene: Scene, post_id: str) -> tuple[TrueFile, ...]:
    """List every file of a post with its digest; empty for an id that never was."""
    post = scene.population.find(post_id)
    if post is None:
        return ()
    faults = scene.struck(Door.HD, post_id)
    return tuple(_true_file(post, ref, faults) for ref in files.refs(post))


def _true_file(post: Post, ref: FileRef, faults: frozenset[str]) -> TrueFile:
    sample = files.sample(post, ref, hd_smaller="hd_smaller" in faults)
    fit = ref.rendition != "hd" or not faults & _UNFIT
    return TrueFile(ref, sample.sha256(), sample.size_bytes, sample.media_type, fit)


def as_json(scene: Scene, truth: Truth, *, with_files: bool) -> dict[str, Any]:
    """Write a truth for /_sim/world; ids are strings."""
    row: dict[str, Any] = {
        "id": truth.id,
        "kind": truth.kind,
        "alive": truth.alive,
        "why": truth.why,
        "expected_state": truth.expected_state,
        "created_at": truth.created_at,
        "dies_at": truth.dies_at,
        "listed": truth.listed,
        "sources": list(truth.sources),
    }
    if with_files:
        row["files"] = [
            {
                "kind": file.ref.kind,
                "rendition": file.ref.rendition,
                "position": file.ref.position,
                "sha256": file.sha256,
                "bytes": file.bytes,
                "media_type": file.media_type,
                "fit": file.fit,
            }
            for file in true_files(scene, truth.id)
        ]
    return row
