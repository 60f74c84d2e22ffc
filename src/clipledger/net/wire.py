"""HTTP over libcurl, driven by the running event loop: the only file that knows the HTTP library.

One GET into a sink, with every bound enforced here: time, speed, size, headers, and the address
that is really connected to. Must not: follow redirects, retry, know TikTok or the API, or let a
URL's path or a header's value into an error.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import pycurl

from clipledger import __version__
from clipledger.core.ports import Request, Response, Sink, WireError
from clipledger.net.descriptors import ran_out
from clipledger.net.hosts import is_literal, is_public, proxy_for

GRACE_S = 0.25  # how long after libcurl's own deadline ours strikes
USER_AGENT = f"clipledger/{__version__}"


class CurlWire:
    """`ports.Wire` over libcurl's multi-socket interface: no thread and no polling.

    `connections` bounds the sockets open at once, idle ones included; a request above it waits
    inside its own deadline. `proxy` (a URL, `""` for none) overrides the proxy variables of the
    environment; loopback hosts are never proxied. Behind a proxy the address that is connected to
    is the proxy's: `public_only` then checks literal addresses, the rest is the proxy's to refuse.
    Belongs to the event loop of its first request.
    """

    def __init__(self, *, connections: int = 64, user_agent: str = USER_AGENT, proxy: str | None = None) -> None:
        self._transfers = _Transfers(connections)
        self._idle: list[pycurl.Curl] = []
        self._options = (*_OPTIONS, *_trust(), (pycurl.USERAGENT, user_agent))
        self._proxies = getproxies() if proxy is None else {"all": proxy}

    async def get(self, request: Request, sink: Sink) -> Response:
        """Fetch one body into `sink`; see `ports.Wire` for what it raises."""
        easy = self._idle.pop() if self._idle else pycurl.Curl()
        exchange = _Exchange(easy, request, sink)
        try:
            self._prepare(exchange)
            return exchange.conclude(await self._transfers.run(easy, request.limits.deadline_s))
        finally:
            self._put_back(easy)

    async def close(self) -> None:
        """Abort what is under way (`reset` at its caller) and close every connection."""
        self._transfers.close()
        while self._idle:
            self._idle.pop().close()

    def _prepare(self, exchange: _Exchange) -> None:
        easy, request = exchange.easy, exchange.request
        url = _clean(request.url.reveal(), _URL)
        proxy = proxy_for(url, self._proxies)
        for option, value in self._options:
            easy.setopt(option, value)
        easy.setopt(pycurl.URL, url)
        easy.setopt(pycurl.PROXY, proxy)
        _set_headers(easy, request)
        _set_limits(easy, request)
        exchange.listen()
        if request.public_only:
            exchange.guard(proxied=bool(proxy))

    def _put_back(self, easy: pycurl.Curl) -> None:
        if self._transfers.closed:
            easy.close()
            return
        # Forgets the key, the link and the callbacks; keeps what makes the next request cheap.
        easy.reset()
        self._idle.append(easy)


_OPTIONS: tuple[tuple[int, Any], ...] = (
    (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
    (pycurl.FOLLOWLOCATION, 0),
    (pycurl.NETRC, pycurl.NETRC_IGNORED),
    (pycurl.NOSIGNAL, 1),
    (pycurl.BUFFERSIZE, 256 * 2**10),  # received at a time: all transfers share the one buffer
    (pycurl.TCP_KEEPALIVE, 1),
    (pycurl.PATH_AS_IS, 1),  # a signature covers the path as it is written
    (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
    (pycurl.SSL_VERIFYPEER, 1),
    (pycurl.SSL_VERIFYHOST, 2),
    (pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2),
    (pycurl.NOPROXY, ""),  # decided here, not by the environment
)

_CODES = {
    "dns": (5, 6),  # COULDNT_RESOLVE_PROXY, COULDNT_RESOLVE_HOST
    "connect": (7, 45, 97),  # COULDNT_CONNECT, INTERFACE_FAILED, PROXY
    "tls": (35, 53, 54, 58, 59, 60, 66, 77, 80, 82, 83, 90, 91),  # SSL_..., PEER_FAILED_VERIFICATION
    "reset": (16, 52, 55, 56, 92),  # HTTP2, GOT_NOTHING, SEND_ERROR, RECV_ERROR, HTTP2_STREAM
    "short": (18,),  # PARTIAL_FILE
    "too_large": (63,),  # FILESIZE_EXCEEDED
    "headers": (100, 27),  # TOO_LARGE (OUT_OF_MEMORY before 8.6): a header line over libcurl's own bound
    "refused_address": (42,),  # ABORTED_BY_CALLBACK: nothing else aborts without an exception
}
_KINDS = {code: kind for kind, codes in _CODES.items() for code in codes}
"""CURLE codes by number, as pycurl does not name the newer ones. Any other is `protocol`."""

_URL, _HEADER, _STATUS = re.compile(r"[!-~]+"), re.compile(r"[ -~]*"), re.compile(rb"HTTP/\S+ (\d{3})")
_TELLING = ("dns", "connect", "tls")  # their libcurl text is passed on: it holds a host at most, and people need it


class _Carrier:
    """Keep what a callback raised: pycurl would print and swallow it."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __enter__(self) -> None: ...

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _tb: TracebackType | None
    ) -> bool:
        self.error = self.error or error
        return error is not None


