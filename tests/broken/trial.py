"""Try a broken variant: apply it to a copy of the source, run its named test there, and see the test fail.

The copy holds src, tests and what pytest needs; children of the tests find the broken program first too. Must not:
touch the tree it copies from.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from broken.variants import VARIANTS, Variant

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S, EACH_S = 240.0, 15.0
_COPIED = ("src", "tests", "pyproject.toml", "benchmarks")
_FAILED, _PASSED = 1, 0
"""Exit codes of pytest: some tests failed, all passed. Any other means that nothing was tried."""

_OUTCOMES: dict[int | None, str] = {_FAILED: "caught", _PASSED: "survived"}


class DoesNotApply(Exception):
    """A variant whose text does not stand exactly once in its file: it must be written anew."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of one variant: `caught`, `survived`, `not tried` (its test was skipped), or `broken trial`."""

    name: str
    test: str
    outcome: str
    told: str = ""


def changed(variant: Variant, text: str) -> str:
    """Break a file's text; DoesNotApply when it is not as the variant expects."""
    if (count := text.count(variant.old)) != 1:
        raise DoesNotApply(f"{variant.name}: its text stands {count} times in {variant.file}")
    return text.replace(variant.old, variant.new)


def check_all_apply() -> None:
    """Demand that every variant applies, is Python, and has a name of its own."""
    for variant in VARIANTS:
        text = (ROOT / "src" / "clipledger" / variant.file).read_text(encoding="utf-8")
        compile(changed(variant, text), variant.file, "exec")
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)


@contextmanager
def copied() -> Iterator[Path]:
    """Copy what a test needs into a folder of its own."""
    with TemporaryDirectory(prefix="clipledger-broken-") as place:
        for name in _COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, Path(place) / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, place)
        yield Path(place)


def unbroken(folder: Path, variants: Sequence[Variant]) -> Tried:
    """Run the named tests of all `variants` on the unbroken copy: they must pass."""
    code, told = _run(folder, sorted({variant.test for variant in variants}))
    return Tried("unbroken", "all named tests", "passed" if code == _PASSED else "broken trial", told)


def tried(folder: Path, variant: Variant) -> Tried:
    """Break the copy, run the named test, mend the copy."""
    file = folder / "src" / "clipledger" / variant.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(changed(variant, whole), encoding="utf-8")
    try:
        code, told = _run(folder, [variant.test])
    finally:
        file.write_text(whole, encoding="utf-8")
    outcome = _OUTCOMES.get(code, "broken trial")
    if code == _PASSED and " skipped" in told and " passed" not in told:
        outcome = "not tried"
    return Tried(variant.name, variant.test, outcome, "" if outcome == "caught" else told)


def _run(folder: Path, tests: Sequence[str]) -> tuple[int | None, str]:
    """Run pytest in the copy; give its exit code, None when it took too long, and the end of what it said."""
    patience_s = PATIENCE_S + EACH_S * len(tests)
    try:
        ended = subprocess.run(
            [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=patience_s,
            text=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"took longer than {patience_s:.0f} s"
    return ended.returncode, (ended.stdout + ended.stderr)[-1500:]
