"""Six hundred posts on a hostile week, archived to PostgreSQL and an S3 server at the real limit, and judged.

`python benchmarks/hostile_store.py [--server ministack] [--database postgres] [--posts 600] [--rpm 200]`. Takes
minutes: the limit of calls a minute is kept to.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from clipledger.sim.audit import Evidence, audit
from clipledger.sim.kept import KeptInBucket
from process import harness
from s3_servers import BUCKET, credentials, s3_server


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", default="ministack")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    parser.add_argument("--posts", type=int, default=600)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--rpm", type=int, default=200)
    wanted = parser.parse_args()
    harness.PATIENCE_S = 3600.0
    os.environ |= credentials()
    with (
        tempfile.TemporaryDirectory() as folder,
        s3_server(wanted.server) as server,
        harness.simulator(wanted.posts, "hostile", seed=wanted.seed, rpm=wanted.rpm) as sim,
    ):
        url, began_at = server.url(), time.monotonic()
        storage = {"CLIPLEDGER_STORAGE__URL": url, "CLIPLEDGER_STORAGE__ENDPOINT_URL": server.endpoint_url}
        where = storage | {"CLIPLEDGER_QUEUE__RETRY_BASE_S": "5"}
        archive = harness.archive_for(Path(folder) / "archive", sim, on=wanted.database, **where)
        archive.cli("add", *sim.names())
        archive.finish()
        took_s, calls = time.monotonic() - began_at, sum(sim.ledger()["endpoints"].values())
        archive.cli("run", code=None)
        kept = KeptInBucket(BUCKET, url.removeprefix(f"s3://{BUCKET}/") + "/", server.endpoint_url)
        evidence = Evidence(sim.ledger(), sim.truth(), harness.KEY, wanted.rpm)
        report = audit(archive.folder, evidence, database=archive.database, kept=kept)
        told = {
            "states": dict(report.states),
            "findings": report.findings,
            "files": report.files,
            "bytes": report.bytes,
            "calls": calls,
            "resolves": report.resolve_calls,
            "ids": report.ids_resolved,
            "worst_minute": sim.ledger()["worst_minute"],
            "calls_of_a_second_run": sum(sim.ledger()["endpoints"].values()) - calls,
            "unfinished_uploads": kept.uploads(),
            "mode": archive.json("status")["store"]["mode"],
            "verify": archive.cli("verify", code=None).out.strip(),
            "seconds": round(took_s),
        }
        print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
