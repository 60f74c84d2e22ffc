"""Bad input for the command line: what is typed, batch files, settings, and databases that were damaged.

The real entry point runs in this process; a refusal is a documented exit code and its one line. Must not: start a run
that would call the API.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path

import pytest

from clipledger.cli.app import context
from clipledger.cli.exits import Exit
from clipledger.cli.main import run
from clipledger.settings import env_name
from clipledger.settings import keys as settings_keys
from contract.archives import vid
from hostile import capturing, naughty
from hostile.sandbox import Sandbox
from hostile.verdicts import ACCEPTED, Corpus, Feed, Verdict, judged

_IDS, _SOURCES = 300, ("@alice", "#dance", "search:cats and dogs", "music:6689804660171082501", "liked:@bob")


def said(*words: str) -> tuple[Exit, str, str]:
    """Run one command in this process; give its end, its output and its complaints."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="surrogateescape") for _ in range(2))
    context.exit = Exit.OK  # as in a process of its own
    with redirect_stdout(out), redirect_stderr(err):
        ended = run(list(words))
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.buffer.getvalue().decode("utf-8", "replace"))  # type: ignore[attr-defined]
    return ended, texts[0], texts[1]


def _told(archive: Path, *words: str) -> str:
    """Run a command with --json; demand one clear line where it refuses, and one document in any case."""
    ended, out, err = said("--archive", str(archive), "--json", *words)
    assert ended is not Exit.BUG and "Traceback" not in out + err, err
    if ended is Exit.OK:
        return ACCEPTED
    assert all(line.isprintable() for line in err.splitlines()), f"{words}: {err!r}"
    told = json.loads(out.splitlines()[-1])
    if isinstance(told, dict) and "exit" in told:
        assert told["exit"] == ended.word, f"{words}: {out!r}"
    return f"refused: exit {int(ended)} {ended.word}"


def _archive(place: Sandbox, name: str) -> Path:
    """Copy an archive with ids and sources in it, made once."""
    made = place.folder / "made"
    if not made.exists():
        capturing.play(made, "made", list(range(120)))  # a dozen of them are archived
        batch = place.folder / "ids.txt"
        batch.write_text("\n".join([vid(number) for number in range(1000, 1000 + _IDS)]))
        assert said("--archive", str(made), "-q", "add", "-a", str(batch), *_SOURCES)[0] is Exit.OK
    folder = place.folder / name
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(made, folder)
    return folder


def on_copies(act: Callable[[Path, random.Random], str], every: int) -> Feed:
    """Make a feed whose inputs are used on an archive, which is copied anew for every so many of them."""

    def feed(place: Sandbox, seed: str, numbers: Iterable[int]) -> Iterator[Verdict]:
        folder = Path()
        for nth, number in enumerate(numbers):
            if nth % every == 0:
                folder = _archive(place, "used")
            yield judged(number, partial(act, folder, random.Random(f"{seed}/{number}")))

    return feed


def _word(text: str) -> str:
    """Give what can stand in an argument list: no NUL, no half of a surrogate pair."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:100_000]


def arguments(archive: Path, dice: random.Random) -> str:
    """Type something where a source, an id, a query, a reason or an option's value belongs."""
    word = _word(naughty.typed(dice))
    number = _word(naughty.number_id(dice))
    forms: tuple[tuple[str, ...], ...] = (
        ("add", "--", word),
        ("add", word),
        ("add", "#dance", dice.choice(("--region", "--sort", "--every", "--max-pages", "--priority")), word[:200]),
        ("show", dice.choice((word, number))),
        ("retry", dice.choice((word, number))),
        ("retry", "--reason", word),
        ("failures", "--reason", word),
        ("acknowledge", dice.choice((word, number))),
        ("search", "--", word),
        ("search", dice.choice(("from:", "tag:", "since:", "plays:", "region:", '"')) + word),
        (word[:300],),
    )
    return _told(archive, *dice.choice(forms))


def batches(place: Sandbox, seed: str, numbers: Iterable[int]) -> Iterator[Verdict]:
    """Give a batch file with one line for each number; the good ones are taken, the bad ones listed."""
    asked = list(numbers)
    folder, batch = _archive(place, "used"), place.folder / "batch.txt"
    lines = [_line(random.Random(f"{seed}/{number}")) for number in asked]
    batch.write_bytes(b"\n".join(lines))
    began = time.perf_counter()
    whole = judged(asked[0], partial(_batch, folder, batch, len(lines)))
    each_s = (time.perf_counter() - began) / len(asked)
    bad = dict(pair.split("=", 1) for pair in whole.outcome.split("\0") if "=" in pair)
    for nth, number in enumerate(asked, start=1):
        outcome = f"refused: {bad[str(nth)]}" if str(nth) in bad else ACCEPTED
        yield Verdict(number, "fault" if whole.fault else outcome, each_s, whole.fault)


def _batch(folder: Path, batch: Path, lines: int) -> str:
    ended, out, err = said("--archive", str(folder), "--json", "add", "--batch-file", str(batch))
    told = json.loads(out)
    assert (ended is Exit.USAGE) == bool(told["problems"]) and ended in (Exit.OK, Exit.USAGE)
    assert "Traceback" not in err and len(err.splitlines()) == len(told["problems"])
    bad = []
    for problem in told["problems"]:
        where, _, why = problem.removeprefix(f"{batch}:").partition(": ")
        assert 1 <= int(where) <= lines and why and problem.isprintable(), problem
        bad.append(f"{where}=usage")
    return "\0".join(bad)


