"""What a host or an address is, told from its text alone: public, loopback, or behind a proxy.

Must not: look up a name or open anything.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

_UNICAST_V6 = IPv6Network("2000::/3")
"""All of IPv6 that is handed out as public unicast (RFC 4291)."""

_SPECIAL = (IPv4Network("192.0.0.0/24"), IPv6Network("3fff::/20"))
"""Set aside by RFC 6890 (a cloud hands out credentials there) and RFC 9637; Python 3.11 takes them for global."""

_EMBEDDINGS = (
    (IPv6Network("::ffff:0:0/96"), 0),  # IPv4-mapped, RFC 4291
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052
    (IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056
)
"""IPv6 that leads to an IPv4 address, and how many bits stand below that address."""


def is_public(address: str) -> bool:
    """Say whether an address is global unicast, whatever it is wrapped in.

    Raises ValueError when it is no address.
    """
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        parsed = _embedded(parsed) or parsed
    if any(parsed in network for network in _SPECIAL):
        return False
    unicast = not parsed.is_multicast if isinstance(parsed, IPv4Address) else parsed in _UNICAST_V6
    return unicast and parsed.is_global


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine by its very text. IPv6 comes without brackets."""
    return host == "localhost" or (is_literal(host) and ip_address(host).is_loopback)


def is_literal(host: str) -> bool:
    """Say whether a host is an IP address in its ordinary form."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def proxy_for(url: str, proxies: dict[str, str]) -> str:
    """Pick the proxy of a URL out of `proxies` (by scheme, then `all`); '' when it goes direct.

    `no_proxy` is obeyed, and loopback is never proxied. A text that is no URL goes direct: whoever opens it says so.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    host = parts.hostname or ""
    if not proxies or is_loopback(host) or proxy_bypass(host):
        return ""
    return proxies.get(parts.scheme) or proxies.get("all", "")


def _embedded(address: IPv6Address) -> IPv4Address | None:
    for network, below in _EMBEDDINGS:
        if address in network:
            return IPv4Address(int(address) >> below & 0xFFFF_FFFF)
    return None
