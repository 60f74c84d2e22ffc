"""What cannot be done is refused with one clear line and the right exit code, never with a traceback."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from process.harness import KEY, Archive, archive_for, plain_environment, simulator

pytestmark = pytest.mark.slow

IDS = [str(7_387_261_234_567_890_123 + (n << 32)) for n in range(8)]
UNSEEN = IDS[0]


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return archive_for(tmp_path / "archive")


# No archive, or one that is not whole


@pytest.mark.parametrize("words", ["status", "run", "db migrate"])
def test_without_an_archive_nothing_is_made(tmp_path: Path, words: str) -> None:
    """In a folder that is no archive every command says how to make one, with exit 4, and leaves the folder empty."""
    empty = Archive(tmp_path)
    empty.cli(*words.split(), code=4).says("no archive in", "clipledger init")
    assert list(tmp_path.iterdir()) == []


TOML = [
    ("[api\nconcurrency = 3", "not valid TOML"),
    ("[api]\nconcurency = 3", "api.concurency is not a setting; did you mean api.concurrency?"),
    ("[api]\nconcurrency = 'many'", "api.concurrency = 'many'"),
    ("api = 3", "api is a section"),
    ("\0\xff", "not valid TOML"),
]


def test_a_wrong_settings_file_is_named(archive: Archive) -> None:
    """A settings file that is damaged, or holds an unknown setting or a wrong value, is named with what is wrong."""
    for text, words in TOML:
        (archive.folder / "clipledger.toml").write_text(text, encoding="latin-1")
        archive.cli("run", code=4).says("clipledger.toml: ", words)


def test_a_wrong_environment_is_named(archive: Archive) -> None:
    """An unknown or wrong setting in the environment is named as the variable it is."""
    archive.cli("run", code=4, CLIPLEDGER_API__CONCURENCY="3").says("environment", "CLIPLEDGER_API__CONCURRENCY?")
    archive.cli("run", code=4, CLIPLEDGER_API__CONCURRENCY="0").says("environment", "api.concurrency = '0'")
    archive.cli("run", code=4, CLIPLEDGER_CDN__ALLOWED_HOSTS="a.com").says("CLIPLEDGER_CDN__ALLOWED_HOSTS", "JSON")


@pytest.mark.parametrize(
    ("version", "words"), [("0000", "run clipledger db migrate"), ("9999", "made by a newer clipledger")]
)
def test_another_schema_is_refused(archive: Archive, version: str, words: str) -> None:
    """A database of another schema is not touched, and the line says what to do."""
    archive.change("UPDATE alembic_version SET version_num = ?", version)
    archive.cli("run", code=4).says(f"schema {version}", words)


def test_a_database_that_is_none_is_refused(archive: Archive) -> None:
    """A database overwritten with garbage, emptied, or gone is exit 4, and nothing makes a new one in its place."""
    file = archive.folder / "clipledger.db"
    file.write_bytes(os.urandom(5000))
    archive.cli("status", code=4).says("damaged or not a database")
    archive.cli("db", "migrate", code=4).says("damaged or not a database")
    file.write_bytes(b"")
    archive.cli("run", code=4).says("not a clipledger archive")
    file.unlink()
    for words in ("run", "db migrate"):
        archive.cli(*words.split(), code=4).says("clipledger.db is not there")
    assert not file.exists()


def test_another_archives_database_is_refused(tmp_path: Path, archive: Archive) -> None:
    """The database of one archive in the folder of another is found out by its UUID."""
    other = Archive(tmp_path / "other")
    other.cli("init", "-q")
    (archive.folder / "clipledger.db").write_bytes((other.folder / "clipledger.db").read_bytes())
    archive.cli("run", code=4).says("the folder is archive", "the database is archive")
    (archive.folder / ".clipledger" / "uuid").write_bytes(b"\xff\xfe")
    archive.cli("run", code=4).says("cannot read the archive's UUID")


def test_init_where_it_cannot_be(tmp_path: Path) -> None:
    """`init` on a file, or below one, says so."""
    (tmp_path / "file").write_text("mine")
    Archive(tmp_path / "file").cli("init", code=6).says("cannot make an archive in", "Not a directory")
    Archive(tmp_path / "file" / "below").cli("init", code=6).says("Not a directory")
    assert (tmp_path / "file").read_text() == "mine"


# What was typed

WRONG = [
    ("add", "nothing to add"),
    ("add what", "'what'"),
    ("add https://example.com/video/1", "'https://example.com/video/1'"),
    ("add @a --region XYZ", "a region is two letters"),
    ("add @a --published-within 2", "0, 1, 7, 30, 90, 180"),
    ("add @a --every soon", "is not a duration"),
    ("add -a no-such-file.txt", "--batch-file no-such-file.txt"),
    ("run --only listing,everything", "listing,capture,metadata,janitor"),
    ("run --max-bytes 5X", "--max-bytes: '5X'"),
    ("run --max-videos 0", "--max-videos"),
    ("run --max-credits -1", "--max-credits"),
    ("frobnicate", "frobnicate"),
    ("run --frob", "--frob"),
    ("status --archive", "--archive"),
    (f"show {UNSEEN}", "has never seen it"),
    ("show #dance", "is not a post"),
    ("retry", "name the ids to retry"),
    ("failures --reason none", "not_found"),
    ("sim serve --faults nothing=1", "unknown fault 'nothing'"),
    ("sim serve --port 99999", "--port"),
]


@pytest.mark.parametrize(("words", "told"), WRONG)
def test_what_was_typed_wrong_is_named(archive: Archive, words: str, told: str) -> None:
    """What cannot be understood is exit 2 with one line that names it."""
    archive.cli(*words.split(), code=2).says(told)


BATCH = b"\n".join(
    [
        b"\xef\xbb\xbf" + IDS[0].encode() + b"\r",  # a BOM, and a line end of Windows
        b"# a comment\r",
        b"@alice # who was asked for by post",
        b"\xff\xfe\x80 not text",
        b"x" * 100_000,
        IDS[1].encode(),
        b"#" * 100_000,
        b"\0",
        IDS[2].encode() + b"\0",
        b"  ",
        b"#dance",
        b"https://www.tiktok.com/@x/video/" + IDS[3].encode() + b"\r",
        b"\x1b[2J@bob",
        IDS[4].encode(),  # no line end behind it
    ]
)
BAD_LINES = [4, 5, 8, 9, 13]


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_the_good_lines_of_a_bad_batch_are_taken(archive: Archive, tmp_path: Path, way: str) -> None:
    """Of a batch with garbage the good lines are taken, each bad one is listed by its number, and the exit is 2."""
    name = tmp_path / "batch.txt"
    name.write_bytes(BATCH)
    told = archive.cli("add", "-a", str(name) if way == "file" else "-", code=2, stdin=BATCH)
    where = str(name) if way == "file" else "stdin"
    lines = told.err.splitlines()
    assert [line.split(": ")[1] for line in lines] == [f"{where}:{number}" for number in BAD_LINES]
    assert max(map(len, lines)) < 300 and all(line.isprintable() for line in lines)
    assert archive.ids("pending") == sorted([*IDS[:2], *IDS[3:5]])
    assert {row[0] for row in archive.rows("SELECT source FROM sources")} == {"@alice", "#dance", "by-hand"}
    again = archive.json("add", "-a", str(name), code=2)
    assert again["posts"] == {"new": 0, "known": 4} and again["sources"] == {"new": 0, "known": 2}
    assert len(again["problems"]) == len(BAD_LINES) and again["exit"] == "usage"


def test_nothing_on_stdin_is_nothing_to_add(archive: Archive) -> None:
    """An empty standard input, or a closed one, is no traceback."""
    assert archive.cli("add", "-a", "-", stdin=b"").out.startswith("posts: 0 new")
    closed = subprocess.run(
        f"{' '.join(archive.command('add', '-a', '-'))} <&-", shell=True, env=archive.env, capture_output=True
    )
    assert closed.returncode == 2 and b"Traceback" not in closed.stderr


# The key


def test_a_run_without_a_key_says_how_to_set_one(archive: Archive, tmp_path: Path) -> None:
    """No key, a key file that is not there, empty or binary: exit 4, and the line names the variable."""
    keyless = Archive(archive.folder, plain_environment())
    keyless.cli("run", code=4).says("TIKLIVEAPI_KEY")
    keyless.cli("run", code=4, TIKLIVEAPI_KEY_FILE="/no/such/file").says("TIKLIVEAPI_KEY_FILE", "/no/such/file")
    for body in (b"\n", b"two\nlines", b"\xff\xfe"):
        (tmp_path / "key").write_bytes(body)
        keyless.cli("run", code=4, TIKLIVEAPI_KEY_FILE=str(tmp_path / "key")).says("TIKLIVEAPI_KEY_FILE")
    assert keyless.cli("run", "--only", "metadata,janitor").code == 0


def test_a_key_from_a_file_works(tmp_path: Path) -> None:
    """A key in a file, with the line end that editors leave, does what a key in the environment does."""
    (tmp_path / "key").write_text(f"{KEY}\n")
    with simulator(20) as sim:
        archive = archive_for(tmp_path / "archive", sim, TIKLIVEAPI_KEY="", TIKLIVEAPI_KEY_FILE=str(tmp_path / "key"))
        archive.cli("add", *sim.names()[:1])
        archive.cli("run")
        archive.audited(sim, finished=False)


# Others at work


@contextmanager
def held(archive: Archive, how: int) -> Iterator[None]:
    with (archive.folder / ".clipledger" / "lock").open("w") as lock:
        fcntl.flock(lock, how)
        yield


def test_an_archive_that_is_held_alone_is_left_alone(archive: Archive) -> None:
    """While one process holds the archive alone the others leave with exit 9, and it waits for those at work."""
    with held(archive, fcntl.LOCK_EX):
        for words in (["run"], ["janitor"], ["db", "migrate"]):
            archive.cli(*words, code=9).says(str(archive.folder))
        assert archive.cli("run", "--json", code=9).summary["exit"] == "in_use"
    with held(archive, fcntl.LOCK_SH):
        archive.cli("db", "migrate", code=9).says("other clipledger processes are at work")
        archive.cli("run")
