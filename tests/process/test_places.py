"""Two programs, two archives, one place: nothing is taken for an empty archive, and nobody's files for one's own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from process.faulting import why_not
from process.harness import Archive, Sim, simulator
from process.killing import judged, placed
from s3_servers import S3Server

pytestmark = pytest.mark.slow

STORE = "CLIPLEDGER_STORAGE__URL"
MARK = ".clipledger/uuid"


@contextmanager
def world(folder: Path, database: str = "sqlite", **env: str) -> Iterator[tuple[Archive, Sim]]:
    """Serve eight posts and queue all that its lists show."""
    folder.mkdir(exist_ok=True)
    with simulator(8, seed=7) as sim, placed(folder, sim, database) as archive:
        archive.env |= env
        yield archive, sim


def twin(archive: Archive, folder: Path, **env: str) -> Archive:
    """Copy an archive as `cp -r` does."""
    shutil.copytree(archive.folder, folder)
    return Archive(folder, archive.env | env)


def nothing_happens(archive: Archive, sim: Sim, code: int, *words: str, **env: str) -> None:
    """Demand that every command that works ends with `code` in one clear line, pays nothing and changes no row."""
    calls, before = sim.ledger()["calls"], archive.rows("SELECT aweme_id, state, token FROM archive_queue ORDER BY 1")
    for command in ("run", "run --only metadata", "janitor", "run --follow --only capture"):
        archive.cli(*command.split(), code=code, **env).says(*words)
    assert sim.ledger()["calls"] == calls
    assert archive.rows("SELECT aweme_id, state, token FROM archive_queue ORDER BY 1") == before


def all_is_well(archive: Archive, sim: Sim) -> None:
    archive.finish()
    store = archive.env.get(STORE)
    if store and not store.startswith("s3:"):  # the judge looks below the archive folder
        assert archive.cli("verify", code=0)
        return
    assert judged(archive, sim, "", 0).findings == ()


def test_a_store_whose_disk_is_not_mounted_is_refused(tmp_path: Path) -> None:
    """With the store's disk away, an empty folder in its place is left empty and nothing is paid; then all goes on."""
    disk = tmp_path / "disk"
    with world(tmp_path / "here", **{STORE: str(disk)}) as (archive, sim):
        archive.cli("run", "--max-videos", "6", code=5)
        assert (disk / MARK).read_text().strip() == archive.one("SELECT value FROM meta WHERE key = 'archive_uuid'")
        away = disk.rename(tmp_path / "away")
        nothing_happens(archive, sim, 6, "is gone from it", "mounted?")
        assert not disk.exists()
        disk.mkdir()
        nothing_happens(archive, sim, 6, "is gone from it", "mounted?")
        archive.cli("verify", code=6).says("mounted?")
        assert list(disk.iterdir()) == []
        disk.rmdir()
        away.rename(disk)
        all_is_well(archive, sim)


def test_a_media_folder_whose_disk_is_not_mounted_is_refused(tmp_path: Path) -> None:
    """Where only the media lie on another disk and that is away, a run does not buy everything again."""
    with world(tmp_path / "here") as (archive, sim):
        archive.cli("run", "--max-videos", "6", code=5)
        kinds = [kind for kind in ("videos", "photos", "covers") if (archive.folder / kind).exists()]
        for kind in kinds:
            (archive.folder / kind).rename(tmp_path / kind)
            (archive.folder / kind).mkdir()
        nothing_happens(archive, sim, 6, "holds no file of the", "mounted")
        for kind in kinds:
            (archive.folder / kind).rmdir()
            (tmp_path / kind).rename(archive.folder / kind)
        all_is_well(archive, sim)


def test_an_archive_whose_own_disk_is_not_mounted_is_refused(tmp_path: Path) -> None:
    """Without its UUID a folder is no archive, whatever database the settings name: nothing is laid down in it."""
    with world(tmp_path / "here", "postgres") as (archive, sim):
        archive.cli("run", "--max-videos", "3", code=5)
        archive.folder.rename(tmp_path / "away")
        archive.folder.mkdir()
        nothing_happens(archive, sim, 4, "no archive in")
        assert list(archive.folder.iterdir()) == []
        archive.folder.rmdir()
        (tmp_path / "away").rename(archive.folder)
        all_is_well(archive, sim)