def _line(dice: random.Random) -> bytes:
    line = naughty.typed(dice).encode("utf-8", "surrogatepass")
    if dice.random() < 0.1:
        line = naughty.damaged(dice, line)
    return line.replace(b"\n", b" ").replace(b"\r", b" ")[: 10**6]


def settings(archive: Path, dice: random.Random) -> str:
    """Edit clipledger.toml, or set the environment, as nobody should."""
    file = archive / "clipledger.toml"
    sections: dict[str, list[str]] = {}
    for name, default, _ in dice.sample(list(settings_keys()), dice.choice((1, 1, 2))):
        section, key = name.split(".")
        sections.setdefault(section, []).append(f"{key} = {_toml(dice, default)}")
    text = "\n".join(f"[{section}]\n" + "\n".join(lines) for section, lines in sections.items())
    body = text.encode("utf-8", "surrogatepass")
    file.write_bytes(naughty.damaged(dice, body) if dice.random() < 0.2 else body)
    environment: Mapping[str, str] = {}
    if dice.random() < 0.3:
        file.write_text("")
        chosen = dice.choice([name for name, _, _ in settings_keys()])
        environment = {dice.choice((env_name(chosen), env_name(chosen) + "X")): _word(_toml(dice, ""))}
    with pytest.MonkeyPatch.context() as changed:
        for variable, text in environment.items():
            changed.setenv(variable, text)
        return _told(archive, "status")


def _toml(dice: random.Random, default: object) -> str:
    drawn = dice.choice((naughty.text(dice), naughty.link(dice), *naughty.NUMBERS[:16], default))
    match dice.randrange(6):
        case 0:
            return dice.choice(
                (
                    "9" * 5_000,
                    "[" * 2_000 + "]" * 2_000,
                    "1e400",
                    "nan",
                    "-inf",
                    "{a=1}",
                    "1979-05-27",
                    "0x" + "f" * 300,
                )
            )
        case 1:
            return str(drawn)
        case 2:
            return json.dumps([str(drawn)] * dice.randrange(3))
        case 3:
            return dice.choice(
                (
                    '"sqlite:///../../x"',
                    '"sqlite:////etc/x"',
                    '"sqlite://"',
                    '"postgresql://"',
                    '"s3://a/b"',
                    '"file:///x"',
                )
            )
    return json.dumps(drawn)


def databases(archive: Path, dice: random.Random) -> str:
    """Damage the database file, its journal, the archive's UUID, or put something else there."""
    shutil.rmtree(archive)
    shutil.copytree(archive.parent / "made", archive)
    file = archive / dice.choice(
        ("clipledger.db",) * 8 + ("clipledger.db-wal", "clipledger.db-shm", ".clipledger/uuid")
    )
    body = bytearray(file.read_bytes() if file.exists() else b"")
    match dice.randrange(6):
        case 0:
            body = body[: dice.randrange(len(body) + 1)]
        case 1 if body:
            page = dice.randrange(len(body) // 4096 + 1) * 4096
            body[page : page + 4096] = dice.choice((b"\0" * 4096, dice.randbytes(4096)))
        case 2 if body:
            for _ in range(dice.randrange(1, 200)):
                body[dice.randrange(len(body))] = dice.randrange(256)
        case 3:
            body[:100] = dice.randbytes(100)
        case 4:
            body = bytearray(dice.choice((b"", b"SQLite format 3\0", dice.randbytes(5_000), b"<html>")))
        case _:
            _spoil_a_row(archive, dice)
            body = bytearray(file.read_bytes() if file.exists() else b"")
    file.write_bytes(body)
    words = (
        ("status",), ("verify",), ("verify",), ("verify", "--ledger"), ("add", vid(10**6)), ("show", vid(3)),
        ("sources",), ("failures",), ("search", "cat"), ("janitor",), ("retry",), ("reindex",),
    )  # fmt: skip
    return _told(archive, *dice.choice(words))


def _spoil_a_row(archive: Path, dice: random.Random) -> None:
    """Write nonsense into a column, as somebody with a SQLite shell might."""
    with sqlite3.connect(archive / "clipledger.db") as connection:
        tables = ("archive_queue", "files", "posts", "sources", "limits", "meta", "sightings", "switches", "credits")
        table = dice.choice(tables)
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        what = dice.choice((naughty.text(dice).encode("utf-8", "replace").decode(), 2**62, -1, 1e308, b"\xff\x00", ""))
        with suppress(sqlite3.IntegrityError):
            connection.execute(f"UPDATE OR IGNORE {table} SET {dice.choice(columns)} = ?", (what,))
    connection.close()


CORPORA = (
    Corpus("arguments", 20, on_copies(arguments, 200)),
    Corpus("batch files", 60, batches, batch=250),
    Corpus("settings", 16, on_copies(settings, 1000)),
    Corpus("databases", 8, on_copies(databases, 1000)),
)
