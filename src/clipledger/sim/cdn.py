"""The CDN: signed links in, bytes out, and every way in which the bytes are not what they should be.

Must not: need a table of links, or treat a dead post's valid link differently from a living one's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from clipledger.sim import files
from clipledger.sim.dice import pick, roll
from clipledger.sim.faults import Door
from clipledger.sim.links import Presented
from clipledger.sim.media import MP3, MP4, Sample, vital_cut
from clipledger.sim.population import Post
from clipledger.sim.reply import Ask, Ending, FileRef, Framing, Headers, Reply
from clipledger.sim.scene import Scene

PAGE = b"<!DOCTYPE html><html><head><title>Access Denied</title></head><body><h1>Access Denied</h1></body></html>"
DENIED_370 = (
    b"<HTML><HEAD>\n<TITLE>Access Denied</TITLE>\n</HEAD><BODY>\n<H1>Access Denied</H1>\n".ljust(351)
    + b"\n</BODY>\n</HTML>\n\n\n"
)
ERROR_385 = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code><Message>'.ljust(367)
    + b"</Message></Error>"
)
_PRIVATE_TARGETS = ("http://169.254.169.254/latest/meta-data/", "http://10.0.0.8/video.mp4", "http://[::1]:22/v.mp4")
_RELATIVE = re.compile(r"/video/media/(play|wmplay|hdplay)/(\d{15,20})\.mp4")
_QUALITIES = {"play": "standard", "wmplay": "watermarked", "hdplay": "hd"}


@dataclass(frozen=True, slots=True)
class _Fetch:
    """One fetch of one file, past the gate."""

    scene: Scene
    ask: Ask
    post: Post
    ref: FileRef
    sample: Sample
    nth: int

    def right(self) -> Reply:
        """Return the file as it should be."""
        return Reply(200, _typed(self.sample.media_type), self.sample.body(), receipt=self.ref)

    def wrong(self, **changes: object) -> Reply:
        """Return the file, spoiled: no receipt."""
        return self.right().but(receipt=None, **changes)

    def amount(self, name: str) -> float:
        """Return how much of a fault the plan wants."""
        return self.scene.plan.amount(name)

    def roll(self, what: str) -> float:
        """Roll for this very fetch."""
        return roll(self.scene.seed, what, self.ref, self.nth)


class Cdn:
    """Answers fetches of one scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def presented(self, ask: Ask) -> Presented | None:
        """Read which file a request means; None when it is not for the CDN, or names nothing."""
        if found := _RELATIVE.fullmatch(ask.path):
            return Presented(self._relative(found[1], found[2]), True, None, True)
        split = self._scene.signer.split(ask)
        return self._scene.signer.judge(ask, split[1]) if split else None

    def concerns(self, ask: Ask) -> bool:
        """True when a request is for the CDN."""
        return ask.path.startswith("/video/media/") or self._scene.signer.split(ask) is not None

    def answer(self, ask: Ask) -> Reply:
        """Answer one fetch."""
        if "x-api-key" in ask.headers:
            self._scene.ledger.key_leaks += 1
        presented = self.presented(ask)
        post = self._scene.population.find(presented.ref.id) if presented else None
        if presented is None or post is None or not files.has(post, presented.ref):
            return Reply(404, _HTML, PAGE, door="cdn", draw=ask.path)
        nth = self._scene.nth("cdn", repr(presented.ref))
        return self._gated(ask, presented, post, nth).but(door="cdn", draw=f"{presented.ref}/{nth}")

    def _gated(self, ask: Ask, presented: Presented, post: Post, nth: int) -> Reply:
        spared = self._scene.patient(post.id)
        faults = self._scene.struck(Door.CDN, presented.ref, nth)
        self._scene.ledger.fetches[presented.ref.kind] += 1
        if not _browserly(ask):
            return Reply(403, _HTML, DENIED_370)
        expired = presented.dead_from is not None and self._scene.now() > presented.dead_from
        if expired or not presented.genuine:
            return _refusal(roll(self._scene.seed, "refusal", presented.ref, nth), "expired_lies" in faults)
        smaller = "hd_smaller" in self._scene.struck(Door.HD, post.id)
        sample = files.sample(post, presented.ref, hd_smaller=smaller)
        fetch = _Fetch(self._scene, ask, post, presented.ref, sample, nth)
        if presented.detour:
            faults -= {"redirect"}
        return _spoiled(fetch, faults & _MILD if spared else faults)

    def _relative(self, word: str, post_id: str) -> FileRef:
        quality = _QUALITIES[word]
        post = self._scene.population.find(post_id)
        if quality == "watermarked" and post and files.wm_is_play(post):
            quality = "standard"
        return FileRef(post_id, "video", quality)


