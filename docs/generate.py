"""Write the reference pages and the state diagram from the code itself, so that they cannot go stale.

`python docs/generate.py` writes them; `--check` changes nothing, names the stale ones and exits 1.
Everything comes from the program's own objects: the commands, the settings model, the tables, the
transitions, the table of faults. What has no words there (what an exit code is for, what a table
holds) has them here, and a new one without words is an error. Must not: read a clock, an
environment variable, an archive or a terminal's width.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT / "src"))

# Help pages are folded at this width wherever they are made.
os.environ |= {"COLUMNS": "80", "TERMINAL_WIDTH": "80"}

_BANNER = "<!-- Written by docs/generate.py: edit the code it is made from, then run `make docs`. -->\n\n"
_RATIOS = ("<!-- ratios: begin (docs/generate.py) -->", "<!-- ratios: end -->")
_STATES_BEGIN, _STATES_END = "<!-- states: begin (docs/generate.py) -->", "<!-- states: end -->"

Cells = Sequence[str]


def main(arguments: Sequence[str]) -> int:
    """Write every page, or with `--check` name the stale ones; give the exit code."""
    stale = [(path, text) for path, text in pages() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in arguments:
        sys.stderr.writelines(f"stale: {path.relative_to(ROOT)}; run `make docs`\n" for path, _ in stale)
        return 1 if stale else 0
    for path, text in stale:
        path.write_text(text, encoding="utf-8")
    return 0


def pages() -> Iterator[tuple[Path, str]]:
    """Yield every generated file and what it should hold."""
    made: tuple[tuple[str, Callable[[], str]], ...] = (
        ("cli.md", commands),
        ("settings.md", settings),
        ("exit-codes.md", exit_codes),
        ("tables.md", tables),
        ("exports.md", exports),
        ("faults.md", faults),
        ("events.md", events),
        ("metrics.md", metrics),
    )
    for name, write in made:
        yield DOCS / "reference" / name, _BANNER + write()
    house = ROOT / "ARCHITECTURE.md"
    yield house, between(house.read_text(encoding="utf-8"), states())
    fast = DOCS / "explanation" / "performance.md"
    yield fast, between(fast.read_text(encoding="utf-8"), ratios(), _RATIOS)


def between(text: str, inner: str, marks: tuple[str, str] = (_STATES_BEGIN, _STATES_END)) -> str:
    """Put `inner` between two markers, those of the state diagram; ValueError when they are not there."""
    head, begin, rest = text.partition(marks[0])
    _, end, tail = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f"{marks[0]} ... {marks[1]} is missing")
    return f"{head}{begin}\n{inner}{end}{tail}"


def ratios() -> str:
    """Lay out what the benchmarks of speed measured last, `benchmarks/figures.json`."""
    known = json.loads((ROOT / "benchmarks" / "figures.json").read_text(encoding="utf-8"))
    rows = [
        (
            line["figure"],
            f"{line['must']:g}",
            f"{line['aim']:g}",
            f"{line['measured']:.3g}",
            _verdict(line),
            f"`{name}`",
        )
        for name, report in sorted(known.items())
        for line in report["ratios"]
    ]
    return table(("figure", "must", "aim", "measured", "", "benchmark"), rows)


def _verdict(line: Mapping[str, Any]) -> str:
    return "reached" if line["reached"] else "**missed**"


def states() -> str:
    """Draw the life of an id as a Mermaid diagram, from `core.lifecycle.TRANSITIONS`."""
    from clipledger.core.lifecycle import TRANSITIONS
    from clipledger.core.model import State

    order = {None: -1} | {state: at for at, state in enumerate(State)}
    rows = sorted(TRANSITIONS, key=lambda row: (order[row[0]], order[row[1]]))
    ends = [state for state in State if not any(before is state for before, _, _ in rows)]
    lines = [f"    {before.value if before else '[*]'} --> {after.value}: {why}" for before, after, why in rows]
    lines += [f"    {state.value} --> [*]" for state in ends]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"]) + "\n"


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


# Tables


_TABLES: Mapping[str, str] = {
    "meta": "Facts about the archive itself, as text.",
    "archive_queue": "Every id ever seen, once, with the state it is in.",
    "sources": "What is listed, how far, and when it is read next.",
    "source_cursors": "Cursors met in a source's running pass, so that a list that runs in a circle ends.",
    "sightings": "Which source showed which id, first and last time.",
    "posts": "One row per archived post. The counters are the latest seen.",
    "post_metrics_history": "Counters over time; rows are only added.",
    "files": "Every stored file, sidecars included, with size and sha256.",
    "dead_letters": "Why an id is dead.",
    "credits": "One row per call to the API, written before the call is sent.",
    "credit_days": "Credits per UTC day: the sum of `credits`, which `verify --ledger` recomputes.",
    "limits": "The rate limit that all processes of the archive share.",
    "commits": "PostgreSQL: which commit of each process was its last, asked when the answer to one was lost.",
    "switches": "The breaker and the operator's pause: how each stands, since when, and why.",
    "reply_samples": "Replies of a shape we do not know, scrubbed; the newest 200.",
    "events": "Rare events that an operator asks about later.",
    "workers": "Every process at work on the archive, on any machine; it writes its row every 5 s and removes it when it "
    "leaves. For display: nobody is taken for dead by it.",
    "sweeps": "Sweeps over the whole archive (`verify --media`), the last 10.",
    "sweep_ranges": "The ranges of ids of a sweep: leased like posts, each with its cursor and its tallies.",
    "sweep_findings": "What a sweep found.",
    "authors": "Who posted, by author id: the handle and nickname seen last.",
    "author_handles": "Every handle an author was seen with, and when.",
    "exports": "Every export: when, what, where to, and the watermark up to which everything is in it.",
    "export_parts": "Every file that an export wrote, with its digest: what a removal notice has to name.",
    "export_journal": "The generation that changes are stamped with; empty until the first export.",
    "export_changes": "Which days of which exported tables changed in which generation; kept by triggers.",
    "hashtags": "The tags in the titles of archived posts.",
    "availability": "Whether an archived post was still there: one row for each time that it came or went.",
    "fixity": "When each archived post's files were read last and are read next, and what is known to be damaged.",
    "custody": "What was done to stored bytes after they were stored: damage found, repairs, other bytes. Append only.",
    "refreshes": "When an archived post is asked again on purpose, and whether it is doubted.",
    "removals": "Receipts: one for each id that was withdrawn, deleted by a rule, or kept out for its author.",
    "removed_files": "The size and sha256 of every file that was removed, or is to be.",
    "quarantine": "The rows of withdrawn posts, as they were, until they are erased. Nothing reads it but `--undo`.",
    "cold_files": "Files that a retention rule moved to another storage class.",
    "withheld_authors": "Authors of whom nothing is archived.",
    "holds": "Legal holds, also those that were released.",
    "access_grants": "Who may enter over the web: passwords and tokens, as hashes.",
    "access_sessions": "Who is logged in: the hash of each cookie, and when it ends.",
    "audit_log": "Who did what, when and why; rows are only added, each with the hash of the one before.",
}


def exports() -> str:
    """List the exported tables, their columns and types, from `db.extracts.EXTRACTS`."""
    from clipledger.db.extracts import EXTRACTS
    from clipledger.export.formats import type_of

    text = (
        "# Exported tables\n\n"
        "What `clipledger export` writes and `clipledger sql` reads; how the files lie is in\n"
        "[export an archive](../howto/export-an-archive.md). Beside these columns readers of Parquet see `dt`: the UTC\n"
        "day on which the post was made, for authors the day first seen. What a column means is in [tables](tables.md);\n"
        "`posts.gone_at` is when the post was found to be gone, `authors.handles` every handle seen, oldest first.\n"
    )
    for found in EXTRACTS.values():
        rows = [(f"`{column.name}`", type_of(column)) for column in found.columns]
        text += f"\n## `{found.name}`\n\nFrom `{found.source}`, in order of {', '.join(found.order)}.\n\n"
        text += table(("column", "type"), rows)
    return text


_REASONS: Mapping[str, str] = {
    "not_found": "the API says that there is no such post",
    "unavailable:private": "the API says that it is private",
    "unavailable:region": "the API says that it is not available in its region; of a source: a region it does not know",
    "same_bytes": "more posts than is usual were served the very same video: it waits, no attempt is used up",
    "api_unavailable": "the API failed, was silent, or sent what cannot be read",
    "api_message": "the API answered with a message that we do not know",
    "cdn_unavailable": "the CDN failed, stalled or could not be reached",
    "truncated_body": "fewer bytes than declared, or a file that ends inside itself",
    "not_media": "the bytes are not what the link promised, or there was no link",
    "too_large": "more bytes than `cdn.max_bytes`",
    "refused_url": "a link outside `cdn.allowed_hosts`, or to an address that is not public",
    "storage_unavailable": "the store failed in a way that may pass",
    "storage_throttled": "the store asked to slow down for longer than we wait",
    "too_many_open_files": "the process or the machine ran out of file descriptors; fewer posts at a time were tried then",
    "url_expired": "the link died, and new ones too",
    "throttled": "status 429",
    "malformed_reply": "a reply of a shape that we do not know; see `reply_samples`",
    "wrong_id": "the reply was about another post",
    "key_refused": "the key is missing or refused, or a setting is wrong",
    "credits_exhausted": "the account has no credits left",
    "cap_reached": "a cap of the operator's own",
    "storage_full": "no space, or read-only",
    "lease_lost": "another worker had taken over",
    "worker_killed": "its worker died while it was under way",
    "shutdown": "given back when the run stopped",
    "outage": "given back when the breaker opened",
    "paused": "given back when the operator paused the archive",
}
_CALL_REASONS: Mapping[str, str] = {
    "first": "the ordinary first resolve of an id",
    "url_expired": "the link had died before the file was there",
    "crash_after_resolve": "the worker died after the call before",
    "retry": "the attempt before failed after its call",
    "recheck": "the id was called gone, and nobody believed it yet",
    "interrupted": "the run stopped after the call before",
    "throttled": "the call before was answered with 429",
    "malformed": "the reply before had a shape that we do not know",
    "operator_retry": "`clipledger retry`",
    "canary": "a post known to be alive, asked to see whether the API can be believed",
    "page": "one page of a list",
    "lookup": "the numeric id behind a handle or a tag",
    "regions": "the list of regions",
    "refresh": "an archived post asked again for its counters, by the schedule of `history.refresh`",
    "repair": "files of an archived post were damaged or missing: `verify --repair`, `janitor.repair`",
    "short_link": "not used: short links are followed without the API",
}


def tables() -> str:
    """List every table and column, with the comments of the schema's source."""
    from clipledger.core.errors import Reason
    from clipledger.core.lifecycle import CallReason
    from clipledger.core.model import FileKind, State
    from clipledger.db import care_tables, custody_tables, index_tables
    from clipledger.db import tables as module
    from clipledger.db.custody import Act

    modules = (module, index_tables, care_tables, custody_tables)
    sources = (Path(each.__file__).read_text(encoding="utf-8") for each in modules)
    spelt = {"core.model.State": words(State), "core.model.FileKind": words(FileKind)}
    spelt["db.custody.Act"] = words(Act)
    spelt["core.errors.Reason"] = "a [reason](#reasons)"
    notes = {
        place: next((note.replace(name, told) for name, told in spelt.items() if name in note), note)
        for source in sources
        for place, note in _notes(source).items()
    }
    notes["credits", "reason"] = "[why it was made](#reasons-of-paid-calls)"
    text = (
        "# Tables\n\n"
        f"Schema version {module.SCHEMA_VERSION}, in `clipledger.db` (SQLite) or in PostgreSQL. Times are UTC:\n"
        "text such as `2026-05-29T12:00:00.123Z` in SQLite, which sorts as it is, `timestamptz` in PostgreSQL;\n"
        "`create_time` alone is unix seconds, as the API gives it.\n"
        "Ids are text: they exceed 2^53. Read as much as you like; write only through `clipledger`. Queries to start\n"
        "with are in [work-with-the-database.md](../howto/work-with-the-database.md).\n"
    )
    for found in module.metadata.tables.values():
        rows = [_column(column, notes.get((found.name, column.name), "")) for column in found.columns]
        text += f"\n## `{found.name}`\n\n{_TABLES[found.name]}\n\n" + table(("column", "type", "null", "meaning"), rows)
    reasons = [(f"`{reason}`", _REASONS[reason]) for reason in Reason]
    calls = [(f"`{reason}`", _CALL_REASONS[reason]) for reason in CallReason]
    text += "\n## Reasons\n\nOf `last_reason`, `dead_letters.reason` and `failures --reason`.\n\n"
    text += table(("reason", "meaning"), reasons)
    return text + "\n## Reasons of paid calls\n\n" + table(("reason", "meaning"), calls)


