"""Which addresses are public, and which URLs go through a proxy."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.net.hosts import is_loopback, is_public, proxy_for

NOT_PUBLIC = """
0.0.0.0 10.1.2.3 100.64.0.1 127.0.0.1 127.8.8.8 169.254.169.254 172.16.0.1 192.0.0.8 192.0.2.1
192.168.1.1 198.18.0.1 203.0.113.9 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 192.0.0.192 3fff::1 ::
::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::a00:1 64:ff9b:1::1 2002:7f00:1::
2002:a00:1::1 2001::1 2001:db8::1 fc00::1 fd12::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1 4000::1
"""


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_nothing_but_public_unicast_passes(address: str) -> None:
    """This machine, its network, clouds' metadata services and addresses for no one host are not public."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "23.40.1.1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111"])
def test_public_unicast_passes(address: str) -> None:
    """Addresses of the open internet are public, in either family and as NAT64 writes them."""
    assert is_public(address)


@given(st.integers(0, 2**32 - 1))
def test_a_wrapped_address_is_judged_by_what_is_inside(number: int) -> None:
    """No way of writing an IPv4 address inside an IPv6 one changes the verdict on it."""
    plain = is_public(str(IPv4Address(number)))
    for wrapped in (0xFFFF << 32 | number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80 | 5):
        assert is_public(str(IPv6Address(wrapped))) == plain


def test_loopback_is_known_by_its_text() -> None:
    """`localhost` and loopback addresses are this machine; a name that merely looks like one is not."""
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1"))
    assert not any(is_loopback(host) for host in ("localhost.evil.com", "127.0.0.1.evil.com", "127.1", "10.0.0.1", ""))


def test_a_proxy_is_picked_by_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of the URL's scheme is used, else the one for all; `no_proxy` and loopback go direct."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "inside.example")
    proxies = {"https": "http://secure:1", "all": "http://any:2"}
    assert proxy_for("https://outside.example/x", proxies) == "http://secure:1"
    assert proxy_for("http://outside.example/x", proxies) == "http://any:2"
    assert proxy_for("https://inside.example/x", proxies) == ""
    assert proxy_for("http://127.0.0.1:80/x", proxies) == ""
    assert proxy_for("https://outside.example/x", {}) == ""
