"""A process that works for hours has other habits than one that looks something up."""

from __future__ import annotations

import gc
import sys

from clipledger.interpreter import suited_to_work


def test_the_interpreter_is_left_as_it_was() -> None:
    """A server that ends its work, but goes on answering, gets its own habits back."""

    before = sys.getswitchinterval(), gc.get_threshold()
    with suited_to_work():
        assert sys.getswitchinterval() < 0.001 and gc.get_freeze_count()
    assert (sys.getswitchinterval(), gc.get_threshold()) == before and not gc.get_freeze_count()
