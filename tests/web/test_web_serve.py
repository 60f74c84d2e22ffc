"""`clipledger serve` and `clipledger access` as processes: what they print, refuse, and how they end."""

from __future__ import annotations

import fcntl
import io
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from clipledger.cli.main import run
from clipledger.cli.stopping import ECHO_S
from process.harness import KEY, plain_environment, simulator
from process.zygote import Ended, ran, zygote
from web.visiting import rows

pytestmark = pytest.mark.slow

PROGRAM = (sys.executable, "-m", "clipledger")
PATIENCE_S = 60.0


@contextmanager
def serving(folder: Path, *more: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Serve an archive on a free port for as long as the context lasts."""
    command = [*PROGRAM, "--archive", str(folder), "--json", "serve", "--port", "0", *more]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=plain_environment() | environment, **pipes) as process:  # type: ignore[call-overload]
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            yield str(json.loads(line)["url"]).rstrip("/"), process
        finally:
            process.kill()


def command(folder: Path, *words: str, given: str = "") -> Ended:
    """Run one command to its end."""
    return ran(zygote(), ("--archive", str(folder), *words), plain_environment(), PATIENCE_S, given.encode())


def test_it_prints_a_link_and_ends_in_good_order(folder: Path) -> None:
    """The one line is a link that works; a page that listens to live figures does not hold the end up."""
    with (
        serving(folder) as (base, process),
        httpx.Client(base_url=base, timeout=PATIENCE_S) as client,
        client.stream("GET", "/live") as live,
    ):
        assert client.get("/", headers={"accept": "text/html"}).status_code == 200
        lines = live.iter_lines()
        told = next(json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))
        assert told["archived"] == len(rows(folder, "SELECT 1 FROM posts"))
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None and "Traceback" not in process.stderr.read()


def test_a_second_signal_ends_it_at_once(folder: Path) -> None:
    """Whatever is under way: after the second Ctrl-C the process is gone."""
    with serving(folder) as (base, process), httpx.Client(base_url=base) as client, client.stream("GET", "/live"):
        process.send_signal(signal.SIGTERM)
        time.sleep(ECHO_S * 1.5)
        process.send_signal(signal.SIGTERM)
        # The second may come when everything is done and nobody listens any more.
        assert process.wait(PATIENCE_S) in (0, -signal.SIGTERM)


def test_beyond_this_machine_it_asks_for_a_password(folder: Path) -> None:
    """On an address that others can reach it does not start before somebody has a password; with one it asks for it."""
    refused = command(folder, "serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.code == 4 and " access password NAME" in refused.err
    assert command(folder, "access", "password", "ada", given="correct horse battery\n").code == 0
    with serving(folder, "--host", "0.0.0.0") as (base, _), httpx.Client(base_url=base) as client:
        assert client.get("/api/v1/posts").status_code == 401
        assert client.get("/healthz").status_code == 200
        token = json.loads(command(folder, "--json", "access", "token", "robot").out)["token"]
        assert client.get("/api/v1/posts", headers={"authorization": f"Bearer {token}"}).status_code == 200
        assert command(folder, "access", "revoke", "robot").code == 0
        assert client.get("/api/v1/posts", headers={"authorization": f"Bearer {token}"}).status_code == 401
    listed = command(folder, "access", "list").out
    assert "ada" in listed and "robot" not in listed and "$argon2" not in listed
    assert not any("horse" in str(row) for row in rows(folder, "SELECT * FROM audit_log"))


@pytest.mark.parametrize(
    ("words", "given", "code", "told"),
    [
        (("serve", "--host", "no.such.host.invalid"), None, 2, "--host"),
        (("serve", "--host", "203.0.113.7"), None, 2, "no address of this machine"),
        (("serve", "--run", "--port", "0"), None, 4, "no API key"),
        (("serve", "--run", "--port", "0"), "a key\nof two lines", 4, "one line of printable ASCII"),
        (("access", "password", "ada"), "short\n", 2, "10 to 1000 characters"),
        (("access", "password", "a b"), "correct horse battery\n", 2, "a name is"),
        (("access", "password", "ada", "--role", "king"), "correct horse battery\n", 2, "viewer, operator, admin"),
        (("access", "token", "robot", "--scope", "all"), None, 2, "api, feeds, media"),
        (("access", "token", "robot", "--expires", "9999d"), None, 2, "not a duration"),
        (("access", "revoke", "nobody"), None, 2, "access list"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    folder: Path,
    words: tuple[str, ...],
    given: str | None,
    code: int,
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A wrong option ends with its documented code and one line that names it."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(given or ""))
    for name in ("TIKLIVEAPI_KEY", "TIKLIVEAPI_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    if "--run" in words and given is not None:
        monkeypatch.setenv("TIKLIVEAPI_KEY", given)
    assert run(["--archive", str(folder), *words]) == code
    said = capsys.readouterr().err
    assert told in said and len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("words", [("serve",), ("access", "list"), ("demo", "--serve")])
def test_without_the_extra_it_says_what_to_install(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Installed without the web's libraries, the commands name the extra; nothing is begun."""
    monkeypatch.setattr("clipledger.export.extras.find_spec", lambda _: None)
    assert run(list(words)) == 4
    assert "pip install 'clipledger[web]'" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named(folder: Path) -> None:
    """Two servers on one port: the second says so and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = command(folder, "serve", "--port", str(taken.getsockname()[1]))
    assert ended.code == 4 and "another process has it" in ended.err


def test_it_can_work_beside_serving(tmp_path: Path) -> None:
    """`serve --run` takes up what is added in the browser, and ends with nothing half done.

    Nobody reads what it prints, and the pipe is full soon: it goes on all the same.
    """
    folder = tmp_path / "archive"
    with simulator(seed=5, posts=60) as sim:
        settings = {
            "CLIPLEDGER_API__BASE_URL": sim.base_url,
            "CLIPLEDGER_API__REQUESTS_PER_MINUTE": "6000",
            "CLIPLEDGER_CDN__ALLOW_INSECURE": "true",
            "CLIPLEDGER_CDN__ALLOWED_HOSTS": '["127.0.0.1"]',
            "TIKLIVEAPI_KEY": KEY,
        }
        assert command(folder, "init").code == 0
        with serving(folder, "--run", **settings) as (base, process):
            assert process.stdout is not None
            fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, mmap.PAGESIZE)
            with httpx.Client(base_url=base, timeout=PATIENCE_S) as client:
                assert client.post("/api/v1/sources", json={"sources": ["#cats"]}).status_code == 200
                with client.stream("GET", "/live") as live:
                    figures = (json.loads(line[6:]) for line in live.iter_lines() if line.startswith("data: "))
                    moved = next(each for each in figures if each["archived"] > 0 and each["owed"] == 0)
                    assert moved["here"]["state"] == "working" and moved["workers"] == 1
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0
            assert process.stderr is not None and "Traceback" not in process.stderr.read()
    assert command(folder, "verify").code == 0
    acts = [act for (act,) in rows(folder, "SELECT act FROM audit_log ORDER BY seq")]
    assert acts.count("work") == acts.count("rest") == 1 and acts.index("work") < acts.index("rest")
    assert not any(os.scandir(folder / ".clipledger" / "workers"))
