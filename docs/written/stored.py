"""The pages of what is stored: tables with their columns and words, and the exported tables.

What a table holds and what a reason means is told here, and a new one without words is an error.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from written.layout import Cells, table

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
