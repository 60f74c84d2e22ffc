"""What survives: the order of system calls, kill -9 at any moment, and a power cut on a real file system."""

from __future__ import annotations

import fcntl
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clipledger.storage.local import LocalStore
from clipledger.storage.spool import Spool
from contract.stores import files_below, keys, put, run
from process import archiving_child
from process.archiving_child import content, video_key

pytestmark = pytest.mark.slow

CHILD = [sys.executable, str(Path(archiving_child.__file__))]
ENV = {**os.environ, "PYTHONPATH": str(Path(archiving_child.__file__).parents[2] / "src")}


def start(folder: Path, first: int, count: int, workers: int, wrap: list[str] | None = None) -> subprocess.Popen[str]:
    """Start a process that archives posts."""
    command = [*(wrap or []), *CHILD, str(folder), str(first), str(count), str(workers)]
    return subprocess.Popen(command, env=ENV, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(child: subprocess.Popen[str], lines: int) -> list[str]:
    """Read that many keys of finished puts."""
    assert child.stdout is not None
    return [line.strip() for _, line in zip(range(lines), child.stdout, strict=False)]


# the order of system calls

_CALLS = "fsync,fdatasync,link,linkat,rename,renameat,renameat2,mkdir,mkdirat,write"
_STEP = re.compile(r"(?P<call>\w+)\((?P<args>.*)\)\s+=\s+(?P<result>-?\d+)")


class Trace:
    """The successful calls of one process, in the order in which they returned, with paths for descriptors."""

    def __init__(self, text: str, root: Path) -> None:
        self.root = str(root)
        self.steps = [step for step in self._joined(text) if step]

    def _joined(self, text: str) -> Iterator[str]:
        begun: dict[str, str] = {}
        for line in text.splitlines():
            pid, _, rest = line.partition(" ")
            rest = rest.strip()
            if rest.endswith("<unfinished ...>"):
                begun[pid] = rest.removesuffix("<unfinished ...>")
                continue
            if resumed := re.match(r"<\.\.\. \w+ resumed>", rest):
                rest = begun.pop(pid) + rest[resumed.end() :].lstrip(" ")
            yield self._plain(rest)

    def _plain(self, line: str) -> str:
        """Write a call as `call path path`; "" for a failed one or one that is not about our folder."""
        step = _STEP.match(line)
        if step is None or int(step["result"]) < 0:
            return ""
        args = step["args"]
        if step["call"] == "write":
            said = re.match(r'1<[^>]*>, "(.*?)\\n"', args)
            return f"said {said[1]}" if said else ""
        if step["call"].endswith("sync"):
            path = re.match(r"\d+<(.*)>", args)
            return f"sync {self._short(path[1])}" if path and path[1].startswith(self.root) else ""
        places = re.findall(r'(?:(?:\d+|AT_FDCWD)<([^>]*)>, )?"([^"]*)"', args)
        paths = [name if name.startswith("/") else f"{folder}/{name}" for folder, name in places]
        return f"{step['call'].removesuffix('at')} " + " ".join(map(self._short, paths))

    def _short(self, path: str) -> str:
        return path.removesuffix(" (deleted)").replace(self.root, "@", 1)

    def at(self, pattern: str, after: int = -1, before: int | None = None) -> int:
        """Find the first step that matches between two others; fail when there is none."""
        for n, step in enumerate(self.steps[:before]):
            if n > after and re.fullmatch(pattern, step):
                return n
        shown = "\n".join(self.steps)
        raise AssertionError(f"no {pattern!r} between steps {after} and {before} of\n{shown}")


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """Two posts stored into new folders under strace."""
    if shutil.which("strace") is None:
        pytest.skip("NOT TESTED: the order of system calls: strace is not installed")
    folder = tmp_path_factory.mktemp("traced").resolve()
    out = folder / "trace.txt"
    wrap = ["strace", "-f", "-y", "-qq", "-s", "256", "-o", str(out), "-e", f"trace={_CALLS}", "-e", "signal=none"]
    probe = subprocess.run([*wrap, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"NOT TESTED: the order of system calls: ptrace is not permitted: {probe.stderr.strip()}")
    with start(folder / "deep" / "archive", 3, 1, 1, wrap) as child:
        assert len(told(child, 10)) == 2
    return Trace(out.read_text(), folder)


def test_a_new_folder_is_safe_before_anything_stands_in_it(traced: Trace) -> None:
    """For every folder that a put creates, the folder above is synced before the object gets its name."""
    published = traced.at(r"link @\S+\.part @\S+/3\.mp4")
    path = "@"
    for name in f"deep/archive/{video_key(3)}".split("/")[:-1]:
        made = traced.at(f"mkdir {path}/{name}", before=published)
        traced.at(f"sync {path}", after=made, before=published)
        path += f"/{name}"


def test_a_video_is_safe_before_it_has_a_name_and_named_safely_before_we_say_so(traced: Trace) -> None:
    """The part is synced, then linked, then its new folder is synced, and only then does the put return."""
    key = video_key(3)
    folder = f"@/deep/archive/{key.rpartition('/')[0]}"
    sealed = traced.at(r"sync @\S+\.part")
    linked = traced.at(r"link @\S+\.part @\S+/3\.mp4", after=sealed)
    synced = traced.at(f"sync {folder}", after=linked)
    traced.at(f"said {key}", after=synced)


def test_a_sidecar_is_safe_before_it_has_a_name_too(traced: Trace) -> None:
    """The sidecar is written under a private name, synced, linked, its folder synced, and only then returned."""
    key = video_key(3).replace(".mp4", ".json")
    folder = f"@/deep/archive/{key.rpartition('/')[0]}"
    video = traced.at(f"said {video_key(3)}")
    sealed = traced.at(rf"sync {folder}/\.part-\S+", after=video)
    linked = traced.at(rf"link {folder}/\.part-\S+ @/deep/archive/{key}", after=sealed)
    synced = traced.at(f"sync {folder}", after=linked)
    traced.at(f"said {key}", after=synced)


# kill -9


def assert_whole(folder: Path, promised: list[str]) -> list[str]:
    """Check that what is promised stands and what stands is whole; give the rest."""
    for key in promised:
        assert (folder / key).is_file(), f"{key} was promised"
    rest = []
    for path in files_below(folder):
        if path.startswith("videos/") and not path.rpartition("/")[2].startswith("."):
            assert (folder / path).read_bytes() == content(path), path
        else:
            rest.append(path)
    return rest


def test_kill_9_at_any_moment_leaves_whole_files_and_parts(tmp_path: Path) -> None:
    """Killed thirty times in the middle of its work, a worker leaves whole objects and private parts, nothing else."""
    folder, dice, promised, litter = tmp_path / "archive", random.Random(20260529), [], 0
    for turn in range(30):
        with start(folder, turn * 40, 100_000, 8) as child:
            promised += told(child, dice.randrange(1, 60))
            child.kill()
            promised += told(child, 1_000_000)  # what was promised between our last look and the kill
        rest = assert_whole(folder, [key for key in promised if "/" in key and key[-4:] in (".mp4", "json")])
        litter += len(rest)
        assert all(
            re.fullmatch(r"\.clipledger/spool/\d+\.\d+\.0\.part|videos/.*/\.part-\d+-\d+", path) for path in rest
        )
    assert litter, "not one of thirty kills hit a put: the test proves nothing"
    assert len(promised) > 300


def test_the_next_worker_clears_what_a_killed_one_left(tmp_path: Path) -> None:
    """After a crash, doing the same work again and one sweep of the spool leave not a single stray file."""
    folder = tmp_path / "archive"
    for _ in range(5):
        with start(folder, 0, 100_000, 8) as child:
            told(child, 25)
            child.kill()
    with start(folder, 0, 200, 8) as child:
        assert len(told(child, 1000)) == 400
    spool, store = Spool(folder / ".clipledger" / "spool"), LocalStore(folder)

    async def sweep() -> int:
        found = await spool.leftovers(1e12, 0)
        return sum([await spool.remove(part) for part in found])

    assert run(sweep()) > 0
    assert assert_whole(folder, []) == []
    assert len(run(keys(store, "videos/"))) >= 400


# a power cut

_EXT4_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_NO_FLUSH = b"\x02\x00\x00\x00"  # EXT4_GOING_FLAGS_NOLOGFLUSH: what is not on the disk by now is lost


def sh(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


class Disk:
    """A small ext4 file system in a file, mounted on a loop device, whose power can be cut."""

    def __init__(self, place: Path) -> None:
        self.image, self.mount = place / "disk.img", place / "disk"
        self.mount.mkdir()
        with self.image.open("wb") as image:
            image.truncate(128 * 2**20)
        sh("mkfs.ext4", "-q", self.image)

    def on(self) -> None:
        # commit=300: no commit of the journal by the clock may do the work of an fsync
        sh("mount", "-o", "loop,commit=300", self.image, self.mount)

    def cut(self) -> None:
        fd = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _EXT4_SHUTDOWN, _NO_FLUSH)
        finally:
            os.close(fd)

    def off(self) -> None:
        sh("umount", self.mount)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0 or shutil.which("mkfs.ext4") is None:
        pytest.skip("NOT TESTED: a power cut: needs root and mkfs.ext4")
    disk = Disk(tmp_path)
    try:
        disk.on()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"NOT TESTED: a power cut: loop mounts are not permitted: {error.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        disk.off()


def lose_power(disk: Disk, child: subprocess.Popen[str]) -> None:
    try:
        disk.cut()
    except OSError as error:
        pytest.skip(f"NOT TESTED: a power cut: this kernel cannot cut it: {error}")
    finally:
        child.kill()
        child.wait()
    disk.off()
    disk.on()


@pytest.mark.root
def test_what_was_promised_survives_a_power_cut(disk: Disk) -> None:
    """The power goes the instant a put has returned: every object promised so far is there, whole."""
    promised: list[str] = []
    for turn in range(8):
        with start(disk.mount, turn * 13, 1000, 0) as child:
            assert child.stdin is not None
            for _ in range(turn % 3):
                promised += told(child, 2)
                child.stdin.write("\n")
                child.stdin.flush()
            promised += told(child, 1 + turn % 2)  # cut after a video, or after its sidecar
            lose_power(disk, child)
        assert_whole(disk.mount, promised)
    assert len(promised) > 20


@pytest.mark.root
def test_a_power_cut_in_the_middle_leaves_nothing_half(disk: Disk) -> None:
    """The power goes while eight puts are on their way: what has a final name is whole, what was promised stands."""
    promised: list[str] = []
    for turn in range(6):
        with start(disk.mount, turn * 50, 1000, 8) as child:
            promised += told(child, 5 + 7 * turn)
            lose_power(disk, child)
        assert_whole(disk.mount, promised)
    run(put(LocalStore(disk.mount), "videos/after.json", b""))
