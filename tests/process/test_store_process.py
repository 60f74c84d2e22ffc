"""A bucket as a real process meets it: killed in the middle, refused, silently overwriting, with secrets to keep."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clipledger.sim.audit import Evidence, audit
from clipledger.sim.kept import KeptInBucket
from process.harness import KEY, Archive, Sim, archive_for, events_of, finished_archive, simulator, wait_until
from s3_front import Front, s3_front
from s3_servers import BUCKET, S3Server, boto, credentials

pytestmark = pytest.mark.slow

Servers = Callable[[str], S3Server]
SECRET = "hunter2-of-the-bucket"


@pytest.fixture
def server(s3_servers: Servers) -> S3Server:
    return s3_servers("ministack")


@pytest.fixture
def front(server: S3Server) -> Iterator[Front]:
    with s3_front(server.endpoint_url) as front:
        yield front


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    with simulator(40) as sim:
        yield sim


def archive_at(folder: Path, sim: Sim, endpoint_url: str, url: str, **env: str) -> Archive:
    storage = {"CLIPLEDGER_STORAGE__URL": url, "CLIPLEDGER_STORAGE__ENDPOINT_URL": endpoint_url}
    return archive_for(folder, sim, **(storage | credentials(secret=SECRET) | env))


@pytest.mark.parametrize("number", range(2))
def test_a_run_killed_while_it_uploads_is_taken_up(tmp_path: Path, server: S3Server, number: int) -> None:
    """Killed among its uploads, a run is taken up by the next: what stands is adopted, the rest redone."""
    dice, url = random.Random(f"store/{number}"), server.url()
    kept = KeptInBucket(BUCKET, url.removeprefix(f"s3://{BUCKET}/") + "/", server.endpoint_url)
    with simulator(40, seed=20 + number) as sim:
        archive = archive_at(tmp_path / "archive", sim, server.endpoint_url, url)
        archive.cli("add", "-q", *sim.names())
        blow = threading.Timer(dice.uniform(0.0, 0.4), lambda: process.kill())
        with archive.started("run", "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            for event in events_of(process.stdout):
                if event["event"] == "stored" and blow.ident is None:
                    blow.start()
            blow.join()
        assert process.returncode != 0
        audit(archive.folder, Evidence(sim.ledger(), sim.truth(), KEY, sim.rpm), finished=False, kept=kept)
        archive.finish()
        report = audit(archive.folder, Evidence(sim.ledger(), sim.truth(), KEY, sim.rpm), kept=kept)
        assert report.findings == [] and report.extra_calls <= 24
        assert "every file is whole" in archive.cli("verify", code=None).out
    kept.close()


_UPLOADER = """
import asyncio, sys
from pathlib import Path
from clipledger.core.model import AwemeId, MediaType, ObjectKey
from clipledger.storage import Options, open_store
from clipledger.storage.spool import Spool

async def main(url, endpoint, folder):
    store = open_store(url, archive=Path(folder), options=Options(endpoint))
    async with Spool(Path(folder)).open(AwemeId("7387261234567890123"), 1, 1) as part:
        for _ in range(70):
            part.write(bytes(2**20))
        await part.seal()
        print(await store.put_part(ObjectKey("videos/large.mp4"), part, MediaType.MP4), flush=True)
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_large_upload_that_was_killed_leaves_nothing_visible(
    tmp_path: Path, server: S3Server, front: Front, sim: Sim
) -> None:
    """Killed between two pieces, a large upload shows nothing; the janitor drops its pieces; it can be done again."""
    url = server.url()
    prefix = url.removeprefix(f"s3://{BUCKET}/") + "/"
    kept = KeptInBucket(BUCKET, prefix, server.endpoint_url)
    command = [sys.executable, "-c", _UPLOADER, url, front.endpoint_url, str(tmp_path / "spool")]
    env = os.environ | credentials()
    front.rule = lambda asked: "hang" if asked.act == "part" and front.seen["part"] > 2 else None
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: front.seen["part"] > 3)
        process.kill()
    front.always(None)
    assert list(kept.listed()) == [] and kept.uploads() == [f"{prefix}videos/large.mp4"]
    archive = archive_at(tmp_path / "archive", sim, server.endpoint_url, url, CLIPLEDGER_JANITOR__UPLOADS_AFTER="1s")
    time.sleep(1.1)  # the age that the server counts is real
    archive.cli("janitor", code=None)
    assert kept.uploads() == []
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "True" and list(kept.listed()) == ["videos/large.mp4"]
    kept.close()


