"""Bad input for the whole way of a post: hostile replies and bytes through resolve, fetch, check, publish and index.

Only the wire is not real: it stands below our own client of the API and of the CDN. Sidecars are edited by a
stranger before they are indexed. Must not: let the breaker end the play, since here every answer is bad.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from clipledger import wiring
from clipledger.archive import Archive, create_archive, open_archive
from clipledger.core.errors import ClipledgerError, LeaseLost
from clipledger.core.layout import sidecar_of
from clipledger.core.lifecycle import after_failure
from clipledger.core.model import ApiKey, AwemeId, Job, State
from clipledger.core.ports import Request, Response, Sink, WireError
from clipledger.core.sidecar import BadSidecar, read_of
from clipledger.events import Events
from clipledger.stages.detail import Attempt
from clipledger.stages.fresh import Fresh
from clipledger.stages.guard import Guard
from clipledger.stages.metadata import Metadata
from clipledger.stages.verify import Verify
from contract.archives import JumpingLoop, LoopClock, vid
from hostile import naughty, reading
from hostile.sandbox import Sandbox
from hostile.verdicts import ACCEPTED, SLOWEST_S, Corpus, Verdict
from unit import media_files

_SETTINGS = "[api]\nrequests_per_minute = 1000000\n[queue]\nattempts_max = 1\n[capture]\naudio = true\n"
_ALLOWED = (
    "tiktokcdn.com",
    "tiktokcdn-us.com",
    "tiktokcdn-eu.com",
    "akamaized.net",
    "ibyteimg.com",
    "tiktok.com",
    "tikliveapi.com",
)


class HostileWire:
    """Answers for every id as its dice say, the API's part and the CDN's; notes what should not have been opened."""

    def __init__(self, seed: str) -> None:
        self.opened: list[str] = []
        self._seed = seed
        self._asked = Counter[str]()
        self.number = 0

    async def get(self, request: Request, sink: Sink) -> Response:
        """Answer one request of the post under way."""
        url = urlsplit(request.url.reveal())
        if not self._may_open(url.scheme, url.hostname or "", request.public_only) or url.port not in (None, 443):
            self.opened.append(url.hostname or url.scheme)
        self._asked[str(self.number)] += 1
        dice = random.Random(f"{self._seed}/{self.number}/{self._asked[str(self.number)]}")
        if url.hostname == "api.tikliveapi.com" and url.path == "/post-detail/":
            return _answer(
                sink, dice.choice((200,) * 12 + (404, 500)), {}, reading.hostile_body(dice, vid(self.number))
            )
        return _media(dice, sink)

    async def close(self) -> None:
        """Do nothing."""

    @staticmethod
    def _may_open(scheme: str, host: str, public_only: bool) -> bool:
        return scheme == "https" and public_only and any(f".{host}".endswith(f".{suffix}") for suffix in _ALLOWED)


def _answer(sink: Sink, status: int, headers: dict[str, str], body: bytes) -> Response:
    sink.open(Response(status, headers))
    if body:
        sink.write(body)
    return Response(status, headers, len(body))


def _reply(dice: random.Random, sink: Sink, aweme_id: AwemeId) -> Response:
    if dice.random() < 0.6:
        named = json.dumps(reading.named_body(dice, aweme_id), ensure_ascii=dice.random() < 0.5)
        return _answer(sink, 200, {}, named.encode("utf-8", "surrogatepass"))
    return _answer(sink, dice.choice((200,) * 12 + (404, 500)), {}, reading.hostile_body(dice, aweme_id))


def _media(dice: random.Random, sink: Sink) -> Response:
    bodies = (media_files.mp4("vide", "soun"), media_files.jpeg(), media_files.mp3(tag=b"TT"), media_files.webp())
    body = dice.choice((bodies[0], bodies[0], bodies[0], *bodies))
    match dice.randrange(12):
        case 0:
            return _answer(sink, 302, {"location": naughty.link(dice)}, b"<html>moved</html>")
        case 1:
            raise WireError(dice.choice(WireError.KINDS), "as the dice say")
        case 2:
            return _answer(
                sink,
                dice.choice((204, 301, 400, 403, 404, 410, 416, 429, 500, 503)),
                {"retry-after": naughty.text(dice)},
                b"x",
            )
        case 3:
            return _answer(sink, 200, {}, naughty.damaged(dice, body))
        case 4:
            return _answer(sink, 200, {}, dice.choice((b"", b"<html>", b"{}", b"\0" * 1000, dice.randbytes(500))))
    return _answer(sink, 200, {"content-type": naughty.text(dice)}, body)


def feed(place: Sandbox, seed: str, numbers: Iterable[int]) -> Iterator[Verdict]:
    """Capture one post for each number, index what was stored, and look everything over."""
    folder = place.folder / "captured"
    found = play(folder, seed, list(numbers))
    shutil.rmtree(folder)
    yield from found


def play(folder: Path, seed: str, numbers: list[int]) -> list[Verdict]:
    """Lay an archive down in `folder` and capture one post for each number."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(_captured(folder, seed, numbers))


