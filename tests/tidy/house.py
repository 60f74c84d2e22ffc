"""The house as the tidy tests see it: its modules, parsed once, and its text files.

Must not: import the modules it looks at.
"""

from __future__ import annotations

import ast
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "clipledger"
TESTS = ROOT / "tests"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file: where it stands, its text and its tree."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        """Give the path as people write it, from the root of the repository."""
        return self.path.relative_to(ROOT).as_posix()

    def functions(self) -> Iterator[Function]:
        """Walk every function and method, nested ones too."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def imported(self) -> Iterator[tuple[int, str]]:
        """Walk what is imported, as (line, dotted name); `from a import b` gives `a.b`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


@cache
def modules(folder: Path = PACKAGE) -> tuple[Module, ...]:
    """Parse every Python file below a folder."""
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))}
    assert texts, f"no Python below {folder}"
    return tuple(Module(path, text, ast.parse(text)) for path, text in texts.items())


@cache
def texts() -> dict[str, str]:
    """Read every text file that is in the repository or would be added to it."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nobody can say which files are the repository's")
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    bodies = {name: (ROOT / name).read_bytes() for name in listed if (ROOT / name).is_file()}
    return {name: body.decode("utf-8", "replace") for name, body in bodies.items() if b"\0" not in body}


@cache
def pyproject() -> dict[str, Any]:
    """Read pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def none_of(found: list[str], what: str) -> None:
    """Fail with every offender, one a line, under a sentence that says what is wrong with them."""
    assert not found, "\n".join([f"{what}:", *(f"  {offender}" for offender in found)])
