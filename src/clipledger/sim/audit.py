"""The judge: holds an archive's folder and tables against what the world knows, and names every lie.

Reads the database (`asking`) and the bytes on disk by itself, with nothing of the client's: generator,
client and judge are strangers. Must not: change anything, or forgive.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from clipledger.sim.asking import Ask, Row, asking, everything_written
from clipledger.sim.kept import Kept, KeptInFolder

_STATES = {"pending", "running", "stored", "archived", "dead", "withheld"}
_GONE = {"not_found", "unavailable:private", "unavailable:region"}
_RESOLVES = ("/post-detail/", "/download-video/")
_CANARY = "canary"

_SIGNED = re.compile(rb"[?&](?:x-)?signature=|vsignature=|x-expires=\d|vexpiration=\d")
_SIGNED_WORDS = (b"signature=", b"x-expires=", b"vexpiration=")
_SIGNED_PATH = re.compile(rb"/[0-9a-f]{32}/[0-9a-f]{8}/")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the world says: `/_sim/ledger?calls=1` and `/_sim/world?files=1`, and what was promised."""

    ledger: Mapping[str, Any]
    world: Mapping[str, Any]
    api_key: str = "sim-key"
    requests_per_minute: int | None = None


@dataclass(slots=True)
class Report:
    """What was found. `findings` empty: the auditor is content."""

    findings: list[str] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    files: int = 0
    bytes: int = 0
    resolve_calls: int = 0
    ids_resolved: int = 0
    credits_told: int = 0
    credits_taken: int = 0

    @property
    def extra_calls(self) -> int:
        """Count resolve calls beyond one per id."""
        return self.resolve_calls - self.ids_resolved


def audit(
    folder: Path,
    evidence: Evidence,
    *,
    finished: bool = True,
    database: str | None = None,
    kept: Kept | None = None,
) -> Report:
    """Judge an archive at rest. `finished`: nothing may be left waiting that the world would still give.

    `database` is a server's URL; None for the file in the folder. `kept`: where the files are, when that is
    not the folder.
    """
    report = Report()
    with asking(folder, database) as ask:
        judge = _Judge(folder, evidence, ask, report, database, kept or KeptInFolder(folder))
        for law in (judge.ids, judge.dead, judge.archived, judge.credits, judge.leaks, judge.strays):
            report.findings.extend(law())
        if finished:
            report.findings.extend(judge.unfinished())
    return report


