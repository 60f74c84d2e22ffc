"""The power goes in the middle of a run, on ext4 and XFS: what was told before it is there after it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from process.harness import Archive, plain_environment
from process.power import KINDS, NotPermitted, cycle, eatmydata, powered

pytestmark = [pytest.mark.slow, pytest.mark.root]

CYCLES = int(os.environ.get("CLIPLEDGER_POWER_CYCLES", "6"))
CONTROLS = 3


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_run_told_survives_a_power_cut(tmp_path: Path, kind: str) -> None:
    """Whenever the power goes, posts told as stored or archived, queued ids and paid calls are there afterwards."""
    try:
        with powered(tmp_path, kind) as disk:
            told = 0
            for number in range(CYCLES):
                outcome = cycle(disk, random.Random(f"test/{kind}/{number}"))
                told += outcome.told
                assert (outcome.lost, outcome.findings) == ((), ()), f"cycle {number} on {kind}: {outcome}"
            assert told > CYCLES * 5, "hardly anything was told before the cuts: they prove nothing"
    except NotPermitted as why:
        pytest.skip(f"NOT TESTED: a power cut on {kind}: {why}")


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_that_was_just_made_survives_a_power_cut(tmp_path: Path, kind: str) -> None:
    """The power goes the instant `init` has returned: settings, UUID and database are there, and agree."""
    archive = Archive(tmp_path / kind / "archive", plain_environment())
    try:
        with powered(tmp_path, kind) as disk:
            archive.cli("init")
            disk.cut()
            disk.off()
            disk.on()
            archive.cli("status")
            assert "[storage]" in (archive.folder / "clipledger.toml").read_text()
            uuid = archive.folder / ".clipledger" / "uuid"
            assert (kept := uuid.read_text()) and uuid.write_text("") == 0  # as older releases lost it
            archive.cli("run", code=4).says("UUID is lost", "init")
            archive.cli("init")
            assert uuid.read_text() == kept
    except NotPermitted as why:
        pytest.skip(f"NOT TESTED: a power cut on {kind}: {why}")


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_without_fsync_is_caught(tmp_path: Path, kind: str) -> None:
    """With every fsync made to do nothing the very same trial finds that what was told is lost."""
    if eatmydata() is None:
        pytest.skip("NOT TESTED: the control of the power cuts: eatmydata is not installed")
    try:
        with powered(tmp_path, kind) as disk:
            found = [cycle(disk, random.Random(f"control/{kind}/{number}"), safe=False) for number in range(CONTROLS)]
    except NotPermitted as why:
        pytest.skip(f"NOT TESTED: a power cut on {kind}: {why}")
    assert any(outcome.lost for outcome in found), found