def words(kind: type[StrEnum]) -> str:
    """List the words of an enum."""
    return ", ".join(f"`{word}`" for word in kind)


def _column(column: Any, note: str) -> Cells:
    kind = {"UtcTime": "time (UTC)", "Double": "real", "BigInteger": "integer", "JSON": "JSON"}.get(
        type(column.type).__name__, type(column.type).__name__.lower()
    )
    name = f"`{column.name}`" + (" (key)" if column.primary_key else "")
    return name, kind, "yes" if column.nullable else "no", note


def _notes(source: str) -> dict[tuple[str, str], str]:
    """Give the comment beside each column of the schema's source."""
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    notes = {}
    for made in _calls(ast.walk(ast.parse(source)), "Table"):
        for column in _calls(made.args, "Column"):
            note = comments.get(column.lineno) or comments.get(column.end_lineno or 0, "")
            notes[_first(made), _first(column)] = note
    return notes


def _calls(nodes: Iterable[ast.AST], name: str) -> Iterator[ast.Call]:
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
            yield node


def _first(call: ast.Call) -> str:
    return str(ast.literal_eval(call.args[0]))


# Events and metrics


def events() -> str:
    """List every event with its fields, and what each field means."""
    from clipledger.core.told import EVENTS, FIELDS, ORIGIN

    def row(name: str) -> Cells:
        told = EVENTS[name]
        marks = [word for word, holds in (("each", told.each), ("kept", told.rare)) if holds]
        return f"`{name}`", told.level.value, ", ".join(marks), told.about, ", ".join(f"`{f}`" for f in told.fields)

    return (
        "# Events\n\n"
        "What a run tells as it happens, one JSON line an event, in one form wherever it goes: on stdout with `--json`,\n"
        "on stderr with `--log-format json`, in the file of `--log-file`. Lines are ASCII; ids are text; no line holds\n"
        "a key or a signed link. The last line is the summary, whose `event` is `summary`.\n\n"
        "Names and fields stay; new ones may come. A field that does not apply is null or left out.\n\n"
        "## Fields of every line\n\n"
        + table(("field", "meaning"), [(f"`{name}`", about) for name, about in ORIGIN.items()])
        + "\n## Events\n\n*each*: one for every post, call or file; the plain lines of a terminal show it only with `-v`.\n"
        "*kept*: also in the table `events`, and shown by `status`.\n\n"
        + table(("event", "level", "", "what happened", "fields"), [row(name) for name in EVENTS])
        + "\n## Fields of events\n\n"
        + table(("field", "meaning"), [(f"`{name}`", about) for name, about in sorted(FIELDS.items())])
    )


