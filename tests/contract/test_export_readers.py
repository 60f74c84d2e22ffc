"""Exports as others read them: DuckDB, pandas, Polars, spreadsheets; and our own SQL over them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from clipledger.archive import Archive
from clipledger.core.errors import Misconfigured, UsageError
from clipledger.export import duck
from clipledger.export.formats import inert
from clipledger.export.manifest import Kind
from contract.archives import on
from contract.export_archives import HOSTILE, aweme, exported, fill, lay, with_archive

COUNT = 30
POSTS = [number for number in range(COUNT) if number % 7]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lay an archive down and every kind of export of it."""
    top = tmp_path_factory.mktemp("exports")

    async def act(archive: Archive) -> None:
        await fill(archive, COUNT)
        for kind in Kind:
            await exported(archive, top / kind, kind)

    with on("sqlite"):
        with_archive(lay(top / "archive"), act)
    return top


def test_duckdb_reads_the_parquet_with_its_types(folder: Path) -> None:
    """One glob reads a table in DuckDB: ids are text, times know UTC, counts are whole numbers, dt is a date."""
    import duckdb

    with duckdb.connect() as session:
        glob = f"read_parquet('{folder}/parquet/posts/dt=*/*.parquet', hive_partitioning = true)"
        told = dict(session.execute(f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {glob})").fetchall())
        assert told["aweme_id"] == told["author_id"] == told["music_id"] == "VARCHAR"
        assert told["archived_at"] == told["gone_at"] == "TIMESTAMP WITH TIME ZONE"
        assert (told["play_count"], told["is_photo"], told["duration"]) == ("BIGINT", "BOOLEAN", "DOUBLE")
        assert told["dt"] == "DATE"
        rows = session.execute(f"SELECT aweme_id, epoch_ms(counters_at), dt::text FROM {glob} ORDER BY ALL").fetchall()
    assert [row[0] for row in rows] == [aweme(number) for number in POSTS]
    assert rows[0] == (aweme(1), 1_780_000_001_123, "2026-05-06")


def test_pandas_reads_the_parquet_with_its_types(folder: Path) -> None:
    """A folder is a data frame in pandas, and nothing in it became a number that was an id."""
    import pandas as pd

    frame = pd.read_parquet(folder / "parquet" / "metrics")
    assert len(frame) == 3 * COUNT
    assert frame["aweme_id"].map(type).eq(str).all() and str(frame["observed_at"].dtype).startswith("datetime64[")
    assert "UTC" in str(frame["observed_at"].dtype) and frame["play_count"].dtype.kind in "iu"
    posts = pd.read_parquet(folder / "parquet" / "posts")
    assert sorted(posts["title"]) == sorted(pd.read_json(folder / "jsonl" / "posts.jsonl", lines=True)["title"])


def test_polars_reads_the_parquet_with_its_types(folder: Path) -> None:
    """A glob is a lazy frame in Polars, with dt as a column to filter by."""
    import polars as pl

    frame = pl.scan_parquet(folder / "parquet" / "posts" / "**" / "*.parquet", hive_partitioning=True).collect()
    assert frame.schema["aweme_id"] == pl.String and frame.schema["dt"] == pl.Date
    assert frame.schema["archived_at"] == pl.Datetime("ms", "UTC") and frame.schema["bytes"] == pl.Int64
    assert frame["aweme_id"].to_list() == [aweme(number) for number in POSTS]
    assert frame["plays_per_day"].min() == -1.5 * POSTS[-1]


def test_parquet_is_sorted_and_compressed_with_zstd(folder: Path) -> None:
    """Each file is zstd, and in order of its key."""
    import pyarrow.parquet as pq

    for path in (folder / "parquet").rglob("*.parquet"):
        file = pq.ParquetFile(path)
        assert {file.metadata.row_group(0).column(at).compression for at in range(file.metadata.num_columns)} == {
            "ZSTD"
        }
        names = [
            name for name in ("aweme_id", "observed_at", "feed", "storage_key", "source") if name in file.schema.names
        ]
        names = names if path.parts[-3] != "authors" else ["author_id"]
        keys = list(zip(*(file.read([name]).column(0).to_pylist() for name in names[:2]), strict=True))
        assert keys == sorted(keys), path


def test_no_cell_of_the_csv_is_a_live_formula(folder: Path) -> None:
    """A spreadsheet that opens the CSV finds no formula, whatever strangers wrote; ids are text as they were."""
    import openpyxl

    for path in sorted((folder / "csv").glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append([cell for cell in row if not re.search("[\x00-\x08]", cell)])
        assert not [cell.value for row in book.active for cell in row if cell.data_type == "f"], path
        assert not [cell for row in rows for cell in row if cell[:1] in "=+@\t\r" and cell], path
    with (folder / "csv" / "posts.csv").open(encoding="utf-8", newline="") as file:
        posts = list(csv.DictReader(file, quoting=csv.QUOTE_NONNUMERIC))
    assert [row["aweme_id"] for row in posts] == [aweme(number) for number in POSTS], "a quoted id is text to a parser"
    assert posts[0]["plays_per_day"] == -1.5 and posts[0]["play_count"] == 1000


@pytest.mark.parametrize("text", [*HOSTILE, "plain", "1+1", "日本", "\ufeff=1", "\u200b=1", "\u3000＝1"])
def test_what_looks_live_gets_an_apostrophe(text: str) -> None:
    """Only text that a spreadsheet would act on is changed, and only by one sign before it."""
    live = text.strip(" \ufeff\u200b\u3000")[:1] in tuple("=+-@\t\r＝＋－＠|%")
    assert inert(text) == (f"'{text}" if live else text)


def test_the_data_card_proves_its_files(folder: Path) -> None:
    """A data set says where it comes from and what is missing, and its sums hold for every file."""
    import hashlib

    place = folder / "dataset"
    card = json.loads((place / "datacard.json").read_text(encoding="utf-8"))
    assert card["missing"]["dead_by_reason"] == {"not_found": 5} and card["missing"]["not_archived"] == {"dead": 5}
    assert card["tables"]["posts"]["rows"] == len(POSTS) and card["tables"]["posts"]["first_day"] == "2026-05-06"
    assert card["archive"] == "0f0e" and card["sha256"] in card["cite"] and "0f0e" in card["cite"]
    assert {"capture", "history", "queue"} <= set(card["settings"])
    assert all("refresh" in source for source in card["sources"])
    lines = (place / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == len(card["files"]) == len(list(place.rglob("*.parquet")))
    for line in lines:
        digest, _, path = line.partition("  ")
        assert hashlib.sha256((place / path).read_bytes()).hexdigest() == digest
    page = (place / "README.md").read_text(encoding="utf-8")
    assert "What is missing, and why" in page and "not_found" in page and card["cite"] in page


QUESTION = (
    "SELECT p.aweme_id, p.dt, p.archived_at, count(*) AS n, max(m.play_count) AS best FROM posts p "
    "JOIN metrics m USING (aweme_id) JOIN authors a USING (author_id) LEFT JOIN sightings s USING (aweme_id) "
    "WHERE p.dt > DATE '2026-05-07' GROUP BY ALL ORDER BY 1"
)


@contextmanager
def reading(folder: Path) -> Iterator[Any]:
    """Hold a snapshot of the archive's database."""
    from clipledger.db.engine import backend_of

    engines = backend_of(folder / "archive" / "clipledger.db").engines()
    try:
        with engines.reading.connect() as connection, connection.begin():
            yield connection
    finally:
        engines.dispose()


def test_sql_answers_alike_over_the_archive_and_its_export(folder: Path, tmp_path: Path) -> None:
    """The same SELECT gives the same rows over the archive and over an export of it."""
    over = duck.over_export(folder / "parquet", QUESTION, 100)
    with reading(folder) as connection:
        straight = duck.over_archive(connection, tmp_path, QUESTION, 100)
    assert over == straight and len(over.rows) == 19 and not over.more
    assert over.columns == ("aweme_id", "dt", "archived_at", "n", "best")
    assert over.rows[0][1:4] == ("2026-05-08", "2026-05-28T20:26:48.000Z", 3)
    assert duck.over_export(folder / "dataset", "SELECT count(*) FROM posts", 1).rows == ((len(POSTS),),)
    assert duck.over_export(folder / "parquet", QUESTION, 5).more


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DROP TABLE posts", "one SELECT"),
        ("SELECT 1; SELECT 2", "one SELECT"),
        ("COPY posts TO '/tmp/x.csv'", "one SELECT"),
        ("ATTACH '/tmp/x.db'", "one SELECT"),
        ("INSTALL httpfs", "one SELECT"),
        ("SET enable_external_access = true", "one SELECT"),
        ("SELECT * FROM read_csv('/etc/passwd')", "disabled"),
        ("SELECT * FROM '/etc/passwd'", "does not exist|disabled"),
        ("SELECT * FROM glob('/etc/*')", "disabled"),
        ("SELECT * FROM nothing", "nothing"),
        ("SELEC", "syntax"),
        ("", "one SELECT"),
    ],
)
def test_sql_reads_and_nothing_else(folder: Path, statement: str, says: str) -> None:
    """No statement writes, opens a file, loads an extension or reaches out; each is refused in one line."""
    with pytest.raises(UsageError, match=says) as refused:
        duck.over_export(folder / "parquet", statement, 10)
    assert "\n" not in refused.value.detail


def test_sql_says_what_is_wrong_with_a_folder(folder: Path, tmp_path: Path) -> None:
    """A folder without an export, one of CSV, and one whose file is missing are each named in one line."""
    with pytest.raises(UsageError, match="no manifest"):
        duck.over_export(tmp_path, "SELECT 1", 1)
    with pytest.raises(UsageError, match="it holds csv"):
        duck.over_export(folder / "csv", "SELECT 1", 1)
    manifest = (folder / "parquet" / "manifest.json").read_bytes()
    (tmp_path / "manifest.json").write_bytes(manifest)
    with pytest.raises(Misconfigured, match="--anew"):
        duck.over_export(tmp_path, "SELECT count(*) FROM posts", 1)
