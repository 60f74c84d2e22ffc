"""Who is at work on an archive, told by locks that the kernel drops, across real processes."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from clipledger.core.errors import ArchiveInUse, StorageFull, StorageUnavailable
from clipledger.presence import PRIVATE, dead_workers, forget, hold_archive, hold_worker, stopped_workers

_HOLD = """
import sys
from pathlib import Path
from clipledger.presence import hold_archive, hold_worker

archive, what = Path(sys.argv[1]), sys.argv[2]
held = hold_worker(archive, what) if what not in ("shared", "alone") else hold_archive(archive, alone=what == "alone")
with held:
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another(archive: Path, what: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process hold the archive (`shared`, `alone`) or be the worker of that name."""
    command = [sys.executable, "-c", _HOLD, str(archive), what]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def end(process: subprocess.Popen[str]) -> None:
    """Let a process leave in good order."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.close()
    assert process.wait(60) == 0


def killed(process: subprocess.Popen[str]) -> None:
    """Kill a process with SIGKILL, as the kernel does when memory runs out."""
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL


def lock_of(archive: Path, worker: str) -> Path:
    return archive / PRIVATE / "workers" / f"{worker}.lock"


def test_a_killed_worker_is_listed_and_a_live_one_is_not(tmp_path: Path) -> None:
    """After `kill -9` the next sweep names the dead worker at once, and no worker that still lives."""
    with another(tmp_path, "host.example-1") as victim, another(tmp_path, "host.example-2"):
        assert dead_workers(tmp_path) == []
        killed(victim)
        assert dead_workers(tmp_path) == ["host.example-1"]
        assert dead_workers(tmp_path) == ["host.example-1"]  # looking does not change what is seen
        forget(tmp_path, "host.example-1")
        assert dead_workers(tmp_path) == []


def test_a_killed_worker_does_not_exclude_anybody(tmp_path: Path) -> None:
    """A killed process leaves no lock behind: the archive can be held alone without any repair."""
    with another(tmp_path, "shared") as process:
        killed(process)
        with hold_archive(tmp_path, alone=True):
            pass


def test_a_worker_that_ends_in_good_order_leaves_nothing(tmp_path: Path) -> None:
    """A worker that stops by itself is not taken for dead and leaves no file."""
    with another(tmp_path, "w1") as process:
        end(process)
    assert dead_workers(tmp_path) == []
    assert not lock_of(tmp_path, "w1").exists()


def test_a_worker_that_meets_a_bug_is_listed(tmp_path: Path) -> None:
    """A worker that breaks down is dealt with like a killed one: what it held is evidence of what broke it."""
    with pytest.raises(ZeroDivisionError), hold_worker(tmp_path, "w1"):
        raise ZeroDivisionError
    assert dead_workers(tmp_path) == ["w1"]


@pytest.mark.parametrize("error", [StorageFull("ENOSPC"), StorageUnavailable("EIO")])
def test_a_worker_that_a_full_disk_stopped_is_not_dead(error: Exception, tmp_path: Path) -> None:
    """A worker that could not even write down that it stopped is told apart from one that crashed, until forgotten."""
    with pytest.raises(type(error)), hold_worker(tmp_path, "host.example-1"):
        raise error
    assert stopped_workers(tmp_path) == ["host.example-1"]
    assert dead_workers(tmp_path) == []
    forget(tmp_path, "host.example-1")
    assert stopped_workers(tmp_path) == []


def test_a_killed_or_tidy_worker_is_not_called_stopped(tmp_path: Path) -> None:
    """Only a worker that a full disk stopped is listed as stopped."""
    with another(tmp_path, "w1") as victim, another(tmp_path, "w2") as tidy:
        killed(victim)
        end(tidy)
    assert stopped_workers(tmp_path) == []


def test_a_lock_file_removed_by_hand_does_no_harm(tmp_path: Path) -> None:
    """A worker whose lock file somebody deleted still ends in good order."""
    with hold_worker(tmp_path, "w1"):
        lock_of(tmp_path, "w1").unlink()
    assert dead_workers(tmp_path) == []


@pytest.mark.parametrize("hold", [hold_archive, lambda archive: hold_worker(archive, "w1"), dead_workers])
def test_an_archive_that_cannot_be_written_is_told_as_such(hold: Callable[[Path], Any], tmp_path: Path) -> None:
    """Where no lock can be made the storage is at fault, with the path that could not be written."""
    (tmp_path / PRIVATE).write_text("a file where a folder must be")
    with pytest.raises(StorageFull, match=PRIVATE), ExitStack() as stack:
        stack.enter_context(hold(tmp_path))


def test_a_process_sees_its_own_worker_alive(tmp_path: Path) -> None:
    """A worker that sweeps does not take itself, or another worker of its own process, for dead."""
    with hold_worker(tmp_path, "w1"), hold_worker(tmp_path, "w2"):
        assert dead_workers(tmp_path) == []
    assert dead_workers(tmp_path) == []


def test_many_dead_workers_are_all_listed(tmp_path: Path) -> None:
    """Every worker that died since the last sweep is named, in order."""
    names = [f"w{n:02d}" for n in range(20)]
    for name in reversed(names):
        with pytest.raises(ZeroDivisionError), hold_worker(tmp_path, name):
            raise ZeroDivisionError
    assert dead_workers(tmp_path) == names


def test_forgetting_is_safe(tmp_path: Path) -> None:
    """Forgetting a worker twice does no harm, and one that lives after all keeps its lock file."""
    forget(tmp_path, "never seen")
    with another(tmp_path, "w1") as process:
        forget(tmp_path, "w1")
        assert lock_of(tmp_path, "w1").exists()
        killed(process)
    assert dead_workers(tmp_path) == ["w1"]
    forget(tmp_path, "w1")
    forget(tmp_path, "w1")
    assert dead_workers(tmp_path) == []


def test_workers_share_an_archive(tmp_path: Path) -> None:
    """Several processes may work on one archive at the same time."""
    with another(tmp_path, "shared"), another(tmp_path, "shared"), hold_archive(tmp_path):
        pass


@pytest.mark.parametrize(
    ("held", "alone", "told"),
    [("shared", True, "at work"), ("alone", False, "alone"), ("alone", True, "at work")],
    ids=["alone while others work", "work while held alone", "alone while held alone"],
)
def test_who_must_be_alone_excludes_the_others(held: str, alone: bool, told: str, tmp_path: Path) -> None:
    """What must be alone is refused beside others and refuses others: at once, without waiting, with the reason."""
    with another(tmp_path, held) as process:
        with pytest.raises(ArchiveInUse, match=told) as refused, hold_archive(tmp_path, alone=alone):
            pass
        assert str(tmp_path) in refused.value.detail
        assert len(refused.value.detail.splitlines()) == 1
        end(process)
    with hold_archive(tmp_path, alone=alone):
        pass


def test_a_refused_holder_holds_nothing(tmp_path: Path) -> None:
    """Being refused leaves neither a lock nor an open file behind."""
    with another(tmp_path, "shared"):
        before = _open_files()
        for _ in range(3):
            with pytest.raises(ArchiveInUse), hold_archive(tmp_path, alone=True):
                pass
        assert _open_files() == before
        with hold_archive(tmp_path):
            pass


def test_archives_do_not_exclude_each_other(tmp_path: Path) -> None:
    """Holding one archive alone says nothing about another."""
    with hold_archive(tmp_path / "a", alone=True), hold_archive(tmp_path / "b", alone=True):
        pass


def test_a_child_process_does_not_inherit_the_locks(tmp_path: Path) -> None:
    """A program that a worker starts does not keep the worker alive after its death."""
    look = "import os; print([os.path.realpath(f'/dev/fd/{fd}') for fd in os.listdir('/dev/fd')])"
    with hold_worker(tmp_path, "w1"), hold_archive(tmp_path):
        told = subprocess.run(
            [sys.executable, "-c", look], close_fds=False, stdout=subprocess.PIPE, text=True, check=True
        )
    assert PRIVATE not in told.stdout


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs /proc/locks to see who waits for a lock")
def test_a_worker_survives_the_sweep_of_its_birth(tmp_path: Path) -> None:
    """A worker whose lock file is swept in the moment before it is locked makes a new one: it never works unseen."""
    path = lock_of(tmp_path, "w1")
    with hold_worker(tmp_path, "another"):  # makes the folder
        pass
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # as a sweep holds it while it takes it for dead
    seen: list[bool] = []

    def work() -> None:
        with hold_worker(tmp_path, "w1"):
            seen.append(path.exists())

    newborn = threading.Thread(target=work)
    newborn.start()
    try:
        _until(lambda: _has_waiter(path))
        path.unlink()
    finally:
        os.close(descriptor)
        newborn.join(10)
    assert seen == [True]


def _open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


def _has_waiter(path: Path) -> bool:
    inode = f":{path.stat().st_ino} "
    return any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())


def _until(true: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(1000):
        if true():
            return
        pause.wait(0.005)
    raise AssertionError("nobody waited for the lock")
