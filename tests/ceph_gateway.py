"""Ceph's S3 gateway from Debian's packages: one monitor, one object store in memory, one gateway, on loopback.

Needs radosgw, ceph-mon and ceph-osd. Every daemon is stopped by its process id.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_TOOLS = ("ceph", "ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph-authtool", "monmaptool")

_CONF = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon},v1:127.0.0.1:{mon1}]
mon initial members = a
keyring = {folder}/keyring
public addr = 127.0.0.1
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
osd objectstore = memstore
memstore device bytes = 2147483648
run dir = {folder}/run
admin socket = {folder}/run/$name.asok
log file = {folder}/$name.log
pid file = {folder}/run/$name.pid
mon data = {folder}/mon
osd data = {folder}/osd
osd journal = {folder}/osd/journal
rgw data = {folder}/rgw
mon data avail crit = 1
mon data avail warn = 1
rgw frontends = beast endpoint=127.0.0.1:{gateway}
"""


def is_installed() -> bool:
    """Tell whether all of it is there."""
    return all(shutil.which(tool) for tool in _TOOLS)


@contextmanager
def gateway(folder: Path, ports: tuple[int, int, int], key: str, secret: str) -> Iterator[None]:
    """Run a gateway whose one user has these credentials; `ports` are two of the monitor and the gateway's."""
    if not is_installed():
        pytest.skip("NOT TESTED: Ceph's gateway is not installed: apt-get install radosgw ceph-mon ceph-osd")
    for name in ("mon", "osd", "rgw", "run"):
        (folder / name).mkdir()
    fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
    conf, keyring, first = folder / "ceph.conf", folder / "keyring", folder / "mon.keyring"
    conf.write_text(_CONF.format(fsid=fsid, folder=folder, mon=ports[0], mon1=ports[1], gateway=ports[2]))
    address = f"[v2:127.0.0.1:{ports[0]},v1:127.0.0.1:{ports[1]}]"
    everything = ["--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *"]
    _run(folder, "monmaptool", "--create", "--addv", "a", address, "--fsid", fsid, f"{folder}/monmap")
    _run(folder, "ceph-authtool", "--create-keyring", str(first), "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    _run(folder, "ceph-authtool", "--create-keyring", str(keyring), "--gen-key", "-n", "client.admin", *everything)
    _run(folder, "ceph-authtool", str(first), "--import-keyring", str(keyring))
    c = ("-c", str(conf))
    _run(folder, "ceph-mon", *c, "--mkfs", "-i", "a", "--monmap", f"{folder}/monmap", "--keyring", str(first))
    with contextlib.ExitStack() as daemons:
        daemons.enter_context(_daemon(folder, "ceph-mon", *c, "-i", "a", "-f"))
        _run(folder, "ceph", *c, "osd", "new", osd)
        caps = ("mon", "allow profile osd", "osd", "allow *", "mgr", "allow profile osd")
        with keyring.open("ab") as known:
            known.write(_run(folder, "ceph", *c, "auth", "get-or-create", "osd.0", *caps))
        _run(folder, "ceph-osd", *c, "-i", "0", "--mkfs", "--osd-uuid", osd)
        daemons.enter_context(_daemon(folder, "ceph-osd", *c, "-i", "0", "-f"))
        _run(folder, "radosgw-admin", *c, "user", "create", "--uid=t", "--display-name=t",
             f"--access-key={key}", f"--secret-key={secret}")  # fmt: skip
        daemons.enter_context(_daemon(folder, "radosgw", *c, "-n", "client.admin", "-f"))
        yield


def _run(folder: Path, *command: str) -> bytes:
    """Run one step; the monitor may need a moment before it answers."""
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:].decode(errors='replace')}"
    return done.stdout


@contextmanager
def _daemon(folder: Path, *command: str) -> Iterator[None]:
    with (folder / f"{command[0]}.out").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        time.sleep(0.5)
        assert process.poll() is None, (folder / f"{command[0]}.out").read_text(errors="replace")[-2000:]
        yield
    finally:
        process.kill()
        process.wait()