def test_a_swapped_database_is_refused(tmp_path: Path) -> None:
    """Another archive's database in the folder is told by its UUID, and neither is touched."""
    with world(tmp_path / "one") as (one, sim), world(tmp_path / "two") as (two, _):
        one.cli("run", "--max-videos", "3", code=5)
        for archive in (one, two):
            for left in archive.folder.glob("clipledger.db-*"):
                left.unlink()
        own = (one.folder / "clipledger.db").rename(tmp_path / "own.db")
        shutil.copy(_of_another(tmp_path), one.folder / "clipledger.db")
        one.cli("run", code=4).says("the folder is archive", "the database is archive")
        own.replace(one.folder / "clipledger.db")
        all_is_well(one, sim)


def _of_another(tmp_path: Path) -> Path:
    other = Archive(tmp_path / "other")
    other.cli("init", "-q")
    return other.folder / "clipledger.db"


def test_another_archives_place_is_refused(tmp_path: Path) -> None:
    """A store that bears another archive's mark, its folder or its store, is refused with exit 4."""
    disk = tmp_path / "disk"
    (other := Archive(tmp_path / "other")).cli("init", "-q")
    with world(tmp_path / "here") as (archive, sim):
        nothing_happens(archive, sim, 4, "belongs to archive", **{STORE: str(other.folder)})
        (disk / ".clipledger").mkdir(parents=True)
        (disk / MARK).write_text("somebody-elses\n")
        nothing_happens(archive, sim, 4, "belongs to archive somebody-elses", **{STORE: str(disk)})
        assert [path.name for path in disk.iterdir()] == [".clipledger"]


def test_another_archives_bucket_is_refused(tmp_path: Path, s3_servers: Callable[[str], S3Server]) -> None:
    """A prefix that bears another archive's mark is refused, and so is an empty one."""
    server = s3_servers("ministack")
    env = server.env | {STORE: server.url(), "CLIPLEDGER_STORAGE__ENDPOINT_URL": server.endpoint_url}
    with world(tmp_path / "one", **env) as (one, sim), world(tmp_path / "two") as (two, _):
        one.cli("run", "--max-videos", "4", code=5)
        other = twin(two, tmp_path / "other", **env)
        _rename(other, "0ther-archive")
        other.cli("run", code=4).says("belongs to archive")
        elsewhere = {STORE: server.url()}
        nothing_happens(one, sim, 6, "holds no file of the", **elsewhere)
        all_is_well(one, sim)


def _rename(archive: Archive, uuid: str) -> None:
    (archive.folder / MARK).write_text(uuid)
    archive.change("UPDATE meta SET value = ? WHERE key = 'archive_uuid'", uuid)


def test_a_copied_folder_is_a_second_archive_on_sqlite(tmp_path: Path) -> None:
    """`cp -r` copies the database too: both go on by themselves, each with books that balance."""
    with world(tmp_path / "here") as (archive, _sim):
        archive.cli("run", "--max-videos", "3", code=5)
        copy = twin(archive, tmp_path / "copy")
        for each in (archive, copy):
            each.finish()
            each.cli("verify", code=0)


def test_a_copied_folder_on_one_database_is_refused_once_it_falls_behind(tmp_path: Path) -> None:
    """Two folders of files behind one database would tear the archive apart: the one that lacks the last is refused."""
    with world(tmp_path / "here", "postgres") as (archive, sim):
        archive.cli("run", "--max-videos", "2", code=5)
        copy = twin(archive, tmp_path / "copy")
        archive.cli("run", "--max-videos", "5", code=5)
        nothing_happens(copy, sim, 6, "holds no file of the")
        all_is_well(archive, sim)


def test_an_archive_on_a_share_without_locks_is_refused(tmp_path: Path) -> None:
    """Where the archive folder's file system knows no locks, that is said in one line, before anything is done."""
    if (why := why_not()) is not None:
        pytest.skip(why)
    with world(tmp_path / "here") as (archive, sim):
        plain = Archive(archive.folder, archive.env)
        wrap = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:error=ENOLCK")
        plain.cli("run", code=4, wrap=wrap).says("without locks", "local disk")
        assert sim.ledger()["calls"] == 0


def test_a_store_that_was_used_before_marks_were_made_is_marked(tmp_path: Path) -> None:
    """A store of an older release bears no mark: its files prove it, and the next run marks it."""
    disk = tmp_path / "disk"
    with world(tmp_path / "here", **{STORE: str(disk)}) as (archive, sim):
        archive.cli("run", "--max-videos", "6", code=5)
        shutil.rmtree(disk / ".clipledger")
        archive.change("DELETE FROM meta WHERE key = 'store_marked'")
        all_is_well(archive, sim)
        assert (disk / MARK).read_text().strip() == archive.one("SELECT value FROM meta WHERE key = 'archive_uuid'")