class _Exchange:
    """One GET under way: what has arrived, and what libcurl's callbacks had to say."""

    def __init__(self, easy: pycurl.Curl, request: Request, sink: Sink) -> None:
        self.easy, self.request, self.sink = easy, request, sink
        self._carrier = _Carrier()
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._received = 0
        self._headers_ended = False
        self._status = 0
        self._opened = False
        self._refused = ""
        self._twin: socket.socket | None = None
        self._guarded = self._sent = self._again = False

    def listen(self) -> None:
        """Have libcurl hand over headers and body, and ask before it sends."""
        self.easy.setopt(pycurl.HEADERFUNCTION, self._on_header)
        self.easy.setopt(pycurl.WRITEFUNCTION, self._on_body)
        self.easy.setopt(pycurl.PREREQFUNCTION, self._on_connected)

    def guard(self, *, proxied: bool) -> None:
        """Let nothing but a public address be connected to, or be reused once connected."""
        if proxied:
            _refuse_private_literal(self.request)
            return
        self.easy.setopt(pycurl.OPENSOCKETFUNCTION, self._on_socket)
        self.easy.setopt(pycurl.SOCKOPTFUNCTION, self._on_socket_made)
        self._guarded = True

    def conclude(self, code: int) -> Response:
        """Turn libcurl's verdict into the answer, or raise what went wrong."""
        if self._carrier.error is not None:
            raise self._carrier.error
        if self._again:
            raise WireError("reset", "the connection was closed before an answer came")
        if self._refused and code != pycurl.E_OK:
            raise WireError("refused_address", f"{self._refused} is not a public address")
        if code != pycurl.E_OK:
            raise self._error(code)
        self._open()
        return Response(self._status, self._headers, self._received)

    def _error(self, code: int) -> WireError:
        kind = _KINDS.get(code, "protocol") if code != pycurl.E_OPERATION_TIMEDOUT else self._slowness()
        kind = "descriptors" if kind in ("dns", "connect") and ran_out() else kind
        told = f": {self.easy.errstr()}" if kind in _TELLING else ""
        return WireError(kind, f"curl {code} after {self._received} bytes{told}")

    def _slowness(self) -> str:
        # One code for three bounds: told apart by the clock and by how far the exchange came.
        if self.easy.getinfo(pycurl.TOTAL_TIME) >= self.request.limits.deadline_s:
            return "timeout"
        return "stall" if self.easy.getinfo(pycurl.PRETRANSFER_TIME) else "connect"

    def _open(self) -> None:
        if self._opened:
            return
        if not self._headers_ended or self._status < 200:
            raise WireError("reset", "the answer ended inside its headers")
        self._opened = True
        self.sink.open(Response(self._status, self._headers))

    def _on_header(self, line: bytes) -> int:
        with self._carrier:
            self._read_header(line)
            return len(line)
        return -1

    def _read_header(self, line: bytes) -> None:
        self._header_bytes += len(line)
        if self._header_bytes > self.request.limits.max_header_bytes:
            raise WireError("headers", f"over {self.request.limits.max_header_bytes} bytes")
        if self._opened:
            return  # trailers: the headers are already told
        if line.startswith(b"HTTP/") and (status := _STATUS.match(line)):
            # What came before was interim (1xx), or a proxy's.
            self._status, self._headers, self._headers_ended = int(status[1]), {}, False
            return
        self._headers_ended = self._headers_ended or not line.strip()
        # UTF-8 is what a server sends that does not escape, in a Location above all.
        name, colon, value = line.decode("utf-8", "replace").partition(":")
        if colon:
            self._headers[name.strip().lower()] = value.strip()

    def _on_body(self, chunk: bytes) -> int:
        with self._carrier:
            self._read_body(chunk)
            return len(chunk)
        return -1

    def _read_body(self, chunk: bytes) -> None:
        self._open()
        self._received += len(chunk)
        if self._received > self.request.limits.max_bytes:
            raise WireError("too_large", f"body over {self.request.limits.max_bytes} bytes")
        self.sink.write(chunk)

    def _on_socket(self, _purpose: int, address: Any) -> Any:
        with self._carrier:
            self._twin = self._socket_to(str(address.addr[0]), address)
        return self._twin or pycurl.SOCKET_BAD

    def _socket_to(self, host: str, address: Any) -> socket.socket | None:
        if not is_public(host):
            self._refused = host
            return None
        try:
            # pycurl duplicates the descriptor: this twin is closed in the next callback.
            return socket.socket(address.family, address.socktype, address.protocol)
        except OSError:
            return None  # no IPv6 here, say: libcurl goes on to the next address

    def _on_socket_made(self, descriptor: int, _purpose: int) -> int:
        with self._carrier:
            os.set_inheritable(descriptor, False)  # the duplicate lost its close-on-exec mark
            if self._twin is not None:
                self._twin.close()
            return int(pycurl.SOCKOPT_OK)
        return int(pycurl.SOCKOPT_ERROR)

    def _on_connected(self, address: str, *_ends: object) -> int:
        with self._carrier:
            # libcurl sends a request again by itself when a reused connection breaks: a paid call made twice.
            self._again, self._sent = self._sent and self.request.once, True
            allowed = not self._guarded or is_public(address)
            if not allowed:
                self._refused = address
            if allowed and not self._again:
                return int(pycurl.PREREQFUNC_OK)
        return int(pycurl.PREREQFUNC_ABORT)