def _spoiled(fetch: _Fetch, faults: frozenset[str]) -> Reply:
    if "one_post_cdn_429" in fetch.scene.struck(Door.POST, fetch.post.id):
        return Reply(429, _HTML, b"")
    if fetch.ref.rendition == "hd":
        for name in _HD_FAULTS.keys() & fetch.scene.struck(Door.HD, fetch.post.id):
            spoiled = _HD_FAULTS[name](fetch)
            if spoiled:
                return spoiled
    for name, change in _CDN_FAULTS.items():
        if name in faults:
            spoiled = change(fetch)
            if spoiled:
                if name not in _MILD:
                    fetch.scene.failed(fetch.post.id)
                return spoiled
    return fetch.right()


def _refusal(unit: float, lies: bool) -> Reply:
    """Write what an expired or unsigned link gives: 403, unless it lies."""
    honest = (Reply(403, _HTML, DENIED_370), Reply(403, _HTML, DENIED_370), Reply(403, _HTML, b""))
    lying = (Reply(200, _typed(MP4), b""), Reply(200, _HTML, PAGE), Reply(200, _typed(MP4), ERROR_385))
    return pick(lying if lies else honest, unit)


def _browserly(ask: Ask) -> bool:
    """True for the headers that a browser on tiktok.com sends; others are turned away."""
    agent, referer = ask.headers.get("user-agent", ""), ask.headers.get("referer", "")
    return agent.startswith("Mozilla/") and referer.startswith("https://www.tiktok.com/")


def _typed(media_type: str) -> Headers:
    return (("Content-Type", media_type), ("Cache-Control", "max-age=604800"), ("X-Cache", "TCP_HIT"))


_HTML = _typed("text/html")


