"""`run --metrics-port`: a real run is scraped, agrees with the ledger, and is not disturbed; logs tell the same."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from clipledger.core.told import EVENTS, ORIGIN
from clipledger.metrics.table import METRICS
from process.harness import KEY, Archive, archive_for, simulator, stop, wait_until

pytestmark = pytest.mark.slow


@contextmanager
def scraped_run(archive: Archive, *words: str) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    """Run with metrics on a free port; give the address, the process and its log file."""
    log = archive.folder.parent / "log.jsonl"
    command = ("run", "--follow", "--metrics-port", "0", "--log-file", str(log), "--log-format", "json", *words)
    with archive.started(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: log.exists() and '"metrics_served"' in log.read_text())
        (url,) = (line["url"] for line in read(log) if line["event"] == "metrics_served")
        yield url.removesuffix("/metrics"), process, log


def read(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="ascii").splitlines()]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()


def values(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def total(text: str, name: str, **labels: str) -> float:
    return sum(v for (n, found), v in values(text).items() if n == name and set(labels.items()) <= found)


def test_a_run_is_scraped_and_logged(tmp_path: Path) -> None:
    """Metrics agree with the ledger, logs hold one line an event with stable fields, and neither holds a secret."""
    with simulator(80, "hostile,timeout=0.002:1,stall=0.002:1,slow_body=0.002:60000,throttle_429=0.01:1") as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        with scraped_run(archive) as (url, process, log):
            wait_until(lambda: len(archive.ids("archived")) >= 40, 90)
            assert get(f"{url}/healthz") == (200, "ok\n") and get(f"{url}/x")[0] == 404
            stop(process, signal.SIGTERM)
            wait_until(lambda: any(line["event"] == "stopping" for line in read(log)))
            process.wait(60)
        lines = read(log)
        text = "\n".join(json.dumps(line) for line in lines)
        assert KEY not in text and "signature=" not in text
        assert [line["event"] for line in (lines[0], lines[-1])] == ["started", "summary"]
        for line in lines[:-1]:
            assert list(line)[: len(ORIGIN)] == list(ORIGIN), line
            assert set(line) - set(ORIGIN) <= set(EVENTS[line["event"]].fields), line
        assert lines[-1]["exit"] == "interrupted" and lines[-1]["worker"] == lines[0]["worker"]
        paid = sum(line["credits"] for line in lines if line["event"] == "call")
        assert paid == archive.one("SELECT sum(credits) FROM credits WHERE outcome <> 'sent'") > 40
        stored = [line for line in lines if line["event"] == "stored" and not line["adopted"]]
        assert stored and all(line["first_byte_s"] >= 0 for line in stored)
        first = {line["aweme_id"] for line in lines if line["event"] == "resolved"}
        assert first == {
            row[0] for row in archive.rows("SELECT aweme_id FROM archive_queue WHERE resolved_at IS NOT NULL")
        }


def test_a_scrape_of_a_finished_run_agrees_with_the_books(tmp_path: Path) -> None:
    """Once nothing is due, what a scrape says is what the database says, to the last credit and byte."""
    with simulator(40) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        with scraped_run(archive) as (url, _process, _log):
            done = "SELECT count(*) FROM archive_queue WHERE state <> 'archived'"
            wait_until(lambda: len(archive.ids("archived")) > 20 and archive.one(done) == 0, 90)
            wait_until(lambda: total(get(f"{url}/metrics")[1], "clipledger_queue_videos", state="pending") == 0)
            wait_until(lambda: total(get(f"{url}/metrics")[1], "clipledger_queue_videos", state="stored") == 0)
            text = get(f"{url}/metrics")[1]
        archived = len(archive.ids("archived"))
        assert total(text, "clipledger_queue_videos", state="archived") == archived
        assert total(text, "clipledger_archived_videos_total") == archived
        assert total(text, "clipledger_discovered_videos_total") == archived
        assert total(text, "clipledger_discovery_to_resolve_seconds_count") == archived
        assert total(text, "clipledger_credits_total") == archive.one("SELECT sum(credits) FROM credits")
        assert total(text, "clipledger_calls_total") == archive.one("SELECT count(*) FROM credits")
        assert total(text, "clipledger_stored_bytes_total") == archive.one(
            "SELECT sum(bytes) FROM files WHERE kind <> 'sidecar'"
        )
        assert total(text, "clipledger_breaker_open") == total(text, "clipledger_sample_failures_total") == 0
        assert total(text, "clipledger_in_flight_videos") == 0
        names = {name for name, _ in values(text)}
        assert {row.name for row in METRICS if not row.labels and not row.buckets} <= names


def test_a_bad_address_is_one_line(tmp_path: Path) -> None:
    """A port that is taken is 4, a host that is none of ours is 2, a log that cannot be written is 4; nothing runs."""
    archive = archive_for(tmp_path / "archive")
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        archive.cli("run", "--metrics-port", port, code=4).says("--metrics-port", "another process has it")
    archive.cli("run", "--metrics-port", "0", "--metrics-host", "no.such.host.invalid", code=2).says("--metrics-host")
    archive.cli("run", "--metrics-port", "0", "--metrics-host", "203.0.113.1", code=2).says(
        "no address of this machine"
    )
    archive.cli("run", "--log-file", "/absent/log", code=4).says("--log-file")
    archive.cli("run", "--log-format", "xml", code=2).says("text or json")
    assert archive.one("SELECT count(*) FROM credits") == 0


def test_odd_clients_do_not_disturb(tmp_path: Path) -> None:
    """Half requests, floods of connections and other methods are refused or dropped; the run and its scrapes go on."""
    archive = archive_for(tmp_path / "archive")
    with scraped_run(archive, "--only", "janitor") as (url, process, _log):
        address = ("127.0.0.1", int(url.rpartition(":")[2]))
        silent = [socket.create_connection(address, timeout=10) for _ in range(40)]
        for each in silent:
            each.close()
        for sent in (
            b"POST /metrics HTTP/1.1\r\n\r\n",
            b"x\r\n\r\n",
            b"GET /" + b"a" * 20_000 + b"\r\n\r\n",
            b"\r\n\r\n",
        ):
            with closing(socket.create_connection(address, timeout=10)) as odd:
                odd.sendall(sent)
                assert _answer(odd).startswith((b"HTTP/1.1 40", b"dropped"))
        wait_until(lambda: get(f"{url}/metrics")[0] == 200)
        assert process.poll() is None


def _answer(connection: socket.socket) -> bytes:
    try:
        return connection.recv(100) or b"dropped"
    except ConnectionResetError:
        return b"dropped"
