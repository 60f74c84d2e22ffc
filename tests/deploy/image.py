"""Build what the Dockerfile builds, without a container engine: its own RUN lines, in a folder.

The stage `build` is carried out word for word, with the image's absolute paths moved below one folder and
`python` being this interpreter. The final stage only copies. Must not: know what is installed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tidy.house import ROOT

DOCKERFILE = ROOT / "deploy" / "container" / "Dockerfile"
_BUILD_S = 600


@dataclass(frozen=True)
class Step:
    """One instruction: its word in capitals and what follows it, continuation lines joined."""

    word: str
    text: str


def stages() -> list[list[Step]]:
    """Read the Dockerfile: what stands before the first FROM, then each stage, FROM first."""
    lines = [line for line in DOCKERFILE.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found: list[list[Step]] = [[]]
    for line in filter(str.strip, joined.splitlines()):
        word, _, text = line.partition(" ")
        if word == "FROM":
            found.append([])
        found[-1].append(Step(word, text.strip()))
    return found


def final(word: str) -> list[str]:
    """Give what the last stage says under one instruction."""
    return [step.text for step in stages()[-1] if step.word == word]


def sent() -> list[str]:
    """List what .dockerignore lets through to the builder."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line[1:] for line in lines if line.startswith("!")]


@dataclass(frozen=True)
class Image:
    """The folder that stands for the image's root."""

    root: Path

    @property
    def home(self) -> Path:
        """Give where the program is installed."""
        return self.root / "opt" / "clipledger"

    @property
    def program(self) -> Path:
        """Give the entry point."""
        return self.home / "bin" / "clipledger"

    @property
    def wheel(self) -> Path:
        """Give the wheel that was built."""
        (found,) = (self.root / "opt" / "wheels").glob("*.whl")
        return found


def build_once(root: Path) -> Image:
    """Build below `root` unless another process of this test session has done so already."""
    root.mkdir(exist_ok=True)
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / "built").exists():
            _build(root)
            (root / "built").touch()
    return Image(root)


def _build(root: Path) -> None:
    workdir = root
    for step in stages()[1]:
        match step.word:
            case "WORKDIR":
                workdir = root / step.text.lstrip("/")
                workdir.mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(shlex.split(step.text), workdir)
            case "RUN":
                _run(step.text, root, workdir)


def _copy(words: list[str], workdir: Path) -> None:
    *sources, target = words
    for name in sources:
        assert name in sent(), f".dockerignore keeps {name} from the builder"
        source, place = ROOT / name, workdir / target
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
        else:
            shutil.copy(source, place)


def _run(command: str, root: Path, workdir: Path) -> None:
    moved = re.sub(r"(?<=\s)/opt/", f"{root}/opt/", command)
    moved = re.sub(r"^python(?=\s)", str(Path(sys.executable).resolve()), moved)
    done = subprocess.run(
        ["/bin/sh", "-ec", moved], cwd=workdir, env=_environment(), capture_output=True, text=True, timeout=_BUILD_S
    )
    assert done.returncode == 0, f"RUN {command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def _environment() -> dict[str, str]:
    # Where packages come from is the machine's own affair: pip's settings stay, Python's and ours do not.
    return dict(_kept()) | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}


def _kept() -> Iterator[tuple[str, str]]:
    for name, value in os.environ.items():
        if not name.startswith(("PYTHON", "VIRTUAL_ENV", "CLIPLEDGER_", "TIKLIVEAPI_", "COV_")):
            yield name, value
