"""The least that an archive does for a post, in Python on libcurl, and nothing that makes it one to be trusted.

    python least.py URL IDS FOLDER

For each id one request for the post and one for its film; the reply is read, the film hashed while it comes in, both
are written under a passing name and renamed, a row goes into SQLite with a hundred others. No queue, no ledger, no
events, no check of the film, no fsync, no second try, no limit on anything, one thread. What this program takes, no
program that does the same work in this language takes less of by leaving something else out.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pycurl

SLOTS = 20
RECEIVE_BYTES = 2**18
ROWS = 100


class Post:
    """One post on its way: its reply, then its film."""

    def __init__(self, aweme_id: str, folder: Path) -> None:
        self.id = aweme_id
        self.folder = folder
        self.reply = bytearray()
        self.sum = hashlib.sha256()
        self.size_bytes = 0

    def begin_film(self) -> str:
        """Read the reply, open the film's file, and give its link."""
        self.detail = json.loads(self.reply)
        self.file = (self.folder / f"{self.id}.part").open("wb", buffering=0)
        return str(self.detail["hdplay"])

    def take(self, chunk: bytes) -> None:
        """Hash and write what came in."""
        self.sum.update(chunk)
        self.file.write(chunk)
        self.size_bytes += len(chunk)

    def finish(self) -> tuple[str, str, int]:
        """Name the film, write the sidecar, and give the row."""
        self.file.close()
        (self.folder / f"{self.id}.part").rename(self.folder / f"{self.id}.mp4")
        sidecar = json.dumps({"id": self.id, "sha256": self.sum.hexdigest(), "post": self.detail})
        part = self.folder / f"{self.id}.json.part"
        part.write_text(sidecar)
        part.rename(self.folder / f"{self.id}.json")
        return self.id, self.sum.hexdigest(), self.size_bytes


class Rows:
    """An index of what was brought."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file)
        self._db.executescript("PRAGMA journal_mode = WAL; CREATE TABLE posts (id TEXT PRIMARY KEY, sha256, bytes)")
        self._waiting: list[tuple[str, str, int]] = []

    def add(self, row: tuple[str, str, int]) -> None:
        """Keep a row; write them all when there are enough."""
        self._waiting.append(row)
        if len(self._waiting) >= ROWS:
            self.write()

    def write(self) -> None:
        """Write what waits."""
        with self._db:
            self._db.executemany("INSERT INTO posts VALUES (?, ?, ?)", self._waiting)
        self._waiting.clear()


class Wire:
    """Twenty transfers at a time, each calling back when it ended."""

    def __init__(self) -> None:
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_MAXCONNECTS, SLOTS)
        self._free = [self._handle() for _ in range(SLOTS)]
        self._ended: dict[Any, Callable[[], None]] = {}

    @staticmethod
    def _handle() -> Any:
        handle = pycurl.Curl()
        handle.setopt(pycurl.BUFFERSIZE, RECEIVE_BYTES)
        handle.setopt(pycurl.FAILONERROR, 1)
        return handle

    def get(self, url: str, take: Callable[[bytes], object], ended: Callable[[], None]) -> None:
        """Begin a transfer; one of the twenty must be free."""
        handle = self._free.pop()
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.WRITEFUNCTION, take)
        self._ended[handle] = ended
        self._multi.add_handle(handle)

    def run(self, begin: Callable[[], bool]) -> None:
        """Work until `begin` has nothing more to begin and all have ended."""
        going = True
        while going or self._ended:
            while going and self._free:
                going = begin()
            self._multi.perform()
            _, good, bad = self._multi.info_read(SLOTS)
            if bad:
                raise RuntimeError(bad[0][2])
            for handle in good:
                self._multi.remove_handle(handle)
                self._free.append(handle)
                self._ended.pop(handle)()
            if not good:
                self._multi.select(1.0)


def main(url: str, ids: list[str], folder: Path) -> None:
    """Bring every post."""
    wire, rows = Wire(), Rows(folder / "index.db")
    films: list[Post] = []
    waiting: Iterator[str] = iter(ids)

    def begin() -> bool:
        if films:
            post = films.pop()
            wire.get(post.begin_film(), post.take, lambda: rows.add(post.finish()))
            return True
        if (aweme_id := next(waiting, None)) is None:
            return bool(films)
        post = Post(aweme_id, folder)
        wire.get(f"{url}/post-detail/?url={aweme_id}", post.reply.extend, lambda: films.append(post))
        return True

    while True:
        wire.run(begin)
        if not films:
            break
    rows.write()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).read_text().split(), Path(sys.argv[3]))
