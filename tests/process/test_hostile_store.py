"""A bad week archived to a real S3 server by the command line, judged by one who reads the bucket by itself.

The tables are on PostgreSQL: everything that a fleet stands on at once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clipledger.sim.audit import Evidence, Report, audit
from clipledger.sim.kept import KeptInBucket
from process.harness import BRISK, KEY, Archive, Sim, archive_for, simulator
from s3_servers import BUCKET, S3Server, credentials

pytestmark = pytest.mark.slow

Servers = Callable[[str], S3Server]


def archive_in(folder: Path, sim: Sim, server: S3Server, url: str) -> Archive:
    """Make an archive whose files go to a bucket, and whose tables are on PostgreSQL."""
    storage = {"CLIPLEDGER_STORAGE__URL": url, "CLIPLEDGER_STORAGE__ENDPOINT_URL": server.endpoint_url}
    return archive_for(folder, sim, on="postgres", **storage, **credentials())


def judged(archive: Archive, sim: Sim, server: S3Server, url: str) -> Report:
    """Hold the tables and the bucket against the world; demand that the judge is content and nothing is half done."""
    kept = KeptInBucket(BUCKET, url.removeprefix(f"s3://{BUCKET}/") + "/", server.endpoint_url)
    evidence = Evidence(sim.ledger(), sim.truth(), KEY, sim.rpm)
    report = audit(archive.folder, evidence, database=archive.database, kept=kept)
    assert report.findings == [], "\n".join(report.findings[:20])
    assert kept.uploads() == []
    kept.close()
    return report


@pytest.mark.parametrize(("name", "posts"), [("ministack", 600), ("moto", 40)])
def test_a_bad_week_is_archived_to_a_bucket(tmp_path: Path, s3_servers: Servers, name: str, posts: int) -> None:
    """On a bad week every id is saved to the bucket or told why not, and nothing else lies there."""
    server = s3_servers(name)
    url = server.url()
    with simulator(posts, f"hostile,{BRISK}", seed=11) as sim:
        archive = archive_in(tmp_path / "archive", sim, server, url)
        archive.cli("add", *sim.names())
        summary = archive.finish()
        report = judged(archive, sim, server, url)
        assert report.files > 3 * report.states["archived"] > 2 * posts
        calls = sim.details()
        archive.cli("run", code=None)
        assert sim.details() == calls
        assert "the books balance and every file is whole" in archive.cli("verify").out
        assert archive.json("status")["store"]["mode"] == "conditional"
        assert summary["states"]["archived"] == report.states["archived"]
        nothing_is_told(archive)


def nothing_is_told(archive: Archive) -> None:
    """No file of the archive holds the credentials; neither media nor tables lie in its folder."""
    secret = credentials()["AWS_SECRET_ACCESS_KEY"].encode()
    found = [path for path in archive.folder.rglob("*") if path.is_file() and secret in path.read_bytes()]
    assert found == []
    assert not (archive.folder / "videos").exists() and not (archive.folder / "clipledger.db").exists()
