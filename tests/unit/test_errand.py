"""What a seat is handed: enough to work anywhere the archive can be reached, and nothing that shows a secret."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from clipledger import settings as settings_file
from clipledger.archive import identity_of
from clipledger.core.errors import Misconfigured
from clipledger.fleet.errand import Errand, environment_for, errand_for, is_movable, place
from clipledger.fleet.seat import UNFIT, Seat
from clipledger.settings import Settings

PASSWORD = "hunter2-in-the-url"
ELSEWHERE = "another-machine"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("TIKLIVEAPI_KEY", raising=False)
    private = tmp_path / "archive" / ".clipledger"
    private.mkdir(parents=True)
    (private / "uuid").write_text("0f0e\n")
    return tmp_path / "archive"


def served(**more: object) -> Settings:
    told = {
        "database": {"url": f"postgresql://me:{PASSWORD}@db.example/clips"},
        "storage": {"url": "s3://bucket/prefix"},
    }
    return Settings(**(told | more))  # type: ignore[arg-type]


def errand_of(archive: Path, settings: Settings, words: tuple[str, ...] = ("run",)) -> Errand:
    return errand_for(archive, identity_of(archive), settings, words)


def test_every_setting_arrives_as_it_was(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker on another machine runs with the very settings of the archive, lists, numbers and removed caps too."""
    chosen = served(
        cdn={"concurrency": 3, "allowed_hosts": ["a.example", "b.example"], "allow_insecure": True},
        queue={"lease_s": 17.5},
        budget={"credits_per_day": 40},
    )
    for name, value in errand_of(archive, chosen).environment.items():
        monkeypatch.setenv(name, value)
    elsewhere = archive.with_name("empty")
    assert settings_file.load(elsewhere).model_dump() == chosen.model_dump()


def test_the_folder_itself_is_used_on_its_own_machine(archive: Path) -> None:
    """On the machine of the archive its own folder is worked in, so that a dead neighbour is seen at once."""
    assert place(errand_of(archive, Settings())) == archive


def test_another_machine_makes_a_folder_of_its_own(archive: Path) -> None:
    """Elsewhere the seats of a machine share one private folder with the archive's UUID; settings stay in memory."""
    errand = replace(errand_of(archive, served()), machine=ELSEWHERE)
    folder = place(errand)
    assert folder != archive and place(errand) == folder
    assert identity_of(folder) == errand.uuid and folder.stat().st_mode & 0o077 == 0
    held = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert PASSWORD.encode() not in held


@pytest.mark.parametrize("url", ["", "media", "file:///srv/media", "memory:x"])
def test_sqlite_or_a_folder_holds_for_one_machine(archive: Path, url: str) -> None:
    """A fleet over several machines on SQLite or a local folder is refused, and told what would work."""
    for settings in (Settings(storage={"url": "s3://bucket"}), served(storage={"url": url})):  # type: ignore[arg-type]
        errand = replace(errand_of(archive, settings), machine=ELSEWHERE)
        assert not is_movable(settings)
        with pytest.raises(Misconfigured, match=r"for several set database\.url to postgresql"):
            place(errand)
        ended = Seat().work(errand)
        assert ended.code == UNFIT and "one machine" in ended.why


def test_another_version_is_refused(archive: Path) -> None:
    """A machine with another clipledger takes no part: it is named, with both versions."""
    with pytest.raises(Misconfigured, match=r"0\.0\.7 where the fleet was started"):
        place(replace(errand_of(archive, Settings()), version="0.0.7"))


def test_a_folder_that_others_can_write_to_is_refused(archive: Path) -> None:
    """Nobody else on a machine can lay a folder out for a worker to trust."""
    errand = replace(errand_of(archive, served()), machine=ELSEWHERE)
    place(errand).chmod(0o777)
    with pytest.raises(Misconfigured, match="others may write to it"):
        place(errand)


def test_secrets_go_in_memory_and_show_nowhere(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key and the database's password reach the process by its environment; no repr and no argument shows them."""
    monkeypatch.setenv("TIKLIVEAPI_KEY", "key-for-the-fleet")
    errand = errand_of(archive, served())
    told = environment_for(pickle.loads(pickle.dumps(errand)))
    assert told["TIKLIVEAPI_KEY"] == "key-for-the-fleet" and PASSWORD in told["CLIPLEDGER_DATABASE__URL"]
    shown = f"{errand!r} {errand.words}"
    assert PASSWORD not in shown and "key-for-the-fleet" not in shown