class _Transfers:
    """libcurl's multi handle on the event loop.

    libcurl says which sockets and which timer it wants watched; the loop tells it what happened.
    Its callbacks only note wishes: acting from inside one would enter libcurl twice.
    """

    def __init__(self, connections: int) -> None:
        self.closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._running: dict[pycurl.Curl, asyncio.Future[int]] = {}
        self._watched: dict[int, int] = {}
        self._timer: asyncio.Handle | None = None
        self._multi = pycurl.CurlMulti()
        self._multi.setopt(pycurl.M_SOCKETFUNCTION, self._watch)
        self._multi.setopt(pycurl.M_TIMERFUNCTION, self._set_timer)
        self._multi.setopt(pycurl.M_MAXCONNECTS, connections)
        self._multi.setopt(pycurl.M_MAX_TOTAL_CONNECTIONS, connections)

    async def run(self, easy: pycurl.Curl, deadline_s: float) -> int:
        """Carry out one prepared exchange; return its CURLE code. Cancelling ends it at once."""
        if self.closed:
            raise WireError("connect", "the wire is closed")
        self._loop = asyncio.get_running_loop()
        outcome: asyncio.Future[int] = self._loop.create_future()
        self._multi.add_handle(easy)
        self._running[easy] = outcome
        # libcurl before 8.23 forgets the deadline of an exchange that waits for a connection.
        overdue = self._loop.call_later(deadline_s + GRACE_S, self._settle, easy, pycurl.E_OPERATION_TIMEDOUT)
        try:
            return await outcome
        finally:
            overdue.cancel()
            if self._running.pop(easy, None) is not None:
                self._multi.remove_handle(easy)

    def close(self) -> None:
        """End every exchange and give back every descriptor. Idempotent.

        Waits for a name look-up that hangs in the system's resolver, until that gives up.
        """
        if self.closed:
            return
        self.closed = True
        while self._running:
            easy, outcome = self._running.popitem()
            self._multi.remove_handle(easy)
            if not outcome.done():
                outcome.set_exception(WireError("reset", "the wire was closed"))
        self._multi.close()
        for descriptor in list(self._watched):
            self._watch(pycurl.POLL_REMOVE, descriptor)
        self._set_timer(-1)

    def _watch(self, wish: int, descriptor: int, *_rest: object) -> None:
        before, after = self._watched.pop(descriptor, 0), wish & pycurl.POLL_INOUT
        if after:
            self._watched[descriptor] = after
        loop = self._loop
        if loop is None or before == after:
            return
        for event, add, remove in (
            (pycurl.POLL_IN, loop.add_reader, loop.remove_reader),
            (pycurl.POLL_OUT, loop.add_writer, loop.remove_writer),
        ):
            if after & event and not before & event:
                add(descriptor, self._act, descriptor, event)
            elif before & event and not after & event:
                remove(descriptor)

    def _set_timer(self, wait_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wait_ms >= 0 and self._loop is not None:
            self._timer = self._loop.call_later(wait_ms / 1000, self._act, pycurl.SOCKET_TIMEOUT, 0)

    def _act(self, descriptor: int, events: int) -> None:
        self._multi.socket_action(descriptor, events)
        queued = 1
        while queued:
            queued, done, failed = self._multi.info_read()
            for easy in done:
                self._settle(easy, pycurl.E_OK)
            for easy, code, _text in failed:
                self._settle(easy, code)

    def _settle(self, easy: pycurl.Curl, code: int) -> None:
        outcome = self._running.get(easy)
        if outcome is not None and not outcome.done():
            outcome.set_result(code)


def _set_headers(easy: pycurl.Curl, request: Request) -> None:
    lines = []
    for name, secret in request.headers:
        value = _clean(secret.reveal(), _HEADER)
        if name.lower() == "accept-encoding" and value.lower() != "identity":
            easy.setopt(pycurl.ACCEPT_ENCODING, value)  # asked for, so libcurl decodes it
        else:
            lines.append(f"{name}: {value}")
    easy.setopt(pycurl.HTTPHEADER, lines)


def _set_limits(easy: pycurl.Curl, request: Request) -> None:
    limits = request.limits
    easy.setopt(pycurl.TIMEOUT_MS, max(1, round(limits.deadline_s * 1000)))
    easy.setopt(pycurl.CONNECTTIMEOUT_MS, max(1, round(limits.connect_s * 1000)))
    easy.setopt(pycurl.MAXFILESIZE_LARGE, limits.max_bytes)
    if limits.floor_bytes_per_s > 0:
        easy.setopt(pycurl.LOW_SPEED_LIMIT, limits.floor_bytes_per_s)
        easy.setopt(pycurl.LOW_SPEED_TIME, max(1, round(limits.floor_window_s)))


def _clean(text: str, allowed: re.Pattern[str]) -> str:
    """Return `text` if it can be sent: printable ASCII, so that no line can be slipped in."""
    if not allowed.fullmatch(text):
        raise WireError("protocol", "a URL or header with characters that cannot be sent")
    return text


def _trust() -> tuple[tuple[int, str], ...]:
    """Read where certificates are kept out of OpenSSL's own variables; without them libcurl's default holds."""
    file, folder = os.environ.get("SSL_CERT_FILE", ""), os.environ.get("SSL_CERT_DIR", "")
    found = ((pycurl.CAINFO, file),) if file else ()
    return (*found, (pycurl.CAPATH, folder)) if folder and Path(folder).is_dir() else found


def _refuse_private_literal(request: Request) -> None:
    host = urlsplit(request.url.reveal()).hostname or ""
    if is_literal(host) and not is_public(host):
        raise WireError("refused_address", f"{host} is not a public address")
