"""Hurt the files of a small archive in simulated time, and kill the repair at chosen steps: what must never be lost.

Shared by the tests and by `benchmarks/repair.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from clipledger.events import Event, Listener
from clipledger.sim.play import Play
from clipledger.sim.timeloop import TimeLoop

DAY_S = 86_400.0
MENDING = {"janitor.fixity": "1d", "janitor.repair": True, "listing.every": "30d", "queue.attempts_max": 2}

Hurt = Callable[[Path], None]


def flip(path: Path) -> None:
    """Change one byte in the middle."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    path.write_bytes(body)


def cut(path: Path) -> None:
    """Lose the last byte."""
    path.write_bytes(path.read_bytes()[:-1])


HURTS: Mapping[str, Hurt] = {"flipped": flip, "cut": cut, "missing": Path.unlink}


@dataclass(frozen=True, slots=True)
class Trial:
    """One kill, so many steps after the paid call of a repair was answered; `standing`: what stood then."""

    hurt: str
    steps: int
    crashed: bool
    standing: frozenset[str]
    findings: tuple[str, ...]


class Killer:
    """Kills the process so many steps after the paid call of a repair was answered."""

    def __init__(self) -> None:
        self.steps: int | None = None

    def __call__(self, event: Event) -> None:
        if self.steps is not None and event.name == "call" and event.fields["reason"] == "repair":
            loop = asyncio.get_running_loop()
            assert isinstance(loop, TimeLoop)
            loop.crash_after(self.steps)
            self.steps = None


def archived(
    folder: Path, posts: int = 40, *, seed: int = 9, listener: Listener | None = None, budget: int = 100
) -> Play:
    """Archive a small calm world that reads every file daily and repairs what it finds."""
    settings = MENDING | {"budget.repair_credits_per_day": budget}
    play = Play(folder, seed=seed, posts=posts, settings=settings, photo_share=0.25, listener=listener)
    play.add(*(f"@{author.first_handle}" for author in play.world.population.authors))
    play.run_to_the_end(4)
    play.run()
    return play


def file_of(play: Play, aweme_id: str, kind: str = "video") -> Path:
    """Give the path of one of a post's files."""
    sql = "SELECT storage_key FROM files WHERE aweme_id = ? AND kind = ? ORDER BY position"
    return play.folder / str(play.rows(sql, aweme_id, kind)[0][0])


def videos(play: Play) -> list[str]:
    """List the archived video posts."""
    return [row[0] for row in play.rows("SELECT aweme_id FROM posts WHERE NOT is_photo ORDER BY 1")]


def everything(play: Play) -> dict[str, str]:
    """Digest every file of every post."""
    return {
        str(path.relative_to(play.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for top in ("videos", "photos", "covers")
        for path in (play.folder / top).rglob("*")
        if path.is_file()
    }


def a_day(play: Play) -> None:
    """Let a day pass, and run."""
    play.wait(DAY_S)
    play.run()


def killed_repairs(folder: Path, seed: int, hurt: str, steps: Iterable[int]) -> list[Trial]:
    """Hurt one video again and again, kill its repair each time, and see that the next runs end it.

    At no point may both the old and the new bytes be gone; in the end the bytes are the first ones, and the judge
    finds no stray file and no unexplained credit.
    """
    killer = Killer()
    play = archived(folder, 20, seed=seed, listener=killer)
    one = videos(play)[0]
    [(sha,)] = play.rows("SELECT sha256 FROM posts WHERE aweme_id = ?", one)
    return [_trial(play, killer, one, sha, hurt, step) for step in steps]


def _trial(play: Play, killer: Killer, one: str, sha: str, hurt: str, steps: int) -> Trial:
    path, killer.steps = file_of(play, one), steps
    HURTS[hurt](path)
    was = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
    play.wait(DAY_S)
    crashed = play.run().crashed
    killer.steps = None
    standing = {found for name, found in everything(play).items() if one in name and name.endswith(".mp4")}
    findings = []
    if was is not None and not standing & {sha, was}:
        findings.append("neither the old nor the new bytes stand")
    for _ in range(2):
        a_day(play)
    path = file_of(play, one)
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != sha:
        findings.append("the file is not whole two days later")
    findings += play.audit().findings
    told = frozenset("whole" if each == sha else "hurt" for each in standing)
    return Trial(hurt, steps, crashed, told, tuple(findings))
