"""The auditor finds signed links, whatever their case and wherever they lie, and nothing else."""

from __future__ import annotations

import pytest

from clipledger.sim.audit import signed_in


@pytest.mark.parametrize(
    "link",
    [
        b"https://cdn.example/0123456789abcdef0123456789abcdef/65a1b2c3/video/clip.mp4",
        b"https://cdn.example/0123456789ABCDEF0123456789ABCDEF/65A1B2C3/video/clip.mp4",
        b"https://cdn.example/clip?a=1&signature=x",
        b"https://cdn.example/clip?x-Signature=abc",
        b"https://cdn.example/clip?VSignature=abc",
        b"https://cdn.example/clip?x-expires=1700000000",
        b"https://cdn.example/clip?VExpiration=1700000000",
    ],
)
def test_a_signed_link_is_found_among_others(link: bytes) -> None:
    """Each form that the CDN's links take."""
    assert signed_in(b"\0" * 4096 + link + b"\xff" * 4096)


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"her signature= on it",
        b"x-expires=never",
        b"/0123456789abcdef0123456789abcdef/video/clip.mp4",
        b"?signatures",
    ],
)
def test_plain_words_are_no_link(words: bytes) -> None:
    """Words of a link alone are somebody's text."""
    assert not signed_in(words)
