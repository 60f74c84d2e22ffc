"""Discovery sources: one file each. The registry finds every module here that exposes `SOURCE`.

Must not: list them by hand. A new source is a new file; the CLI and the tests pick it up.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from clipledger.sources.kind import SourceKind


@cache
def registry() -> Mapping[str, SourceKind]:
    """Return every kind of source by its name."""
    modules = (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
    found = [module.SOURCE for module in modules if hasattr(module, "SOURCE")]
    kinds = {source.name: source for source in found}
    if len(kinds) < len(found):
        raise ValueError("two sources have one name")
    return MappingProxyType(kinds)


def kind(name: str) -> SourceKind:
    """Return one kind of source; KeyError for a name that no module here has."""
    return registry()[name]
