"""The manifest: what an export holds, file by file; and beside it, when it was made and where it goes on.

`manifest.json` is a function of what is exported: same rows, same bytes. `export.json` holds what is not: the
export's id, its moment and its watermark. Must not: know a store.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from clipledger.core.errors import UsageError
from clipledger.core.model import MediaType, ObjectKey
from clipledger.db.extracts import EXTRACTS
from clipledger.export.formats import type_of

MANIFEST = ObjectKey("manifest.json")
STATE = ObjectKey("export.json")
FORMAT = 1
MAX_BYTES = 1 << 28

_EPOCH = date(1970, 1, 1)


class Kind(StrEnum):
    """What an export is made of. A data set is Parquet with a data card."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"
    IDS = "ids"
    DATASET = "dataset"

    @property
    def by_day(self) -> bool:
        """Say whether each day of a table is a file of its own."""
        return self in (Kind.PARQUET, Kind.DATASET)

    @property
    def tables(self) -> tuple[str, ...]:
        """Name the tables that go into it; posts come first, since others follow them in `--where`."""
        return ("posts",) if self is Kind.IDS else tuple(EXTRACTS)


@dataclass(frozen=True, slots=True)
class File:
    """One file. `day` None: the whole table is in it."""

    path: str
    table: str
    day: int | None
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What stands at a destination."""

    kind: Kind
    archive: str
    version: str
    query: str
    files: tuple[File, ...]

    @property
    def rows(self) -> dict[str, int]:
        """Count the rows of each table."""
        counts = dict.fromkeys(self.kind.tables, 0)
        for file in self.files:
            if file.table in counts:
                counts[file.table] += file.rows
        return counts


@dataclass(frozen=True, slots=True)
class Made:
    """When an export was made, and up to where: `watermark` is that of `db.exports`."""

    export_id: str
    at: str
    watermark: str


def path_of(kind: Kind, table: str, day: int | None) -> str:
    """Name a file below the destination."""
    if kind is Kind.IDS:
        return "ids.txt"
    if day is None:
        return f"{table}.{kind}"
    return f"{table}/dt={day_text(day)}/part-0.parquet"


def day_text(day: int) -> str:
    """Write a day: 2026-05-29."""
    return (_EPOCH + timedelta(days=day)).isoformat()


def is_part(path: str) -> bool:
    """Say whether a file below a destination is a part that some export of ours wrote."""
    return re.fullmatch(rf"({'|'.join(EXTRACTS)})/dt=\d{{4}}-\d\d-\d\d/part-0\.parquet", path) is not None


def media_type(path: str) -> MediaType:
    """Say what goes with a file as its type."""
    return MediaType.JSON if path.endswith(".json") else MediaType.UNKNOWN


def write_manifest(manifest: Manifest) -> bytes:
    """Write a manifest; the same one always the same way."""
    tables = {
        name: {
            "rows": rows,
            "columns": [{"name": each.name, "type": type_of(each)} for each in EXTRACTS[name].columns],
        }
        for name, rows in manifest.rows.items()
    }
    if manifest.kind is Kind.IDS:
        tables["posts"]["columns"] = [{"name": "aweme_id", "type": "text"}]
    body = {
        "format": FORMAT,
        "kind": manifest.kind,
        "archive": manifest.archive,
        "clipledger": manifest.version,
        "query": manifest.query,
        "tables": tables,
        "files": [asdict(file) for file in ordered(manifest.files)],
    }
    return _written(body)


def ordered(files: Sequence[File]) -> tuple[File, ...]:
    """Put files in the order of their tables and days."""
    tables = {name: at for at, name in enumerate(EXTRACTS)}
    return tuple(sorted(files, key=lambda file: (tables.get(file.table, len(tables)), file.path)))


def read_manifest(body: bytes) -> Manifest:
    """Read a manifest; UsageError when it is none that this program knows."""
    try:
        told = json.loads(body)
        if told["format"] != FORMAT:
            raise UsageError(f"manifest.json is of format {told['format']}; this program knows {FORMAT}")
        files = tuple(File(**file) for file in told["files"])
        return Manifest(Kind(told["kind"]), told["archive"], told["clipledger"], told["query"], files)
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"manifest.json is not a manifest of an export ({error}); choose another place") from None


def write_made(made: Made) -> bytes:
    """Write `export.json`."""
    return _written(asdict(made))


def read_made(body: bytes) -> Made | None:
    """Read `export.json`; None when it is not whole: the export is then made anew."""
    try:
        return Made(**json.loads(body))
    except (ValueError, TypeError):
        return None


def _written(body: dict[str, Any]) -> bytes:
    return (json.dumps(body, indent=1, ensure_ascii=False) + "\n").encode()
