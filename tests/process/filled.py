"""A store full of posts without a database, and what comes of rebuilding one: undisturbed, or killed and taken up.

Shared by the tests and by `benchmarks/rebuild.py`. The posts are drawn from a seed; one in ten is a photo set. Files
are a few hundred bytes: a rebuild reads sidecars, not media.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipledger.core import layout, sidecar
from clipledger.core.model import Author, AwemeId, Counters, FileKind, MediaType, ObjectKey, Post, Quality, StoredFile
from clipledger.core.times import utc_day
from process.harness import Archive

NOW = 1_780_000_000.0
_DAYS = 400
_TITLES = ("cat dance #fyp", "dog in the rain #loop #cats", "✨ café at night", "東京 glass road", "paint a song")


@dataclass(frozen=True, slots=True)
class Ran:
    """One command: its exit code, how long it took by the clock and on a processor, its memory, its JSON document."""

    code: int
    seconds: float
    cpu_s: float
    peak_mb: float
    told: Any


def fill(folder: Path, posts: int, seed: int) -> int:
    """Write a store of `posts` whole posts below `folder`; give how many bytes its sidecars have."""
    dice, size = random.Random(f"filled/{seed}"), 0
    for nth in range(posts):
        for key, body in _post(dice, nth, posts):
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            size += len(body) if key.endswith(".json") else 0
    return size


def _post(dice: random.Random, nth: int, posts: int) -> Iterator[tuple[str, bytes]]:
    created = NOW - 86_400.0 * _DAYS * (1 - nth / posts)
    aweme_id = AwemeId(str((int(created) << 32) + dice.getrandbits(31)))
    who = dice.randrange(max(posts // 40, 1))
    author = Author(str(10**9 + who), f"author.{who}", f"Author {who} ✨")
    day, part = utc_day(created + 3600.0), layout.author_part(author.handle, author.id)
    is_photo = dice.random() < 0.1
    files = [*_files(dice, day, part, aweme_id, is_photo)]
    post = Post(
        aweme_id,
        author=author,
        title=" ".join(dice.choices(_TITLES, k=dice.randint(1, 3))),
        region=dice.choice(("US", "DE", "JP")),
        duration_s=None if is_photo else dice.uniform(3, 90),
        created_at=int(created),
        counters=Counters(*(dice.randrange(10**7) for _ in range(6))),
        music_id=str(7 * 10**18 + dice.randrange(1000)),
        reply={"id": aweme_id, "stats": {str(n): dice.randrange(10**6) for n in range(40)}},
    )
    told = sidecar.write(
        post,
        [file for file, _ in files],
        captured_at=created + 7200.0 + dice.randrange(1000) / 1000,
        version="0.1",
        missing=(),
        origin=sidecar.Origin(f"@{author.handle}", created + 3600.0),
        is_photo=is_photo,
    )
    yield from ((file.key, body) for file, body in files)
    yield layout.sidecar_key(day, part, aweme_id, is_photo), told


def _files(
    dice: random.Random, day: str, part: str, aweme_id: AwemeId, is_photo: bool
) -> Iterator[tuple[StoredFile, bytes]]:
    def file(kind: FileKind, key: ObjectKey, media_type: MediaType, position: int = 0) -> tuple[StoredFile, bytes]:
        body = dice.randbytes(200)
        rendition = Quality.HD if kind is FileKind.VIDEO else None
        sha256 = hashlib.sha256(body).hexdigest()
        return StoredFile(kind, key, len(body), sha256, media_type, rendition, position), body

    if is_photo:
        for position in range(1, dice.randint(2, 5)):
            key = layout.photo_key(day, part, aweme_id, position, MediaType.JPEG)
            yield file(FileKind.IMAGE, key, MediaType.JPEG, position)
        yield file(FileKind.AUDIO, layout.audio_key(day, part, aweme_id, True, MediaType.MP3), MediaType.MP3)
    else:
        yield file(FileKind.VIDEO, layout.video_key(day, part, aweme_id), MediaType.MP4)
    yield file(FileKind.COVER, layout.cover_key(day, aweme_id, MediaType.JPEG), MediaType.JPEG)


def timed(archive: Archive, *words: str) -> Ran:
    """Run a command with --json to its end and measure it."""
    began = time.monotonic()
    process = subprocess.Popen(
        archive.command("--json", "-q", *words), env=archive.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    out = process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds, cpu_s = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    return Ran(process.returncode, seconds, cpu_s, usage.ru_maxrss / 1024, json.loads(out) if out else None)


def killed_and_taken_up(archive: Archive, dice: random.Random, whole_s: float) -> list[str]:
    """Kill a rebuild of an archive without a database at a drawn moment, take it up; give what is wrong in the end."""
    with archive.started("rebuild", "--json", "-q", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(dice.uniform(0.3 * min(whole_s, 1.0), whole_s))
        process.send_signal(signal.SIGKILL)
        process.wait()
    ended = timed(archive, "rebuild")
    if ended.code not in (0, 4):  # 4: all was done before the blow, and what is there is left alone
        return [f"taken up, it ended with {ended.code}: {ended.told}"]
    compared = timed(archive, "rebuild", "--check")
    return [] if compared.code == 0 and compared.told["equal"] else [f"not equal: {compared.told['differences'][:5]}"]
