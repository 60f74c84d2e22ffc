"""What may be a key: one rule for every store.

Must not: build keys (that is `core.layout`) or touch a disk.
"""

from __future__ import annotations

_NAME_BYTES_MAX = 255  # NAME_MAX of every common file system
_KEY_BYTES_MAX = 1024  # the limit of S3, the smallest of the clouds
_OWN_FILES = "clipledger."  # clipledger.toml, clipledger.db and its -wal and -shm share the top folder


def key_parts(key: str) -> tuple[str, ...]:
    """Split a key into its names; ValueError when it is none.

    A key is relative UTF-8 text of at most 1024 bytes. Its names have 1-255 bytes, hold no NUL and
    do not begin with a dot: so no `..`, and nothing that is private to the archive.
    """
    parts = tuple(key.split("/"))
    if not all(map(is_name, parts)) or is_private(parts[0]) or len(key.encode()) > _KEY_BYTES_MAX:
        raise ValueError(f"not a key: {key!r}")
    return parts


def is_key(key: str) -> bool:
    """Tell whether `key_parts` takes it."""
    try:
        key_parts(key)
    except ValueError:
        return False
    return True


def prefix_parts(prefix: str) -> tuple[tuple[str, ...], str]:
    """Split a prefix into its whole folders and the start of the next name; ValueError as for a key."""
    folders, slash, start = prefix.rpartition("/")
    if start and not is_name(start):
        raise ValueError(f"not a prefix: {prefix!r}")
    return (key_parts(folders) if slash else ()), start


def is_name(name: str) -> bool:
    """Tell whether one name of a key is allowed."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:  # a file name that is no UTF-8
        return False
    return 0 < length <= _NAME_BYTES_MAX and not name.startswith(".") and "\0" not in name


def is_private(name: str) -> bool:
    """Tell whether a name in the top folder is the archive's own and never an object."""
    return name.startswith((".", _OWN_FILES))
