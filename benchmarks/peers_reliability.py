"""The same four misfortunes for yt-dlp, gallery-dl and clipledger, on this machine, from one local server each.

    python benchmarks/peers_reliability.py [--venv DIR] [--seed 1]

1. an author named `..`      does anything land outside the archive?
2. a body cut short, sent without Content-Length: is half a file taken for a whole one?
3. the power goes 5 s after the program said it was done, ext4 and XFS mounted as usual: is every file there, whole?
4. two processes on one archive: how many files are fetched twice, and is every file whole?

yt-dlp and gallery-dl come from PyPI into a venv of their own (`--venv`, made when it is not there); they fetch plain
MP4 links, as their `generic` and `directlink` extractors do, with an archive file each. clipledger meets the same in
its simulator. What a program was not made to promise is told all the same: the table is for choosing a tool.
3 needs root and loop devices. Progress goes to stderr, one JSON document to stdout.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from clipledger.sim import media
from process.harness import simulator
from process.killing import audit_of, placed
from process.power import KINDS, NotPermitted, powered

FILES = 20
DONE_S = 5.0
SLOW_S = 0.15

Facts = dict[str, Any]


class Site:
    """A site of plain MP4 links: `/ok/N.mp4`, and `/cut/N.mp4` whose body ends in its middle, without a length."""

    def __init__(self) -> None:
        self.whole: Counter[str] = Counter()
        self.delay_s = 0.0
        site = self

        class Answer(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(body=False)

            def do_GET(self) -> None:
                self._answer(body=True)

            def _answer(self, *, body: bool) -> None:
                content = bytes_of(self.path)
                self.send_response(200)
                self.send_header("Content-Type", "video/mp4")
                cut = self.path.startswith("/cut/")
                if not cut:
                    self.send_header("Content-Length", str(len(content)))
                self.send_header("Connection", "close")
                self.end_headers()
                if not body:
                    return
                half = len(content) // 2
                try:
                    self.wfile.write(content[:half])
                    time.sleep(site.delay_s)
                    if not cut:
                        self.wfile.write(content[half:])
                        site.whole[self.path] += 1
                except OSError:
                    return  # a look that went away

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


def bytes_of(path: str) -> bytes:
    """Give the MP4 of a link: a real clip, a different one each."""
    return media.Sample("amber.mp4", path).body()


class Peer:
    """One of the two programs: how it is told to fetch links into a folder, under an author's name."""

    def __init__(self, name: str, python: Path) -> None:
        self.name, self._python = name, python

    def version(self) -> str:
        """Ask for its version."""
        done = subprocess.run([*self._start(), "--version"], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def _start(self) -> list[str]:
        return [str(self._python), "-m", {"yt-dlp": "yt_dlp", "gallery-dl": "gallery_dl"}[self.name]]

    def command(self, folder: Path, links: list[str], author: str = "alice") -> list[str]:
        """Spell out how a careful user would run it: by author, with an archive file, without a configuration."""
        if self.name == "yt-dlp":
            out = f"{folder}/%(uploader)s/%(id)s.%(ext)s"
            alias = ["--parse-metadata", f"%(none|{author})s:%(uploader)s"]
            return [*self._start(), "--ignore-config", "--no-progress", *alias, "-o", out,
                    "--download-archive", f"{folder}/archive.txt", *links]  # fmt: skip
        named = ["-o", f'keywords={{"author": "{author}"}}', "-o", 'directory=["{author}"]']
        return [*self._start(), "--config-ignore", *named, "-d", str(folder), "--download-archive",
                f"{folder}/archive.sqlite3", *links]  # fmt: skip

    def run(self, folder: Path, links: list[str], author: str = "alice") -> tuple[int, str]:
        """Fetch; give the exit code and the last line said."""
        done = subprocess.run(
            self.command(folder, links, author), capture_output=True, text=True, check=False, cwd=tempfile.gettempdir()
        )
        said = (done.stdout + done.stderr).strip().splitlines()
        return done.returncode, said[-1][:200] if said else ""


def main() -> int:
    """Put each through all four; print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, default=Path(tempfile.gettempdir()) / "clipledger-peers")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    told: Facts = {}
    for name in ("yt-dlp", "gallery-dl"):
        peer = Peer(name, _installed(asked.venv))
        told[name] = {"version": peer.version()}
        for trial in (author_of_dots, cut_body, power_cut, two_at_once):
            with tempfile.TemporaryDirectory(prefix="clipledger-peers-") as place, serving() as site:
                told[name][trial.__name__] = _told(name, trial.__name__, partial(trial, peer, site, Path(place)))
    told["clipledger"] = {
        name: _told("clipledger", name, partial(act, asked.seed))
        for name, act in (
            ("author_of_dots", our_author_of_dots),
            ("cut_body", our_cut_body),
            ("power_cut", our_power_cut),
            ("two_at_once", our_two_at_once),
        )
    }
    print(json.dumps(told, indent=2))
    return 0


def _told(who: str, what: str, act: Callable[[], Facts]) -> Facts:
    try:
        found = act()
    except NotPermitted as why:
        found = {"not tried": str(why)}
    print(f"{who} {what}: {found}", file=sys.stderr, flush=True)
    return found


def _installed(venv: Path) -> Path:
    python = venv / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "yt-dlp", "gallery-dl"], check=True)
    return python


@contextmanager
def serving() -> Iterator[Site]:
    """Serve the site."""
    site = Site()
    try:
        yield site
    finally:
        site.close()


def author_of_dots(peer: Peer, site: Site, place: Path) -> Facts:
    """Fetch one link of an author named `..` into `place/archive`."""
    code, said = peer.run(place / "archive", [f"{site.url}/ok/1.mp4"], "..")
    files = [str(path.relative_to(place)) for path in place.rglob("*.mp4")]
    return {"exit": code, "outside": [f for f in files if not f.startswith("archive/")], "files": files, "said": said}


def cut_body(peer: Peer, site: Site, place: Path) -> Facts:
    """Fetch one link whose body ends in its middle."""
    code, said = peer.run(place, [f"{site.url}/cut/1.mp4"])
    files = {path.name: path.stat().st_size for path in place.rglob("*.mp4")}
    again, _ = peer.run(place, [f"{site.url}/cut/1.mp4"])
    whole = len(bytes_of("/cut/1.mp4"))
    return {
        "exit": code,
        "files": files,
        "whole_bytes": whole,
        "taken_for_whole": bool(files) and code == 0,
        "exit of a second run": again,
        "said": said,
    }


def power_cut(peer: Peer, site: Site, place: Path) -> Facts:
    """Fetch twenty links onto a disk, wait 5 s, cut its power, look."""
    told: Facts = {}
    for kind in KINDS:
        with powered(place, kind, defaults=True) as disk:
            folder, links = disk.mount / "archive", [f"{site.url}/ok/{n}.mp4" for n in range(FILES)]
            code, _ = peer.run(folder, links)
            done = len(list(folder.rglob("*.mp4")))
            time.sleep(DONE_S)
            disk.cut()
            disk.off()
            disk.on()
            told[kind] = {"exit": code, "files when done": done, "whole after the cut": _whole(folder)}
            record = [path for path in (folder / "archive.txt", folder / "archive.sqlite3") if path.exists()]
            told[kind]["its record of them"] = {path.name: path.stat().st_size for path in record}
    return told


def _whole(folder: Path) -> int:
    """Count the files that hold what the site serves."""
    right = {hashlib.sha256(bytes_of(f"/ok/{n}.mp4")).hexdigest() for n in range(FILES)}
    return sum(hashlib.sha256(path.read_bytes()).hexdigest() in right for path in folder.rglob("*.mp4"))


def two_at_once(peer: Peer, site: Site, place: Path) -> Facts:
    """Fetch twenty slow links by one process, then the same by two at the same time into one archive."""
    site.delay_s = SLOW_S
    links = [f"{site.url}/ok/{n}.mp4" for n in range(FILES)]
    peer.run(place / "alone", links)
    alone, _ = sum(site.whole.values()), site.whole.clear()
    folder = place / "both"
    both = [
        subprocess.Popen(
            peer.command(folder, links),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tempfile.gettempdir(),
        )
        for _ in range(2)
    ]
    said = [process.communicate()[0] for process in both]
    errors = [line for text in said for line in text.splitlines() if "error" in line.lower()]
    return {
        "exits": [process.returncode for process in both],
        "bodies sent to one process": alone,
        "bodies sent to two": sum(site.whole.values()),
        "whole files": _whole(folder),
        "errors": len(errors),
        "first error": errors[0][:200] if errors else "",
    }


def our_author_of_dots(seed: int) -> Facts:
    """Name the folder of an author called `..` as the program does."""
    from clipledger.core.layout import author_part, video_key
    from clipledger.core.model import AwemeId

    names, post = ("..", ".", "../../etc", "a/b", "\0"), AwemeId("7387261234567890123")
    keys = {ascii(name): str(video_key("2026-05-29", author_part(name, "6789012345678901234"), post)) for name in names}
    return {"keys": keys, "outside": [key for key in keys.values() if ".." in key.split("/") or key.count("/") != 3]}


def our_cut_body(seed: int) -> Facts:
    """Archive a world whose CDN cuts every body once, without a length."""
    with (
        tempfile.TemporaryDirectory() as place,
        simulator(8, "truncated_unsaid=1", seed=7) as sim,
        placed(Path(place), sim) as ours,
    ):
        first = ours.cli("run", "--max-credits", "20", "--json", code=None)
        files = (
            len([path for path in (ours.folder / "videos").rglob("*.mp4")]) if (ours.folder / "videos").exists() else 0
        )
        return {
            "exit": first.code,
            "taken_for_whole": files,
            "archived": len(ours.ids()),
            "reasons": dict(ours.rows("SELECT last_reason, COUNT(*) FROM archive_queue GROUP BY 1")),
        }


def our_power_cut(seed: int) -> Facts:
    """Archive twenty posts onto a disk, wait 5 s, cut its power, look."""
    told: Facts = {}
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as place, powered(Path(place), kind, defaults=True) as disk:
            (folder := disk.mount / "here").mkdir()
            with simulator(FILES, seed=7) as sim, placed(folder, sim) as ours:
                disk.settle()  # a new archive is copied there by this script, not by the program
                ended = ours.cli("run", "--json")
                time.sleep(DONE_S)
                disk.cut()
                disk.off()
                disk.on()
                verified = ours.cli("verify", code=None)
                told[kind] = {
                    "exit": ended.code,
                    "archived when done": ended.summary["states"]["archived"],
                    "archived after the cut": len(ours.ids()),
                    "verify": verified.code,
                    "judge": audit_of(ours, sim).findings,
                }
    return told


def our_two_at_once(seed: int) -> Facts:
    """Archive a world by two processes at the same time."""
    with (
        tempfile.TemporaryDirectory() as place,
        simulator(FILES, seed=7) as sim,
        placed(Path(place), sim) as ours,
    ):
        from process.harness import Archive

        plain = Archive(ours.folder, ours.env)
        both = [
            subprocess.Popen(plain.command("run", "-q"), env=plain.env, stderr=subprocess.DEVNULL) for _ in range(2)
        ]
        exits = [process.wait() for process in both]
        ours.finish()
        report = audit_of(ours, sim)
        return {
            "exits": exits,
            "posts": report.ids_resolved,
            "resolves": report.resolve_calls,
            "judge": report.findings,
        }


if __name__ == "__main__":
    sys.exit(main())
