"""How much memory a large upload takes: measured in a process of its own, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from contract.stores import Servers

pytestmark = pytest.mark.slow

_CHILD = """
import asyncio, gc, json, re, sys
from pathlib import Path
from clipledger.core.model import AwemeId, MediaType, ObjectKey
from clipledger.storage import Options, open_store
from clipledger.storage.spool import Spool

def kib(name):
    return int(re.search(name + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

async def main(how, url, endpoint, folder, bucket):
    if how == "cloud":
        import obstore.store
        from clipledger.storage.cloud import CloudStore
        from clipledger.storage.place import read_place
        config = {"endpoint": endpoint, "region": "us-east-1", "copy_if_not_exists": "multipart"}
        backend = obstore.store.S3Store(bucket, config=config, client_options={"allow_http": True})
        store = CloudStore(read_place(url), backend)
    else:
        store = open_store(url, archive=Path(folder), options=Options(endpoint))
    chunk = bytes(range(256)) * 4096
    async def put(key, size):
        async with Spool(Path(folder)).open(AwemeId("7387261234567890123"), 1, size) as part:
            for _ in range(size):
                part.write(chunk)
            await part.seal()
            gc.collect()
            Path("/proc/self/clear_refs").write_text("5")  # forget the highest mark so far
            before = kib("VmRSS")
            assert await store.put_part(ObjectKey(key), part, MediaType.MP4)
            return kib("VmHWM") - before
    await put("videos/warm.mp4", 1)
    print(json.dumps({size: await put(f"videos/{size}.mp4", size) for size in map(int, sys.argv[6:])}))
    await store.close()

asyncio.run(main(*sys.argv[1:6]))
"""


@pytest.mark.parametrize(("how", "sizes"), [("s3", ("60", "200")), ("cloud", ("80",))])
def test_a_large_upload_takes_little_memory(
    s3_servers: Servers, tmp_path: Path, how: str, sizes: tuple[str, ...]
) -> None:
    """Uploading 60 MiB in one put and 200 MiB in pieces each make the process grow by less than 16 MiB."""
    server = s3_servers("ministack")
    command = [
        sys.executable,
        "-c",
        _CHILD,
        how,
        server.url(),
        server.endpoint_url,
        str(tmp_path),
        "clips",
        "60",
        "200",
    ]
    done = subprocess.run(
        command, env=os.environ | server.env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    grown_kib = json.loads(done.stdout)
    print(f"{how}: peak memory grew by {grown_kib} KiB (by MiB uploaded)")
    assert max(grown_kib.values()) < 16 * 1024, grown_kib
