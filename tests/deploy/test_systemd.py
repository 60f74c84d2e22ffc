"""The systemd units: checked by systemd's own tools, and their confinement against what the program really does."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from clipledger.cli.exits import Exit
from clipledger.core.times import parse_duration
from clipledger.worker import GRACE_S
from deploy.commands import check_command, check_settings
from process.harness import archive_for, simulator
from tidy.house import ROOT, none_of

UNITS = ROOT / "deploy" / "systemd"
PROGRAM_PATH = "/opt/clipledger/bin/clipledger"
EXPOSURE_MAX = 1.5
"""What `systemd-analyze security` may say of a unit; 10 is wide open. Measured with systemd 252: 1.1."""

_AFTER_GRACE_S = 15
SERVICES = ("clipledger@.service", "clipledger-verify@.service", "clipledger-janitor@.service")


@cache
def lines(name: str) -> list[tuple[str, str]]:
    """Read a unit as (key, value), in order; sections do not matter here."""
    text = (UNITS / name).read_text(encoding="utf-8")
    return re.findall(r"(?m)^([A-Z]\w+)=(.*)$", text)


def values(name: str, key: str) -> list[str]:
    return [value for known, value in lines(name) if known == key]


def one(name: str, key: str) -> str:
    (value,) = values(name, key)
    return value


def analyze(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run systemd's own judge, or skip loudly."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("NOT TESTED: install systemd (only its tools are used) to have the units checked")
    return subprocess.run([tool, *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The units as they would be installed for an archive `x`, with a program that exists."""
    for path in UNITS.iterdir():
        if path.suffix in (".service", ".timer", ".target"):
            text = path.read_text(encoding="utf-8").replace(PROGRAM_PATH, shutil.which("true") or sys.executable)
            (tmp_path / path.name.replace("@.", "@x.")).write_text(text)
    return tmp_path


@pytest.mark.slow
def test_systemd_takes_the_units(installed: Path) -> None:
    """systemd knows every line of every unit, and has no complaint."""
    told = analyze("verify", *sorted(path.name for path in installed.iterdir()), cwd=installed)
    # It looks for the units beside the ones it is given in the machine's own folders, which is not our affair.
    complaints = [line for line in told.stderr.splitlines() if "clipledger" in line]
    assert told.returncode == 0 and not complaints, told.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_hardly_exposed(installed: Path, name: str) -> None:
    """`systemd-analyze security` gives each service at most 1.5 of 10."""
    unit = name.replace("@.", "@x.")
    told = analyze("security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", f"./{unit}", cwd=installed)
    assert told.returncode == 0, told.stdout[-600:] + told.stderr


def test_the_services_share_one_confinement() -> None:
    """What holds the archiving process holds the sweeps too: the same lines in all three."""
    confining = [key for key, _ in lines(SERVICES[0])]
    first = confining.index("NoNewPrivileges")
    wanted = [line for line in lines(SERVICES[0])[first:] if line[0] not in ("MemoryHigh", "LimitNOFILE", "WantedBy")]
    for name in SERVICES[1:]:
        none_of([f"{key}={value}" for key, value in wanted if (key, value) not in lines(name)], f"not in {name}")


def test_a_service_is_given_time_to_stop() -> None:
    """systemd kills later than the program cuts by itself, and sends the signal that the program heeds."""
    name = SERVICES[0]
    assert one(name, "KillSignal") == "SIGTERM" and one(name, "KillMode") == "mixed"
    assert parse_duration(one(name, "TimeoutStopSec") + "s") >= GRACE_S + _AFTER_GRACE_S