class _Judge:
    def __init__(
        self, folder: Path, evidence: Evidence, ask: Ask, report: Report, database: str | None, kept: Kept
    ) -> None:
        self._folder, self._evidence, self._rows, self._report = folder, evidence, ask, report
        self._database, self._kept = database, kept
        self._truth: dict[str, Any] = {post["id"]: post for post in evidence.world["posts"]}
        self._queue = {row["aweme_id"]: row for row in self._rows("SELECT * FROM archive_queue")}

    def ids(self) -> Iterator[str]:
        """Every id that was ever shown is in exactly one known state."""
        for aweme_id in self._evidence.ledger["shown"]:
            if aweme_id not in self._queue:
                yield f"{aweme_id}: was shown and is nowhere in the queue"
        for aweme_id, row in self._queue.items():
            self._report.states[row["state"]] += 1
            if row["state"] not in _STATES:
                yield f"{aweme_id}: unknown state {row['state']!r}"
        seen = {row[0] for row in self._rows("SELECT aweme_id FROM sightings")}
        for aweme_id in self._queue.keys() ^ seen:
            yield f"{aweme_id}: is in only one of queue and sightings"

    def dead(self) -> Iterator[str]:
        """Dead ids have a letter with a reason, and are dead in the world too."""
        letters = {row["aweme_id"]: row for row in self._rows("SELECT * FROM dead_letters")}
        dead = {aweme_id for aweme_id, row in self._queue.items() if row["state"] == "dead"}
        for aweme_id in letters.keys() ^ dead:
            yield f"{aweme_id}: dead and dead letter do not agree"
        for aweme_id in letters.keys() & dead:
            reason = letters[aweme_id]["reason"]
            self._report.reasons[reason] += 1
            yield from self._believed_too_soon(aweme_id, reason)

    def _believed_too_soon(self, aweme_id: str, reason: str) -> Iterator[str]:
        truth = self._truth.get(aweme_id)
        if truth is not None and truth["alive"]:
            yield f"{aweme_id}: dead as {reason}, but it is alive"
        elif reason not in _GONE:
            yield f"{aweme_id}: dead as {reason}, but the world says {truth['why'] if truth else 'unknown'}"

    def archived(self) -> Iterator[str]:
        """Archived ids have their row, their sidecar, and files that are what the world serves."""
        posts = {row["aweme_id"]: row for row in self._rows("SELECT * FROM posts")}
        files: dict[str, list[Row]] = defaultdict(list)
        for row in self._rows("SELECT * FROM files"):
            files[row["aweme_id"]].append(row)
        done = {aweme_id for aweme_id, row in self._queue.items() if row["state"] == "archived"}
        for aweme_id in posts.keys() ^ done:
            yield f"{aweme_id}: archived and its posts row do not agree"
        for aweme_id in posts.keys() & done:
            for row in files[aweme_id]:
                yield from self._file(aweme_id, row)
            yield from self._whole(aweme_id, posts[aweme_id], files[aweme_id])

    def _file(self, aweme_id: str, row: Row) -> Iterator[str]:
        body = self._kept.read(row["storage_key"])
        if body is None:
            yield f"{aweme_id}: {row['storage_key']} is not there"
            return
        self._report.files += 1
        self._report.bytes += len(body)
        sha256 = hashlib.sha256(body).hexdigest()
        if (sha256, len(body)) != (row["sha256"], row["bytes"]):
            yield f"{aweme_id}: {row['storage_key']} is not what the index says"
        if (odd := self._kept.oddity(row["storage_key"])) is not None:
            yield f"{aweme_id}: {row['storage_key']} {odd}"
        if row["kind"] == "sidecar":
            yield from self._sidecar(aweme_id, body)
        elif not any(_same(row, true, sha256) for true in self._files_of(aweme_id)):
            yield f"{aweme_id}: {row['storage_key']} is no {row['rendition'] or ''} {row['kind']} of this post"

    def _files_of(self, aweme_id: str) -> list[dict[str, Any]]:
        truth = self._truth.get(aweme_id)
        return truth["files"] if truth is not None else []

    def _sidecar(self, aweme_id: str, body: bytes) -> Iterator[str]:
        told = json.loads(body)
        if self._evidence.api_key.encode() in body or signed_in(body):
            yield f"{aweme_id}: its sidecar holds a signed link or the API key"
        if told["aweme_id"] != aweme_id or not told["url"].endswith(aweme_id):
            yield f"{aweme_id}: its sidecar is another post's"
        rows = self._rows("SELECT * FROM files WHERE aweme_id = ? AND kind <> 'sidecar'", aweme_id)
        index = {(row["storage_key"], row["bytes"], row["sha256"]) for row in rows}
        if {(file["key"], file["bytes"], file["sha256"]) for file in told["files"]} != index:
            yield f"{aweme_id}: its sidecar lists other files than the index"

    def _whole(self, aweme_id: str, post: Row, rows: list[Row]) -> Iterator[str]:
        truth = self._truth.get(aweme_id)
        kinds = Counter(row["kind"] for row in rows)
        if not kinds["sidecar"]:
            yield f"{aweme_id}: archived without a sidecar"
        if truth is None:
            yield f"{aweme_id}: archived, but no such post exists"
        elif truth["kind"] == "photo":
            slides = {true["position"] for true in truth["files"] if true["kind"] == "image"}
            if {row["position"] for row in rows if row["position"]} != slides or not kinds["audio"]:
                yield f"{aweme_id}: a photo post that lacks slides or sound"
        elif kinds["video"] != 1:
            yield f"{aweme_id}: {kinds['video']} videos"
        if post["bytes"] != sum(row["bytes"] for row in rows if row["kind"] not in ("cover", "sidecar")):
            yield f"{aweme_id}: posts.bytes is not the sum of its files"

    def credits(self) -> Iterator[str]:
        """Every call of the world is in the ledger; a first resolve happens once; no minute is over the limit."""
        told = self._rows("SELECT * FROM credits")
        self._report.credits_told = sum(row["credits"] for row in told)
        self._report.credits_taken = self._evidence.ledger["credits"]
        rows = [row for row in told if row["endpoint"] in _RESOLVES and row["reason"] != _CANARY]
        firsts = Counter(row["aweme_id"] for row in rows if row["reason"] == "first")
        yield from (f"{aweme_id}: {times} resolves called first" for aweme_id, times in firsts.items() if times > 1)
        written = Counter(row["endpoint"] for row in told)
        for path, calls in self._evidence.ledger["endpoints"].items():
            if calls > written[path]:
                yield f"{path}: the world counts {calls} calls, the ledger {written[path]}"
        yield from (f"credits row {row['seq']} was never settled" for row in told if row["outcome"] == "sent")
        self._report.resolve_calls = sum(written[path] for path in _RESOLVES)
        self._report.ids_resolved = len({row["aweme_id"] for row in rows})
        limit, worst = self._evidence.requests_per_minute, self._evidence.ledger["worst_minute"]
        if limit is not None and worst > limit:
            yield f"{worst} calls within 60 s, the limit is {limit}"

    def leaks(self) -> Iterator[str]:
        """Neither the key nor a signed link is in anything the archive wrote."""
        if self._evidence.ledger["key_leaks"]:
            yield f"the key was sent to the CDN {self._evidence.ledger['key_leaks']} times"
        key = self._evidence.api_key.encode()
        files = ((str(path.relative_to(self._folder)), path.read_bytes()) for path in _texts(self._folder))
        for name, body in chain(files, everything_written(self._folder, self._database)):
            if key in body:
                yield f"{name} holds the API key"
            if found := signed_in(body):
                yield f"{name} holds a signed link: {found!r}"

    def strays(self) -> Iterator[str]:
        """No file lies where files of posts lie without being some post's."""
        known = {row[0] for row in self._rows("SELECT storage_key FROM files")}
        # A post under way, and one whose first bytes were kept beside later ones, may have files of its own.
        open_ids = {i for i, row in self._queue.items() if row["state"] not in ("archived", "withheld")}
        out = {f"removals/{i}.json" for i, row in self._queue.items() if row["state"] == "withheld"}
        for key in self._kept.listed():
            if key in out or key.startswith("removals/author="):
                continue
            if key not in known and not any(part.split(".")[0] in open_ids for part in key.split("/")):
                yield f"{key}: belongs to no post"

    def unfinished(self) -> Iterator[str]:
        """Nothing waits that the world would give."""
        for aweme_id, row in self._queue.items():
            truth = self._truth.get(aweme_id)
            if row["state"] in ("pending", "running", "stored"):
                why = truth["why"] if truth is not None else "unknown"
                yield f"{aweme_id}: still {row['state']} ({row['last_reason']}), the world says {why}"


def signed_in(body: bytes) -> bytes:
    """Give what in `body`, of whatever case, is part of a signed link; nothing for a body without one.

    Plain words are looked for first: a database is megabytes, and one expression for all took fifteen times as long.
    """
    low = body.lower()
    found = any(word in low for word in _SIGNED_WORDS) and _SIGNED.search(low)
    found = found or _SIGNED_PATH.search(low)
    return found[0] if found else b""


def _same(row: Row, true: Mapping[str, Any], sha256: str) -> bool:
    kind = {"live": "video"}.get(true["kind"], true["kind"])
    if row["position"]:  # a slide: whatever its bytes are, it must be the slide of that number
        return bool(sha256 == true["sha256"] and row["position"] == true["position"])
    if row["kind"] == "video" and true["kind"] == "video" and row["rendition"] != true["rendition"]:
        return False
    return bool(sha256 == true["sha256"] and row["kind"] == kind)


def _texts(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in (".db", ".db-wal", ".json", ".toml", ".log", ".html", ""):
            yield path
