"""`demo`: a whole archive played against the simulator, a kill -9 included, and judged."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipledger.archive import SystemClock
from clipledger.cli.exits import Exit
from clipledger.cli.gallery import write_gallery
from clipledger.cli.output import Context, size
from clipledger.core.errors import UsageError
from clipledger.sim.audit import Evidence, Report, audit
from clipledger.sim.faults import FaultPlan
from clipledger.sim.server import SimServer
from clipledger.sim.world import World

_MARK = "made by clipledger demo; made anew each time"
_KEY = "sim-key"
_DEMO_RPM = 6000
_RUNS_MAX = 4

_DAY_S = 86_400

# A hostile week without what would only make a person wait: time-outs, stalls, pauses after a 429. A post
# fails at most once, so that the longest back-off is the first.
_WAITS = ("timeout", "slow", "stall", "slow_body", "throttle_429", "cdn_429")
_FAULTS = ",".join(["hostile", *(f"{kind}=0" for kind in _WAITS), f"rpm={_DEMO_RPM}", "burst=none", "patience=1"])


def play(context: Context, folder: Path, seed: int, posts: int, *, served: bool = False) -> None:
    """Play an archive from nothing to audited; `served`: then show it in the browser, until told to stop."""
    _make_anew(folder)
    report = asyncio.run(_Demo(context, folder, seed, posts).play())
    if served:
        from clipledger.cli.web import Wanted, serve

        context.archive = folder
        serve(context, Wanted("127.0.0.1", 0, open=False, run=False))
    if report.findings:
        context.exit = Exit.DAMAGED


def _make_anew(folder: Path) -> None:
    mark = folder / "DEMO"
    if folder.exists() and any(folder.iterdir()):
        if not mark.is_file() or mark.read_text(encoding="utf-8").strip() != _MARK:
            raise UsageError(f"{folder} is not empty and not a demo: name another folder, it would be made anew")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    mark.write_text(_MARK + "\n", encoding="utf-8")


@dataclass(slots=True)
class _Demo:
    """One play: a world behind a port in this process, the archive's commands in processes of their own."""

    context: Context
    folder: Path
    seed: int
    posts: int

    async def play(self) -> Report:
        clock = SystemClock()
        started, start = clock.now(), clock.now() // _DAY_S * _DAY_S - _DAY_S
        world = World(self.seed, self.posts, start=start, faults=FaultPlan.parse(_FAULTS), api_key=_KEY)
        async with SimServer(world, port=0) as server:
            self._say(f"a world of {self.posts} posts (seed {self.seed}) on a bad week, at {server.base_url}")
            env = _environment(server.base_url)
            await self._command(env, "init")
            await self._command(env, "add", *_sources(world))
            await self._crash(env)
            await self._finish(env)
            report = self._judge(world)
            calls = len(world.ledger.calls)
            await self._command(env, "run", "--json", "-q")
            report.findings += [f"a second run made {len(world.ledger.calls) - calls} calls"] * (
                len(world.ledger.calls) > calls
            )
            code, _ = await self._command(env, "verify", "--json")
            report.findings += ["clipledger verify is not content"] * (code is Exit.DAMAGED)
            _, failed = await self._command(env, "failures", "--json")
        page = write_gallery(self.folder, failed["failures"])
        self._tell(report, page, clock.now() - started)
        return report

    async def _crash(self, env: Mapping[str, str]) -> None:
        """Start a run and kill it without warning in the middle of the work."""
        process = await _start(self.folder, env, "run", "--json", "-q")
        assert process.stdout is not None
        stored = 0
        async for line in process.stdout:
            stored += json.loads(line).get("event") == "stored"
            if stored >= self.posts // 4:
                break
        process.kill()
        await process.communicate()
        self._say(f"run: killed with SIGKILL after {stored} posts, others under way")

    async def _finish(self, env: Mapping[str, str]) -> None:
        for _ in range(_RUNS_MAX):
            _, body = await self._command(env, "run", "--json", "-q")
            states = body["states"]
            waiting = states["pending"] + states["running"] + states["stored"]
            self._say(
                f"run: {states['archived']} archived, {states['dead']} dead, {waiting} waiting; "
                f"{body['adopted']} posts adopted from the killed run"
            )
            if not waiting:
                break

    def _judge(self, world: World) -> Report:
        ledger, truth = world.control.ledger(calls=True), world.control.world(with_files=True)
        return audit(self.folder, Evidence(ledger, truth, _KEY, _DEMO_RPM))

    async def _command(self, env: Mapping[str, str], *words: str) -> tuple[Exit, dict[str, Any]]:
        process = await _start(self.folder, env, *words)
        out, err = await process.communicate()
        code = Exit(process.returncode or 0)
        if code not in (Exit.OK, Exit.UNFINISHED, Exit.DAMAGED):
            raise RuntimeError(f"clipledger {words[0]} ended with {code.word}: {err.decode(errors='replace')[-2000:]}")
        lines = out.decode().splitlines()
        return code, json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}

    def _say(self, text: str) -> None:
        self.context.tell(f"  {text}")

    def _tell(self, report: Report, page: Path, seconds: float) -> None:
        states, reasons = dict(report.states), dict(report.reasons)
        me = _own_name()
        replay = f"{me} demo {self.folder} --seed {self.seed} --posts {self.posts}"
        if self.context.json:
            told = {"states": states, "dead": reasons, "files": report.files, "bytes": report.bytes}
            told |= {"credits": report.credits_told, "resolves": report.resolve_calls, "ids": report.ids_resolved}
            exit_word = (Exit.DAMAGED if report.findings else Exit.OK).word
            told |= {"findings": report.findings, "replay": replay, "page": str(page), "exit": exit_word}
            self.context.document(told)
            return
        dead = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"
        verdict = "\n".join(f"  FOUND: {finding}" for finding in report.findings[:20]) or (
            "  The auditor, who knows the world, is content: every id is accounted for, each file is what was served,\n"
            "  nothing alive was declared dead, every paid call has its reason, no key and no signed link was written."
        )
        self.context.tell(
            f"""
  {states.get("archived", 0)} archived, dead: {dead}; {report.files} files, {size(report.bytes)}
  {report.credits_told} credits in all; {report.resolve_calls} resolves for {report.ids_resolved} ids
  a second run spent nothing ({seconds:.0f} s for everything)
{verdict}

  look:         {me} --archive {self.folder} serve --open
                {page}
                {self.folder}/videos, {self.folder}/photos
  ask:          {me} --archive {self.folder} status
                {me} --archive {self.folder} verify
  replay:       {replay}
  for real:     export TIKLIVEAPI_KEY=...
                {me} init my-archive
                {me} --archive my-archive add @handle '#tag' 'search:WORDS'
                {me} --archive my-archive run --dry-run
                {me} --archive my-archive run"""
        )


