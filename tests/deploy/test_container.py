"""The container image: its definition is linted, its build steps are carried out, its process is held to its limits."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deploy.image import DOCKERFILE, Image, build_once, final, sent, stages
from process.harness import KEY, RPM, Archive, plain_environment, simulator, wait_until
from tidy.house import ROOT, none_of, pyproject

UID = 10001
HEALTHCHECK = ROOT / "deploy" / "container" / "healthcheck.py"
_PIN = re.compile(r"(?m)^([A-Za-z0-9._-]+)==(\S+)")


def pins(name: str) -> dict[str, str]:
    """Read the names and versions that a lock file pins."""
    found = _PIN.findall((ROOT / name).read_text(encoding="utf-8"))
    return {_canonical(package): version for package, version in found}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The image's build stage, carried out once for all workers of a test session."""
    shared = tmp_path_factory.getbasetemp()
    return build_once((shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "clipledger-image")


def test_the_dockerfile_is_clean() -> None:
    """hadolint has nothing to say about the image definition."""
    linter = Path(sys.executable).parent / "hadolint"
    told = subprocess.run([linter, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)
    assert told.returncode == 0 and not told.stdout, told.stdout + told.stderr


def test_the_image_runs_as_nobody_in_particular() -> None:
    """The process has a fixed number, no root, its own signal handling, a health check and labels."""
    assert final("USER") == [f"{UID}:{UID}"]
    assert final("STOPSIGNAL") == ["SIGTERM"]
    assert json.loads(final("VOLUME")[0]) == ["/archive"]
    assert json.loads(final("ENTRYPOINT")[0]) == ["/opt/clipledger/bin/clipledger"]
    (check,) = final("HEALTHCHECK")
    assert check.endswith('CMD ["/opt/clipledger/bin/python", "/opt/clipledger/healthcheck.py", "9464"]')
    assert final("EXPOSE") == ["9464"] and '"--metrics-port", "9464"' in final("CMD")[0]
    assert all(f"org.opencontainers.image.{name}=" in final("LABEL")[0] for name in ("title", "licenses", "version"))


def test_the_base_image_is_pinned() -> None:
    """The image starts from one exact release of Python, the one the lock files were made with."""
    (base,) = (step.text for step in stages()[0] if step.word == "ARG")
    tag = re.fullmatch(r"PYTHON_IMAGE=docker\.io/library/python:(\d+\.\d+)\.\d+-slim-bookworm", base)
    assert tag is not None, base
    assert {stage[0].text for stage in stages()[1:]} == {"${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"}
    for lock in ("requirements-deploy.lock", "requirements-build.lock"):
        assert f"pip-compile with Python {tag[1]}\n" in (ROOT / lock).read_text(encoding="utf-8"), lock


def test_nothing_private_goes_to_the_builder() -> None:
    """Archives, keys, the history and the tests stay out of the build: the list of what may go is short."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"
    none_of([name for name in sent() if not (ROOT / name).exists()], "names in .dockerignore that do not exist")
    copied = [word for stage in stages() for step in stage if step.word == "COPY" for word in step.text.split()[:-1]]
    files = [word for word in copied if not word.startswith(("--from", "/"))]
    none_of([name for name in files if name not in sent()], "files that the builder does not get")


def test_the_locks_pin_what_the_image_needs() -> None:
    """Each dependency of the program and of the extras in the image is pinned, and the build tools apart from them."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    listed = re.search(r"(?m)^DEPLOY_EXTRAS := (.+)$", makefile)
    assert listed is not None
    project = pyproject()["project"]
    wanted = list(project["dependencies"])
    for extra in listed[1].split():
        wanted += project["optional-dependencies"].get(extra, [])
    names = {_canonical(re.split(r"[<>=!~;\[ ]", line, maxsplit=1)[0]) for line in wanted} - {"clipledger"}
    none_of(sorted(names - pins("requirements-deploy.lock").keys()), "not in requirements-deploy.lock: `make lock`")
    build = {_canonical(re.split(r"[<>=]", line)[0]) for line in pyproject()["build-system"]["requires"]}
    assert build <= pins("requirements-build.lock").keys()
    assert not {"pytest", "mypy", "ruff"} & pins("requirements-deploy.lock").keys()


@pytest.mark.slow
def test_the_image_holds_what_its_lock_pins(image: Image) -> None:
    """The build steps of the image work, and install the pinned packages and nothing else: no pip, no test tools."""
    found = subprocess.run(
        [sys.executable, "-m", "pip", "--python", image.home / "bin" / "python", "list", "--format=json"],
        capture_output=True,
        text=True,
        check=True,
    )
    installed = {_canonical(row["name"]): row["version"] for row in json.loads(found.stdout)}
    installed.pop("clipledger")
    installed.pop("pip", None)  # pip lists itself when it is run from outside
    assert installed == pins("requirements-deploy.lock")
    assert not list((image.home / "bin").glob("pip*"))


@pytest.mark.slow
def test_the_wheel_is_whole(image: Image) -> None:
    """The wheel carries the simulator's clips, the migrations and the type marker, and no tests."""
    names = set(zipfile.ZipFile(image.wheel).namelist())
    package = ROOT / "src" / "clipledger"
    kept = {
        f"clipledger/{path.relative_to(package)}"
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".pyo")
    }
    assert kept <= names, sorted(kept - names)
    assert any(name.startswith("clipledger/sim/media/") or name.endswith(".mp4") for name in names)
    assert any(re.fullmatch(r"clipledger/db/migrations/versions/\d+_\w+\.py", name) for name in names)
    assert not {name for name in names if name.startswith(("tests/", "docs/"))}


@pytest.mark.slow
def test_the_demo_plays_from_the_wheel(image: Image, tmp_path: Path) -> None:
    """Whoever installs the wheel alone, without the test tools, can play the demo, and its auditor is content."""
    env = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    done = subprocess.run(
        [image.program, "demo", tmp_path / "demo", "--posts", "30"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((tmp_path / "demo" / "videos").rglob("*.mp4"))


_CONFINED = """
mount --make-rprivate /
mount -t tmpfs -o mode=0755 tmpfs /mnt
mkdir /mnt/clipledger /mnt/archive /mnt/python
mount --bind "$1" /mnt/clipledger
mount --bind "$2" /mnt/archive
mount --bind "$3" /mnt/python
if [ -n "$4" ]; then  # the interpreter stands in a folder that is closed to others
    mount -t tmpfs -o mode=0755 tmpfs "$4"
    mkdir -p "$3"
    mount --bind /mnt/python "$3"
fi
shift 4
for place in $(awk '{print $2}' /proc/self/mounts); do
    case $place in
        /mnt/clipledger | /mnt/python) mount -o remount,bind,ro "$place" ;;
        /proc*|/sys*|/dev*|/mnt/*) ;;  # of the kernel, the archive, or hidden by the tmpfs above
        *) mount -o remount,bind,ro "$place" ;;
    esac
done
cd /mnt/archive
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""


def _confined(image: Image, folder: Path, env: dict[str, str], *words: str) -> list[str]:
    """Spell out a command in the image: process 1, no capability, no new one, everything but the archive read-only."""
    inner = ["env", "-i", *(f"{name}={value}" for name, value in env.items())]
    inner += ["/mnt/clipledger/bin/python", "-m", "clipledger", *words]
    names = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    return [*names, "sh", "-ec", _CONFINED, "sh", str(image.home), str(folder), sys.base_prefix, _closed(), *inner]


def _closed() -> str:
    """Name the folder at the top of the tree that keeps other users from this interpreter; empty when none does."""
    above = Path(sys.base_prefix).parents
    return "/" + Path(sys.base_prefix).parts[1] if any(not path.stat().st_mode & 0o001 for path in above) else ""


def _may_confine() -> bool:
    tools = all(shutil.which(name) for name in ("unshare", "setpriv", "mount", "awk"))
    return (
        tools and os.getuid() == 0 and subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"]).returncode == 0
    )


@pytest.mark.slow
@pytest.mark.root
def test_the_process_needs_only_its_archive(image: Image, tmp_path: Path) -> None:
    """As process 1, without root, home or capabilities, on a read-only root: it archives, and SIGTERM ends it: 130."""
    if not _may_confine():
        pytest.skip("NOT TESTED: run as root with util-linux, where mount namespaces are allowed, to confine a process")
    folder = tmp_path / "archive"
    folder.mkdir(mode=0o750)
    os.chown(folder, UID, UID)
    with simulator(40) as sim:
        env = {
            "PATH": os.defpath,
            "CLIPLEDGER_ARCHIVE": "/mnt/archive",
            "PYTHONDONTWRITEBYTECODE": "1",
            "TIKLIVEAPI_KEY": KEY,
            "CLIPLEDGER_API__BASE_URL": sim.base_url,
            "CLIPLEDGER_API__REQUESTS_PER_MINUTE": str(RPM),
            "CLIPLEDGER_CDN__ALLOW_INSECURE": "true",
        }
        for words in (("init",), ("add", *sim.names())):
            done = subprocess.run(_confined(image, folder, env, *words), capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
        archive = Archive(folder, plain_environment())
        told = tmp_path / "told"  # a file: a pipe that nobody reads would fill, and hold the program up
        words = _confined(image, folder, env, "--json", "run", "--follow")
        with told.open("wb") as out, subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT) as process:
            try:
                wait_until(lambda: process.poll() is not None or _all_done(archive), 60)
                assert process.poll() is None, told.read_text()
                os.kill(_child_of(process.pid), signal.SIGTERM)
                assert process.wait(timeout=30) == 130, told.read_text()
            finally:
                process.kill()
        assert json.loads(told.read_text().splitlines()[-1])["exit"] == "interrupted"
        assert archive.ids() and {path.stat().st_uid for path in folder.rglob("*")} == {UID}
        archive.audited(sim)


def _all_done(archive: Archive) -> bool:
    return bool(archive.ids()) and not any(archive.ids(state) for state in ("pending", "running", "stored"))


@pytest.mark.slow
@pytest.mark.root
def test_process_1_hears_sigterm_in_every_command(image: Image, tmp_path: Path) -> None:
    """The kernel would drop SIGTERM for process 1: here it ends any command with 130, long before the engine kills."""
    if not _may_confine():
        pytest.skip("NOT TESTED: run as root with util-linux, where mount namespaces are allowed, to confine a process")
    os.chown(tmp_path, UID, UID)
    env = {"PATH": os.defpath, "CLIPLEDGER_ARCHIVE": "/mnt/archive", "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(_confined(image, tmp_path, env, "init"), check=True, capture_output=True, timeout=60)
    waiting = _confined(image, tmp_path, env, "add", "--batch-file", "-")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(waiting, **pipes) as process:  # type: ignore[call-overload]
        try:
            wait_until(lambda: _heeds(process.pid, signal.SIGTERM))
            os.kill(_child_of(process.pid), signal.SIGTERM)
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()


def _heeds(parent: int, number: int) -> bool:
    try:
        status = Path(f"/proc/{_child_of(parent)}/status").read_text()
    except (ValueError, OSError):
        return False
    caught = int(re.search(r"SigCgt:\s+(\w+)", status)[1], 16)  # type: ignore[index]
    return bool(caught >> (number - 1) & 1)


def _child_of(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


class _Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" and self.server.well else 503)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def metrics() -> Iterator[HTTPServer]:
    with HTTPServer(("127.0.0.1", 0), _Metrics) as server:
        server.well = True  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_the_health_check_tells_well_from_ill(metrics: HTTPServer) -> None:
    """The container is healthy while the metrics answer, and not when they are refused or nobody listens."""

    def code(port: int) -> int:
        return subprocess.run([sys.executable, "-I", HEALTHCHECK, str(port)], timeout=20, check=False).returncode

    assert code(metrics.server_port) == 0
    metrics.well = False  # type: ignore[attr-defined]
    assert code(metrics.server_port) == 1
    assert code(1) == 1
