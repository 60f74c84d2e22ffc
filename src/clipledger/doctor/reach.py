"""Whether the API's host can be reached: name, TCP, TLS. No call is made and no credit spent.

Must not: send the key, or a request.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from contextlib import suppress
from urllib.parse import urlsplit
from urllib.request import getproxies

from clipledger.core.errors import Misconfigured, Outage
from clipledger.doctor.finding import Finding, green, red
from clipledger.net.hosts import proxy_for

PATIENCE_S = 10.0
_PORTS = {"https": 443, "http": 80}
_LATER = "check the network and firewall; try again later"


async def host(url: str) -> Finding:
    """Connect to the API's host, or to the proxy that stands before it, and hang up."""
    proxy = proxy_for(url, getproxies())
    parts = urlsplit(proxy or url)
    name, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 443)
    where = f"{'the proxy ' if proxy else ''}{name}:{port}"
    tls = ssl.create_default_context() if parts.scheme == "https" and not proxy else None
    began = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE_S):
            version = await _greet(name, port, tls)
    except ssl.SSLCertVerificationError as error:
        told = f"{where}: the certificate is refused: {error.verify_message}"
        next_ = "check the clock; behind an inspecting proxy set SSL_CERT_FILE to its authority"
        return red("api host", told, "no call would be made", next_, Misconfigured(told))
    except (OSError, TimeoutError) as error:
        told = f"{where}: {_why(error)}"
        return red("api host", told, "no call can be made now", _LATER, Outage(told))
    took_ms = (time.perf_counter() - began) * 1000
    return green(
        "api host", f"{where} answers in {took_ms:.0f} ms{version}", "connected and hung up; nothing was asked"
    )


async def _greet(name: str, port: int, tls: ssl.SSLContext | None) -> str:
    _reader, writer = await asyncio.open_connection(name, port, ssl=tls)
    spoken = writer.get_extra_info("ssl_object")
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return f", {spoken.version()}" if spoken is not None else ""


def _why(error: OSError | TimeoutError) -> str:
    if isinstance(error, socket.gaierror):
        return f"the name cannot be looked up: {error.strerror}"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {error.reason}"
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE_S:.0f} s"
    return os.strerror(error.errno) if error.errno else str(error)  # asyncio puts words of its own into strerror
