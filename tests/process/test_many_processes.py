"""Many processes, each with an archive folder of its own as on machines of their own, on one PostgreSQL and one store.

CLIPLEDGER_TEST_PROCESSES, CLIPLEDGER_TEST_IDS, CLIPLEDGER_TEST_RPM and CLIPLEDGER_TEST_LEASE_S make it larger;
what a release must show is 8 processes, 20000 ids, leases of 60 s.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from clipledger.sim.audit import Evidence, audit
from contract.archives import drop_database, new_database
from postgres import execute
from process.harness import KEY, Archive, Sim, archive_for, plain_environment, simulator, stop, wait_until
from process.killing import IN_FLIGHT

pytestmark = pytest.mark.slow

PROCESSES = int(os.environ.get("CLIPLEDGER_TEST_PROCESSES", "4"))
IDS = int(os.environ.get("CLIPLEDGER_TEST_IDS", "1500"))
RPM = int(os.environ.get("CLIPLEDGER_TEST_RPM", "1250"))
"""High enough for the run to end in a minute or two, low enough that two cores, which also play the world, keep up."""

LEASE_S = float(os.environ.get("CLIPLEDGER_TEST_LEASE_S", "12"))
KILLED = 2
TAKEN_OVER_S = LEASE_S + 5
USED_MIN = 0.95
PATIENCE_S = 120 + 3 * IDS * 60 / RPM


def test_many_processes_share_one_archive_and_two_may_die(tmp_path: Path) -> None:
    """Each id is resolved once, no minute is over the limit, the limit is used, and what two dead held is taken over.

    Nothing on a machine tells of another machine's dead: only their leases do.
    """
    with _database() as url, simulator(IDS + IDS // 4, rpm=RPM) as sim, ExitStack() as stack:
        archives = _joined(tmp_path, sim, url)
        ids = list(islice((one for one in sim.twin().ids() if int(one) >> 32 < sim.start), IDS))
        archives[0].cli("add", "-q", "-a", "-", stdin="\n".join(ids).encode())
        crew = [stack.enter_context(one.started("run", "--follow", "-q")) for one in archives]
        _wait_for_stored(url, IDS // 4)
        held = _kill(url, archives[:KILLED], crew[:KILLED])
        took_s = _taken_over(url, held)
        wait_until(lambda: _count(url, "archived") == IDS, PATIENCE_S)
        for process in crew[KILLED:]:
            stop(process)
        assert [process.wait(60) for process in crew[KILLED:]] == [130] * (PROCESSES - KILLED)
        told = _told(sim, ids, len(held))
        print(told | {"in_flight": len(held), "taken_over_s": round(took_s, 1)})
        report = audit(tmp_path / "store", Evidence(sim.ledger(), sim.truth(), KEY, RPM), database=url)
        assert report.findings == [] and told["never"] == []
        assert told["extra"] <= len(held) <= KILLED * IN_FLIGHT
        assert told["twice"] <= held.keys()
        assert told["worst_minute"] <= RPM
        assert told["used"] >= USED_MIN
        assert took_s <= TAKEN_OVER_S


@contextmanager
def _database() -> Iterator[str]:
    url = new_database()
    try:
        yield url
    finally:
        drop_database(url)


def _joined(place: Path, sim: Sim, url: str) -> list[Archive]:
    """Have `init` make the archive for the first folder, and join it for each other."""
    env = plain_environment() | {
        "TIKLIVEAPI_KEY": KEY,
        "CLIPLEDGER_API__BASE_URL": sim.base_url,
        "CLIPLEDGER_API__REQUESTS_PER_MINUTE": str(RPM),
        "CLIPLEDGER_CDN__ALLOW_INSECURE": "true",
        "CLIPLEDGER_DATABASE__URL": url,
        "CLIPLEDGER_STORAGE__URL": f"file://{place}/store",
        "CLIPLEDGER_QUEUE__LEASE_S": str(LEASE_S),
    }
    archives = [Archive(place / f"machine-{nth}", env) for nth in range(PROCESSES)]
    (place / "store").mkdir()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda archive: archive.cli("init", "-q"), archives))
    assert len({(archive.folder / ".clipledger" / "uuid").read_text() for archive in archives}) == 1
    return archives


def _count(url: str, state: str) -> int:
    return int(execute(url, "SELECT count(*) FROM archive_queue WHERE state = %s", state)[0][0])


def _wait_for_stored(url: str, count: int) -> None:
    wait_until(lambda: _count(url, "archived") + _count(url, "stored") >= count, PATIENCE_S)


def _kill(url: str, archives: list[Archive], crew: list[subprocess.Popen[bytes]]) -> dict[str, int]:
    """Kill -9 processes; give the ids that they held, with the tokens of their attempts."""
    names = [path.stem for archive in archives for path in (archive.folder / ".clipledger/workers").glob("*.lock")]
    assert len(names) == len(crew)
    for process in crew:
        process.kill()
    for process in crew:
        process.wait()
    held = "SELECT aweme_id, token FROM archive_queue WHERE state = 'running' AND worker = ANY(%s)"
    return dict(execute(url, held, names))


def _taken_over(url: str, held: dict[str, int]) -> float:
    """Wait until none of the attempts is under way any more; tell how long it took."""
    began = time.monotonic()
    open_ = "SELECT aweme_id, token FROM archive_queue WHERE state = 'running' AND aweme_id = ANY(%s)"
    wait_until(lambda: not held.items() & set(execute(url, open_, list(held))), 3 * TAKEN_OVER_S)
    return time.monotonic() - began


def _told(sim: Sim, ids: list[str], in_flight: int) -> dict[str, Any]:
    """Read off the world's books who was resolved how often, and how much of the limit was used while work was due."""
    books = sim.ledger()
    at = sorted(row[0] for row in books["rows"])
    times = Counter({one: books["detail_calls"].get(one, 0) for one in ids})
    busy = at[: IDS - in_flight - PROCESSES * IN_FLIGHT]  # what comes after waits for a lease, not for a permit
    return {
        "never": [one for one in ids if not times[one]],
        "twice": {one for one in ids if times[one] > 1},
        "extra": sum(times.values()) - len(ids),
        "worst_minute": books["worst_minute"],
        "used": round((len(busy) - 1) / (busy[-1] - busy[0]) / (RPM / 60), 4),
        "seconds": round(at[-1] - at[0], 1),
    }


def test_a_run_of_several_processes_shares_one_archive(tmp_path: Path) -> None:
    """`run --processes 2` saves everything once, under the limits of one archive, and ends as `run` does."""
    with simulator(40, rpm=6000) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", "-q", *sim.names())
        summary = archive.cli("run", "--processes", "2", "--json", "-q").summary
        assert summary["started"] == 2 and summary["archived"] == len(archive.ids())
        archive.audited(sim)


def test_what_holds_for_one_process_is_refused_for_several(tmp_path: Path) -> None:
    """A cap that each process would count by itself is refused, not exceeded."""
    archive = archive_for(tmp_path / "archive")
    archive.cli("run", "--processes", "2", "--max-videos", "3", code=2).says("--processes", "caps")
