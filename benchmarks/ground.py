"""A server that is never the bottleneck: every reply of the API and every file written before, served by nginx.

`laid_out` makes posts of one size, the pages and details that tell of them, and starts nginx (Debian's package) on a
tmpfs, plain and over TLS, on loopback ports of its own. No two files are equal, all of them play. The shapes are the
simulator's. Must not: measure, or know a racer.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clipledger.sim.bodies import Bodies
from clipledger.sim.media import Sample
from clipledger.sim.population import Post
from clipledger.sim.world import World

SEED = 6
PAGE = 30
LISTS = 8
"""Searches that the posts are spread over: a list is read page after page, two lists at a time."""

_CLIP, _CLIP_S = "amber.mp4", 4.0
_CONF = """\
daemon off; pid {place}/nginx.pid; worker_processes 2; error_log {place}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 600;
  open_file_cache max=200000 inactive=600s; open_file_cache_valid 600s; client_body_temp_path {place}/t1;
  proxy_temp_path {place}/t2; fastcgi_temp_path {place}/t3; uwsgi_temp_path {place}/t4; scgi_temp_path {place}/t5;
  default_type application/json; types {{ video/mp4 mp4; text/html html; }}
  map $arg_url $post {{ default none; ~(?<asked>[0-9]+)$ $asked; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096; listen 127.0.0.1:{tls_port} ssl backlog=4096;
    ssl_certificate {place}/cert.pem; ssl_certificate_key {place}/key.pem; ssl_session_cache shared:s:8m;
    root {place}/www;
    location = /post-detail/ {{ try_files /detail/$post.json =404; }}
    location = /search-video/ {{ try_files /page/$arg_keyword-$arg_cursor.json =404; }}
  }}
}}
"""


@dataclass(frozen=True, slots=True)
class Ground:
    """A server that runs: its folder, where it answers, and the ids it tells of with the path of each one's file."""

    place: Path
    url: str
    tls_url: str
    ids: tuple[str, ...]
    size_bytes: int

    @property
    def authority(self) -> Path:
        """Give the certificate to be trusted."""
        return self.place / "cert.pem"

    @property
    def files(self) -> Path:
        """Give the folder of the files, `ID.mp4` each."""
        return self.place / "www" / "m"

    def lists(self) -> list[str]:
        """Name the searches that together show every post."""
        return [f"search:list{nth}" for nth in range(min(LISTS, len(self.ids)))]

    def links(self, *, tls: bool = False) -> list[str]:
        """List the plain address of every file."""
        return [f"{self.tls_url if tls else self.url}/m/{aweme_id}.mp4" for aweme_id in self.ids]


@contextmanager
def laid_out(posts: int, size_bytes: int, *, shared: int = 0, tls: bool = False) -> Iterator[Ground]:
    """Make `posts` posts of `size_bytes` each and serve them; `tls` has the details lead to https.

    With `shared` so many files carry all posts, as hard links: for posts without end. Then `same_bytes_max` is to be
    off.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="clipledger-ground-", dir=memory if memory.is_dir() else None, ignore_cleanup_errors=True
    ) as name:
        place = Path(name)
        port, tls_port = _free_ports(2)
        ground = _written(place, port, tls_port, posts, size_bytes, shared, tls)
        (place / "nginx.conf").write_text(_CONF.format(place=place, port=port, tls_port=tls_port))
        with _serving(place, port):
            yield ground


def film(stamp: str, size_bytes: int) -> bytes:
    """Make a film of exactly so many bytes that no other stamp gives; it plays four seconds."""
    body = Sample(_CLIP, stamp).body()
    rest = size_bytes - len(body)
    if rest < 8:
        raise ValueError(f"a film has {len(body) + 8} bytes or more")
    return body + struct.pack(">I4s", rest, b"free") + stamp.encode().ljust(rest - 8, b"\x5a")


def _written(place: Path, port: int, tls_port: int, posts: int, size_bytes: int, shared: int, tls: bool) -> Ground:
    world = World(SEED, posts * 2 + 100, start=time.time(), photo_share=0.0)
    population, bodies = world.population, Bodies(world.scene)
    born = (population.post(nth) for nth in range(population.size))
    chosen = [post for post in born if post.create_time < world.scene.start][:posts]
    url, tls_url = f"http://127.0.0.1:{port}", f"https://localhost:{tls_port}"
    for folder in ("m", "detail", "page"):
        (place / "www" / folder).mkdir(parents=True)
    place.chmod(0o755)  # nginx's workers are another account
    for nth, post in enumerate(chosen):
        target = place / "www" / "m" / f"{post.id}.mp4"
        if shared and nth >= shared:
            os.link(place / "www" / "m" / f"{chosen[nth % shared].id}.mp4", target)
        else:
            target.write_bytes(film(post.id, size_bytes))
        detail = _linked(bodies.detail(post, 0, straight=True), post, tls_url if tls else url, size_bytes)
        (place / "www" / "detail" / f"{post.id}.json").write_text(json.dumps(detail))
    for nth in range(min(LISTS, posts)):
        _write_pages(place / "www" / "page", f"list{nth}", chosen[nth::LISTS], bodies)
    _make_certificate(place)
    return Ground(place, url, tls_url, tuple(post.id for post in chosen), size_bytes)


def _linked(body: dict[str, Any], post: Post, url: str, size_bytes: int) -> dict[str, Any]:
    signed = f"?mime_type=video_mp4&expire={int(time.time()) + 86_400}&signature={int(post.id):032x}"
    link = f"{url}/m/{post.id}.mp4{signed}"
    return body | {
        "duration": round(_CLIP_S),
        "play": link,
        "hdplay": link,
        "wmplay": link,
        "size": size_bytes,
        "hd_size": size_bytes,
        "wm_size": size_bytes,
    }


def _write_pages(folder: Path, word: str, posts: Sequence[Post], bodies: Bodies) -> None:
    for at in range(0, len(posts), PAGE):
        items = [bodies.item(post, f"search:{word}/{at}") for post in posts[at : at + PAGE]]
        page = {"videos": items, "cursor": at + PAGE, "hasMore": at + PAGE < len(posts)}
        (folder / f"{word}-{at}.json").write_text(json.dumps(page))


def _make_certificate(place: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(place / "key.pem"), "-out", str(place / "cert.pem")],
        check=True,
        capture_output=True,
    )  # fmt: skip


@contextmanager
def _serving(place: Path, port: int) -> Iterator[None]:
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen(
        [program, "-p", str(place), "-c", str(place / "nginx.conf"), "-e", str(place / "error.log")],
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(port, process)
        yield
    finally:
        process.terminate()
        process.wait()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until and process.poll() is None:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), 1)):
            return
        time.sleep(0.02)
    raise RuntimeError("nginx did not start: is it installed (`apt-get install nginx-light`)?")


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(closing(socket.socket())) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
