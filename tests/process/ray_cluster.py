"""A Ray cluster of several nodes on this machine, in a process of its own, on 127.0.0.1 alone.

Run as a script: `ray_cluster.py PORT NODES`. The head takes no seats, each other node has two CPUs. Prints
one JSON line when it stands; ends when its standard input ends. Must not: touch a Ray that it did not start.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # 127.0.0.1 alone
    "RAY_kill_child_processes_on_worker_exit": "false",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "5",
}
STORE_BYTES = 80 * 2**20


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A cluster that stands. `head` is the id of the head's own process."""

    process: subprocess.Popen[bytes]
    address: str
    head: int

    def kill_head(self) -> None:
        """Kill the head as a power cut would."""
        os.kill(self.head, signal.SIGKILL)


@contextmanager
def ray_cluster(port: int, nodes: int) -> Iterator[RayCluster]:
    """Start a cluster; however the block ends, its processes are gone afterwards."""
    with subprocess.Popen(
        [sys.executable, __file__, str(port), str(nodes)],
        env=os.environ | ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None and process.stdin is not None
            told = json.loads(process.stdout.readline())
            yield RayCluster(process, told["address"], told["head"])
        finally:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    """Find a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def main(port: int, nodes: int) -> None:
    """Stand until nobody listens any more."""
    from ray.cluster_utils import Cluster

    folder = Path(tempfile.mkdtemp(prefix="clr", dir="/tmp"))  # a socket's path has 107 bytes
    every = {"object_store_memory": STORE_BYTES, "include_dashboard": False, "num_gpus": 0}
    cluster = Cluster()
    try:
        head = cluster.add_node(
            gcs_server_port=port, num_cpus=0, temp_dir=str(folder), node_ip_address="127.0.0.1", **every
        )
        for _ in range(nodes):
            cluster.add_node(num_cpus=2, node_ip_address="127.0.0.1", **every)
        cluster.wait_for_nodes()
        (gcs,) = head.all_processes["gcs_server"]
        print(json.dumps({"address": cluster.address, "head": gcs.process.pid}), flush=True)
        sys.stdin.buffer.read()
    finally:
        cluster.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
