"""Withdrawing, holding, retiring and citing, as an operator does it: real processes, both grounds, and kill -9."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from clipledger.sim.kept import KeptInBucket
from contract.archives import new_database
from postgres import execute
from process.harness import URL, Archive, archive_for, copy_of, simulator, wait_until
from s3_servers import BUCKET, S3Server, boto, credentials

pytestmark = pytest.mark.slow

Servers = Callable[[str], S3Server]
KINDS = ("parquet", "csv", "jsonl", "ids", "dataset")
WHY = ("--reason", "asked to", "--request", "letter 7")


@dataclass(frozen=True, slots=True)
class Place:
    """An archive and where its bytes are."""

    archive: Archive
    server: S3Server | None = None

    def traces(self, needles: list[bytes]) -> list[str]:
        """Name every file, object and table in which one of `needles` stands, whatever its letters' case."""
        found = []
        for name, body in self._everything():
            low = body.lower()
            found += [f"{name}: {needle[:40]!r}" for needle in needles if needle.lower() in low]
        return found

    def others(self, ids: list[str]) -> list[bytes]:
        """Read the files of other posts: what stands there too betrays nothing."""
        media = ("videos/", "photos/", "covers/")
        return [
            body.lower()
            for name, body in self._everything()
            if any(folder in name for folder in media) and not any(aweme_id in name for aweme_id in ids)
        ]

    def objects(self, aweme_id: str) -> list[str]:
        """List what has the id in its name: files, objects, and versions of objects; but for its tombstone."""
        return [name for name in self._names() if aweme_id in name and not name.endswith(f"removals/{aweme_id}.json")]

    def standing(self, folder: str) -> list[str]:
        """List the files or the objects below a folder of the store; each object once, if its latest version stands."""
        if self.server is None:
            return [str(path) for path in (self.archive.folder / folder).rglob("*") if path.is_file()]
        client = boto(self.server)
        told = client.list_objects_v2(Bucket=BUCKET, Prefix=self._prefix + folder)
        client.close()
        return [each["Key"] for each in told.get("Contents", [])]

    def _names(self) -> Iterator[str]:
        for place, folders, files in os.walk(self.archive.folder):  # what vanishes meanwhile is passed over
            yield from (f"{place}/{name}" for name in (*folders, *files))
        if self.server is not None:
            client = boto(self.server)
            told = self._versions(client)
            yield from (each["Key"] for kind in ("Versions", "DeleteMarkers") for each in told.get(kind, []))
            client.close()

    def _versions(self, client: Any) -> Any:
        """List versions, again while the server fails: moto's listing breaks off (500) when objects vanish under it."""
        deadline = time.monotonic() + 10
        while True:
            try:
                return client.list_object_versions(Bucket=BUCKET, Prefix=self._prefix)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500 or time.monotonic() > deadline:
                    raise

    @property
    def _prefix(self) -> str:
        return self.archive.env["CLIPLEDGER_STORAGE__URL"].removeprefix(f"s3://{BUCKET}/") + "/"

    def _everything(self) -> Iterator[tuple[str, bytes]]:
        for path in sorted(self.archive.folder.rglob("*")):
            yield str(path), path.read_bytes() if path.is_file() else b""
        if self.server is not None:
            client = boto(self.server)
            told = self._versions(client)
            for version in told.get("Versions", []):
                named = {"Bucket": BUCKET, "Key": version["Key"], "VersionId": version["VersionId"]}
                yield f"{version['Key']} {version['VersionId']}", client.get_object(**named)["Body"].read()
            yield from ((f"{marker['Key']} deleted", b"") for marker in told.get("DeleteMarkers", []))
            client.close()
        if self.archive.database:
            tables = execute(self.archive.database, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
            for (table,) in tables:
                rows = execute(self.archive.database, f"SELECT t::text FROM {table} t")
                yield f"table {table}", "\n".join(row[0] for row in rows).encode()


def archived(folder: Path, ground: str, servers: Servers, **env: str) -> Place:
    """Give an archive of a small world, on a folder and SQLite or on S3 and PostgreSQL."""
    if ground == "laptop":
        return Place(copy_of(_on_laptop(), folder, **env))
    server = servers("moto")
    place = {"CLIPLEDGER_STORAGE__URL": server.url(), "CLIPLEDGER_STORAGE__ENDPOINT_URL": server.endpoint_url}
    return Place(_play(folder, "postgres", **credentials(), **place, **env), server)


@cache
def _on_laptop() -> Archive:
    folder = Path(tempfile.mkdtemp(prefix="clipledger-withdraw-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return _play(folder / "archive", "sqlite", CLIPLEDGER_OPERATOR="ann")


def _play(folder: Path, on: str, **env: str) -> Archive:
    """Archive by tags and a sound: nobody's handle is the name of a source."""
    with simulator(30, seed=5) as sim:
        archive = archive_for(folder, sim, on=on, **env)
        told = sim.truth()
        archive.cli("add", *(f"#{tag}" for tag in list(told["tags"])[:4]), f"music:{told['sounds'][0]}")
        archive.finish()
    assert len(archive.ids()) > 5
    return archive


def needles_of(place: Place, ids: list[str]) -> list[bytes]:
    """Take what would betray posts: their texts, names, and pieces out of the middle of each file."""
    archive, found = place.archive, list[bytes]()
    for aweme_id in ids:
        sql = "SELECT title, author_nickname, author_handle FROM posts WHERE aweme_id = ?"
        title, *names = archive.rows(sql, aweme_id)[0]
        found += [word.encode() for word in {title, *names, *_rare_words(archive, title)} if len(word) > 5]
        keys = archive.rows("SELECT storage_key FROM files WHERE aweme_id = ? AND kind <> 'sidecar'", aweme_id)
        for body in (_read(place, key) for (key,) in keys):
            found.append(body[len(body) // 2 : len(body) // 2 + 40])
    others = place.others(ids)
    return sorted(needle for needle in set(found) if not any(needle.lower() in body for body in others))


def _rare_words(archive: Archive, title: str) -> list[str]:
    titles = [row[0] for row in archive.rows("SELECT title FROM posts")]
    words = re.findall(r"[a-z]{6,}", title.lower())
    return [word for word in words if sum(word in each.lower() for each in titles) == 1]


def _read(place: Place, key: str) -> bytes:
    if place.server is None:
        return (place.archive.folder / key).read_bytes()
    prefix = place.archive.env["CLIPLEDGER_STORAGE__URL"].removeprefix(f"s3://{BUCKET}/") + "/"
    kept = KeptInBucket(BUCKET, prefix, place.server.endpoint_url)
    try:
        body = kept.read(key)
    finally:
        kept.close()
    assert body is not None
    return body


def exported(archive: Archive, to: Path) -> bytes:
    """Export the archive in every format, over what is there; give all that the exports hold, Parquet unpacked."""
    import pyarrow.parquet as pq

    told = b""
    for kind in KINDS:
        archive.cli("export", kind, "--to", str(to / kind))
    for path in sorted(to.rglob("*")):
        if path.suffix == ".parquet":
            rows = pq.ParquetFile(path).read().to_pylist()
            told += "\n".join(str(value) for row in rows for value in row.values()).encode()
        elif path.is_file():
            told += path.read_bytes()
    return told


def author_with_posts(archive: Archive) -> tuple[str, list[str]]:
    """Give the author with the most posts, and the ids."""
    rows = archive.rows("SELECT author_id, count(*) FROM posts GROUP BY 1 ORDER BY 2 DESC, 1")
    ids = [row[0] for row in archive.rows("SELECT aweme_id FROM posts WHERE author_id = ?", rows[0][0])]
    return rows[0][0], ids


@pytest.mark.parametrize("ground", ["laptop", "servers"])
def test_a_withdrawn_post_leaves_no_byte(tmp_path: Path, s3_servers: Servers, ground: str) -> None:
    """Files, sidecars, old versions, rows, index, log, spool, exports: nothing of an author's is left after the purge.

    Before it they are hidden; the receipt, and a notice with the sha256s, stay; the books balance.
    """
    place = archived(tmp_path / "archive", ground, s3_servers)
    archive = place.archive
    author_id, ids = author_with_posts(archive)
    needles, sums = needles_of(place, ids), {row[0] for row in archive.rows("SELECT sha256 FROM files")}
    assert len(place.traces(needles)) > len(needles) > 5, "the test could not see what it looks for"
    out = exported(archive, tmp_path / "exports")
    assert sum(needle in out for needle in needles) > 3, "the test could not see what it looks for in the exports"
    (archive.folder / ".clipledger" / "spool").mkdir(exist_ok=True)
    (archive.folder / ".clipledger" / "spool" / f"{ids[0]}.1.1.part").write_bytes(needles[0])

    for table, column in (("events", "name"), ("reply_samples", "endpoint")):
        told = "at, aweme_id, detail" + (", body" if table == "reply_samples" else "")
        values = f"'2026-01-01T00:00:00.000Z', '{ids[0]}', '{{}}'" + (", 'x'" if table == "reply_samples" else "")
        archive.change(f"INSERT INTO {table} ({column}, {told}) VALUES ('seen', {values})")
    archive.cli("withdraw", ids[0], code=2).says("--reason")
    planned = archive.json("withdraw", "--author", author_id, "--dry-run")["would_withdraw"]
    assert {row["aweme_id"] for row in planned} == set(ids) and all(row["files"] for row in planned)
    told = archive.json("withdraw", "--author", author_id, *WHY)
    assert set(told["withdrawn"]) == set(ids) and told["purged"]["posts"] == 0 and told["purge_at"]
    found = archive.json("search", "--limit", "1000")["posts"]
    assert not {post["aweme_id"] for post in found} & set(ids) and found
    shown = archive.json("show", ids[0])
    assert shown["state"] == "withheld" and shown["withheld"]["request"] == "letter 7" and shown["post"] is None
    assert shown["past"] == [] and not shown["queue"]["author_part"] and not shown["queue"]["storage_key"]
    assert archive.one("SELECT count(*) FROM reply_samples WHERE aweme_id = ?", ids[0]) == 0
    archive.cli("cite", ids[0], code=2).says("withheld")
    assert place.objects(ids[0]), "in quarantine the files stay"
    archive.cli("janitor")
    assert place.objects(ids[0]), "and its time is not over"

    told = archive.json("withdraw", *ids, *WHY, "--now")
    assert told["purged"]["posts"] == len(ids) and told["scrubbed"] and told["purge_at"] is None
    assert place.objects(ids[0]) == []
    assert place.traces(needles) == []
    assert archive.one("SELECT count(*) FROM authors WHERE author_id = ?", author_id) == 0
    again = exported(archive, tmp_path / "exports").lower()
    assert [needle for needle in needles if needle.lower() in again] == []
    assert not [aweme_id for aweme_id in ids if aweme_id.encode() in again]
    notices = archive.cli("withdraw", "--notices").lines
    copies = [{each["destination"] for each in notice["exports"]} for notice in notices]
    assert all(len(holders) == len(KINDS) for holders in copies), "who holds a copy is told"
    assert {notice["aweme_id"] for notice in notices} == set(ids)
    assert {digest for notice in notices for digest in notice["sha256"]} <= sums
    assert archive.json("show", ids[0])["withheld"]["state"] == "purged"
    archive.cli("withdraw", ids[0], "--undo", "--reason", "no", code=2).says("nothing is left")
    archive.cli("verify")
    assert set(archive.ids("withheld")) == set(ids)


@pytest.mark.parametrize("ground", ["laptop", "servers"])
def test_a_purge_that_was_killed_is_finished_by_the_next_process(
    tmp_path: Path, s3_servers: Servers, ground: str
) -> None:
    """Kill -9 in the middle of erasing: the next sweep erases the rest, and the books balance."""
    place = archived(tmp_path / "archive", ground, s3_servers)
    archive = place.archive
    ids = archive.ids()
    needles = needles_of(place, ids[:4])
    whole = len(place.objects(""))
    with archive.started("withdraw", *ids, *WHY, "--now", stderr=subprocess.DEVNULL) as purging:
        deadline = time.monotonic() + 60
        while not whole - len(place.objects("")) > 6:
            assert purging.poll() is None and time.monotonic() < deadline, "it was done before it could be killed"
        purging.kill()
    states = dict(archive.rows("SELECT state, count(*) FROM removals GROUP BY state"))
    assert states == {"purging": len(ids)}
    archive.cli("verify", "--ledger")
    archive.cli("janitor")
    assert dict(archive.rows("SELECT state, count(*) FROM removals GROUP BY state")) == {"purged": len(ids)}
    assert [name for aweme_id in ids for name in place.objects(aweme_id)] == []
    assert place.traces(needles) == []
    assert archive.one("SELECT count(*) FROM audit_log WHERE act = 'purge'") == len(ids)
    archive.cli("verify")


def test_the_store_knows_of_an_author_before_the_database_does(tmp_path: Path) -> None:
    """Kill -9 in the middle of withdrawing an author: a database made anew keeps them out, asked again or not."""
    archive = copy_of(_on_laptop(), tmp_path / "archive")
    author_id, theirs = author_with_posts(archive)
    stone = archive.folder / "removals" / f"author={author_id}.json"
    with closing(sqlite3.connect(archive.folder / "clipledger.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # nobody else's commit comes through
        with archive.started("withdraw", "--author", author_id, *WHY, stderr=subprocess.DEVNULL) as withdrawing:
            wait_until(stone.exists)
            withdrawing.kill()
        other.execute("ROLLBACK")
    assert archive.one("SELECT count(*) FROM withheld_authors") == 0, "it was not killed in the middle"
    (archive.folder / "clipledger.db").unlink()
    archive.json("rebuild")
    assert archive.rows("SELECT author_id FROM withheld_authors") == [(author_id,)]
    archive.cli("withdraw", "--author", author_id, *WHY)
    assert sorted(archive.ids("withheld")) == sorted(theirs)


@pytest.mark.parametrize("ground", ["laptop", "servers"])
def test_what_was_taken_out_stays_out_of_a_database_made_anew(tmp_path: Path, s3_servers: Servers, ground: str) -> None:
    """The store remembers what was taken out: rebuilt from it alone, the archive brings none of it back."""
    place = archived(tmp_path / "archive", ground, s3_servers)
    archive = place.archive
    author_id, theirs = author_with_posts(archive)
    hidden, erased = [each for each in archive.ids() if each not in theirs][:2]
    archive.cli("withdraw", hidden, *WHY)
    archive.cli("withdraw", erased, *WHY, "--now")
    archive.cli("withdraw", "--author", author_id, *WHY)
    out, left = {hidden, erased, *theirs}, len(archive.ids())
    sums = {row[0] for row in archive.rows("SELECT sha256 FROM removed_files")}

    if place.server is None:
        (archive.folder / "clipledger.db").unlink()
    else:
        archive.env[URL] = new_database()
    assert archive.json("rebuild", "--dry-run")["restored"] == left
    told = archive.json("rebuild")
    assert (told["withheld"], told["restored"]) == (len(out), left)
    assert set(archive.ids("withheld")) == out and archive.one("SELECT count(*) FROM withheld_authors") == 1
    assert {row[0] for row in archive.rows("SELECT sha256 FROM removed_files")} == sums
    shown = archive.json("show", erased)["withheld"]
    assert shown["request"] == "letter 7" and shown["reason"] == "asked to"
    assert not {post["aweme_id"] for post in archive.json("search", "--limit", "1000")["posts"]} & out
    assert archive.json("rebuild", "--reconcile")["withheld"] == 0, "it is taken out once"

    archive.cli("withdraw", *theirs, *WHY, "--now")
    assert [name for aweme_id in theirs for name in place.objects(aweme_id)] == [], "what stood is found and erased"
    archive.cli("withdraw", hidden, "--undo", "--reason", "a mistake")
    assert archive.ids("pending") == [hidden] and place.objects(hidden)
    archive.cli("verify", "--ledger")


def test_two_processes_that_retire_the_same_posts_do_it_once(tmp_path: Path, s3_servers: Servers) -> None:
    """Rules say exactly what would go; two processes at once leave one tombstone and one log row a post."""
    rules = [
        {"name": "photos-stay", "action": "keep", "larger_than": "100G"},
        {"name": "old", "action": "delete", "older_than": "1s"},
    ]
    place = archived(tmp_path / "archive", "laptop", s3_servers, CLIPLEDGER_LIFECYCLE__RULES=json.dumps(rules))
    archive = place.archive
    ids = archive.ids()
    kept = ids[0]
    archive.cli("hold", kept, "--reason", "a trial")
    time.sleep(1.1)  # until the post that was archived last is older than the rule asks
    planned = archive.json("retention", "--dry-run")
    assert {row["aweme_id"] for row in planned["would"]} == set(ids) and planned["posts"] == len(ids) - 1
    size = archive.one("SELECT sum(bytes) FROM files WHERE aweme_id <> ?", kept)
    assert planned["bytes"] == size and archive.ids() == ids
    with archive.started("retention", "-q") as one, archive.started("retention", "-q") as other:
        assert (one.wait(120), other.wait(120)) == (0, 0)
    assert archive.ids() == [kept]
    told = archive.rows("SELECT rule, state, count(*) FROM removals GROUP BY 1, 2")
    assert told == [("old", "purged", len(ids) - 1)]
    for act in ("retire", "purge"):
        assert archive.one("SELECT count(DISTINCT subject) FROM audit_log WHERE act = ?", act) == len(ids) - 1
        assert archive.one("SELECT count(*) FROM audit_log WHERE act = ?", act) == len(ids) - 1
    tombstone = archive.json("show", ids[1])["withheld"]
    assert tombstone["rule"] == "old" and tombstone["sha256"] and tombstone["erased"]
    assert archive.json("retention", "--dry-run")["posts"] == 0
    archive.cli("verify")


def test_a_rule_moves_large_files_to_a_colder_class(tmp_path: Path, s3_servers: Servers) -> None:
    """`cold` moves a bucket's large files once, leaves them whole and readable, and is refused for a folder."""
    rules = json.dumps([{"name": "rest", "action": "cold", "older_than": "1s"}])
    place = archived(tmp_path / "archive", "servers", s3_servers, CLIPLEDGER_LIFECYCLE__RULES=rules)
    archive, server = place.archive, place.server
    assert server is not None
    archive.change("UPDATE files SET bytes = bytes + 200000 WHERE kind = 'video'")  # so that the small ones count
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 1.5)  # older than a second: all
    planned = archive.json("retention", "--dry-run")
    assert planned["posts"] > 3 and {row["action"] for row in planned["would"]} == {"cold"}
    done = archive.json("retention")
    assert done["cooled"] == planned["posts"] and done["deleted"] == 0
    archive.change("UPDATE files SET bytes = bytes - 200000 WHERE kind = 'video'")
    archive.cli("verify")
    prefix = archive.env["CLIPLEDGER_STORAGE__URL"].removeprefix(f"s3://{BUCKET}/") + "/"
    client = boto(server)
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=prefix)["Contents"]
    classes = {each["Key"].removeprefix(prefix): each["StorageClass"] for each in listed}
    client.close()
    moved = {row[0] for row in archive.rows("SELECT storage_key FROM cold_files")}
    assert moved and {key for key, told in classes.items() if told == "GLACIER_IR"} == moved
    assert archive.json("retention")["cooled"] == 0
    place = archived(tmp_path / "folder", "laptop", s3_servers, CLIPLEDGER_LIFECYCLE__RULES=rules)
    place.archive.cli("retention", code=4).says("rest", "S3 bucket")


def test_a_held_post_cannot_be_withdrawn_and_all_is_told(tmp_path: Path, s3_servers: Servers) -> None:
    """A hold refuses a withdrawal in one line; the log tells who did what, and when it is forged; posts are cited."""
    place = archived(tmp_path / "archive", "laptop", s3_servers, CLIPLEDGER_OPERATOR="ann")
    archive = place.archive
    author_id, ids = author_with_posts(archive)
    archive.cli("hold", "--author", author_id, "--reason", "court order 3")
    archive.cli("withdraw", ids[0], *WHY, "--now", code=2).says("legal hold", "court order 3", ids[0])
    archive.cli("withdraw", "--author", author_id, *WHY, code=2).says("legal hold")
    assert set(ids) <= set(archive.ids())
    assert [row["subject"] for row in archive.json("holds")["holds"]] == [author_id]
    archive.cli("hold", "--author", author_id, "--release", "--reason", "lifted")
    archive.cli("hold", "--author", author_id, "--release", "--reason", "lifted", code=2).says("no such hold")
    archive.cli("withdraw", ids[0], *WHY)
    archive.cli("hold", ids[0], "--reason", "court order 4")
    archive.cli("janitor", CLIPLEDGER_LIFECYCLE__PURGE_AFTER="1s")
    archive.cli("withdraw", ids[0], *WHY, "--now", code=2).says("court order 4")
    archive.cli("withdraw", ids[0], "--undo", "--reason", "a mistake")
    assert ids[0] in archive.ids() and archive.json("search", "--limit", "1000")["matches"] == len(archive.ids())
    archive.cli("reindex", "--check")

    custody = archive.json("show", ids[0])["provenance"]
    words = [step["what"].split(":")[0] for step in custody]
    assert words[:4] == ["seen", "resolved", "stored", "archived"] or set(words[:4]) >= {"seen", "resolved"}
    assert [step["who"].split("@")[0] for step in custody if step["what"] == "restore: a mistake"] == ["ann"]
    shown = archive.json("show", ids[0])["attribution"]
    assert shown["author_id"] == author_id and shown["url"].endswith(ids[0]) and shown["captured_at"]
    for style, mark in (("apa", "TikTok."), ("bibtex", "@misc{"), ("ris", "TY  - "), ("plain", ids[0])):
        assert mark in archive.cli("cite", ids[0], "--style", style).out
    archive.cli("cite", ids[0], "--style", "mla", code=2).says("apa")

    log = archive.json("log", "--limit", "1000")
    assert {"init", "settings", "add", "hold", "release", "withdraw", "restore"} <= {r["act"] for r in log["log"]}
    assert {row["operator"] for row in log["log"] if row["act"] == "hold"} == {"ann"}
    head = log["head"]
    archive.cli("pause", "--reason", "lunch")
    archive.cli("log", "--check", head)
    archive.cli("verify", "--ledger")
    archive.change("DROP TRIGGER audit_log_stay")
    archive.change("DELETE FROM audit_log WHERE seq > 2")
    archive.cli("log", "--check", head, code=7).says("cut off")
    archive.change("DELETE FROM audit_log WHERE seq = 1")
    told: Any = archive.cli("verify", "--ledger", code=7)
    assert "audit log is broken at row 2" in told.err