def metrics() -> str:
    """List every metric with its labels."""
    from clipledger.metrics.table import LABELS, METRICS

    rows = [
        (f"`{row.name}`", row.kind.value, row.scope.value, ", ".join(f"`{label}`" for label in row.labels), row.about)
        for row in METRICS
    ]
    bounds = [(f"`{row.name}`", " ".join(f"{bound:g}" for bound in row.buckets)) for row in METRICS if row.buckets]
    return (
        "# Metrics\n\n"
        "Served by `clipledger run --metrics-port N` at `/metrics` as Prometheus text, beside `/healthz`. They come with\n"
        "the extra `metrics`. How to scrape them, the dashboard and the alerts:\n"
        "[watch-a-running-archive.md](../howto/watch-a-running-archive.md).\n\n"
        "*process*: of this process since it began; sum over processes. *archive*: of the whole archive, read from its\n"
        "database, and the same in every process; take the max. The database is looked at only when somebody scrapes, at\n"
        "most every 5 s and never for more than a twentieth of the time.\n\n"
        + table(("metric", "kind", "scope", "labels", "meaning"), rows)
        + "\nThe library's own `process_*`, `python_info` and `python_gc_*` are there too.\n\n## Labels\n\n"
        + table(("label", "values"), [(f"`{name}`", about) for name, about in LABELS.items()])
        + "\n## Buckets\n\nUpper bounds in seconds.\n\n"
        + table(("metric", "buckets"), bounds)
    )


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


def table(head: Cells, rows: Sequence[Cells]) -> str:
    """Write a Markdown table."""
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
