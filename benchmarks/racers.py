"""Who races: our own program, and what people use in its place, each with the command that they would type.

The peers fetch a list of links into a folder and do nothing else. Ours lists, queues, asks for each post, hashes,
checks, writes the sidecar and the index. Peers that are Python programs live in an environment of their own, made on
first use. Must not: measure.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from ground import Ground

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers" / ".venv"
FAST = Path(sys.executable).parent.parent / "fast"
SLOTS = 20

PROGRAM = (sys.executable, "-m", "clipledger")


@dataclass(frozen=True, slots=True)
class Start:
    """A racer at the line: the command to be timed, its environment, and how many files it has to bring."""

    command: Sequence[str]
    posts: int
    env: Mapping[str, str] = field(default_factory=lambda: plain())
    check: Callable[[], int] = lambda: -1
    codes: Sequence[int] = (0,)


Racer = Callable[[Ground, Path], Start]
"""Gets ready in an empty folder; what it does there is not timed."""


def ours(*, tls: bool = False, env: Mapping[str, str] | None = None, words: Sequence[str] = ()) -> Racer:
    """Race with `clipledger run` over the searches that show every post."""

    def ready(ground: Ground, place: Path) -> Start:
        folder = place / "archive"
        known = environment(ground, tls=tls) | dict(env or {})
        for command in (("init", "-q"), ("add", "-q", *ground.lists())):
            subprocess.run([*PROGRAM, "--archive", str(folder), *command], env=known, check=True, capture_output=True)
        run = [*PROGRAM, "--archive", str(folder), "run", "-q", *words]
        return Start(run, len(ground.ids), known, lambda: archived(folder))

    return ready


def environment(ground: Ground, *, tls: bool = False) -> dict[str, str]:
    """Give the environment of an archive that asks the ground as fast as it answers; no covers, as the peers.

    With the extra `fast`, which `make env` puts aside.
    """
    return plain() | {
        "PYTHONPATH": os.pathsep.join(filter(None, (str(FAST), os.environ.get("PYTHONPATH", "")))),
        "TIKLIVEAPI_KEY": "racing-for-a-key",
        "CLIPLEDGER_API__BASE_URL": ground.url,
        "CLIPLEDGER_API__REQUESTS_PER_MINUTE": "1000000",
        "CLIPLEDGER_API__CONCURRENCY": "16",
        "CLIPLEDGER_CDN__ALLOW_INSECURE": "true",
        "CLIPLEDGER_CDN__CONCURRENCY": str(SLOTS),
        "CLIPLEDGER_CAPTURE__COVERS": "false",
        **({"SSL_CERT_FILE": str(ground.authority)} if tls else {}),
    }


def plain() -> dict[str, str]:
    """Give the environment of a racer: nothing meant for the program, and compiled modules kept, as installed."""
    ours_alone = ("CLIPLEDGER_", "TIKLIVEAPI_", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours_alone)}


def archived(folder: Path) -> int:
    """Count what an archive holds whole."""
    with closing(sqlite3.connect(f"file:{folder / 'clipledger.db'}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM posts").fetchone()[0])


def curl(*, tls: bool = False) -> Racer:
    """Race with `curl -Z`."""

    def ready(ground: Ground, place: Path) -> Start:
        (out := place / "out").mkdir()
        links = ground.links(tls=tls)
        lines = [f'url = "{link}"\noutput = "{out}/{link.rpartition("/")[2]}"' for link in links]
        (place / "links").write_text("\n".join(lines))
        trust = ["--cacert", str(ground.authority)] if tls else []
        command = ["curl", "-sSf", "-Z", "--parallel-max", str(SLOTS), *trust, "-K", str(place / "links")]
        return Start(command, len(links), check=lambda: count(out))

    return ready


def aria2(*, tls: bool = False) -> Racer:
    """Race with aria2c."""

    def ready(ground: Ground, place: Path) -> Start:
        out, links = place / "out", ground.links(tls=tls)
        (place / "links").write_text("\n".join(links))
        trust = [f"--ca-certificate={ground.authority}"] if tls else []
        command = ["aria2c", "-q", f"-j{SLOTS}", "-x1", "-s1", "--file-allocation=none", "-d", str(out), "-i",
                   str(place / "links"), *trust]  # fmt: skip
        return Start(command, len(links), check=lambda: count(out))

    return ready


def guide(*, tls: bool = False) -> Racer:
    """Race with the founding guide's script."""

    def ready(ground: Ground, place: Path) -> Start:
        (out := place / "out").mkdir()
        links = ground.links(tls=tls)
        (place / "links").write_text("\n".join(links))
        env = plain() | ({"SSL_CERT_FILE": str(ground.authority)} if tls else {})
        command = [peer("python"), str(HERE / "peers" / "guide.py"), str(place / "links"), str(out)]
        return Start(command, len(links), env, lambda: count(out))

    return ready


def least() -> Racer:
    """Race with the least that Python can do for a post: what no archive written in it goes below."""

    def ready(ground: Ground, place: Path) -> Start:
        (out := place / "out").mkdir()
        (place / "ids").write_text("\n".join(ground.ids))
        command = [sys.executable, str(HERE / "peers" / "least.py"), ground.url, str(place / "ids"), str(out)]
        return Start(command, len(ground.ids), check=lambda: sum(1 for each in out.iterdir() if each.suffix == ".mp4"))

    return ready


def slow_peer(name: str, words: Sequence[str], *, share: int) -> Racer:
    """Race with a peer of tens of files a second, over one file in `share`."""

    def ready(ground: Ground, place: Path) -> Start:
        (out := place / "out").mkdir()
        links = ground.links()[::share]
        (place / "links").write_text("\n".join(links) + "\n")
        filled = [word.format(links=place / "links", out=out) for word in words]
        return Start([peer(name), *filled], len(links), check=lambda: count(out))

    return ready


def yt_dlp() -> Racer:
    """Race with yt-dlp."""
    return slow_peer("yt-dlp", ("-q", "--no-warnings", "-a", "{links}", "-o", "{out}/%(id)s.%(ext)s"), share=20)


def gallery_dl() -> Racer:
    """Race with gallery-dl."""
    return slow_peer("gallery-dl", ("-q", "-D", "{out}", "-i", "{links}"), share=4)


def count(folder: Path) -> int:
    """Count the files of a folder."""
    return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0


def peer(name: str) -> str:
    """Give the path of a peer's program, out of an environment that is made when it is not there."""
    program = PEERS / "bin" / name
    if not program.exists():
        shutil.rmtree(PEERS, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        wanted = ["-r", str(HERE / "peers" / "requirements.txt")]
        subprocess.run([str(PEERS / "bin" / "python"), "-m", "pip", "install", "-q", *wanted], check=True)
    return str(program)
