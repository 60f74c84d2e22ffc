"""What makes a folder an archive: its settings, its database, its UUID.

Must not: open an archive for work (that is `wiring`), or change anything that is there already.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from clipledger import presence
from clipledger import settings as settings_file
from clipledger.core.errors import Misconfigured, StorageFull
from clipledger.core.ports import Clock
from clipledger.db import schema
from clipledger.settings import Settings


def create_archive(folder: Path, clock: Clock) -> bool:
    """Lay down an archive: settings, database, UUID. Changes nothing that is there; says whether it was new."""
    with _cannot_make(folder):
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        file = folder / settings_file.FILE_NAME
        if not file.exists():
            _private(file)
            file.write_text(settings_file.template(), encoding="utf-8")
    name = presence.private_folder(folder) / "uuid"
    if name.exists():
        return False
    url = database_url(folder, settings_file.load(folder))
    if isinstance(url, Path):
        with _cannot_make(folder):
            _private(url)
    # What the database says, not what was just thrown: an earlier init may have died between the two.
    identity = schema.create(url, now=clock.now(), archive_uuid=str(uuid.uuid4()))
    name.write_text(identity + "\n", encoding="ascii")
    return True


def identity_of(folder: Path) -> str:
    """Read the archive's UUID; Misconfigured where there is no archive."""
    try:
        return (folder / presence.PRIVATE / "uuid").read_text(encoding="ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        raise Misconfigured(
            f"no archive in {folder}: name its folder with --archive or CLIPLEDGER_ARCHIVE, "
            f"or run `clipledger init {folder}` first"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{folder}: cannot read the archive's UUID: {error}") from None


def database_url(folder: Path, settings: Settings) -> str | Path:
    """Give the database: a SQLite file's path, made absolute in the archive folder, or another URL."""
    url = settings.database.url
    head, name = "sqlite:///", url.removeprefix("sqlite:///")
    return folder.resolve() / name if url.startswith(head) else url


@contextmanager
def _cannot_make(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageFull(f"cannot make an archive in {folder}: {error.strerror}") from error


def _private(file: Path) -> None:
    """Make an empty file that others cannot read, whatever the umask; leave one that is there as it is."""
    with suppress(FileExistsError):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
        with suppress(PermissionError):  # FAT and its kin have no modes to set
            file.chmod(0o640)
