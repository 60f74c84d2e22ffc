"""How fast is an archive made, beside those who only fetch? All of them in turns, in one run, from one server.

    python benchmarks/race.py small|large|durable|tls-small|tls-large|memory [--posts 4000] [--rounds 5] [--json FILE]

Medians, spread, CPU a file, memory and ratios. Everything is on a tmpfs but for `durable`, which writes to the disk
that holds the temporary folder. Exits 1 when a ratio that must be reached is missed; `--no-judge` leaves that out.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from ground import Ground, laid_out
from racers import Racer, aria2, curl, gallery_dl, guide, least, ours, yt_dlp
from timing import Cost, Spread, spread, timed

KIB, MIB = 2**10, 2**20
MEMORY = Path("/dev/shm")
MEMORY_MUST_MB = 100.0


@dataclass(frozen=True, slots=True)
class Bound:
    """A ratio of two racers: of their speed, or of what they cost."""

    name: str
    ours: str
    peer: str
    must: float
    aim: float
    of: str = "speed"


@dataclass(frozen=True, slots=True)
class Race:
    """Who runs, over what, and what is expected."""

    posts: int
    size_bytes: int
    racers: Mapping[str, Racer]
    bounds: tuple[Bound, ...]
    on_disk: bool = False
    tls: bool = False


def races() -> dict[str, Race]:
    """List the races."""
    plain = {"ours": ours(), "curl -Z": curl(), "aria2c": aria2(), "guide": guide(), "least": least()}
    over_tls = {"ours": ours(tls=True), "guide": guide(tls=True), "curl -Z": curl(tls=True)}
    return {
        "small": Race(4000, 64 * KIB, plain | {"gallery-dl": gallery_dl(), "yt-dlp": yt_dlp()}, (
            Bound("64 KiB, speed against the guide's script", "ours", "guide", 2.0, 3.5),
            Bound("64 KiB, speed against aria2c", "ours", "aria2c", 0.8, 1.5),
            Bound("64 KiB, speed against curl -Z", "ours", "curl -Z", 0.35, 0.65),
            Bound("64 KiB, CPU a file against the guide's script", "ours", "guide", 0.55, 0.30, "cpu"),
        )),
        "large": Race(200, 10 * MIB, plain, (
            Bound("10 MiB, speed against curl -Z", "ours", "curl -Z", 0.8, 1.0),
            Bound("10 MiB, speed against aria2c", "ours", "aria2c", 1.1, 1.4),
        )),
        "durable": Race(1000, 64 * KIB, {"ours": ours(), "ours, not durable": ours(env=_undurable()),
                                         "aria2c": aria2()}, (
            Bound("64 KiB on disk, speed against aria2c", "ours", "aria2c", 3.0, 5.0),
            Bound("64 KiB on disk, speed against our own without fsync", "ours", "ours, not durable", 0.85, 0.95),
        ), on_disk=True),
        "tls-small": Race(4000, 64 * KIB, over_tls, (
            Bound("64 KiB over TLS, speed against the guide's script", "ours", "guide", 2.0, 3.0),
        ), tls=True),
        "tls-large": Race(120, 10 * MIB, over_tls, (
            Bound("10 MiB over TLS, speed against the guide's script", "ours", "guide", 1.2, 1.6),
        ), tls=True),
    }  # fmt: skip


def main() -> int:
    """Race and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("race", choices=list(races()))
    parser.add_argument("--posts", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", help="racers, by comma", default="")
    parser.add_argument("--no-judge", action="store_true")
    asked = parser.parse_args()
    race = races()[asked.race]
    names = [name.strip() for name in asked.only.split(",") if name.strip()] or list(race.racers)
    with laid_out(asked.posts or race.posts, race.size_bytes, tls=race.tls) as ground:
        told = {name: _Told() for name in names}
        for nth in range(asked.rounds):
            for name in names:
                told[name].add(_run(ground, race, name), ground)
                print(f"round {nth + 1}  {name:18} {told[name].last()}", flush=True)
    report = _report(race, told)
    if asked.json:
        keep(asked.json, asked.race, report)
    return int(not asked.no_judge and any(not bound["reached"] for bound in report["ratios"]))


class _Told:
    """What one racer's rounds came to, a file each."""

    def __init__(self) -> None:
        self.speed: list[float] = []
        self.cpu: list[float] = []
        self.memory: list[float] = []
        self.rate: list[float] = []

    def add(self, run: tuple[int, Cost], ground: Ground) -> None:
        posts, cost = run
        self.speed.append(posts / cost.wall_s)
        self.rate.append(posts * ground.size_bytes / cost.wall_s / 1e6)
        self.cpu.append(cost.cpu_s / posts * 1000)
        self.memory.append(cost.memory_mb)

    def last(self) -> str:
        return (f"{self.speed[-1]:9,.1f} files/s {self.rate[-1]:8,.1f} MB/s {self.cpu[-1]:7.3f} ms of CPU a file "
                f"{self.memory[-1]:6.0f} MB")  # fmt: skip

    def summed_up(self) -> dict[str, Spread]:
        return {"speed": spread(self.speed), "rate": spread(self.rate), "cpu": spread(self.cpu),
                "memory": spread(self.memory)}  # fmt: skip


def _run(ground: Ground, race: Race, name: str) -> tuple[int, Cost]:
    on = None if race.on_disk or not MEMORY.is_dir() else MEMORY
    place = Path(tempfile.mkdtemp(prefix="clipledger-race-", dir=on))
    try:
        start = race.racers[name](ground, place)
        cost = timed(start.command, env=start.env, codes=start.codes)
        brought = start.check()
        if brought not in (-1, start.posts):
            raise RuntimeError(f"{name} brought {brought} of {start.posts}")
        return start.posts, cost
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _undurable() -> dict[str, str]:
    """Make fsync do nothing: libeatmydata, the control of the power cuts too."""
    found = next(Path("/usr/lib").glob("*/libeatmydata.so*"), None)
    if found is None:
        return {}
    return {"LD_PRELOAD": str(found)}


def _report(race: Race, told: Mapping[str, _Told]) -> dict[str, list[dict[str, object]]]:
    figures = {name: each.summed_up() for name, each in told.items()}
    rows: list[dict[str, object]] = []
    for name, each in figures.items():
        print(f"{name:18} {each['speed']} files/s, {each['rate']} MB/s, CPU {each['cpu']} ms a file, "
              f"memory {each['memory']} MB")  # fmt: skip
        rows.append({"racer": name} | {what: [one.median, one.least, one.most] for what, one in each.items()})
    ratios: list[dict[str, object]] = []
    for bound in race.bounds:
        if bound.ours in told and bound.peer in told:
            ratios.append(_ratio(bound, told))
            print("{verdict} {figure}: {measured:.2f} (must {must}, aim {aim})".format(
                verdict="ok  " if ratios[-1]["reached"] else "MISS", **ratios[-1]))  # fmt: skip
    if "ours" in told:
        ratios.append(_memory(race, told["ours"]))
    return {"racers": rows, "ratios": ratios}


def _memory(race: Race, ours: _Told) -> dict[str, object]:
    most = max(ours.memory)
    size = f"{race.size_bytes // MIB} MiB" if race.size_bytes >= MIB else f"{race.size_bytes // KIB} KiB"
    where = " over TLS" if race.tls else " on disk" if race.on_disk else ""
    line = {"figure": f"{size}{where}, peak memory of the processes, MB", "must": MEMORY_MUST_MB, "aim": 48.0,
            "measured": most, "reached": most <= MEMORY_MUST_MB}  # fmt: skip
    print("{verdict} {figure}: {measured:.0f} (must {must}, aim {aim})".format(
        verdict="ok  " if line["reached"] else "MISS", **line))  # fmt: skip
    return line


def _ratio(bound: Bound, told: Mapping[str, _Told]) -> dict[str, object]:
    mine, theirs = getattr(told[bound.ours], bound.of), getattr(told[bound.peer], bound.of)
    each = spread([one / other for one, other in zip(mine, theirs, strict=True)])
    reached = each.median <= bound.must if bound.of == "cpu" else each.median >= bound.must
    return {"figure": bound.name, "must": bound.must, "aim": bound.aim, "measured": each.median,
            "least": each.least, "most": each.most, "reached": reached}  # fmt: skip


def keep(file: Path, name: str, report: Mapping[str, object]) -> None:
    """Put a report into the file of all, in place of an older one of its name."""
    known = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(known | {name: report}, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