async def _captured(folder: Path, seed: str, numbers: list[int]) -> list[Verdict]:
    clock = LoopClock()
    create_archive(folder, clock)
    (folder / "clipledger.toml").write_text(_SETTINGS)
    async with open_archive(folder, clock, jitter=lambda: 0.5) as archive:
        await archive.queue.add_by_hand([(vid(number), None) for number in numbers], "hand", 0, clock.now())
        wire, verdicts = HostileWire(seed), dict[int, Verdict]()
        while jobs := await archive.queue.claim(1, clock.now(), 3600.0, "w"):
            wire.number = int(jobs[0].aweme_id) - int(vid(0))
            verdicts[wire.number] = await _attempted(archive, jobs[0], wire)
        await _edit_sidecars(archive, seed, verdicts)
        await _look_over(archive, verdicts)
        return [verdicts[number] for number in numbers]


async def _attempted(archive: Archive, job: Job, wire: HostileWire) -> Verdict:
    began, fault = time.perf_counter(), ""
    try:
        await _act(archive, job, wire)
    except Exception as bug:  # noqa: BLE001 whatever leaves is a finding
        fault = f"{type(bug).__name__}: {str(bug)[:300]!r}"
    if wire.opened:
        fault = f"opened {wire.opened}"
        wire.opened.clear()
    seconds = time.perf_counter() - began
    if seconds > SLOWEST_S:
        fault = fault or f"took {seconds:.1f} s"
    return Verdict(wire.number, "fault" if fault else "", seconds, fault)


async def _act(archive: Archive, job: Job, wire: HostileWire) -> None:
    """Do what the worker does with one job; parts of its own, so that a halt ends this post alone."""
    events, clock = Events(archive.clock), archive.clock
    paid = wiring.paid_calls(archive, wire, ApiKey("hostile-key-1"), events, "w", jitter=lambda: 0.5)
    guard = Guard(
        paid, archive.queue, archive.catalog, archive.credits, archive.switches, clock, events, archive.policy
    )
    download = wiring._download(archive, paid, guard, wiring._cdn(wire, archive.settings, clock), Fresh(), events)
    attempt = Attempt(job)
    try:
        await download.act(attempt)
    except LeaseLost as error:
        raise AssertionError("nobody else works here") from error
    except ClipledgerError as error:
        settled = after_failure(job, error, paid=attempt.paid, now=clock.now(), policy=archive.policy, jitter=0.5)
        # Due in a year: each post is tried once here.
        later = type(settled)(
            **{name: getattr(settled, name) for name in settled.__slots__} | {"due_at": clock.now() + 3e7}
        )
        assert await archive.queue.settle(later, clock.now())


async def _edit_sidecars(archive: Archive, seed: str, verdicts: dict[int, Verdict]) -> None:
    """Edit most sidecars that stand, as nobody should; one that is none, or another's, is a fault."""
    for number, verdict in verdicts.items():
        dice = random.Random(f"{seed}/{number}/sidecar")
        row = await archive.queue.row(vid(number))
        if row is None or row.state != State.STORED or row.storage_key is None:
            continue
        path = archive.folder / sidecar_of(row.storage_key)
        try:
            read_of(path.read_bytes(), vid(number))
        except (OSError, BadSidecar) as error:
            verdicts[number] = Verdict(number, "fault", verdict.seconds, f"stored without its sidecar: {error}")
            continue
        if dice.random() < 0.6:
            path.write_bytes(reading.hostile_sidecar(dice, path.read_bytes()))


async def _look_over(archive: Archive, verdicts: dict[int, Verdict]) -> None:
    """Index, verify, and put down for each id where it stands and why."""
    events, trouble = Events(archive.clock), ""
    try:
        metadata = Metadata(archive.queue, archive.catalog, archive.store, Fresh(), archive.clock, events)
        for _ in itertools.takewhile(bool, [await metadata.act() for _ in range(2)]):
            pass
        verify = Verify(archive.books, archive.catalog, archive.store)
        trouble = "; ".join([f"{found.aweme_id} {found.what}" async for found in verify.books()][:3])
        _ = [found async for found in verify.media()]
    except Exception as bug:  # noqa: BLE001 whatever leaves is a finding
        trouble = f"the index or verify: {type(bug).__name__}: {str(bug)[:300]!r}"
    for number, verdict in verdicts.items():
        if not verdict.fault:
            verdicts[number] = await _standing(archive, number, verdict.seconds, trouble)


async def _standing(archive: Archive, number: int, seconds: float, trouble: str) -> Verdict:
    row = await archive.queue.row(AwemeId(vid(number)))
    assert row is not None
    if trouble:
        return Verdict(number, "fault", seconds, trouble)
    if row.state == State.ARCHIVED:
        return Verdict(number, ACCEPTED, seconds)
    if row.state in (State.PENDING, State.DEAD) and row.last_reason:
        return Verdict(number, f"refused: {row.last_reason}", seconds)
    return Verdict(number, "fault", seconds, f"left {row.state} without a reason")


CORPORA = (Corpus("captured", 120, feed, batch=100),)
