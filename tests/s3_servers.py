"""Real S3 servers for the tests: started on free loopback ports, stopped by their own process ids.

`ministack` and `moto` come with the development dependencies. `s3rver` (from npm) and Ceph's gateway (from
Debian) are used where they are installed, and missed loudly where not.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from ceph_gateway import gateway

BUCKET = "clips"
ROOT = Path(__file__).resolve().parents[1]
_BIN = Path(sys.executable).parent
_START_S = 60.0
_numbers = count()


@dataclass(frozen=True, slots=True)
class S3Server:
    """A server with an empty bucket. `env` holds what its clients need to be let in."""

    name: str
    endpoint_url: str
    env: dict[str, str]

    def url(self) -> str:
        """Name a place in the bucket that nobody else uses."""
        return f"s3://{BUCKET}/test-{os.getpid()}-{next(_numbers)}"


def credentials(key: str = "S3RVER", secret: str = "S3RVER") -> dict[str, str]:
    """Give the environment of a client with these credentials and no others; s3rver knows only these, others any."""
    return {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


@contextmanager
def s3_server(name: str) -> Iterator[S3Server]:
    """Start a server by its name; however the block ends, it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="clipledger-s3-", ignore_cleanup_errors=True) as folder:
        if name == "ceph":
            with _ceph(Path(folder)) as server:
                yield server
            return
        port, env = free_port(), {**os.environ, **credentials()}
        command, more = _command(name, port, Path(folder))
        with (Path(folder) / "stderr").open("wb") as log:
            process = subprocess.Popen(
                command, env=env | more, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log
            )
        try:
            server = S3Server(name, f"http://127.0.0.1:{port}", credentials())
            _await(server, lambda: process.poll() is None, Path(folder) / "stderr")
            make_bucket(server)
            yield server
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()


@contextmanager
def _ceph(folder: Path) -> Iterator[S3Server]:
    ports, known = (free_port(), free_port(), free_port()), credentials()
    server = S3Server("ceph", f"http://127.0.0.1:{ports[2]}", known)
    with gateway(folder, ports, known["AWS_ACCESS_KEY_ID"], known["AWS_SECRET_ACCESS_KEY"]):
        _await(server, lambda: True, folder / "radosgw.out")
        make_bucket(server)
        yield server


def _command(name: str, port: int, folder: Path) -> tuple[list[str], dict[str, str]]:
    match name:
        case "ministack":
            quiet = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "SERVICES": "s3", "LOG_LEVEL": "ERROR"}
            return [str(_BIN / "ministack")], quiet
        case "moto":
            return [str(_BIN / "moto_server"), "-H", "127.0.0.1", "-p", str(port)], {}
        case "s3rver":
            return [_s3rver(), "-a", "127.0.0.1", "-p", str(port), "-d", str(folder), "-s"], {}
    raise ValueError(name)


def _s3rver() -> str:
    place = os.environ.get("CLIPLEDGER_S3RVER") or str(_BIN.parent / "npm" / "node_modules" / ".bin" / "s3rver")
    if shutil.which(place) is None:
        pytest.skip("NOT TESTED: s3rver is not installed: npm install --prefix .venv/npm s3rver (needs Node.js)")
    return place


def _await(server: S3Server, is_running: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            urllib.request.urlopen(server.endpoint_url, timeout=5).close()
            return
        except urllib.error.HTTPError as answer:
            answer.close()
            return  # it answers: that is all that is asked
        except OSError:
            told = log.read_text(errors="replace")[-2000:]
            assert is_running(), f"{server.name} ended: {told}"
            assert time.monotonic() < deadline, f"{server.name} does not answer: {told}"
            time.sleep(0.05)


def make_bucket(server: S3Server, bucket: str = BUCKET) -> None:
    """Make a bucket, with the cloud's own library and nothing of ours."""
    client = boto(server)
    client.create_bucket(Bucket=bucket)
    client.close()


def boto(server: S3Server):  # type: ignore[no-untyped-def]
    """Give a plain client of a server, to look behind the program's back."""
    from botocore.config import Config
    from botocore.session import Session

    return Session().create_client(
        "s3",
        endpoint_url=server.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=server.env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=server.env["AWS_SECRET_ACCESS_KEY"],
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


def free_port() -> int:
    """Find a loopback port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
