"""The API key and the signed links: nowhere on disk, on no stream, in no process list, in no traceback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from process.harness import BRISK, KEY, Archive, archive_for, simulator, wait_until

pytestmark = pytest.mark.slow

SIGNED = re.compile(
    rb"/[0-9a-f]{32}/[0-9a-f]{8}/|[?&](?:x-)?signature=\w|VSignature=\w|x-expires=\d|VExpiration=\d|[?&]expire=\d", re.I
)

BUG = """
import sys
from clipledger.net import wire

place, real = sys.argv.pop(1), wire.CurlWire.get

async def get(self, request, sink):
    if place in request.url.reveal():
        raise RuntimeError(f"a bug over {request} {request!r} {request.headers} {vars(type(request))}")
    return await real(self, request, sink)

wire.CurlWire.get = get

from clipledger.cli.main import main

main()
"""
"""A program with a bug in the worst place: where key and link are at hand, with a message that tells all it can."""


def clean(where: str, told: bytes) -> None:
    """Check that neither the key nor a signed link is in what was found somewhere."""
    assert KEY.encode() not in told, f"the key is in {where}"
    found = SIGNED.search(told)
    assert found is None, f"a signed link is in {where}: {told[max(0, found.start() - 80) : found.end() + 40]!r}"


def clean_archive(archive: Archive) -> None:
    for path in archive.folder.rglob("*"):
        if path.is_file() and path.suffix not in (".mp4", ".jpg", ".webp", ".png", ".mp3", ".m4a"):
            clean(str(path), path.read_bytes())


def test_a_bad_week_leaks_nothing(tmp_path: Path) -> None:
    """After a bad week no file and no stream holds the key or a signed link, and the CDN never saw the key."""
    with simulator(150, f"hostile,{BRISK},wrong_id=0.05,broken_json=0.05,expired_at_birth=0.1,cdn_500=0.1") as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        for words in (("run", "--json", "-v"), ("run", "-v"), ("failures",), ("--json", "failures"), ("status",)):
            told = archive.cli(*words, code=None)
            assert told.code in (0, 3)
            clean(f"stdout of {words}", told.out.encode())
            clean(f"stderr of {words}", told.err.encode())
        assert archive.one("SELECT COUNT(*) FROM reply_samples") > 0
        clean_archive(archive)
        assert sim.ledger()["key_leaks"] == 0


def test_the_process_list_shows_no_key(tmp_path: Path) -> None:
    """While a run is at work its command line, and that of all its children, holds no key and no link."""
    with simulator(40) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        sim.turn(slow="1:5")
        with archive.started("run", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            wait_until(lambda: sim.details() > 2)
            tasks = list(Path(f"/proc/{process.pid}/task").iterdir())
            children = [child for task in tasks for child in (task / "children").read_text().split()]
            for pid in [str(process.pid), *children]:
                clean(f"the command line of {pid}", Path(f"/proc/{pid}/cmdline").read_bytes())


@pytest.mark.parametrize("place", ["/post-detail/", "/cdn/"])
def test_a_bug_tells_no_secret(tmp_path: Path, place: str) -> None:
    """A bug where key and link are at hand is exit 1 with a traceback that holds neither; the next run saves all."""
    program = tmp_path / "bug.py"
    program.write_text(BUG)
    with simulator(40) as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        command = [sys.executable, str(program), place, "--archive", str(archive.folder), "run", "--json", "-v"]
        done = subprocess.run(command, env=archive.env, capture_output=True)
        assert done.returncode == 1 and b"Traceback" in done.stderr and b"a bug over Request(" in done.stderr
        clean("the traceback", done.stderr)
        clean("stdout", done.stdout)
        clean_archive(archive)
        assert archive.ids("running") == []
        archive.finish()
        archive.audited(sim)
