"""The data card of a data set: where it comes from, what is in it, what is missing and why, how to cite it.

A function of the archive's rows and settings: made twice of the same, it is the same, so it tells no time of its
own, only moments that rows tell. Must not: hold what is withheld, but for its number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection

from clipledger import __version__
from clipledger.archive import Archive
from clipledger.core.scrub import scrub_text
from clipledger.db.extracts import EXTRACTS
from clipledger.db.provenance import Provenance, provenance
from clipledger.export.formats import type_of
from clipledger.export.manifest import File, day_text
from clipledger.settings import Settings

_SECTIONS = ("capture", "history", "queue", "listing")
"""The settings that shape what is in a data set; none of them can hold a secret."""

_STATES = {
    "pending": "waiting to be fetched",
    "running": "being fetched",
    "stored": "fetched, not yet indexed",
    "dead": "given up; by reason below",
    "withheld": "withheld by the archive's operator",
}
_ABOUT = {
    "posts": "one row a post, its counters as last observed; `gone_at`: when it was found to be gone",
    "metrics": "every observation of a post's counters, also of posts that were listed and not archived",
    "files": "every stored file, with its sha256",
    "sightings": "which source showed which post, first and last",
    "dead_letters": "posts that could not be archived, and why",
    "authors": "authors by id, with every handle seen, oldest first",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a card tells besides its files."""

    archive: str
    query: str
    known: Provenance
    settings: dict[str, Any]


def facts(connection: Connection, archive: Archive, query: str) -> Facts:
    """Gather what a card tells, on the export's own snapshot."""
    return Facts(archive.uuid, query, provenance(connection), _settings(archive.settings))


def card_files(told: Facts, files: Sequence[File]) -> dict[str, bytes]:
    """Write the card for people and for programs, and the list that `sha256sum -c` reads."""
    body = _body(told, files)
    sums = "".join(f"{file.sha256}  {file.path}\n" for file in files)
    return {
        "README.md": _page(body).encode(),
        "datacard.json": (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode(),
        "SHA256SUMS": sums.encode(),
    }


def _settings(settings: Settings) -> dict[str, Any]:
    return {name: getattr(settings, name).model_dump(mode="json") for name in _SECTIONS}


def _body(told: Facts, files: Sequence[File]) -> dict[str, Any]:
    tables = {name: _table(name, [file for file in files if file.table == name]) for name in EXTRACTS}
    digest = hashlib.sha256("".join(f"{file.sha256} {file.path}\n" for file in files).encode()).hexdigest()
    known = told.known
    return {
        "title": f"Short videos: archive {told.archive}",
        "archive": told.archive,
        "clipledger": __version__,
        "query": told.query,
        "sha256": digest,  # over the digests and paths of all files
        "cite": _cite(told, digest),
        "dates": known.dates,
        "tables": tables,
        "sources": [{name: _plain(value) for name, value in asdict(each).items()} for each in known.sources],
        "missing": {
            "not_archived": {state: known.states[state] for state in _STATES if known.states.get(state)},
            "dead_by_reason": known.dead,
            "archived_and_gone_since": known.gone,
        },
        "settings": told.settings,
        "files": [asdict(file) for file in files],
    }


def _table(name: str, files: Sequence[File]) -> dict[str, Any]:
    dated = [file.day for file in files if file.day]
    return {
        "about": _ABOUT[name],
        "rows": sum(file.rows for file in files),
        "files": len(files),
        "bytes": sum(file.bytes for file in files),
        "first_day": day_text(min(dated)) if dated else None,
        "last_day": day_text(max(dated)) if dated else None,
        "columns": [{"name": each.name, "type": type_of(each)} for each in EXTRACTS[name].columns],
    }


def _cite(told: Facts, digest: str) -> str:
    until = (told.known.dates["last_observed"] or told.known.dates["last_archived"] or "no date")[:10]
    query = f", query {json.dumps(told.query, ensure_ascii=False)}" if told.query else ""
    return (
        f"Archive {told.archive} of short videos{query}, data up to {until}, sha256 {digest}. "
        f"Collected and exported with clipledger {__version__}."
    )


def _plain(value: object) -> object:
    return scrub_text(value) if isinstance(value, str) else value


def _page(body: Mapping[str, Any]) -> str:
    return "\n".join([*_contents(body), *_origins(body), *_checking(body)]) + "\n"


def _contents(body: Mapping[str, Any]) -> list[str]:
    return [
        f"# {body['title']}",
        "",
        f"Made with clipledger {body['clipledger']} from archive `{body['archive']}`. "
        "The same facts for programs: [datacard.json](datacard.json).",
        "",
        "## How to cite",
        "",
        f"> {_cell(body['cite'])}",
        "",
        "## What is in it",
        "",
        *_rows(
            ("table", "rows", "files", "days", "what"), [_told(name, each) for name, each in body["tables"].items()]
        ),
        "",
        "Parquet below `TABLE/dt=DAY/`; `dt` is the UTC day on which the post was made (for authors: first seen). "
        "Ids are text. Times are UTC.",
        "",
        f"Query: `{_cell(body['query'])}`" if body["query"] else "Query: none, the whole archive.",
        "",
    ]


def _origins(body: Mapping[str, Any]) -> list[str]:
    missing = body["missing"]
    waiting = [(state, _STATES[state], count) for state, count in missing["not_archived"].items()]
    return [
        "## When",
        "",
        *_rows(("what", "moment"), [(name.replace("_", " "), at or "-") for name, at in body["dates"].items()]),
        "",
        "## Sources",
        "",
        *_rows(
            ("source", "kind", "read since", "last read to its end", "posts shown"),
            [
                (
                    each["source"],
                    each["kind"],
                    each["added_at"][:10],
                    (each["full_pass_at"] or "never")[:10],
                    each["ids"],
                )
                for each in body["sources"]
            ],
        ),
        "",
        "## What is missing, and why",
        "",
        *_rows(("state", "meaning", "posts"), waiting or [("-", "nothing is missing", 0)]),
        "",
        *_rows(("given up because", "posts"), list(missing["dead_by_reason"].items()) or [("-", 0)]),
        "",
        f"Archived here and gone from the platform since: {missing['archived_and_gone_since']}.",
        "",
    ]


def _checking(body: Mapping[str, Any]) -> list[str]:
    return [
        "## Checking it",
        "",
        "`sha256sum -c SHA256SUMS` in this folder proves every table file; "
        f"the digest over all of them is `{body['sha256']}`.",
        "",
        "## Settings that shaped it",
        "",
        "```json",
        json.dumps(body["settings"], indent=1),
        "```",
    ]


def _told(name: str, table: Mapping[str, Any]) -> tuple[object, ...]:
    days = f"{table['first_day']} to {table['last_day']}" if table["first_day"] else "-"
    return f"`{name}`", table["rows"], table["files"], days, table["about"]


def _told_source(each: Mapping[str, Any]) -> tuple[object, ...]:
    return each["source"], each["kind"], each["added_at"][:10], (each["full_pass_at"] or "never")[:10], each["ids"]


def _rows(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    return lines + [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]


def _cell(value: object) -> str:
    """Write a value into a table: strangers' words must not end it, nor make a link or HTML of it."""
    told = " ".join(str(value).split())
    return told.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
