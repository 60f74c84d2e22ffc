"""`sim serve`: the simulator alone. Must not: import the archive; a world is up in the blink of an eye."""

from __future__ import annotations

import asyncio

from clipledger.cli.exits import Exit
from clipledger.cli.output import Context
from clipledger.core.errors import UsageError
from clipledger.sim.faults import FaultPlan
from clipledger.sim.server import serve as serve_world


def serve(context: Context, seed: int, posts: int, faults: str, rpm: int, port: int) -> None:
    """Serve one world until it is told to stop."""
    try:
        FaultPlan.parse(faults)
    except ValueError as error:
        raise UsageError(str(error)) from None
    try:
        asyncio.run(serve_world(seed=seed, posts=posts, faults=faults, rpm=rpm, port=port))
    except OSError as error:
        raise UsageError(f"--port {port}: {error.strerror}") from None
    context.exit = Exit.OK
