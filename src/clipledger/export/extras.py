"""Optional libraries: one clear line where one is missing. Must not: import one."""

from __future__ import annotations

from importlib.util import find_spec

from clipledger.core.errors import Misconfigured


def require(module: str, extra: str, what: str) -> None:
    """Raise Misconfigured, which names the extra, when `module` is not installed; `what` needs it."""
    if not _is_there(module):
        raise Misconfigured(f"{what} needs an extra: pip install 'clipledger[{extra}]'")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
