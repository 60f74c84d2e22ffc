"""The whole program on PostgreSQL: a run rides out a killed server, and stops in good order when it stays away."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from postgres import Server, execute, server_of_my_own
from process.harness import KEY, Archive, Evidence, Sim, audit, events_of, plain_environment, simulator

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[Server]:
    """Run a server that may be killed."""
    with server_of_my_own() as mine:
        yield mine


def _archive(folder: Path, server: Server, sim: Sim, **env: str) -> Archive:
    known = {
        "TIKLIVEAPI_KEY": KEY,
        "CLIPLEDGER_DATABASE__URL": server.url(),
        "CLIPLEDGER_API__BASE_URL": sim.base_url,
        "CLIPLEDGER_API__REQUESTS_PER_MINUTE": str(sim.rpm),
        "CLIPLEDGER_CDN__ALLOW_INSECURE": "true",
        "CLIPLEDGER_QUEUE__RETRY_BASE_S": "0.2",
    }
    archive = Archive(folder, plain_environment() | known | env)
    archive.cli("init", "-q", str(folder))
    archive.cli("add", *sim.names())
    return archive


def _judged(archive: Archive, server: Server, sim: Sim) -> None:
    evidence = Evidence(sim.ledger(), sim.truth(), KEY, sim.rpm)
    assert audit(archive.folder, evidence, database=server.url()).findings == []


def test_a_run_rides_out_a_killed_server(tmp_path: Path, server: Server) -> None:
    """PostgreSQL is killed in the middle of a run and started again: the run ends as if nothing had been."""
    with simulator(60) as sim:
        archive = _archive(tmp_path / "archive", server, sim)
        with archive.started("run", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            seen = 0
            for event in events_of(run.stdout):
                seen += event["event"] == "stored"
                if seen in (5, 20) and event["event"] == "stored":
                    server.kill()
                    server.start()
            assert run.wait(120) == 0, run.stderr and run.stderr.read()
        assert event["event"] == "summary" and event["states"]["archived"] > 30
        _judged(archive, server, sim)
        crashes = "SELECT count(*) FROM archive_queue WHERE crashes > 0 OR attempts > 1"
        assert execute(server.url(), crashes) == [(0,)], "an outage of the database is no video's failure"


def test_a_server_that_stays_away_stops_the_run(tmp_path: Path, server: Server) -> None:
    """A lost database ends the run with 6 and one line; when it is back the next run goes on and no attempt is lost."""
    with simulator(60) as sim:
        archive = _archive(tmp_path / "archive", server, sim, CLIPLEDGER_DATABASE__PATIENCE_S="1")
        with archive.started("run", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            lines = iter(events_of(run.stdout))
            seen = sum(1 for _ in zip(range(12), (e for e in lines if e["event"] == "stored"), strict=False))
            assert seen == 12
            server.kill()
            told = [json.dumps(each) for each in lines]
            assert run.wait(60) == 6
            assert run.stderr is not None
            said = run.stderr.read().decode()
        assert "Traceback" not in said and "clipledger: " in said, said
        assert "postgresql://tester@127.0.0.1" in said and told
        server.start()
        archive.cli("run", "-q")
        _judged(archive, server, sim)
        crashed = "SELECT count(*) FROM archive_queue WHERE crashes > 0"
        assert execute(server.url(), crashed) == [(0,)], "who was stopped in good order crashed nothing"