def test_a_store_that_replaces_silently_is_told_at_start_and_in_status(
    tmp_path: Path, server: S3Server, front: Front, sim: Sim
) -> None:
    """A store that ignores conditions is told of by the run and by status; it is probed once a day."""
    front.always("unconditional", "put", "complete")
    archive = archive_at(tmp_path / "archive", sim, front.endpoint_url, server.url())
    archive.cli("add", "-q", sim.names()[0])
    told = [event for event in archive.cli("run", "--json", "-q", code=None).lines if event["event"] == "store_mode"]
    assert [event["mode"] for event in told] == ["head-then-put"] and "silently" in told[0]["why"]
    store = archive.json("status")["store"]
    assert store["mode"] == "head-then-put" and store["warning"] and store["refuses_single"] is False
    assert "head-then-put; the store replaces objects silently" in archive.cli("status").out
    begun = front.seen["begin"]
    archive.cli("run", "-q", code=None)
    assert front.seen["begin"] == begun, "it was probed again on the same day"
    assert "every file is whole" in archive.cli("verify", code=None).out


@pytest.mark.parametrize(
    ("spoil", "code", "words"),
    [
        ("denied", 4, ("403", "AccessDenied", "credentials")),
        ("no_room", 6, ("507", "no room")),
        ("error", 6, ("500",)),
        ("slow_down", 6, ("SlowDown",)),
    ],
)
def test_a_store_that_refuses_is_told_before_a_credit_is_spent(
    tmp_path: Path, server: S3Server, front: Front, sim: Sim, spoil: str, code: int, words: tuple[str, ...]
) -> None:
    """A bucket that cannot be written ends a run in one clear line with its exit code, and not one paid call."""
    front.always(spoil, "put")
    archive = archive_at(tmp_path / "archive", sim, front.endpoint_url, server.url())
    archive.cli("add", "-q", sim.names()[0])
    calls = sum(sim.ledger()["endpoints"].values())
    archive.cli("run", "-q", code=code).says(*words)
    assert sum(sim.ledger()["endpoints"].values()) == calls


def test_a_wrong_place_is_told_in_one_line(tmp_path: Path, server: S3Server, sim: Sim) -> None:
    """No bucket, no server, no credentials, a password in the URL: one line each that says what to do, no secret."""
    archive = archive_at(tmp_path / "archive", sim, server.endpoint_url, server.url())
    url, endpoint = "CLIPLEDGER_STORAGE__URL", "CLIPLEDGER_STORAGE__ENDPOINT_URL"
    archive.cli("run", code=4, **{url: "s3://no-such-bucket/a"}).says("NoSuchBucket", "create it")
    archive.cli("run", code=6, **{endpoint: "http://127.0.0.1:9"}).says("127.0.0.1:9")
    archive.cli("run", code=4, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="").says("credentials", "AWS_PROFILE")
    for name, value in ((url, f"s3://KEY:{SECRET}@bucket/x"), (endpoint, f"https://KEY:{SECRET}@host")):
        ran = archive.cli("run", code=4, **{name: value})
        ran.says("holds credentials", "environment")
        assert SECRET not in ran.err + ran.out


@pytest.mark.parametrize("words", ["verify", "verify --media"])
def test_a_store_that_is_away_is_no_damage(tmp_path: Path, words: str) -> None:
    """With its server stopped `verify` ends in half a minute with exit 6 and one line; no file is called damaged."""
    archive = finished_archive(tmp_path / "archive")
    keys = credentials()
    away = {"CLIPLEDGER_STORAGE__URL": "s3://bucket/x", "CLIPLEDGER_STORAGE__ENDPOINT_URL": "http://127.0.0.1:9"}
    began_at = time.monotonic()
    archive.cli(*words.split(), code=6, **keys, **away).says("127.0.0.1:9")
    assert time.monotonic() - began_at < 30


def test_the_clouds_credentials_are_written_nowhere(tmp_path: Path, server: S3Server, sim: Sim) -> None:
    """After a whole run neither the archive, its output nor the bucket hold the secret or the key's name."""
    url = server.url()
    archive = archive_at(tmp_path / "archive", sim, server.endpoint_url, url, AWS_ACCESS_KEY_ID="AKIAOFTHETEST")
    archive.cli("add", "-q", sim.names()[0])
    said = [archive.cli(*words, code=None) for words in (("run", "-v"), ("status",), ("run", "--json"))]
    written = [path.read_bytes() for path in archive.folder.rglob("*") if path.is_file()]
    client = boto(server)
    prefix = url.removeprefix(f"s3://{BUCKET}/") + "/"
    objects = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    written += [client.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read() for found in objects]
    client.close()
    for secret in (SECRET.encode(), b"AKIAOFTHETEST"):
        assert not any(secret in body for body in written)
        assert not any(secret in (ran.out + ran.err).encode() for ran in said)
