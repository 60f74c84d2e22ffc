"""What an operator sees and does when one video is served for many posts."""

from __future__ import annotations

from pathlib import Path

import pytest

from process.harness import archive_for, simulator

pytestmark = pytest.mark.slow


def test_real_copies_are_taken_at_the_operators_word(tmp_path: Path) -> None:
    """The run ends with exit 3, `status` and `doctor` name the video, `retry --accept` and a run bring all in."""
    with simulator(50, "reposted=0.5") as sim:
        archive = archive_for(tmp_path / "archive", sim)
        archive.cli("add", *sim.names())
        archive.cli("run", code=3)
        [alarm] = archive.json("status")["same_bytes"]["alarms"]
        assert alarm["state"] == "raised" and 0 < alarm["archived"] <= 5 and alarm["waiting"] > 5
        assert "retry --reason same_bytes --accept" in archive.cli("status").out
        [told] = [each for each in archive.json("doctor", code=None)["findings"] if each["check"] == "same video"]
        assert told["colour"] == "yellow"
        archive.cli("retry", "--reason", "not_found", "--accept", code=2).says("--accept", "same_bytes")
        accepted = archive.json("retry", "--reason", "same_bytes", "--accept")
        assert (accepted["accepted"], accepted["due_again"]) == (1, alarm["waiting"])
        archive.cli("run")
        assert archive.json("status")["same_bytes"]["alarms"][0]["state"] == "allowed"
        archive.audited(sim)