def _half(fetch: _Fetch) -> int:
    return max(1, fetch.sample.size_bytes // 2)


def _hd_429(fetch: _Fetch) -> Reply | None:
    return Reply(429, _HTML, b"") if fetch.nth < fetch.amount("hd_429") else None


def _first_404(fetch: _Fetch) -> Reply | None:
    return Reply(404, _HTML, PAGE) if fetch.nth == 0 else None


def _as_sound(fetch: _Fetch) -> Reply | None:
    if fetch.ref.kind == "audio":
        return None
    return Reply(200, _typed(fetch.sample.media_type), Sample("tune.mp3", fetch.sample.stamp).body())


def _placeholder(fetch: _Fetch) -> Reply | None:
    return _in_place_of_video(fetch, "coral.mp4")


def _placeholder_fits(fetch: _Fetch) -> Reply | None:
    return _in_place_of_video(fetch, fetch.sample.name.replace("-hd", ""))


def _in_place_of_video(fetch: _Fetch, name: str) -> Reply | None:
    if fetch.ref.kind != "video":
        return None
    return Reply(200, _typed(MP4), Sample(name, "placeholder").body())


def _truncated_unsaid(fetch: _Fetch) -> Reply | None:
    if fetch.sample.media_type == MP3:
        return None  # nobody could tell: an MP3 does not say how long it is
    return fetch.wrong(framing=Framing.CLOSE, cut=fetch.sample.size_bytes - 1 - int(fetch.roll("cut") * _half(fetch)))


def _cut_at_box(fetch: _Fetch) -> Reply | None:
    if fetch.sample.media_type != MP4:
        return None
    return fetch.wrong(framing=Framing.CLOSE, cut=vital_cut(fetch.sample.body()))


def _redirect(fetch: _Fetch) -> Reply:
    return Reply(302, (("Location", fetch.scene.signer.detour(fetch.ask)),), b"")


def _redirect_private(fetch: _Fetch) -> Reply:
    return Reply(302, (("Location", pick(_PRIVATE_TARGETS, fetch.roll("target"))),), b"")


def _fat_headers(fetch: _Fetch) -> Reply:
    lines = int(fetch.amount("fat_headers") // 1000) + 1
    extra = tuple((f"X-Trace-{k}", "f" * 980) for k in range(lines))
    return fetch.wrong(headers=(*_typed(fetch.sample.media_type), *extra))


def _endless(fetch: _Fetch) -> Reply:
    body = fetch.sample.body()
    repeat = int(fetch.amount("endless") * 2**20 // len(body)) + 1
    return fetch.wrong(body=body, repeat=repeat, framing=Framing.CLOSE)


def _wrong_type(fetch: _Fetch) -> Reply:
    lie = pick(("video/mp4", "application/octet-stream", "text/plain", "image/jpeg"), fetch.roll("type"))
    return fetch.right().but(headers=_typed(lie))


_Change = Callable[[_Fetch], Reply | None]

_HD_FAULTS: dict[str, _Change] = {
    "hd_403": lambda _fetch: Reply(403, _HTML, DENIED_370),
    "hd_429": _hd_429,
    "hd_empty": lambda _fetch: Reply(200, _typed(MP4), b""),
    "hd_is_html": lambda _fetch: Reply(200, _typed(MP4), PAGE),
    "hd_truncated": lambda fetch: fetch.wrong(body=fetch.sample.body()[: _half(fetch)]),
}
_CDN_FAULTS: dict[str, _Change] = {
    "cdn_403": lambda _fetch: Reply(403, _HTML, DENIED_370),
    "cdn_404": _first_404,
    "cdn_410": lambda _fetch: Reply(410, _HTML, PAGE),
    "cdn_429": lambda _fetch: Reply(429, _HTML, b""),
    "cdn_500": lambda fetch: Reply(pick((500, 503), fetch.roll("status")), _HTML, PAGE),
    "cdn_empty": lambda fetch: Reply(200, _typed(fetch.sample.media_type), b""),
    "cdn_html": lambda _fetch: Reply(200, _HTML, PAGE),
    "error_385_as_mp4": lambda _fetch: Reply(200, _typed(MP4), ERROR_385),
    "placeholder": _placeholder,
    "placeholder_fits": _placeholder_fits,
    "mp3_as_mp4": _as_sound,
    "truncated": lambda fetch: fetch.wrong(cut=_half(fetch), ending=Ending.CLOSE),
    "truncated_unsaid": _truncated_unsaid,
    "cut_at_box": _cut_at_box,
    "cdn_reset": lambda fetch: fetch.wrong(cut=_half(fetch), ending=Ending.RESET),
    "stall": lambda fetch: fetch.wrong(cut=_half(fetch), ending=Ending.STALL, hold_s=fetch.amount("stall")),
    "redirect_private": _redirect_private,
    "fat_headers": _fat_headers,
    "endless": _endless,
    "slow_body": lambda fetch: fetch.right().but(bytes_per_s=fetch.amount("slow_body")),
    "redirect": _redirect,
    "chunked": lambda fetch: fetch.right().but(framing=Framing.CHUNKED),
    "no_length": lambda fetch: fetch.right().but(framing=Framing.CLOSE),
    "wrong_type": _wrong_type,
}
_MILD = frozenset({"chunked", "no_length", "wrong_type"})
