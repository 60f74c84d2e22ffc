"""What is on the record at each moment of a capture: the order that lets a crash anywhere lose nothing."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from clipledger import wiring
from clipledger.archive import create_archive, open_archive
from clipledger.core.errors import StorageUnavailable
from clipledger.core.model import ApiKey, MediaType, ObjectKey
from clipledger.core.ports import Part, Request, Response, Sink, Stat
from clipledger.core.times import read_iso_time
from clipledger.crew import Plan
from clipledger.events import Events
from clipledger.storage.local import LocalStore
from contract.archives import JumpingLoop, LoopClock, raw, vid
from hostile.reading import detail_body
from unit import media_files

ID = vid(1)


@dataclass
class Record:
    """What a stranger would have found in the archive at each moment."""

    folder: Path
    moments: list[tuple[str, str, str | None, tuple[str, ...]]] = field(default_factory=list)
    leases_s: list[float] = field(default_factory=list)

    def note(self, what: str) -> None:
        """Read the row, the open calls and the files as they are now, past our own code."""
        state, key, lease = raw(self.folder, "SELECT state, storage_key, lease_until FROM archive_queue")[0]
        if lease is not None:
            self.leases_s.append(read_iso_time(str(lease)) - LoopClock().now())
        outcomes = tuple(str(row[0]) for row in raw(self.folder, "SELECT outcome FROM credits ORDER BY seq"))
        self.moments.append((what, str(state), None if key is None else str(key), outcomes))


class HonestWire:
    """An API and a CDN that give whole answers, and note when they are asked."""

    def __init__(self, record: Record, takes_s: float) -> None:
        self._record, self._takes_s = record, takes_s

    async def get(self, request: Request, sink: Sink) -> Response:
        url = urlsplit(request.url.reveal())
        is_call = url.hostname == "api.tikliveapi.com"
        self._record.note("call" if is_call else "download")
        if not is_call:
            await asyncio.sleep(self._takes_s)
        whole = detail_body(random.Random(1), ID) | {"images": None}
        body = json.dumps(whole).encode() if is_call else media_files.mp4("vide", "soun")
        sink.open(Response(200))
        sink.write(body)
        return Response(200, received=len(body))

    async def close(self) -> None: ...


class FickleWire(HonestWire):
    """An API that calls the post photos first, with links that are dead, and a video when it is asked again."""

    async def get(self, request: Request, sink: Sink) -> Response:
        url = urlsplit(request.url.reveal())
        if url.hostname != "api.tikliveapi.com":
            if url.path.endswith("slide"):
                sink.open(Response(403))
                return Response(403)
            return await super().get(request, sink)
        calls = len(raw(self._record.folder, "SELECT seq FROM credits"))
        self._record.note("call")
        links = ["https://v16.tiktokcdn.com/slide"] if calls == 1 else None
        body = json.dumps(detail_body(random.Random(1), ID) | {"images": links}).encode()
        sink.open(Response(200))
        sink.write(body)
        return Response(200, received=len(body))


class WatchedStore:
    """A folder of files that notes each put as it begins, and fails those it is told to."""

    def __init__(self, folder: Path, record: Record, fails: str) -> None:
        self._inner, self._record, self._fails = LocalStore(folder), record, fails
        self.url = self._inner.url

    async def put_part(self, key: ObjectKey, part: Part, media_type: MediaType) -> bool:
        self._note("video" if media_type is MediaType.MP4 else "other")
        return await self._inner.put_part(key, part, media_type)

    async def put_bytes(self, key: ObjectKey, body: bytes, media_type: MediaType) -> bool:
        self._note("sidecar")
        return await self._inner.put_bytes(key, body, media_type)

    def _note(self, what: str) -> None:
        self._record.note(what)
        if what == self._fails:
            raise StorageUnavailable("as told")

    async def stat(self, key: ObjectKey) -> Stat | None:
        return await self._inner.stat(key)

    async def read(self, key: ObjectKey, max_bytes: int) -> bytes:
        return await self._inner.read(key, max_bytes)

    async def digest(self, key: ObjectKey) -> tuple[int, str]:
        return await self._inner.digest(key)

    async def walk(self, prefix: str, after: str = "") -> AsyncIterator[Stat]:
        async for stat in self._inner.walk(prefix, after):
            yield stat

    async def delete(self, key: ObjectKey) -> None:
        await self._inner.delete(key)

    async def check(self) -> None: ...

    async def sweep(self, older_than_s: float, now: float, limit: int) -> int:
        return 0

    async def close(self) -> None: ...


def captured(folder: Path, fails: str = "", takes_s: float = 0.0, wire_of: type[HonestWire] = HonestWire) -> Record:
    """Capture one post, whose download takes so long; give what was on the record at each moment."""
    record = Record(folder)

    async def main() -> None:
        clock = LoopClock()
        create_archive(folder, clock)
        (folder / "clipledger.toml").write_text("[capture]\ncovers = false\n")
        store = WatchedStore(folder, record, fails)
        async with open_archive(folder, clock, store=store, jitter=lambda: 0.5) as archive:
            await archive.queue.add_by_hand([(ID, None)], "hand", 0, clock.now())
            events = Events(clock)
            crew = wiring.crew(
                archive,
                Plan(roles=frozenset({"capture"})),
                wire=wire_of(record, takes_s),
                key=ApiKey("honest-key-1"),
                events=events,
                worker="w",
                jitter=lambda: 0.5,
            )
            await crew.run()
            record.note("end")

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(main())
    return record


def test_each_write_stands_before_the_next_begins(tmp_path: Path) -> None:
    """The call is on the books before it is sent, the key before the first byte, the video before its sidecar."""
    record = captured(tmp_path / "archive")
    assert [what for what, *_ in record.moments] == ["call", "download", "video", "sidecar", "end"]
    call, download, video, sidecar, end = record.moments
    assert (call[1], call[3]) == ("running", ("sent",))
    assert download[3] == ("ok",)
    assert video[1] == "running" and video[2] is not None and video[2].endswith(f"{ID}.mp4")
    assert sidecar[1] == "running"
    assert end[1] == "stored"


def test_nothing_is_called_stored_whose_sidecar_does_not_stand(tmp_path: Path) -> None:
    """A store that does not take the sidecar leaves the post waiting: it was never said to be complete."""
    record = captured(tmp_path / "archive", fails="sidecar")
    assert {state for what, state, *_ in record.moments if what == "sidecar"} == {"running"}
    assert record.moments[-1][1] == "pending"
    assert not list((tmp_path / "archive").rglob(f"{ID}.json"))


def test_a_long_download_keeps_its_lease(tmp_path: Path) -> None:
    """A download that takes ten times as long as a lease is never up for grabs: the lease is renewed all along."""
    record = captured(tmp_path / "archive", takes_s=600.0)
    assert record.moments[-1][1] == "stored"
    assert min(record.leases_s) > 0


def test_a_post_that_changes_its_kind_in_the_middle_never_takes_its_sidecars_place(tmp_path: Path) -> None:
    """Called photos first and a video when its links were bought anew, a post gets a key of its kind in the end."""
    record = captured(tmp_path / "archive", wire_of=FickleWire)
    published = [what for what, *_ in record.moments if what in ("video", "sidecar")]
    assert published == ["video", "sidecar"]
    key = next(key for what, _, key, _ in record.moments if what == "video")
    assert key is not None and key.startswith("videos/") and key.endswith(".mp4")
    assert record.moments[-1][1] == "stored"
    assert [path.suffix for path in sorted((tmp_path / "archive").rglob(f"{ID}*"))] == [".json", ".mp4"]
