"""File descriptors: allow this process as many as it needs, and tell when it ran out.

libcurl only says that it cannot connect. Must not: keep one open.
"""

from __future__ import annotations

import os
import resource

_SPARE = 8
"""A connection takes more than one: name look-up, its socket, a twin of it. What failed has given its own back."""


def allow(need: int) -> int:
    """Raise this process's own limit on open files to `need`, as far as it may; give the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= need:
        return need if soft == resource.RLIM_INFINITY else soft
    wanted = need if hard == resource.RLIM_INFINITY else min(need, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def ran_out() -> bool:
    """Open one and look at its number: the kernel gives the lowest that is free."""
    try:
        descriptor = os.open("/", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return True
    os.close(descriptor)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft != resource.RLIM_INFINITY and descriptor >= soft - _SPARE
