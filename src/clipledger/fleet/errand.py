"""What a seat is told to run: which archive, which command, with which settings and secrets.

Handed over in memory and into the environment of the process, never on a command line and never to disk:
the database's URL may hold a password. Must not: start anything.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clipledger import __version__, presence
from clipledger.core.errors import Misconfigured
from clipledger.settings import Settings, env_name, keys

_SECRETS = ("TIKLIVEAPI_KEY", "TIKLIVEAPI_KEY_FILE")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Errand:
    """One command on one archive. `environment` may hold secrets; `movable`: any machine may do it."""

    words: tuple[str, ...]
    uuid: str
    folder: str
    machine: str
    movable: bool
    environment: Mapping[str, str] = field(repr=False)
    version: str = __version__


def errand_for(folder: Path, uuid: str, settings: Settings, words: tuple[str, ...]) -> Errand:
    """Describe a command on an archive of this machine. The API's key goes along when this process has it."""
    told = _told(settings) | {name: os.environ[name] for name in _SECRETS if name in os.environ}
    return Errand(words, uuid, str(folder.resolve()), machine(), is_movable(settings), told)


def is_movable(settings: Settings) -> bool:
    """Say whether other machines can reach what the archive is made of: a database server and a bucket."""
    store, database = settings.storage.url.partition("://"), settings.database.url.partition("://")
    return bool(database[1]) and database[0] != "sqlite" and bool(store[1]) and store[0] not in ("file", "memory")


def machine() -> str:
    """Tell machines apart: the id that the kernel drew when it started, else the host's name."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return os.uname().nodename


def place(errand: Errand) -> Path:
    """Give the archive folder to work from on this machine, made when it is not there.

    The archive's own folder where it can be seen; elsewhere one that holds the UUID, the locks and the
    spool, shared by all seats of the machine, so that each sees at once which of its neighbours died.
    Raises Misconfigured when the errand cannot be done here.
    """
    if errand.version != __version__:
        raise Misconfigured(
            f"clipledger {__version__} on {os.uname().nodename}, {errand.version} where the fleet was started: "
            "install the same on every machine"
        )
    own = Path(errand.folder)
    if errand.machine == machine() and _identity(own) == errand.uuid:
        return own
    if not errand.movable:
        raise Misconfigured(
            f"{os.uname().nodename} cannot reach the archive in {own}: SQLite and a folder hold for one machine; "
            "for several set database.url to postgresql://... and storage.url to s3://... (see run-a-fleet)"
        )
    folder = _state_folder() / "clipledger" / "fleet" / errand.uuid
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (found := folder.stat()).st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise Misconfigured(f"{folder} belongs to somebody else or others may write to it: remove it")
    name = presence.private_folder(folder) / "uuid"
    if _identity(folder) != errand.uuid:
        draft = name.with_name(f"uuid.{os.getpid()}")
        draft.write_text(errand.uuid + "\n", encoding="ascii")
        draft.replace(name)
    return folder


def environment_for(errand: Errand) -> dict[str, str]:
    """Give the environment of the errand's process: this machine's, with what was handed over on top."""
    return {**os.environ, **errand.environment}


def _identity(folder: Path) -> str | None:
    try:
        return (folder / presence.PRIVATE / "uuid").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _state_folder() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


def _told(settings: Settings) -> dict[str, str]:
    """Spell every setting that is not the default as a variable of the environment."""
    chosen = settings.model_dump(mode="json")
    told = {}
    for dotted, default, _ in keys():
        section, name = dotted.split(".")
        value = chosen[section][name]
        if value != default:
            told[env_name(dotted)] = value if isinstance(value, str) else _spelt(value)
    return told


def _spelt(value: object) -> str:
    return "none" if value is None else json.dumps(value)
