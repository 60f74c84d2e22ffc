"""One world and one archive on a jumping clock: the product whole, run after run, in one folder.

Everything above the ports is the real thing: the database, the local store, the spool, the locks. The wire is
the world's and the clock jumps. A run may be several workers at once, may be told to stop, may crash.
Must not: judge (`audit`), or know a scenario.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from clipledger import presence, settings, sources
from clipledger.archive import Archive, create_archive, open_archive
from clipledger.core.links import WantedPost, WantedShortLink, WantedSource, understand
from clipledger.core.model import BY_HAND, ApiKey
from clipledger.core.ports import ObjectStore, Wire
from clipledger.core.times import parse_duration, read_iso_time
from clipledger.crew import Crew, Plan
from clipledger.db.sources import SourceIn
from clipledger.events import Events, Listener
from clipledger.sim import timeloop
from clipledger.sim.asking import asking
from clipledger.sim.audit import Evidence, Report, audit
from clipledger.sim.faults import FaultPlan
from clipledger.sim.kept import Kept, KeptInFolder
from clipledger.sim.population import AHEAD_S
from clipledger.sim.timeloop import SimClock, SimulatedCrash, TimeLoop
from clipledger.sim.wire import SimWire
from clipledger.sim.world import World
from clipledger.wiring import Limits, crew
from clipledger.worker import Tally

T = TypeVar("T")

START = 1_780_012_800.0
"""2026-05-29 00:00 UTC: a day of its own, so that a simulated day is one day of the budget."""

API = "https://api.tikliveapi.com"
KEY = "sim-key-of-the-play"
LIMIT_S = 32 * 86_400.0
"""A run that takes longer than this many simulated seconds hangs."""

NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Ground:
    """What an archive stands on; None is its own folder.

    `database` is a server's URL. `store` holds the files of `storage_url` (a `BridgedStore` when it is real),
    and `kept` is how the judge looks into it.
    """

    database: str | None = None
    storage_url: str | None = None
    store: ObjectStore | None = None
    kept: Kept | None = None

    def settings(self) -> dict[str, object]:
        """Give the settings that name it."""
        named = {"database.url": self.database, "storage.url": self.storage_url}
        return {name: url for name, url in named.items() if url is not None}


@dataclass(frozen=True, slots=True)
class Crash:
    """Where the process dies: so many steps of the loop after `at_s` seconds of the run."""

    at_s: float
    steps: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """How one run went. `tallies`, `spent` and `events` have one entry a worker; times are unix seconds."""

    began_at: float
    ended_at: float
    crashed: bool
    tallies: tuple[Tally, ...]
    spent: tuple[int, ...]
    events: tuple[Counter[str], ...]
    trace: str

    @property
    def ending(self) -> str:
        """Name the end: `crashed`, the reason of the first Halt, or `done`."""
        if self.crashed:
            return "crashed"
        return next((tally.halted.reason.value for tally in self.tallies if tally.halted is not None), "done")


@dataclass(frozen=True, slots=True)
class _Standing:
    """A clock while nobody is at work."""

    at: float

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        raise RuntimeError("time stands still")


@dataclass(slots=True)
class _Cast:
    """The workers of a run under way."""

    crews: list[Crew] = field(default_factory=list)
    events: list[Events] = field(default_factory=list)
    tallies: list[Tally] = field(default_factory=list)

    def stop(self) -> None:
        for each in self.crews:
            each.worker.stop.step()


class Play:
    """A world of `posts` posts and an archive of it in `folder`, which is made.

    `faults` is a plan as `FaultPlan.parse` reads it; `settings` go into the archive's own file, by dotted
    name. `wire` builds the way into the world. `ground` is what the archive stands on, if not what `ground_of`
    says. Time stands still between runs; `wait` moves it.
    """

    @staticmethod
    def ground_of(_folder: Path) -> Ground:
        """Say what an archive stands on whose play does not: its own folder."""
        return Ground()

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 1,
        posts: int = 200,
        faults: str = "calm",
        settings: Mapping[str, object] | None = None,
        balance: int | None = None,
        photo_share: float = 0.1,
        ahead_s: float = AHEAD_S,
        wire: Callable[[World], Wire] = SimWire,
        listener: Listener | None = None,
        ground: Ground | None = None,
    ) -> None:
        self.ground = ground or self.ground_of(folder)
        self.folder, self.seed, self.runs = folder, seed, list[Run]()
        self._wire, self._listeners = wire, [listener] if listener is not None else []
        self._epoch: float = START
        self._loop: TimeLoop | None = None
        self._clock: SimClock | None = None
        self._begun = 0
        self.world = World(
            seed,
            posts,
            start=START,
            now=self.now,
            faults=FaultPlan.parse(faults),
            api_key=KEY,
            balance=balance,
            base_url=API,
            real_hosts=True,
            photo_share=photo_share,
            ahead_s=ahead_s,
        )
        _write_settings(folder, self.ground.settings() | dict(settings or {}))
        create_archive(folder, _Standing(START))

    def now(self) -> float:
        """Tell the time in the world, unix seconds."""
        return self._epoch + (self._loop.time() if self._loop else 0.0)

    def wait(self, seconds: float) -> None:
        """Let time pass with nobody at work."""
        self._epoch += seconds

    def jump(self, seconds: float) -> None:
        """Let the wall clock jump during a run, as when the machine slept."""
        self._epoch += seconds
        if self._clock is not None:
            self._clock.jump(seconds)

    def turn(self, **switches: str) -> None:
        """Turn switches of the world, as `/_sim/control` takes them."""
        for name, value in switches.items():
            self.world.control.turn(name, value)

    def add(
        self, *texts: str, every: str | None = None, max_pages: int | None = None, priority: int | None = None
    ) -> None:
        """Register sources and posts as `clipledger add` understands them, while nobody is at work."""
        self._within(TimeLoop(), lambda _: self.adding(*texts, every=every, max_pages=max_pages, priority=priority))

    async def adding(
        self, *texts: str, every: str | None = None, max_pages: int | None = None, priority: int | None = None
    ) -> None:
        """Do what `add` does, during a run."""
        every_s = round(parse_duration(every)) if every else None
        async with open_archive(self.folder, _Standing(self.now())) as archive:
            for text in texts:
                await _add(archive, text, every_s, max_pages, priority)

    def run(
        self,
        *,
        roles: Sequence[str] | None = None,
        follow: bool = False,
        limits: Limits = NO_LIMITS,
        workers: int = 1,
        stop_after_s: float | None = None,
        crash: Crash | None = None,
        during: Mapping[float, Callable[[], Awaitable[None] | None]] | None = None,
    ) -> Run:
        """Run to the end, to the stop after `stop_after_s` seconds, or to the crash; a bug comes out as it is.

        `during`: what happens meanwhile, by seconds from the beginning. Every worker has a database
        connection, a wire and a lock of its own, as every process has.
        """
        plan = Plan(frozenset(roles), follow) if roles else Plan(follow=follow)
        loop, cast, began_at = TimeLoop(limit_s=LIMIT_S, traced=True), _Cast(), self.now()
        self._begun += 1
        names = [f"worker-{self._begun}-{nth}" for nth in range(1, workers + 1)]
        if crash is not None:
            loop.call_later(crash.at_s, loop.crash_after, crash.steps)
        if stop_after_s is not None:
            loop.call_later(stop_after_s, cast.stop)

        async def main(clock: SimClock) -> None:
            self._clock = clock
            async with asyncio.TaskGroup() as meanwhile:
                others = [meanwhile.create_task(_later(clock, *each)) for each in (during or {}).items()]
                async with asyncio.TaskGroup() as processes:
                    for name in names:
                        processes.create_task(self._process(clock, name, plan, limits, cast))
                for other in others:
                    other.cancel()

        crashed = False
        try:
            with _present(self.folder, names):
                self._within(loop, main)
        except SimulatedCrash:
            _close_parts(self.folder)
            crashed = True
        spent, counts = tuple(each.spent for each in cast.crews), tuple(each.counts for each in cast.events)
        self.runs.append(Run(began_at, self.now(), crashed, tuple(cast.tallies), spent, counts, loop.trace))
        return self.runs[-1]

    def run_to_the_end(self, runs_max: int, **how: Any) -> list[Run]:
        """Run, and sit out the back-offs between the runs, until no id is open or `runs_max` runs are over."""
        runs = []
        for _ in range(runs_max):
            runs.append(self.run(**how))
            due_at = self.next_due_at()
            if due_at is None:
                break
            self.wait(max(due_at - self.now(), 0.0) + 1.0)
        return runs

    def next_due_at(self) -> float | None:
        """Tell when the first open id falls due; None when every id is archived, dead or withheld."""
        open_ids = self.rows("SELECT min(due_at) FROM archive_queue WHERE state NOT IN ('archived','dead','withheld')")
        return read_iso_time(open_ids[0][0]) if open_ids[0][0] is not None else None

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Ask the archive's database, as an operator with `sqlite3` would."""
        with asking(self.folder, self.ground.database) as ask:
            return [row.values for row in ask(sql, *values)]

    def paid_by_day(self, reason: str) -> dict[str, int]:
        """Sum the credits of one reason by UTC day."""
        spent = Counter[str]()
        for at, credits in self.rows("SELECT at, credits FROM credits WHERE reason = ?", reason):
            spent[at[:10]] += credits
        return dict(spent)

    def stamps(self) -> dict[str, object]:
        """Give, by the key of each stored file, what changes when it is written again."""
        return (self.ground.kept or KeptInFolder(self.folder)).stamps()

    def states(self) -> dict[str, int]:
        """Count the ids in each state."""
        return dict(self.rows("SELECT state, count(*) FROM archive_queue GROUP BY state"))

    def audit(self, *, finished: bool = True, requests_per_minute: int | None = 200) -> Report:
        """Hold the archive against the world."""
        ledger, truth = self.world.control.ledger(calls=True), self.world.control.world(with_files=True)
        evidence = Evidence(ledger, truth, KEY, requests_per_minute)
        return audit(self.folder, evidence, finished=finished, database=self.ground.database, kept=self.ground.kept)

    async def _process(self, clock: SimClock, name: str, plan: Plan, limits: Limits, cast: _Cast) -> None:
        """Be one process of the archive, from opening to closing it."""
        jitter, events = random.Random(f"{self.seed}/{name}"), Events(clock, *self._listeners)
        async with open_archive(self.folder, clock, self.ground.store, jitter.random) as archive:
            wire = self._wire(self.world)
            hands = crew(
                archive,
                plan,
                wire=wire,
                key=ApiKey(KEY),
                events=events,
                worker=name,
                limits=limits,
                jitter=jitter.random,
            )
            cast.crews.append(hands)
            cast.events.append(events)
            cast.tallies.append(hands.worker.tally)
            try:
                await hands.run()
            finally:
                await wire.close()

    def _within(self, loop: TimeLoop, main: Callable[[SimClock], Coroutine[Any, Any, T]]) -> T:
        """Let `main` have the time that passes meanwhile."""
        self._epoch, self._loop = self.now(), loop
        return timeloop.run(main, epoch=self._epoch, loop=loop)


