"""Exports as commands: killed in the middle, to a bucket, without their extras, and what they say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from sqlalchemy import update

from clipledger.archive import Archive as Opened
from clipledger.db.tables import posts
from clipledger.export.manifest import is_part
from contract.archives import on
from contract.export_archives import aweme, fill, lay, put_in, tree, with_archive
from process.harness import PROGRAM, Archive
from s3_servers import BUCKET, boto, s3_server

pytestmark = pytest.mark.slow

COUNT = 99
PATIENCE_S = 120.0


def laid(top: Path) -> Archive:
    """Lay an archive with posts down."""
    with on("sqlite"):
        with_archive(lay(top / "archive"), lambda archive: fill(archive, COUNT))
    return Archive(top / "archive")


def whole(folder: Path) -> None:
    """Check that each part a reader could meet is a whole Parquet file, and nothing else lies there."""
    import pyarrow.parquet as pq

    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_file() and not path.name.startswith("."):
            assert is_part(name) or name in ("manifest.json", "export.json"), name
        if path.suffix == ".parquet":
            assert pq.ParquetFile(path).read().num_rows > 0


def test_a_killed_export_leaves_readers_whole_parts_and_goes_on(tmp_path: Path) -> None:
    """Killed while it writes aside, while it publishes, or after: each part is whole, and the next run mends all."""
    archive = laid(tmp_path)
    aside = archive.folder / ".clipledger" / "export"
    to = tmp_path / "x"
    for reached in (
        lambda: any(aside.glob("*/20.part")),
        lambda: len(list(to.rglob("part-0.parquet"))) > 30,
        lambda: (to / "manifest.json").exists(),
    ):
        killed(archive, to, reached)
        whole(to)
    archive.cli("export", "parquet", "--to", str(to))
    archive.cli("export", "parquet", "--to", str(tmp_path / "anew"))
    assert tree(to) == tree(tmp_path / "anew")
    with on("sqlite"):
        with_archive(archive.folder, lambda opened: change_all(opened))
    before = (to / "manifest.json").read_bytes()
    killed(archive, to, lambda: b'"play_count"' in before and touched(to, before))
    whole(to)
    told = archive.json("export", "parquet", "--to", str(to))
    assert not told["full"], "what was exported before the kill is not exported again"
    archive.cli("export", "parquet", "--to", str(tmp_path / "anew"))
    assert tree(to) == tree(tmp_path / "anew")
    assert not [path for path in aside.glob("*") if path.is_dir()], "nothing written aside is left"


async def change_all(archive: Opened) -> None:
    """Change every post and put a few more in."""
    await archive.db.write(lambda connection: connection.execute(update(posts).values(play_count=7)))
    await archive.db.write(lambda connection: put_in(connection, range(COUNT, COUNT + 5)))


def touched(folder: Path, manifest: bytes) -> bool:
    """Say whether a part differs in size from what the manifest says of it, or is new."""
    stands = {file["path"]: file["bytes"] for file in json.loads(manifest)["files"]}
    parts = folder.glob("posts/*/part-0.parquet")
    return any(stands.get(str(path.relative_to(folder))) != path.stat().st_size for path in parts)


def killed(archive: Archive, to: Path, reached) -> None:  # type: ignore[no-untyped-def]
    """Start an export and kill it as soon as it is where it should die, if it gets there before its end."""
    command = [*PROGRAM, "--archive", str(archive.folder), "export", "parquet", "--to", str(to)]
    process = subprocess.Popen(command, env=archive.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ends_at = time.monotonic() + PATIENCE_S
    while process.poll() is None and not reached():
        assert time.monotonic() < ends_at
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_bucket_takes_exports(tmp_path: Path) -> None:
    """An export to S3 is that to a folder, byte for byte; the next one replaces what changed, removes what went."""
    archive = laid(tmp_path)
    with s3_server("ministack") as server:
        url, env = server.url(), server.env | {"CLIPLEDGER_STORAGE__ENDPOINT_URL": server.endpoint_url}
        archive.cli("export", "dataset", "--to", url, **env)
        archive.cli("export", "dataset", "--to", str(tmp_path / "x"))
        assert stored(server, url) == tree(tmp_path / "x")
        with on("sqlite"):
            with_archive(archive.folder, hide_some)
        told = archive.json("export", "dataset", "--to", url, **env)
        assert not told["full"] and told["files_removed"] > 0 and told["files_kept"] > 0
        archive.cli("export", "dataset", "--to", str(tmp_path / "x"))
        assert stored(server, url) == tree(tmp_path / "x")
        assert archive.json("export", "dataset", "--to", url, **env)["changed"] is False


def stored(server, url: str) -> dict[str, bytes]:  # type: ignore[no-untyped-def]
    """Read every object below a place, but the one that tells when it was made."""
    client, prefix = boto(server), url.removeprefix(f"s3://{BUCKET}/") + "/"
    found = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix):
        for each in page.get("Contents", []):
            body = client.get_object(Bucket=BUCKET, Key=each["Key"])["Body"]
            found[each["Key"].removeprefix(prefix)] = body.read()
            body.close()
    client.close()
    found.pop("export.json")
    return found


async def hide_some(archive: Opened) -> None:
    """Withhold all posts of one day, and one of another."""
    from clipledger.db.tables import archive_queue

    hidden = [aweme(number) for number in (4, 5, 6, 10)]
    hide = update(archive_queue).where(archive_queue.c.aweme_id.in_(hidden)).values(state="withheld")
    await archive.db.write(lambda connection: connection.execute(hide))


def test_the_commands_say_what_they_do(tmp_path: Path) -> None:
    """Each command tells in one line or one document what it wrote, and in one line what is wrong."""
    archive = laid(tmp_path)
    dry = archive.json("export", "csv", "--to", str(tmp_path / "c"), "--dry-run")
    assert dry["dry_run"] and sum(dry["files_to_write"].values()) == 6 and not (tmp_path / "c").exists()
    told = archive.json("export", "csv", "--to", str(tmp_path / "c"))
    assert told["rows"]["posts"] == COUNT - 15 and told["files_written"] == 6 and told["exit"] == "ok"
    other_words = f"{archive.folder}/../c"
    assert "nothing changed" in archive.cli("export", "csv", "--to", other_words).out, "it is the same folder"
    archive.cli("export", "parquet", "--to", str(tmp_path / "c"), code=2).says("--to", "csv")
    archive.cli("export", "ids", "--to", str(tmp_path / "i"), "--where", "since:x", code=2).says("2026-05-29")
    archive.cli("export", "ids", "--to", "ftp://x/y", code=4).says("unknown scheme")
    ran = archive.cli("export", "ids", "--to", str(tmp_path / "i"), "--where", "from:@h1")
    assert "posts" in ran.out and (tmp_path / "i" / "ids.txt").read_text().startswith(f"{aweme(1)}\n")
    archive.cli("export", "ids", "--to", str(tmp_path / "i"), code=2).says("--where 'from:@h1'", "--anew")
    rows = archive.json("sql", "SELECT count(*) AS n FROM posts")
    assert rows == {"columns": ["n"], "rows": [[COUNT - 15]], "more": False, "exit": "ok"}
    assert archive.cli("sql", "--csv", "SELECT '=1' AS a, 2 AS b").out == '"a","b"\n"\'=1",2\n'
    archive.cli("sql", "DELETE FROM posts", code=2).says("one SELECT")
    archive.cli("sql", "SELECT 1 FROM pots", code=2).says("the tables are posts, metrics")


def test_pictures_are_drawn(tmp_path: Path) -> None:
    """Every picture is drawn for a terminal, as JSON, as SVG and as PNG; the same numbers give the same SVG."""
    archive = laid(tmp_path)
    for words in (("growth", aweme(1)), ("growth", "--author", "@h1"), ("growth", "--tag", "x"), ("intake",)):
        assert archive.json("plot", *words)["title"]
    shown = archive.cli("plot", "growth", "--author", "h1", PYTHONIOENCODING="utf-8").out
    assert "plays of @h1" in shown and "█" in shown and max(map(len, shown.splitlines())) <= 80
    assert "@@@" in archive.cli("plot", "growth", "--author", "h1", PYTHONIOENCODING="ascii").out
    for name in ("a.svg", "b.svg", "c.png"):
        archive.cli("plot", "growth", aweme(1), "--to", str(tmp_path / name))
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    archive.cli("plot", "growth", code=2).says("--author")
    archive.cli("plot", "gone", "--to", "x.gif", code=2).says(".svg")


def test_a_missing_extra_is_one_line(tmp_path: Path) -> None:
    """Without an extra the command names it; CSV, JSON lines, ids and terminal pictures need none."""
    archive = laid(tmp_path)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nfrom importlib.abc import MetaPathFinder\n"
        "class Gone(MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] in ('pyarrow', 'duckdb', 'matplotlib'):\n"
        "            raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Gone())\n"
    )
    env = {"PYTHONPATH": str(tmp_path)}
    for words, extra in (
        (("export", "parquet", "--to", "x"), "analytics"),
        (("sql", "SELECT 1"), "analytics"),
        (("plot", "intake", "--to", "x.svg"), "plots"),
    ):
        archive.cli(*words, code=4, **env).says(f"pip install 'clipledger[{extra}]'")
    for kind in ("csv", "jsonl", "ids"):
        archive.cli("export", kind, "--to", str(tmp_path / kind), **env)
    archive.cli("plot", "intake", **env)
