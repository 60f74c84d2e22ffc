"""Let all engines of one process share what SQLAlchemy compiled: a test process opens hundreds of archives.

Each would compile the same statements anew, an eighth of what a scenario costs. What is compiled depends on nothing but
statement and dialect. Must not: change a statement, or share a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event

from clipledger.db import postgres, sqlite


def share_compiled(patch: pytest.MonkeyPatch) -> None:
    """Have both backends make such engines."""
    for backend in (sqlite, postgres):
        patch.setattr(backend, "create_engine", _sharing(backend.create_engine))


def _sharing(make: Callable[..., Engine]) -> Callable[..., Engine]:
    first: list[Engine] = []

    def made(*words: Any, **settings: Any) -> Engine:
        engine = make(*words, **settings)
        if first:
            engine.dialect, engine._compiled_cache = first[0].dialect, first[0]._compiled_cache
        else:  # a dialect knows its server once it was connected
            event.listen(engine, "first_connect", lambda *_: first or first.append(engine))
        return engine

    return made
