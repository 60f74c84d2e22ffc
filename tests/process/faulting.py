"""One write-class system call of a run fails, or is the last one: then run without faults, and judge.

strace counts each call by thread, so that the n-th of a name is hit in every thread that comes so far; which call of
the program that is varies a little from run to run. What was hit is read back from strace's own record. Shared by the
test and by `benchmarks/syscall_faults.py`. Must not: use `--seccomp-bpf`, which drops the kill.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from process.harness import Archive, simulator
from process.killing import judged, placed
from process.zygote import Forked, zygote

POSTS = 3
SEED = 7
LISTS = 1
CALLS = (
    "write",
    "writev",
    "pwrite64",
    "pwritev",
    "fsync",
    "fdatasync",
    "sync_file_range",
    "link",
    "linkat",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "ftruncate",
    "fallocate",
    "fchmod",
)
"""What changes a disk. Those that a machine's kernel does not know are left out by strace."""

FAULTS = {"KILL": "signal=KILL", "EIO": "error=EIO", "ENOSPC": "error=ENOSPC"}
TRIES = 3
"""The n-th call of a name may not come in a run: then the trial is made again."""

_ENDS = {"KILL": {-9}, "EIO": {0, 3, 6}, "ENOSPC": {0, 3, 6}}
"""How a run may end that met the fault: killed; or all saved, some left waiting, the disk refused."""

_LINE = re.compile(r"(?P<thread>\d+) +(?P<call>\w+)\((?P<rest>.*)")


@dataclass(frozen=True, slots=True)
class Point:
    """The `n`-th call of a name meets a fault."""

    call: str
    n: int
    fault: str

    def __str__(self) -> str:
        return f"{self.call}:{self.n}:{self.fault}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended. `hit`: the call as strace told it, "" when it never came."""

    hit: str
    code: int
    findings: tuple[str, ...]


def why_not() -> str | None:
    """Say why calls cannot be made to fail here; None when they can."""
    if shutil.which("strace") is None:
        return "NOT TESTED: failing system calls: strace is not installed"
    told = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True, check=False
    )
    return (
        f"NOT TESTED: failing system calls: ptrace is not permitted: {told.stderr.strip()}" if told.returncode else None
    )


def reference(folder: Path) -> dict[str, int]:
    """Run once under observation; give how often each call was made by the thread that made it most."""
    with simulator(POSTS, seed=SEED) as sim, placed(folder, sim, lists=LISTS) as archive:
        trace, code, _ = _traced(archive, [])
        assert code == 0, trace[-2000:]
    by_thread: dict[str, Counter[str]] = defaultdict(Counter)
    for line in trace.splitlines():
        if found := _LINE.match(line):
            by_thread[found["call"]][found["thread"]] += 1
    return {call: max(counts.values()) for call, counts in sorted(by_thread.items())}


def points(counts: dict[str, int], dice: random.Random) -> list[Point]:
    """List every point, in an order that the dice give: any part of it is a fair sample."""
    found = [Point(call, n, fault) for call, most in counts.items() for n in range(1, most + 1) for fault in FAULTS]
    dice.shuffle(found)
    return found


def trial(folder: Path, point: Point) -> Outcome:
    """Play one trial, again while its call does not come."""
    for attempt in range(TRIES):
        outcome = _played(folder / str(attempt), point)
        if outcome.hit:
            break
    return outcome


def _played(folder: Path, point: Point) -> Outcome:
    folder.mkdir()
    with simulator(POSTS, seed=SEED) as sim, placed(folder, sim, lists=LISTS) as archive:
        inject = f"inject={point.call}:{FAULTS[point.fault]}:when={point.n}"
        trace, code, err = _traced(archive, ["-e", inject])
        hit = _hit(trace, point, code)
        if not hit:
            return Outcome("", code, ())
        findings = [] if code in _ENDS[point.fault] else [f"it ended with {code}: {err[-1500:]}"]
        findings += [f"a traceback: {err[-1500:]}"] * ("Traceback" in err)
        try:
            archive.finish()
            findings += judged(archive, sim, point.fault, 0, all_lists=False).findings
        except AssertionError as error:
            findings.append(f"recovery: {str(error)[:2000]}")
    return Outcome(hit, code, tuple(findings))


def _hit(trace: str, point: Point, code: int) -> str:
    """Find the call that met the fault."""
    lines = trace.splitlines()
    if point.fault != "KILL":
        return next((line for line in lines if "(INJECTED)" in line), "")
    if code != -9:
        return ""
    return next((line for line in reversed(lines) if f" {point.call}(" in line), "killed")


def _traced(archive: Archive, options: list[str]) -> tuple[str, int, str]:
    """Run under strace, attached before the first instruction; give its record, the exit code and stderr."""
    with tempfile.TemporaryDirectory(prefix="clipledger-trace-") as place, tempfile.TemporaryFile() as err:
        record = Path(place) / "record"
        words = ["--archive", str(archive.folder), "run", "--json"]
        with (Path(place) / "out").open("wb") as out:
            process = zygote().start(words, archive.env, out=out.fileno(), err=err.fileno())
        with _attached(process, record, options):
            code = process.wait()
        err.seek(0)
        return record.read_text(errors="replace"), code, err.read().decode()


class _attached:
    """Keep strace on a process until it has ended."""

    def __init__(self, process: Forked, record: Path, options: list[str]) -> None:
        known = ",".join(f"?{call}" for call in CALLS)
        command = ["strace", "-f", "-y", "-s", "64", "-o", str(record), "-e", f"trace={known}", "-e", "signal=none"]
        self._strace = subprocess.Popen(
            [*command, *options, "-p", str(process.pid)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self._process = process

    def __enter__(self) -> None:
        assert self._strace.stderr is not None
        line = self._strace.stderr.readline()
        assert "attached" in line, line

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._strace.communicate(timeout=30)


def replay_of(point: Point) -> str:
    """Say how exactly this trial is made again."""
    return f"python benchmarks/syscall_faults.py --point {point}"


def read_point(text: str) -> Point:
    """Read a point as `str` writes it."""
    call, n, fault = text.split(":")
    return Point(call, int(n), fault)


def sample(every: int, seed: object, folder: Path) -> Iterator[Point]:
    """Yield every so-many-th point of a reference run."""
    yield from points(reference(folder), random.Random(f"{seed}"))[::every]
