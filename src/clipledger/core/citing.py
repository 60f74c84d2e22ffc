"""How a post is cited: APA 7, BibTeX, RIS and a plain line, each with what lets a reader check the copy.

TikTok has no titles: as APA asks for social media, the first twenty words of the text stand for it, and the
handle stands behind the name. Must not: read a clock: the moment of capture is the one that is cited.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from clipledger.core.times import iso_time

WORDS_MAX = 20
"""Words of the text that stand for a title (APA 7, 10.15)."""

_MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905
_TEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_TEX |= {sign: f"\\{sign}" for sign in "{}$&#%_"}


class Style(StrEnum):
    """How it is written."""

    APA = "apa"
    BIBTEX = "bibtex"
    RIS = "ris"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Citable:
    """What a citation tells of a post. Times are unix seconds; `sha256` is that of its main file."""

    aweme_id: str
    author_name: str
    author_handle: str
    title: str
    created_at: float
    captured_at: float
    url: str
    sha256: str
    is_photo: bool

    @property
    def kind(self) -> str:
        """Say what it is."""
        return "Photograph" if self.is_photo else "Video"

    @property
    def short_title(self) -> str:
        """Give the first words of the text, on one line; the id where there is none."""
        words = self.title.split()
        head = " ".join(words[:WORDS_MAX])
        return (f"{head} ..." if len(words) > WORDS_MAX else head) or f"TikTok {self.kind.lower()} {self.aweme_id}"

    @property
    def author(self) -> str:
        """Give the name and the handle as one, each once."""
        name, handle = " ".join(self.author_name.split()), self.author_handle
        if not handle:
            return name or "Unknown author"
        return f"{name} [@{handle}]" if name and name.lower() != handle.lower() else f"@{handle}"


def cite(post: Citable, style: Style) -> str:
    """Write the citation; one line for APA and plain."""
    return _WRITERS[style](post)


def _day(at: float) -> tuple[int, int, int]:
    year, month, day = iso_time(at)[:10].split("-")
    return int(year), int(month), int(day)


def _in_words(at: float) -> str:
    year, month, day = _day(at)
    return f"{year}, {_MONTHS[month - 1]} {day}"


def _apa(post: Citable) -> str:
    return (
        f"{post.author}. ({_in_words(post.created_at)}). {post.short_title} [{post.kind}]. TikTok. {post.url} "
        f"(archived {iso_time(post.captured_at)}; sha256 {post.sha256})"
    )


def _plain(post: Citable) -> str:
    return (
        f"{post.author}: {post.short_title} (TikTok {post.kind.lower()} {post.aweme_id}, "
        f"{iso_time(post.created_at)[:10]}), {post.url}, archived {iso_time(post.captured_at)}, sha256 {post.sha256}"
    )


def _bibtex(post: Citable) -> str:
    year, month, day = _day(post.created_at)
    fields = {
        "author": f"{{{_tex(post.author)}}}",
        "title": f"{{{_tex(post.short_title)}}}",
        "year": str(year),
        "month": str(month),
        "day": str(day),
        "howpublished": f"TikTok {post.kind.lower()}",
        "url": post.url,
        "urldate": iso_time(post.captured_at)[:10],
        "note": f"Archived {iso_time(post.captured_at)}; sha256 {post.sha256}",
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@misc{{tiktok{post.aweme_id},", *lines, "}"])


def _ris(post: Citable) -> str:
    year, month, day = _day(post.created_at)
    captured = iso_time(post.captured_at)
    lines = [
        ("TY", "VIDEO" if not post.is_photo else "FIGURE"),
        ("AU", post.author),
        ("TI", post.short_title),
        ("PY", f"{year}"),
        ("DA", f"{year}/{month:02d}/{day:02d}"),
        ("PB", "TikTok"),
        ("UR", post.url),
        ("Y2", captured[:10].replace("-", "/")),
        ("AN", post.aweme_id),
        ("N1", f"Archived {captured}; sha256 {post.sha256}"),
        ("ER", ""),
    ]
    return "\n".join(f"{tag}  - {value}".rstrip() if tag == "ER" else f"{tag}  - {value}" for tag, value in lines)


def _tex(text: str) -> str:
    return re.sub(r"[\\~^{}$&#%_]", lambda sign: _TEX[sign[0]], text)


_WRITERS: Mapping[Style, Callable[[Citable], str]] = {
    Style.APA: _apa,
    Style.BIBTEX: _bibtex,
    Style.RIS: _ris,
    Style.PLAIN: _plain,
}
