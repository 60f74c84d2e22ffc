"""Command lines and settings that deployments name, held against the program that would read them.

A command line is parsed by the real parser and not run. Must not: know where it was written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import typer
from pydantic import TypeAdapter, ValidationError

from clipledger.cli.app import app
from clipledger.cli.main import globals_first
from clipledger.crew import ROLES
from clipledger.settings import Settings, keys

METRICS_PORT = 9464
"""The port that all deployments serve metrics on."""

_OTHERS = ("AWS_", "PG", "POSTGRES_", "SSL_CERT_")
_OURS = {"CLIPLEDGER_ARCHIVE", "TIKLIVEAPI_KEY_FILE"}


def check_command(words: Sequence[str]) -> None:
    """Fail unless the program's parser takes `words` (all that follows `clipledger`)."""
    try:
        _parse(typer.main.get_command(app), list(globals_first(words)))
    except Exception as error:  # whatever the parser raises is a refusal
        raise AssertionError(f"clipledger {' '.join(words)}: {error}") from error


def _parse(command: Any, words: list[str]) -> None:
    context = command.make_context("clipledger", words, resilient_parsing=False)
    rest = [*context._protected_args, *context.args] if hasattr(command, "commands") else []
    if only := context.params.get("only"):
        assert set(only.split(",")) <= set(ROLES), f"no such role in {only}"
    if hasattr(command, "commands"):
        assert rest and rest[0] in command.commands, f"no such command: {rest[:1]}"
        _parse(command.commands[rest[0]], rest[1:])


def check_settings(environment: Mapping[str, str | None]) -> None:
    """Fail unless each variable is known and, where its value stands beside it, the value is one its setting takes."""
    known = {f"CLIPLEDGER_{name.replace('.', '__').upper()}": name for name, _, _ in keys()}
    for name, value in environment.items():
        if name in known and value is not None:
            _check_value(known[name], value)
        else:
            assert name in known or name in _OURS or name.startswith(_OTHERS), f"{name} is not a setting"


def _check_value(dotted: str, value: str) -> None:
    section, name = dotted.split(".")
    model: Any = Settings.model_fields[section].annotation
    try:
        TypeAdapter(model).validate_python({name: value})
    except ValidationError as error:
        raise AssertionError(f"{dotted} = {value}: {error}") from None
