"""What the operator asked for: the settings in force and the API key.

Must not: show a password or the key, or anything from which either could be guessed.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from clipledger import settings as settings_file
from clipledger.archive import SystemClock
from clipledger.core.errors import Misconfigured
from clipledger.core.model import ApiKey
from clipledger.doctor.finding import Finding, green, red, yellow
from clipledger.net.tiklive import TikLive
from clipledger.net.wire import CurlWire
from clipledger.settings import Settings

_FIX = f"correct it in {settings_file.FILE_NAME} or the environment; docs/reference/settings.md lists every setting"


def settings_of(folder: Path) -> tuple[Settings | None, Finding]:
    """Read the settings; the finding lists what is set, and where."""
    file = folder / settings_file.FILE_NAME
    try:
        settings = settings_file.load(folder)
        set_ = settings_file.origins(folder)
    except Misconfigured as error:
        return None, red("settings", error.detail, "no command that needs the archive can begin", _FIX, error)
    told = [f"{name} = {_shown(settings, name)} ({where})" for name, where in set_.items()]
    found = "; ".join(told) or "all as by default"
    if not os.path.lexists(file):
        return settings, green(
            "settings", found, f"there is no {settings_file.FILE_NAME}: defaults and environment hold"
        )
    return settings, green("settings", found)


def key() -> tuple[ApiKey | None, Finding]:
    """Look for the API key without using it."""
    try:
        found = settings_file.read_key()
    except Misconfigured as error:
        return None, red(
            "api key", error.detail, "nothing can be resolved", "set TIKLIVEAPI_KEY_FILE to a readable file", error
        )
    if found is None:
        means, next_ = (
            "listing and capture cannot begin",
            "set TIKLIVEAPI_KEY, or TIKLIVEAPI_KEY_FILE to a file with it",
        )
        return None, red("api key", "neither TIKLIVEAPI_KEY nor TIKLIVEAPI_KEY_FILE is set", means, next_)
    return found, _key_place()


def base_url(settings: Settings, key: ApiKey | None) -> Finding | None:
    """Say what is wrong with the API's address or the key's form; None when nothing is."""
    try:
        TikLive(
            CurlWire(),
            key or ApiKey("-"),
            settings.api.base_url,
            clock=SystemClock(),
            allow_insecure=settings.cdn.allow_insecure,
        )
    except Misconfigured as error:
        return red("api address", error.detail, "nothing can be resolved", _FIX, error)
    return None


def _key_place() -> Finding:
    if os.environ.get("TIKLIVEAPI_KEY", "").strip():
        return green("api key", "from TIKLIVEAPI_KEY", "whether the API takes it, --online asks")
    name = os.environ["TIKLIVEAPI_KEY_FILE"]
    if Path(name).stat().st_mode & stat.S_IROTH:
        means = "every user of this machine can read the key"
        return yellow("api key", f"from the file {name}", means, f"chmod o-r {name}")
    return green("api key", f"from the file {name}", "whether the API takes it, --online asks")


def _shown(settings: Settings, dotted: str) -> str:
    section, name = dotted.split(".")
    value = getattr(getattr(settings, section), name)
    if dotted == "database.url":
        return value if value.startswith("sqlite:///") and "://" not in value[len("sqlite:///") :] else "***"
    return _without_secrets(value) if isinstance(value, str) else f"{value}"


def _without_secrets(text: str) -> str:
    """Write what may be a URL, and of one with more to it than a place the host at most."""
    scheme, mark, rest = text.partition("://")
    if not mark:
        return "***" if ":" in text and "@" in text else text
    place = re.split("[/?#;]", rest, maxsplit=1)[0]
    if not re.search("[@?#;%]", rest) and (scheme.startswith("http") or ":" not in place):
        return text
    known = f"***@{place.rpartition('@')[2]}/" if "@" in place and rest.count("@") == 1 else ""
    return f"{scheme}://{known}***" if scheme.isalnum() else "***"
