"""Work on the archive in the server's own process, as `run --follow` does: begun and ended by the operator.

The API key stays in memory. Must not: decide what is worked on; the crew does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from clipledger import presence
from clipledger.archive import Archive, note_settings, prove_store
from clipledger.core.chain import Act
from clipledger.core.errors import ClipledgerError, Misconfigured
from clipledger.core.model import ApiKey
from clipledger.crew import ROLES, Plan
from clipledger.events import Events, Listener
from clipledger.interpreter import suited_to_work
from clipledger.net.wire import CurlWire
from clipledger.settings import read_key
from clipledger.wiring import crew, new_worker_name
from clipledger.worker import Stop


@dataclass(frozen=True, slots=True)
class Standing:
    """What the workers of this process do: `idle`, `working`, `stopping`. `why` they ended last, '' for no reason."""

    state: str
    why: str = ""


class Workers:
    """The workers of this process. `run` must be running for `start` to have an effect."""

    def __init__(self, archive: Archive, listeners: Sequence[Listener] = ()) -> None:
        self._archive, self._listeners = archive, tuple(listeners)
        self._asked, self._ended = asyncio.Event(), False
        self._key: ApiKey | None = None
        self._stop: Stop | None = None
        self._why = ""

    @property
    def standing(self) -> Standing:
        """Say what is done now."""
        if self._stop is not None:
            return Standing("stopping" if self._stop else "working")
        return Standing("working" if self._asked.is_set() else "idle", self._why)

    @property
    def has_key(self) -> bool:
        """Say whether it can begin without being given a key."""
        try:
            return (self._key or read_key()) is not None
        except Misconfigured:
            return False

    def start(self, key: ApiKey | None = None) -> None:
        """Begin to work, with this key or the one that the environment names; Misconfigured when there is none."""
        self._key = key or self._key or read_key()
        if self._key is None:
            raise Misconfigured("no API key: set TIKLIVEAPI_KEY, or TIKLIVEAPI_KEY_FILE to a file that holds it")
        self._asked.set()

    def step(self) -> None:
        """Stop in good order; asked again, at once."""
        self._asked.clear()
        if self._stop is not None:
            self._stop.step()

    async def begin(self, by: Archive, key: ApiKey | None = None) -> None:
        """Begin to work, as `start`; `by` is the archive as whoever asked acts on it, whose log tells of it."""
        self.start(key)
        await by.audit.append(by.clock.now(), Act.WORK, detail="in the serving process")

    async def rest(self, by: Archive) -> None:
        """Stop, as `step`; `by` as with `begin`."""
        self.step()
        await by.audit.append(by.clock.now(), Act.REST, detail="in the serving process")

    async def run(self) -> None:
        """Work whenever that was asked for, until `end`."""
        while True:
            await self._asked.wait()
            if self._ended:
                return
            try:
                await self._work()
            except ClipledgerError as error:
                self._why = error.detail
            finally:
                self._stop = None
            if not self._ended:
                self._asked.clear()

    def end(self) -> None:
        """End `run`, in good order if work is under way; asked again, at once."""
        self._ended = True
        if self._stop is not None:
            self._stop.step()
        self._asked.set()

    async def _work(self) -> None:
        archive, worker, wire = self._archive, new_worker_name(), CurlWire()
        events = Events(archive.clock, *self._listeners)
        self._why = ""
        with suited_to_work(), presence.hold_worker(archive.folder, worker):
            try:
                await note_settings(archive)
                await prove_store(archive)
                plan = Plan(frozenset(ROLES), follow=True)
                hands = crew(archive, plan, wire=wire, key=self._key, events=events, worker=worker)
                self._stop = hands.worker.stop
                if self._ended:
                    return
                tally = await hands.run()
                self._why = tally.halted.detail if tally.halted is not None else ""
            finally:
                await wire.close()
