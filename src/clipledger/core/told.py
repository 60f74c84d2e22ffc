"""Every event and every field that the program tells: the one table.

The reference page, the levels of log lines and what the database keeps are made from it; a tidy test
holds every `emit` against it. A field name means one thing, whatever event bears it. Must not: tell
anything itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How much an event should worry whoever reads the log."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Told:
    """One kind of event. `each`: there is one for every post, call or file; `rare`: the database keeps it too."""

    about: str
    fields: tuple[str, ...]
    level: Level = Level.INFO
    each: bool = False
    rare: bool = False


ORIGIN: Mapping[str, str] = {
    "at": "when it happened, UTC, `2026-05-29T12:00:00.123Z`",
    "level": "`info`, `warning` or `error`",
    "event": "the event's name",
    "archive": "the archive's UUID",
    "worker": "the process that tells it: host and a random word",
}
"""What every line bears, before the fields of its event."""

FIELDS: Mapping[str, str] = {
    "acquitted": "suspects put back",
    "adopted": "true when the post was found complete: nothing was fetched or paid",
    "again_in_s": "seconds until it is due again; 0 for never",
    "alive": "canaries that answered as they should",
    "alone": "true when one post meets it again while others get through: nobody else pauses",
    "aweme_id": "the post's id, as text",
    "bad": "items of the page that could not be read",
    "bytes": "bytes",
    "credits": "what the call cost, as far as known",
    "dead": "posts given up",
    "declared": "how many posts the profile or tag says it has",
    "end": "why the pass over the source ended; null while it goes on",
    "code": "the exit code of the worker that ended the fleet",
    "endpoint": "path of the API call, such as `/post-detail/`",
    "evidence": "the answers that led to it",
    "files": "how many files",
    "first_byte_s": "seconds from the resolve's answer to the first byte of its first file",
    "follow": "true when the run goes on when nothing is due",
    "given_back": "posts put back into the queue",
    "gone": "canaries that were said to be gone",
    "how": "what happens now, or how it ended",
    "id": "the numeric id behind a handle or a tag",
    "ids": "how many ids",
    "key": "object key in the store",
    "kind": "`video`, `image`, `audio` or `cover`",
    "letters": "dead letters summarised",
    "limit": "how many files the process may have open",
    "mode": "how the store is kept from replacing what stands",
    "need": "how many it may need",
    "new": "ids never seen before",
    "outcome": "what the call came to; see `credits.outcome`",
    "part_bytes": "bytes of those parts",
    "parts": "abandoned parts removed",
    "pid": "process id",
    "posts": "how many posts",
    "publish_s": "seconds from the last byte received to the file standing in the store",
    "reason": "why, as a stable word; see the reasons in tables.md",
    "retry_after_s": "seconds that the answer asked to wait; null when it asked for none",
    "roles": "the roles of the process, separated by commas",
    "sha256": "the video's SHA-256",
    "seat": "the place of a process in the fleet, as seat-1",
    "seconds": "how long it took, or lasts",
    "signal": "the signal's name",
    "since_added_s": "seconds from discovery to the first paid answer",
    "slots": "how many posts at a time",
    "source": "the source's canonical text",
    "state": "`open` or `closed`",
    "store": "the store's URL, without secrets",
    "suspects": "posts said to be gone that nobody vouched for",
    "uploads": "abandoned uploads dropped",
    "url": "address, with the port that was picked",
    "version": "version of clipledger",
    "waited_s": "seconds spent waiting for a slot and for the shared rate",
    "was": "how many there were before",
    "why": "one line for people",
    "workers": "how many processes there shall be",
}

_WARNING, _ERROR = Level.WARNING, Level.ERROR

EVENTS: Mapping[str, Told] = {
    "started": Told("a run began", ("version", "roles", "follow", "pid")),
    "metrics_served": Told("metrics can be scraped", ("url",)),
    "page": Told("a page of a source is in the queue", ("source", "ids", "new", "bad", "end")),
    "looked_up": Told("the id behind a handle or tag is known", ("source", "id", "declared")),
    "source_failed": Told(
        "a source could not be read; it is asked again later", ("source", "reason", "again_in_s", "why"), _WARNING
    ),
    "call": Told(
        "a paid call was answered, or its answer was lost",
        ("endpoint", "reason", "outcome", "credits", "seconds", "waited_s", "aweme_id", "source"),
        each=True,
    ),
    "throttled": Told("status 429: everybody pauses", ("endpoint", "retry_after_s", "alone"), _WARNING),
    "malformed": Told(
        "a reply of an unknown shape; a sample is kept", ("endpoint", "aweme_id", "why"), _WARNING, rare=True
    ),
    "resolved": Told("a post was resolved for the first time", ("aweme_id", "source", "since_added_s"), each=True),
    "fetched": Told("a file is in the store", ("aweme_id", "kind", "bytes", "seconds", "publish_s"), each=True),
    "file_failed": Told("one link of a file gave nothing", ("aweme_id", "kind", "bytes", "reason", "why"), each=True),
    "adopted": Told("a complete post of an earlier attempt was found", ("aweme_id",), each=True),
    "stored": Told(
        "a post is complete in the store", ("aweme_id", "bytes", "files", "adopted", "first_byte_s"), each=True
    ),
    "archived": Told("a post is in the index", ("aweme_id", "bytes", "key"), each=True),
    "recorded": Told("a batch of posts went into the index", ("posts", "seconds"), each=True),
    "failed": Told("an attempt failed; the post is due again later", ("aweme_id", "reason", "why", "again_in_s")),
    "given_back": Told(
        "a post goes back untouched: the run ends, or waits", ("aweme_id", "reason", "why", "again_in_s"), each=True
    ),
    "suspect": Told("a post is said to be gone; not believed yet", ("aweme_id", "reason", "why", "again_in_s")),
    "dead": Told("a post is given up", ("aweme_id", "reason", "why", "again_in_s"), _WARNING),
    "asked_again": Told("suspects that nobody vouched for are asked once more", ("ids",)),
    "confirmed_gone": Told("suspects were found to be gone indeed", ("ids",)),
    "unconfirmed": Told("suspects stay waiting: nothing alive answered", ("suspects", "why"), _WARNING, rare=True),
    "canaries": Told("posts known to be alive were asked", ("alive", "gone", "evidence"), rare=True),
    "breaker_opened": Told("the answers cannot be believed: an outage", ("evidence", "acquitted"), _ERROR, rare=True),
    "breaker_closed": Told("an answer came whole: the outage is over", ("acquitted",), rare=True),
    "waiting_out": Told("`--follow` sits an outage out", ("why", "seconds"), _WARNING),
    "waiting_for_room": Told(
        "the disk is full, read-only or fails; `--follow` looks again until it takes files",
        ("why", "seconds"),
        _ERROR,
        rare=True,
    ),
    "room_again": Told("the disk takes files again; work goes on", ("seconds",), rare=True),
    "slowed_down": Told(
        "too many open files: fewer posts at a time, then slowly more again", ("slots", "why"), _WARNING, rare=True
    ),
    "open_files": Told(
        "the limit on open files was raised, or is too low for the settings", ("limit", "need", "why"), _WARNING
    ),
    "lease_lost": Told(
        "a verdict came too late: another worker had taken over", ("aweme_id", "source"), _WARNING, rare=True
    ),
    "key_taken": Told("other bytes stand under the key; both are kept", ("aweme_id", "key"), _WARNING, rare=True),
    "sidecar_lost": Told("a sidecar is not there or is none", ("aweme_id", "key", "why"), _ERROR, rare=True),
    "store_mode": Told("what the operator should know of the store", ("mode", "store", "why"), _WARNING, rare=True),
    "store_throttled": Told(
        "the store asks everybody to wait; uploads are repeated", ("why", "seconds"), _WARNING, rare=True
    ),
    "sweep_failed": Told("abandoned uploads could not be dropped; tried again later", ("why",), _WARNING),
    "purged": Told("posts that were taken out are erased for good", ("posts", "files", "bytes"), rare=True),
    "purge_failed": Told("posts could not be erased or moved; tried again with the next sweep", ("why",), _WARNING),
    "retired": Told("retention rules deleted or moved posts", ("posts", "bytes"), rare=True),
    "swept": Told("the janitor found something", ("given_back", "dead", "parts", "part_bytes", "letters", "uploads")),
    "place_moved": Told(
        "a post turned out to be of the other kind; nothing stood under its first key", ("aweme_id", "key", "why")
    ),
    "partial_block": Told(
        "more posts are called gone than the archive has known; canaries tell",
        ("state", "evidence"),
        _WARNING,
        rare=True,
    ),
    "held_back": Told("suspects of a partial block are asked again in an hour", ("suspects",), rare=True),
    "asked_again_after_death": Told("dead posts are asked again, as the settings queue.recheck_* say", ("ids",)),
    "same_bytes": Told(
        "more posts than is usual were served the very same video; later ones wait",
        ("aweme_id", "sha256", "evidence"),
        _WARNING,
        rare=True,
    ),
    "placeholder": Told(
        "a video served for many posts stood in for their own; posts stored with it should be looked at",
        ("sha256", "evidence"),
        _ERROR,
        rare=True,
    ),
    "same_bytes_over": Told("posts that waited for the same bytes are asked again", ("sha256", "ids"), rare=True),
    "paused": Told("an operator paused the archive for everybody", ("why",), _WARNING, rare=True),
    "resumed": Told("the archive's pause is over", (), rare=True),
    "worker_died": Told("a process of the fleet died and is replaced", ("seat", "how", "why"), _WARNING),
    "fleet_size": Told("the fleet grows or shrinks with the due work", ("workers", "was")),
    "clock_skew": Told("this machine's clock is off the database server's", ("seconds",), _WARNING, rare=True),
    "doubted": Told("a post that is archived was not found; it is asked again", ("aweme_id", "reason")),
    "vanished": Told("archived posts are gone: not found twice, between living ones", ("ids",), rare=True),
    "still_doubted": Told("doubted posts are not believed to be gone yet", ("ids", "alive")),
    "came_back": Told("a post that was gone is there again", ("aweme_id",), rare=True),
    "checked": Told(
        "the files of a post were read again, as janitor.fixity says",
        ("aweme_id", "files", "bytes", "seconds"),
        each=True,
    ),
    "unread": Told("the store did not give a file for its check; looked at again later", ("aweme_id", "why"), _WARNING),
    "damaged": Told("stored files are not what they were", ("aweme_id", "why"), _ERROR, rare=True),
    "repaired": Told("a damaged post is whole again", ("aweme_id", "how", "files"), rare=True),
    "not_repaired": Told("a damaged post could not be repaired", ("aweme_id", "how", "why"), _WARNING, rare=True),
    "database_older": Told("the database does not know all that was archived here", ("why",), _WARNING, rare=True),
    "reconciled": Told("posts were taken in from the store alone; nothing was paid", ("posts",), rare=True),
    "halted": Told("the run ends early, in good order", ("reason", "why", "seat", "code"), _ERROR, rare=True),
    "stopping": Told("a signal asked the run to stop", ("signal", "how")),
}
"""By name. An optional field may be left out or null."""


def level_of(name: str) -> Level:
    """Give the level of an event; `info` for one that the table lacks."""
    told = EVENTS.get(name)
    return told.level if told is not None else Level.INFO