def _own_name() -> str:
    """Name this command so that it can be typed again: by its path where the PATH has none, or another install's."""
    own, found = Path(sys.executable).parent / "clipledger", shutil.which("clipledger")
    here = found is not None and (not own.exists() or own.samefile(found))
    return "clipledger" if here else os.path.relpath(own)


def _environment(base_url: str) -> dict[str, str]:
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("CLIPLEDGER_", "TIKLIVEAPI_"))}
    return keep | {
        "TIKLIVEAPI_KEY": _KEY,
        "CLIPLEDGER_API__BASE_URL": base_url,
        "CLIPLEDGER_API__REQUESTS_PER_MINUTE": str(_DEMO_RPM),
        "CLIPLEDGER_CDN__ALLOW_INSECURE": "true",
        "CLIPLEDGER_QUEUE__RETRY_BASE_S": "1",
        "CLIPLEDGER_LISTING__SHORT_LINK_URL": base_url,
    }


def _sources(world: World) -> list[str]:
    """Ask for every list that shows the world's posts, in every form, and for one post that never was."""
    people = world.population
    ids = list(world.ids())
    named = [f"@{author.handle(world.now())}" for author in people.authors]
    tags = list(people.tags)[:3]
    return [
        *named,
        *(f"#{tag}" for tag in tags),
        f"search:{tags[0]}?region=ID",
        f"music:{people.sounds[0].id}",
        world.post_url(ids[0]),
        ids[1],
    ]


async def _start(folder: Path, env: Mapping[str, str], *words: str) -> Process:
    command = (sys.executable, "-m", "clipledger", "--archive", str(folder), *words)
    return await asyncio.create_subprocess_exec(*command, env=env, stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
