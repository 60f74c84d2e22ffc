"""The API says of every living post that it is gone: the program must not believe it, nor pay for long to be told."""

from __future__ import annotations

import subprocess
import time
from itertools import islice
from pathlib import Path

import pytest

from process.harness import Archive, Sim, archive_for, events_of, simulator

pytestmark = pytest.mark.slow

OUTAGE_CALLS_MAX = 80
RUN_ENDS_S = 60.0


def test_an_outage_in_the_middle_of_a_run_kills_nothing(tmp_path: Path) -> None:
    """When every post answers not found, the run stops with exit 8, nothing is dead, and the next run saves all."""
    with simulator(300) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        assert the_run_that_meets_it(archive, sim) <= OUTAGE_CALLS_MAX
        nothing_is_lost(archive)

        before = sim.details()
        again = archive.cli("run", "--json", code=8)
        assert again.summary["exit"] == "outage" and sim.details() - before < 10
        nothing_is_lost(archive)
        assert archive.json("status")["breaker"]["state"] == "open"

        sim.turn(outage="off")
        summary = archive.finish()
        assert summary["states"]["dead"] == 0
        assert summary["states"]["archived"] == archive.one("SELECT COUNT(*) FROM archive_queue") > 200
        archive.audited(sim)
        assert archive.json("status")["breaker"]["state"] == "closed"


def the_run_that_meets_it(archive: Archive, sim: Sim) -> int:
    """Turn the outage on after thirty posts; give the calls that were made until the run noticed."""
    before = 0
    with archive.started("run", "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        stored = 0
        for event in events_of(process.stdout):
            stored += event["event"] == "stored"
            if stored == 30 and not before:
                sim.turn(outage="not_found")
                before = sim.details()
                began = time.monotonic()
        assert process.wait(RUN_ENDS_S) == 8 and event["exit"] == "outage" and event["why"]
    assert time.monotonic() - began < RUN_ENDS_S
    return sim.details() - before


def nothing_is_lost(archive: Archive) -> None:
    assert archive.ids("dead") == [] and archive.one("SELECT COUNT(*) FROM dead_letters") == 0
    assert archive.ids("running") == []
    assert archive.one("SELECT MAX(attempts) FROM archive_queue WHERE state = 'pending'") == 0
    assert archive.one("SELECT COUNT(*) FROM archive_queue WHERE suspect_at IS NOT NULL") == 0


def test_an_api_that_fails_every_call_stops_the_run(tmp_path: Path) -> None:
    """When every call fails with 500, the run stops with exit 8 before it has burnt its way through the queue."""
    with simulator(120) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        archive.cli("run", "--only", "listing", code=3)
        sim.turn(http_500=1)
        assert archive.cli("run", "--json", code=8).summary["exit"] == "outage"
        assert sim.details() <= OUTAGE_CALLS_MAX and archive.ids("dead") == []
        sim.turn(http_500=0)
        assert archive.finish()["states"]["dead"] == 0
        archive.audited(sim)


def test_who_cannot_reach_the_api_is_told_when_it_is_tried_again(tmp_path: Path) -> None:
    """While no source can be read each failure says how long the silence after it will be."""
    with simulator(40) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names()[:2])
        sim.turn(http_500=1)
        with archive.started("run", "--follow", "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            failures = (event for event in events_of(process.stdout) if event["event"] == "source_failed")
            told = list(islice(failures, 3))
            process.kill()
    assert len(told) == 3 and all(0 < failure["again_in_s"] < 60 for failure in told), told
