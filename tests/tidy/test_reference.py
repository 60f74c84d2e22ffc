"""The reference tells everything there is: a setting or a command without documentation is a defect."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from clipledger.cli.app import app
from clipledger.core.told import EVENTS, FIELDS, ORIGIN
from clipledger.metrics.table import LABELS, METRICS, Kind
from clipledger.settings import keys
from tidy.house import ROOT, modules, none_of

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


def emitted() -> Iterator[tuple[str, str, frozenset[str]]]:
    """Walk every `emit(...)` of the program as (where, event, fields); an event chosen by a condition comes twice."""
    for module in modules():
        for node in ast.walk(module.tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "emit"):
                continue
            where = f"{module.name}:{node.lineno}"
            fields = frozenset(keyword.arg or "**" for keyword in node.keywords)
            for name in _constants(node.args[0]):
                yield where, name, fields


def _constants(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from _constants(node.body)
        yield from _constants(node.orelse)
    else:
        yield str(node.value) if isinstance(node, ast.Constant) else f"<{ast.unparse(node)}>"


def test_every_event_is_documented() -> None:
    """Every event that the program tells, and each of its fields, is in the one table that the reference shows."""
    unknown = [f"{where}: {name}" for where, name, _ in emitted() if name not in EVENTS]
    none_of(unknown, "events that core/told.py lacks")
    undocumented = [
        f"{where}: {name} {sorted(lacking)}"
        for where, name, fields in emitted()
        if (lacking := fields - set(EVENTS[name].fields) - {"**"})
    ]
    none_of(undocumented, "fields that core/told.py lacks")
    text = page("events.md")
    none_of([name for name in EVENTS if f"`{name}`" not in text], "events that docs/reference/events.md lacks")


def test_no_event_is_documented_that_nobody_tells() -> None:
    """The reference of events holds no event and no field that no part of the program tells any more."""
    told: dict[str, set[str]] = {}
    for _, name, fields in emitted():
        told.setdefault(name, set()).update(fields)
    none_of([name for name in EVENTS if name not in told], "events that nothing emits")
    stale = [
        f"{name} {sorted(lacking)}"
        for name, row in EVENTS.items()
        if "**" not in told[name] and (lacking := set(row.fields) - told[name])
    ]
    none_of(stale, "fields that nothing emits")
    used = {field for row in EVENTS.values() for field in row.fields}
    assert used == set(FIELDS), f"fields without a meaning, or meanings without a field: {used ^ set(FIELDS)}"
    assert not set(FIELDS) & set(ORIGIN), "a field of an event hides one that every line bears"


def test_every_metric_is_documented() -> None:
    """Every metric and every label of one is in the reference, with its unit in its name."""
    text = page("metrics.md")
    none_of(
        [row.name for row in METRICS if f"`{row.name}`" not in text], "metrics that docs/reference/metrics.md lacks"
    )
    used = {label for row in METRICS for label in row.labels}
    assert used == set(LABELS), f"labels without a meaning, or meanings without a label: {used ^ set(LABELS)}"
    for row in METRICS:
        assert row.name.startswith("clipledger_") and (row.kind is Kind.COUNTER) == row.name.endswith("_total"), (
            row.name
        )
        assert (row.kind is Kind.HISTOGRAM) == bool(row.buckets), row.name
        assert row.kind is not Kind.HISTOGRAM or row.name.endswith("_seconds"), row.name
