"""A wrong setting in the environment is told once, and never read behind the back of `settings.load`."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.cli.exits import Exit
from clipledger.cli.main import run
from clipledger.doctor.machine import descriptors

WRONG = [("CLIPLEDGER_API__REQUESTS_PER_MINUTE", "0"), ("CLIPLEDGER_CDN__ALLOWED_HOSTS", "[1]")]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_doctor_counts_open_files_without_settings(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the settings cannot be read `doctor` reckons with the defaults."""
    monkeypatch.setenv(name, value)
    assert descriptors(None).check == "open files"


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_plan_names_the_wrong_setting(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`plan` ends with one line that names the setting, and exit 4."""
    monkeypatch.setenv(name, value)
    assert run(["--archive", str(tmp_path), "plan", "--videos-per-day", "10"]) is Exit.MISCONFIGURED
    assert capsys.readouterr().err.startswith("clipledger: environment: ")