async def _later(clock: SimClock, seconds: float, happening: Callable[[], Awaitable[None] | None]) -> None:
    await clock.sleep(seconds)
    happens = happening()
    if happens is not None:
        await happens


async def _add(archive: Archive, text: str, every_s: int | None, max_pages: int | None, priority: int | None) -> None:
    now = archive.clock.now()
    match understand(text, now=now):
        case WantedPost(aweme_id, asked_url):
            await archive.sources.register(SourceIn(BY_HAND, "hand", "", now))
            await archive.queue.add_by_hand([(aweme_id, asked_url)], BY_HAND, priority or 0, now)
        case WantedShortLink(url):
            await archive.sources.register(SourceIn(url, "link", url, now, priority=priority))
        case WantedSource(kind, subject, options):
            written = sources.registry()[kind].write(subject, options)
            row = SourceIn(written, kind, subject, now, options.region, options.sort, options.within)
            await archive.sources.register(replace(row, priority=priority, every_s=every_s, max_pages=max_pages))


@contextmanager
def _present(folder: Path, names: Sequence[str]) -> Iterator[None]:
    """Hold the locks of processes; what a crash lets out of here is let go, as a kernel would."""
    with ExitStack() as held:
        for name in names:
            held.enter_context(presence.hold_archive(folder))
            held.enter_context(presence.hold_worker(folder, name))
        yield


def _close_parts(folder: Path) -> None:
    """Close the parts that a crashed run left open, as a kernel would: their locks die with their owner."""
    spool = presence.private_folder(folder) / "spool"
    left = {(found.st_dev, found.st_ino) for path in spool.glob("*.part") if (found := path.stat())}
    for number in [int(entry.name) for entry in Path("/dev/fd").iterdir()]:
        try:
            found = os.fstat(number)
        except OSError:  # the descriptor that listed the folder
            continue
        if (found.st_dev, found.st_ino) in left:
            os.close(number)


def _write_settings(folder: Path, given: Mapping[str, object]) -> None:
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    sections: dict[str, list[str]] = {}
    for dotted, value in given.items():
        section, _, name = dotted.partition(".")
        sections.setdefault(section, []).append(f"{name} = {json.dumps(value)}")
    text = "\n".join(line for section, rows in sections.items() for line in (f"[{section}]", *rows))
    (folder / settings.FILE_NAME).write_text(text + "\n", encoding="utf-8")
