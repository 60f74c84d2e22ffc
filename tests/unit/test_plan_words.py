"""What `plan` is told: mixes and price tables that are none are one clear line, exit 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from clipledger.cli.exits import Exit
from clipledger.cli.main import run


def _told(folder: Path, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["--archive", str(folder), "plan", "--videos-per-day", "10", *words]) is Exit.USAGE
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    return told


@pytest.mark.parametrize("new", ["1e-320", "1e-300", "0.009", "101", "nan", "inf"])
def test_new_ids_a_page_have_bounds(new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A page that gives next to nothing, or more than it can hold, is no plan."""
    assert "0.01 to 100" in _told(tmp_path, capsys, "--source-mix", f"user=1:{new}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no price table"),
        ("mine = 3", "not a price table: mine: write [mine]"),
        ("[mine]\ncurrency = 'EUR'", "not a price table: mine: tiers is missing"),
        ("[mine]\ntiers = 3", "not a price table: mine: "),
        ("[mine]\ntiers = [{name = 'a', from_day = 0, gigabyte_month = 1}]", "not a price table: mine: missing"),
        ("[mine]\ntiers = []\nfrob = 3", "not a price table: mine: got an unexpected keyword"),
    ],
)
def test_a_wrong_price_file_is_named(text: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A price file of another shape is named with its table and what is wrong there."""
    file = tmp_path / "prices.toml"
    file.write_text(text, encoding="utf-8")
    assert why in _told(tmp_path, capsys, "--prices", str(file))
