"""The pages of what an operator types and sets: commands, exit codes, settings, the simulator's faults.

What has no words in the program (what an exit code is for) has them here, and a new one without words is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from written.layout import Cells, table

# The command line


def commands() -> str:
    """Show the help of every command."""
    from typer.main import get_command
    from typer.testing import CliRunner

    from clipledger.cli.app import app

    def help_of(words: Cells) -> str:
        shown = CliRunner().invoke(app, [*words, "--help"], prog_name="clipledger")
        return "\n".join(line.rstrip() for line in shown.output.strip("\n").splitlines())

    text = (
        "# Commands\n\n"
        "Global options may stand before or after the command. What the exit codes mean is in\n"
        "[exit-codes.md](exit-codes.md). With `--json` a command prints one JSON document on stdout (`run` prints\n"
        "one event a line, the summary last); words for people go to stderr.\n"
    )
    for words in ((), *_command_words(get_command(app))):
        title = " ".join(("clipledger", *words))
        text += f"\n## `{title}`\n\n```text\n{help_of(words)}\n```\n"
    return text


def _command_words(group: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _command_words(command, (*above, name))
        else:
            yield (*above, name)


_ENDINGS: Mapping[str, str] = {
    "ok": "Everything asked for is done. After `run`: every id is archived, or withheld on purpose.",
    "bug": "A defect in clipledger. A traceback is printed; nothing of the archive is lost. Please report it.",
    "usage": "A command, option, source or line of a batch file that cannot be understood; the message names it. "
    "The good lines of a batch file were taken.",
    "unfinished": "The run ended, but some ids are dead and not acknowledged, or still wait, or a source cannot be read. "
    "`clipledger failures` lists the ids. One dead id is enough, and every later `run` ends so too, until "
    "`clipledger failures --acknowledge` takes note of it.",
    "misconfigured": "The key is missing or refused, a setting is wrong, there is no archive, or its tables are of "
    "another version. Nothing was counted against any post.",
    "cap": "The account has no credits left, or a cap of your own was reached: `budget.credits_per_day` or "
    "`--max-...`.",
    "storage": "The disk is full, read-only, not mounted or not the one it was. Work under way was given back.",
    "damaged": "`verify` found damage or books that do not balance; each finding names its id. `verify --repair`: not all "
    "of it could be mended. `run`: nothing else is open, but `janitor.fixity` found damaged files that are not repaired. "
    "`rebuild`: a sidecar cannot be read, or with `--check` the two differ.",
    "outage": "The breaker is open: the answers of the API or the CDN cannot be believed now. On such answers nothing "
    "was declared dead. Run again later; the first calls are probes. Or the operator paused the archive: "
    "`clipledger resume`.",
    "in_use": "Another process holds the archive in a way that excludes this command.",
    "interrupted": "Stopped by Ctrl-C, SIGINT, SIGTERM or `clipledger stop`. What was not finished was given back, "
    "uncounted; a sweep goes on where it was with the next `verify --media`.",
}


def exit_codes() -> str:
    """List the exit codes, with the errors that lead to each."""
    from clipledger.cli.exits import Exit, exit_of
    from clipledger.core import errors

    ends: dict[Exit, list[str]] = {code: [] for code in Exit}
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, errors.ClipledgerError):
            ends[exit_of(kind())].append(f"`{kind.__name__}`")
    ends[Exit.BUG] = []  # every error without a code of its own: met at the top it is a bug
    rows = [(f"{code.value}", f"`{code.word}`", _ENDINGS[code.word], ", ".join(ends[code])) for code in Exit]
    return (
        '# Exit codes\n\nThe name is what `--json` prints as `"exit"`.\n\n'
        + table(("code", "name", "what it means", "from"), rows)
        + "\nA process killed with SIGKILL has no say in its exit code: the shell shows 137. The next run takes up\n"
        "what it left.\n"
    )


# Settings


def settings() -> str:
    """List every setting with its default, its bounds and its name in the environment."""
    from clipledger.settings import Settings

    schema = Settings.model_json_schema()
    text = (
        "# Settings\n\n"
        "Read from `clipledger.toml` in the archive folder, then from the environment; the later wins. Flags of a\n"
        "command come last. `clipledger init` writes the file with every setting as a comment. An unknown key is an\n"
        "error, in the file and in the environment. Lists in the environment are JSON. Durations are a number and\n"
        "`s`, `m`, `h`, `d` or `w`.\n\n"
        "The API key is no setting: it is `TIKLIVEAPI_KEY`, or the content of the file that `TIKLIVEAPI_KEY_FILE`\n"
        "names. It is never a flag and never in the file.\n\n"
        "`CLIPLEDGER_ARCHIVE` names the archive folder for commands without `--archive`.\n\n"
        "Today `database.url` takes `sqlite:///FILE`, and `storage.url` a folder or `file:///absolute/folder`. Other\n"
        "databases and stores are not there yet.\n"
    )
    for section, field in Settings.model_fields.items():
        model = schema["$defs"][field.annotation.__name__]  # type: ignore[union-attr]
        text += f"\n## `[{section}]` {model['description']}\n\n"
        rows = [_setting(section, name, row, schema["$defs"]) for name, row in model["properties"].items()]
        text += table(("setting", "default", "takes", "meaning", "environment"), rows)
    return text


def _setting(section: str, name: str, row: Mapping[str, Any], defs: Mapping[str, Any]) -> Cells:
    default = "none" if row["default"] is None else json.dumps(row["default"])
    variable = f"CLIPLEDGER_{section}__{name}".upper()
    return f"`{section}.{name}`", f"`{default}`", _bounds(row, defs), row["description"], f"`{variable}`"


def _bounds(row: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if "$ref" in row:
        return ", ".join(f"`{word}`" for word in defs[row["$ref"].rpartition("/")[2]]["enum"])
    if row.get("items", {}).get("$ref") == "#/$defs/Rule":
        return "rules"
    if "anyOf" in row:
        return " or ".join(_bounds(one, defs) for one in row["anyOf"])
    words = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "null": "`none`"}
    kind = words.get(row["type"], {"array": "list of text", "string": "text"}.get(row["type"], row["type"]))
    if kind == "text" and re.fullmatch(r"\d+[smhdw]", row["default"]):
        kind = "duration"
    signs = (("minimum", "from {}"), ("exclusiveMinimum", "above {}"), ("maximum", "to {}"), ("pattern", "like `{}`"))
    return " ".join([kind, *(sign.format(row[key]) for key, sign in signs if key in row)])


# Faults of the simulator


_DOORS: Mapping[str, str] = {
    "world": "decided once per post or author: part of the world",
    "api": "rolled at every API call",
    "detail": "rolled at every call that asks for one post",
    "list": "rolled at every page of a list",
    "shape": "rolled for every post object that is written",
    "link": "rolled for every reply that holds links",
    "post": "decided once per post, for ever",
    "hd": "decided once per post, for ever",
    "cdn": "rolled at every fetch of a file",
}


def faults() -> str:
    """List every fault that the simulator knows, and the presets."""
    from clipledger.sim.faults import KINDS, PRESETS, Door

    text = (
        "# Faults of the simulator\n\n"
        "`clipledger sim serve --faults PLAN` takes a comma list of presets, `NAME[=SHARE][:AMOUNT][@FROM-TO]` and\n"
        "`rpm=`, `burst=`, `patience=`. SHARE is how often it strikes, 0 to 1, and 1 when it is not said; FROM and TO\n"
        "are seconds after the world's start. A later word wins. Example:\n"
        "`hostile,throttle_429=0.05,slow=0.1:20,not_found_outage@3600-7200`.\n\n"
        "- `rpm`: calls a minute before status 429; `burst`: calls a second; `none` for no limit.\n"
        "- `patience`: after so many failed answers about one post it is answered truthfully; `none`: never.\n\n"
        "Whether a fault strikes is rolled from the seed, the fault's name, the id and the number of the call: the\n"
        "same seed and the same calls give the same faults.\n"
    )
    for door in Door:
        rows = [
            (f"`{kind.name}`", kind.about, f"{kind.amount:g} {kind.unit}" if kind.amount is not None else "")
            for kind in KINDS
            if kind.door is door
        ]
        text += f"\n## {door.value}: {_DOORS[door.value]}\n\n" + table(("fault", "what happens", "amount"), rows)
    text += "\n## Presets\n\n"
    for name, plan in PRESETS.items():
        text += f"- `{name}`: " + (f"`{plan}`" if str(plan) != name else "no faults") + "\n"
    return text
