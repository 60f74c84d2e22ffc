"""The reference tells everything there is: a setting or a command without documentation is a defect."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from clipledger.cli.app import app
from clipledger.settings import keys
from tidy.house import ROOT, none_of

REFERENCE = ROOT / "docs" / "reference"


def page(name: str) -> str:
    path = REFERENCE / name
    if not path.is_file():
        pytest.fail(f"{path.relative_to(ROOT)} is missing: `make docs` writes it")
    return path.read_text(encoding="utf-8")


def commands() -> Iterator[tuple[str, Any]]:
    """Walk every command as (what is typed after `clipledger`, the command)."""
    waiting: list[tuple[str, Any]] = [("", typer.main.get_command(app))]
    for name, command in waiting:
        waiting += [(f"{name} {inner}".strip(), found) for inner, found in getattr(command, "commands", {}).items()]
        if name and not hasattr(command, "commands"):
            yield name, command


@pytest.mark.slow
def test_the_generated_pages_are_fresh() -> None:
    """The reference pages say what the program of this very commit does: `make docs` would change nothing."""
    script = ROOT / "docs" / "generate.py"
    assert script.is_file(), "docs/generate.py is missing: it writes the reference pages"
    told = subprocess.run(
        [sys.executable, str(script), "--check"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert told.returncode == 0, f"`make docs` and commit the result:\n{told.stdout}{told.stderr}"


def test_every_setting_is_documented() -> None:
    """Every setting of clipledger.toml is in the reference, under its full name."""
    text = page("settings.md")
    none_of(
        [name for name, _, _ in keys() if f"`{name}`" not in text], "settings that docs/reference/settings.md lacks"
    )


def test_every_command_is_documented() -> None:
    """Every command is in the reference, under the name that is typed."""
    assert {"init", "run", "verify", "sim serve"} <= {name for name, _ in commands()}
    text = page("cli.md")
    missing = [name for name, _ in commands() if not re.search(rf"(?m)(^#.*|`)(clipledger )?\b{name}\b", text)]
    none_of(missing, "commands that docs/reference/cli.md lacks")


def test_every_option_is_documented() -> None:
    """Every option of every command is in the reference, and every command has a help text."""
    text = page("cli.md")
    options = {
        (name, max(parameter.opts, key=len))
        for name, command in commands()
        for parameter in command.params
        if parameter.param_type_name == "option" and not parameter.hidden
    }
    none_of([f"{name} {option}" for name, option in sorted(options) if option not in text], "options without reference")
    none_of([name for name, command in commands() if not command.help], "commands without a help text")


def test_no_option_takes_the_key() -> None:
    """The API key is never typed on a command line, where other users and the shell's history would see it."""
    options = {option for _, command in commands() for parameter in command.params for option in parameter.opts}
    none_of([option for option in sorted(options) if "key" in option.lower()], "options that look like a key's")
