"""One seat: it runs one `clipledger` process as its child, and says how that ended.

The child notices by itself when its seat dies (the end of its standard input) and stops in good order.
It is in a session of its own, so that Ctrl-C in a terminal comes through the seat, in two steps.
Must not: know Ray, a database, or what the child does.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO

from clipledger.core.errors import ClipledgerError
from clipledger.fleet.errand import Errand, environment_for, place

UNFIT = 4
"""The exit code for an errand that cannot be done here; `cli.exits` calls it misconfigured."""

_LINES = 20

_STEPS = (signal.SIGTERM, signal.SIGINT)
"""The two steps of a stop: two of one kind, sent at once, may arrive as one."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended. `code` is negative when a signal killed it, None when its whole seat was lost."""

    code: int | None
    why: str = ""
    summary: Mapping[str, object] = field(default_factory=dict)


class Seat:
    """Holds one process at a time. `work` is called in one thread, `stop` and `pid` in another."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[str] | None = None
        self._stops = 0
        self._lock = threading.Lock()

    def work(self, errand: Errand) -> Ended:
        """Run the errand to its end."""
        try:
            folder = place(errand)
        except ClipledgerError as error:
            return Ended(UNFIT, error.detail)
        except OSError as error:
            return Ended(UNFIT, f"cannot make a folder to work from: {error.strerror}")
        command = [sys.executable, "-m", "clipledger", "--archive", str(folder), *errand.words]
        with subprocess.Popen(
            command,
            env=environment_for(errand),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        ) as child:
            self._begin(child)
            return self._attend(child)

    def stop(self, *, cut: bool = False) -> None:
        """Ask the child to finish; with `cut` to drop what it has under way."""
        with self._lock:
            wanted = 2 if cut else 1
            for step in range(self._stops, wanted):
                self._signal(_STEPS[step])
            self._stops = max(self._stops, wanted)

    def pid(self) -> int | None:
        """Give the child's process id; None when there is none."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def _begin(self, child: subprocess.Popen[str]) -> None:
        with self._lock:
            self._child = child
            for number in _STEPS[: self._stops]:
                self._signal(number)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)

    def _attend(self, child: subprocess.Popen[str]) -> Ended:
        assert child.stdout is not None and child.stderr is not None
        told: deque[str] = deque(maxlen=1)
        said: deque[str] = deque(maxlen=_LINES)
        ears = [threading.Thread(target=_listen, args=heard) for heard in ((child.stdout, told), (child.stderr, said))]
        for ear in ears:
            ear.start()
        code = child.wait()
        for ear in ears:
            ear.join()
        summary = _summary(told)
        return Ended(code, _reason(said) or str(summary.get("why") or ""), summary)


def _listen(stream: IO[str], lines: deque[str]) -> None:
    for line in stream:
        lines.append(line.rstrip("\n"))


def _reason(said: deque[str]) -> str:
    """Pick what the program said last for itself; it says one line for anything wrong."""
    return next((line.removeprefix("clipledger: ") for line in reversed(said) if line.strip()), "")


def _summary(told: deque[str]) -> Mapping[str, object]:
    try:
        last = json.loads(told[-1]) if told else {}
    except ValueError:
        return {}
    return last if isinstance(last, dict) else {}