def test_what_trying_again_cannot_mend_is_not_tried_again() -> None:
    """Wrong usage, wrong settings, damage and an archive in use stay down; all that may pass is tried again."""
    name = SERVICES[0]
    final = {int(code) for code in one(name, "RestartPreventExitStatus").split()}
    assert final == {Exit.USAGE, Exit.MISCONFIGURED, Exit.DAMAGED, Exit.IN_USE}
    assert {int(code) for code in one(name, "SuccessExitStatus").split()} == {Exit.UNFINISHED, Exit.INTERRUPTED}
    assert one(name, "Restart") == "on-failure" and one(name, "StartLimitIntervalSec") == "0"


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_speaks_the_language_of_the_program(name: str) -> None:
    """Command lines and settings in the units are ones that the program takes."""
    program, *words = one(name, "ExecStart").split()
    assert program == PROGRAM_PATH
    check_command([word for word in words if word != "$OPTIONS"])
    pairs = [pair for value in values(name, "Environment") for pair in value.split()]
    check_settings(dict.fromkeys(pair.split("=")[0] for pair in pairs if not pair.startswith("OPTIONS=")))
    assert one(name, "AssertPathExists") == "/var/lib/clipledger/%i/.clipledger/uuid"


def test_only_the_service_that_pays_holds_the_key() -> None:
    """The key is a credential of the archiving service: not in its environment, and not handed to the sweeps."""
    assert values(SERVICES[0], "LoadCredential") == ["tiklive-key:/etc/clipledger/%i.key"]
    assert "TIKLIVEAPI_KEY_FILE=%d/tiklive-key" in values(SERVICES[0], "Environment")
    for name in SERVICES[1:]:
        assert values(name, "LoadCredential") == []


def test_every_timer_has_its_service() -> None:
    """No timer starts something that is not there."""
    timers = [path.name for path in UNITS.glob("*.timer")]
    assert sorted(timers) == ["clipledger-janitor@.timer", "clipledger-verify@.timer"]
    for timer in timers:
        assert (UNITS / timer).with_suffix(".service").is_file()
        told = analyze("calendar", one(timer, "OnCalendar"))
        assert told.returncode == 0, told.stderr


_NO_WRITABLE_CODE = """
import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0):  # PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN
    sys.exit(97)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@pytest.mark.slow
def test_the_program_bears_its_confinement(tmp_path: Path) -> None:
    """A whole run makes no system call, opens no kind of socket and asks for no memory that the unit would refuse."""
    if shutil.which("strace") is None:
        pytest.skip("NOT TESTED: install strace to hold the system calls of a run against the unit's filter")
    allowed = _allowed(values(SERVICES[0], "SystemCallFilter"))
    trace = tmp_path / "trace"
    wrap = (sys.executable, "-c", _NO_WRITABLE_CODE, "strace", "-f", "-qq", "-e", "signal=none", "-o", str(trace))
    with simulator(40) as sim:
        env = {"CLIPLEDGER_API__BASE_URL": sim.base_url.replace("127.0.0.1", "localhost")}
        archive = archive_for(tmp_path / "archive", sim, **env)
        archive.cli("add", *sim.names())
        told = archive.cli("--json", "run", code=None, wrap=wrap)
        if told.code == 97:
            wrap = wrap[3:]  # a kernel before 6.3 cannot refuse writable code: the system calls are looked at alone
            told = archive.cli("--json", "run", code=None, wrap=wrap)
    assert told.code in (0, 3), told.err
    assert archive.ids()
    calls = re.findall(r"(?m)^\d+\s+(?:<\.\.\. )?(\w+)[( ]", trace.read_text(errors="replace"))
    assert len(set(calls)) > 30, "the trace was not read"
    none_of(sorted(set(calls) - allowed - {"resumed", "exited", "killed"}), "system calls that the unit refuses")
    families = set(re.findall(r"socket\((AF_\w+)", trace.read_text(errors="replace")))
    none_of(sorted(families - set(one(SERVICES[0], "RestrictAddressFamilies").split())), "kinds of sockets it refuses")


def _allowed(filters: list[str]) -> set[str]:
    """Give the system calls that a unit's filters leave: each line adds, or takes away where it begins with `~`."""
    granted = _calls(["@default"])
    for line in filters:
        named = _calls(line.removeprefix("~").split())
        granted = granted - named if line.startswith("~") else granted | named
    return granted


def _calls(words: list[str]) -> set[str]:
    found: set[str] = set()
    for word in words:
        if not word.startswith("@"):
            found.add(word)
            continue
        told = analyze("syscall-filter", word)
        assert told.returncode == 0, told.stderr
        named = [line.strip() for line in told.stdout.splitlines()[1:]]
        found |= _calls([line for line in named if line and not line.startswith("#")])
    return found
