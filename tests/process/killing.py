"""One kill -9 and what comes after: start a run, kill it at a drawn moment, run until nothing waits, judge.

On SQLite or PostgreSQL, with files in a folder or in a bucket. Shared by the test and by `benchmarks/crash.py`. Each
trial has a world and an archive of its own, so that its credits are its own too. Its commands are forked from a
process that has read the modules already (`zygote`): real processes, a few milliseconds old when they begin to work.
"""

from __future__ import annotations

import atexit
import json
import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clipledger.sim.kept import KeptInBucket
from contract.archives import drop_database, new_database
from process.harness import (
    KEY,
    URL,
    Archive,
    Evidence,
    Sim,
    archive_for,
    audit,
    copy_of,
    plain_environment,
    simulator,
)
from process.zygote import forked, zygote
from s3_servers import BUCKET, S3Server, s3_server

POSTS = 80
IN_FLIGHT = 24
"""cdn.concurrency (20) + wiring.EXTRA_JOBS (4): what may have been bought and not stored when the blow comes."""

PLACES = tuple((database, store) for database in ("sqlite", "postgres") for store in ("local", "s3"))

_WORLDS = (7, 8, 9)
_START_UP_S = 0.5
_EVENTS_A_POST = 2  # stored and archived
_OTHER_EVENTS = 20

_PHASES = {"looked_up": "listing", "page": "listing", "archived": "metadata", "summary": "end"}


@dataclass(frozen=True, slots=True)
class Moment:
    """When to strike: so long after the n-th event; n = 0 counts from the start of the process."""

    event: int
    delay_s: float

    @classmethod
    def drawn(cls, dice: random.Random, posts: int = POSTS) -> Moment:
        """Draw a moment: one in six while the process starts, the others over its whole work."""
        if dice.random() < 1 / 6:
            return cls(0, dice.uniform(0.0, _START_UP_S))
        return cls(dice.randint(1, _EVENTS_A_POST * posts + _OTHER_EVENTS), dice.uniform(0.0, 0.03))


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one trial ended. `extra` counts resolves beyond one an id; `findings` empty: the judge is content."""

    phase: str
    events: int
    extra: int
    findings: tuple[str, ...]


def trial(
    folder: Path, dice: random.Random, *, database: str = "sqlite", store: str = "local", posts: int = POSTS
) -> Outcome:
    """Play one trial in `folder`."""
    with simulator(posts, seed=dice.choice(_WORLDS)) as sim, placed(folder, sim, database, store) as archive:
        phase, events = kill_at(archive, Moment.drawn(dice, posts))
        archive.finish()
        return judged(archive, sim, phase, events)


@contextmanager
def placed(
    folder: Path, sim: Sim, database: str = "sqlite", store: str = "local", *, lists: int | None = None
) -> Iterator[Archive]:
    """Give an archive with all (or the first so many) lists of a world in it, on these kinds of database and store."""
    env: dict[str, str] = {}
    if store == "s3":
        server = _bucket_server()
        env |= server.env | {
            "CLIPLEDGER_STORAGE__URL": server.url(),
            "CLIPLEDGER_STORAGE__ENDPOINT_URL": server.endpoint_url,
        }
    archive = copy_of(_with_sources(sim.seed, sim.posts, database, lists), folder / "archive", sim, **env)
    try:
        yield archive
    finally:
        if archive.database:
            drop_database(archive.database)


@cache
def _bucket_server() -> S3Server:
    """Start one S3 server for this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    server = stack.enter_context(s3_server("ministack"))
    os.environ |= server.env  # the judge's own eyes need to be let in too
    return server


@cache
def _with_sources(seed: int, posts: int, database: str, lists: int | None) -> Archive:
    """Make a new archive with all lists of a world in it."""
    place = Path(tempfile.mkdtemp(prefix="clipledger-sources-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    env = {URL: new_database()} if database == "postgres" else {}
    with simulator(posts, seed=seed) as sim:
        if env:
            archive = Archive(place / "archive", plain_environment() | {"TIKLIVEAPI_KEY": KEY} | env)
            archive.cli("init", "-q")
        else:
            archive = archive_for(place / "archive", sim)
        archive.cli("add", "-q", *sim.names()[:lists])
    return archive


def kill_at(archive: Archive, moment: Moment) -> tuple[str, int]:
    """Run and kill; say in which phase and after how many events it happened."""
    seen: list[str] = []
    with forked(zygote(), ["--archive", str(archive.folder), "run", "--json"], archive.env) as process:

        def strike() -> None:
            time.sleep(moment.delay_s)
            process.kill()

        blow = threading.Thread(target=strike)
        if moment.event == 0:
            blow.start()
        assert process.stdout is not None
        for line in process.stdout:
            if not line.endswith(b"\n"):
                break  # torn by the blow
            seen.append(json.loads(line)["event"])
            if len(seen) == moment.event:
                blow.start()
        if blow.ident is None:  # it was done before its hour came
            blow.start()
        blow.join()
    return (_PHASES.get(seen[-1], "capture") if seen else "start-up"), len(seen)


def judged(archive: Archive, sim: Sim, phase: str, events: int, *, all_lists: bool = True) -> Outcome:
    """Hold a finished archive against its world, its ledger and itself."""
    report = audit_of(archive, sim)
    findings = [*report.findings, *(missing(archive, sim) if all_lists else ())]
    if report.extra_calls > IN_FLIGHT:
        findings.append(f"{report.extra_calls} resolves were bought again, {IN_FLIGHT} can have been under way")
    if report.credits_told < report.credits_taken:
        findings.append(f"{report.credits_taken} credits were taken, the ledger tells {report.credits_told}")
    verified = archive.cli("verify", code=None)
    findings += [verified.err] * (verified.code != 0)
    return Outcome(phase, events, report.extra_calls, tuple(findings))


def audit_of(archive: Archive, sim: Sim) -> Any:
    """Have the judge look, into the bucket where the files are in one."""
    evidence, url = Evidence(sim.ledger(), sim.truth(), KEY, sim.rpm), archive.env.get("CLIPLEDGER_STORAGE__URL", "")
    if not url:
        return audit(archive.folder, evidence, database=archive.database)
    prefix, endpoint_url = url.removeprefix(f"s3://{BUCKET}/") + "/", archive.env["CLIPLEDGER_STORAGE__ENDPOINT_URL"]
    kept = KeptInBucket(BUCKET, prefix, endpoint_url)
    try:
        return audit(archive.folder, evidence, database=archive.database, kept=kept)
    finally:
        kept.close()


def missing(archive: Archive, sim: Sim) -> list[str]:
    """Name the posts that a list shows and that are not archived."""
    archived = set(archive.ids())
    listed: list[Any] = [post for post in sim.truth()["posts"] if post["listed"] and post["alive"]]
    return [f"{post['id']}: is listed and not archived" for post in listed if post["id"] not in archived]


def place_of(number: int) -> tuple[str, str]:
    """Take the four places in turns."""
    return PLACES[number % len(PLACES)]
