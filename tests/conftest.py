"""How much Hypothesis tries (little by default, a lot with CLIPLEDGER_TEST_PROFILE=thorough), and the S3 servers."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from s3_servers import S3Server, credentials, s3_server
from turn import turn

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # begun in the background: our children would ignore Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("fast", deadline=None, max_examples=60)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("CLIPLEDGER_TEST_PROFILE", "fast"))


def pytest_collection_finish() -> None:
    """Leave the modules out of all searches for garbage: a play that crashed makes one, 0.1 s each with them."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the turn, by which the same share is played again: CLIPLEDGER_TEST_TURN."""
    terminalreporter.write_line(f"broken variants and scenarios on servers: the share of turn {turn() or 'none'!r}")


@pytest.fixture(scope="session")
def s3_servers() -> Iterator[Callable[[str], S3Server]]:
    """Give real S3 servers by name, each started once for this process; their credentials are in the environment."""
    running: dict[str, S3Server] = {}
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        for name, value in credentials().items():
            patch.setenv(name, value)

        def get(name: str) -> S3Server:
            if name not in running:
                running[name] = stack.enter_context(s3_server(name))
            return running[name]

        yield get
