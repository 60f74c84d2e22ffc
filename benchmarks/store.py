"""How quickly does an archive fill a bucket, beside `aws s3 cp --recursive` of the same files? In turns.

    python benchmarks/store.py [--posts 400] [--rounds 3] [--json FILE]

A local S3 server (ministack), 2 MiB a file. Ours downloads each file first, from nginx; the peer has them all in a
folder. Exits 1 when the bound is missed.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from ground import Ground, laid_out
from race import MEMORY, MIB, keep
from racers import ours, peer, plain
from s3_servers import S3Server, make_bucket, s3_server
from timing import spread, timed

SIZE = 2 * MIB


def main() -> int:
    """Measure and judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    told: dict[str, list[float]] = {"ours": [], "aws s3 cp": []}
    with laid_out(asked.posts, SIZE) as ground, s3_server("ministack") as server:
        make_bucket(server)
        for _ in range(asked.rounds):
            told["ours"].append(_ours(ground, server))
            told["aws s3 cp"].append(_aws(ground, server))
            print(*(f"{name} {rates[-1]:.1f} MB/s" for name, rates in told.items()), sep=", ", flush=True)
    ratio = spread([mine / theirs for mine, theirs in zip(*told.values(), strict=True)])
    line = {"figure": "2 MiB into a bucket, speed against aws s3 cp", "must": 1.0, "aim": 1.5,
            "measured": ratio.median, "least": ratio.least, "most": ratio.most,
            "reached": ratio.median >= 1.0}  # fmt: skip
    print("{verdict} {figure}: {measured:.2f} (must {must}, aim {aim})".format(
        verdict="ok  " if line["reached"] else "MISS", **line))  # fmt: skip
    if asked.json:
        keep(asked.json, "store", {"ratios": [line]})
    return int(not line["reached"])


def _ours(ground: Ground, server: S3Server) -> float:
    place = Path(tempfile.mkdtemp(prefix="clipledger-store-", dir=MEMORY if MEMORY.is_dir() else None))
    told = {"CLIPLEDGER_STORAGE__URL": server.url(), "CLIPLEDGER_STORAGE__ENDPOINT_URL": server.endpoint_url}
    try:
        start = ours(env=server.env | told)(ground, place)
        cost = timed(start.command, env=start.env)
        if start.check() != start.posts:
            raise RuntimeError(f"ours brought {start.check()} of {start.posts}")
        return start.posts * SIZE / cost.wall_s / 1e6
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _aws(ground: Ground, server: S3Server) -> float:
    words = ["s3", "cp", "--recursive", "--quiet", "--endpoint-url", server.endpoint_url]
    cost = timed([peer("aws"), *words, str(ground.files), server.url()], env=plain() | server.env)
    return len(ground.ids) * SIZE / cost.wall_s / 1e6


if __name__ == "__main__":
    sys.exit(main())
