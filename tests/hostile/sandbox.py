"""A folder to play in, and a watch over everything outside of it.

Whatever this process opens for writing, makes, moves or removes by a path that leads out of the folder is noted;
files planted around it must be the same afterwards. Must not: stop anything, since a bug must show.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

_MEMORY = Path("/dev/shm")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.mkdir": 1, "os.rmdir": 1, "os.remove": 1, "os.truncate": 1, "os.chmod": 1, "os.chown": 1, "os.utime": 1,
    "os.rename": 2, "os.link": 2, "os.symlink": 2, "sqlite3.connect": 1, "shutil.rmtree": 1,
}  # fmt: skip
"""Audit events of the interpreter that change something, and how many paths each begins with."""

_DEVICES = ("/dev/null", "/dev/tty", ":memory:")
_PLANTED = ("passwd", "x", "7387261234567890123.mp4", "clipledger.toml")


@dataclass(slots=True)
class Sandbox:
    """`folder`, somewhere below `root`, is free to use; `escapes` is what was changed elsewhere."""

    root: Path
    folder: Path
    watching: bool = True
    escapes: list[str] = field(default_factory=list)
    before: set[tuple[str, str]] = field(default_factory=set)

    def note(self, event: str, arguments: tuple[object, ...]) -> None:
        """Look at one audit event."""
        if not self.watching:
            return
        if event == "open":
            path, _, flags = arguments
            paths = [path] if isinstance(flags, int) and flags & _WRITING else []
        else:
            paths = list(arguments[: _CHANGES.get(event, 0)])
        for path in paths:
            if isinstance(path, (str, bytes, os.PathLike)) and self._leads_out(os.fsdecode(path)):
                self.escapes.append(f"{event} {os.fsdecode(path)!r}")

    def _leads_out(self, path: str) -> bool:
        if not path.startswith("/"):  # below an open folder, or below this process's own, which is the sandbox
            return ".." in path.split("/")
        return path not in _DEVICES and not os.path.normpath(path).startswith(f"{self.folder}/")

    def surroundings(self) -> set[tuple[str, str]]:
        """List what stands around the folder, with digests."""
        return {
            (str(path), hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder")
            for path in self.root.rglob("*")
            if self.folder not in path.parents
        }

    def changed(self) -> list[str]:
        """Name what was changed, or is different, outside of the folder."""
        return [*self.escapes, *sorted(f"changed: {name}" for name, _ in self.before ^ self.surroundings())]


@contextmanager
def sandbox() -> Iterator[Sandbox]:
    """Make a sandbox and go into it; in memory where the machine has room there."""
    here, bytecode = Path.cwd(), sys.dont_write_bytecode
    with TemporaryDirectory(prefix="clipledger-hostile-", dir=_MEMORY if _MEMORY.is_dir() else None) as place:
        root = Path(place).resolve()
        made = Sandbox(root, root / "outer" / "inner" / "sandbox")
        made.folder.mkdir(parents=True)
        for level in made.folder.parents[:3]:
            for name in _PLANTED:
                (level / name).write_text(f"{name} that nobody may touch")
        made.before = made.surroundings()
        sys.dont_write_bytecode = True
        os.chdir(made.folder)
        sys.addaudithook(made.note)
        try:
            yield made
        finally:
            made.watching = False
            os.chdir(here)
            sys.dont_write_bytecode = bytecode
