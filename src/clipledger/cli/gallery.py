"""The demo's page: what was saved, to be looked at and played, and what is missing and why.

One file without script or network; every picture and video is a relative link into the archive. The
web app is another thing: this page knows an archive folder only. Must not: read the database.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from clipledger.core.links import created_second
from clipledger.core.model import AwemeId
from clipledger.core.times import utc_day

PAGE = "index.html"

_Found = tuple[str, Mapping[str, Any]]
"""A sidecar's key, and what it tells."""

_STYLE = """
:root{color-scheme:light dark;--line:color-mix(in srgb,CanvasText 18%,Canvas)}
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;padding:2rem 1.5rem;max-width:90rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2.5rem 0 .5rem}
.told,small{color:color-mix(in srgb,CanvasText 65%,Canvas)}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(11.5rem,1fr));gap:1.5rem 1rem;margin-top:1.5rem}
article{min-width:0}
video,.slides{display:block;width:100%;aspect-ratio:9/16;border-radius:.6rem;background:#000;object-fit:cover}
.slides{display:flex;overflow-x:auto;scroll-snap-type:x mandatory}
.slides>*{flex:0 0 100%;height:100%;object-fit:contain;scroll-snap-align:start}
audio{width:100%;height:2rem;margin-top:.3rem}
h3{font-size:.95rem;margin:.5rem 0 .1rem}p{margin:0;overflow-wrap:anywhere}
p.title{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:3;overflow:hidden}
.wide{overflow-x:auto;margin-top:.5rem}
table{border-collapse:collapse;white-space:nowrap}
td,th{text-align:left;padding:.25rem 1.5rem .25rem 0;border-top:1px solid var(--line)}
"""


def write_gallery(folder: Path, missing: Sequence[Mapping[str, Any]]) -> Path:
    """Write the page of the archive in `folder`; `missing` are the rows of `failures`."""
    posts = sorted(_sidecars(folder), key=lambda found: str(found[1]["aweme_id"]), reverse=True)
    page = folder / PAGE
    page.write_text("\n".join(_page(posts, missing)), encoding="utf-8")
    return page


def _sidecars(folder: Path) -> Iterator[_Found]:
    for kind in ("videos", "photos"):
        for path in (folder / kind).rglob("*.json"):
            yield path.relative_to(folder).as_posix(), json.loads(path.read_text(encoding="utf-8"))


def _page(posts: list[_Found], missing: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    videos = sum(post["type"] == "video" for _, post in posts)
    yield '<!doctype html><html lang="en"><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width"><title>clipledger demo</title>'
    yield f"<style>{_STYLE}</style>"
    yield f"<h1>{len(posts)} posts saved, {len(missing)} missing with a reason</h1>"
    yield f'<p class="told">{videos} videos, {len(posts) - videos} photo posts, all made up by the simulator. '
    yield "Some are HEVC, as some real ones are: where your browser shows the cover alone, a player shows more.</p>"
    yield "<main>"
    yield from map(_card, posts)
    yield "</main>"
    if missing:
        yield "<h2>Not saved, and why</h2>"
        yield '<p class="told">They were listed, and were gone or refused when they were asked for.</p>'
        yield "<div class=wide><table><tr><th>made<th>shown by<th>what the API answered<th>reason<th>id"
        yield from map(_missing, sorted(missing, key=lambda one: str(one["aweme_id"]), reverse=True))
        yield "</table></div>"
    yield "</html>\n"


def _missing(one: Mapping[str, Any]) -> str:
    """Write a row: the id alone tells when the post was made, all else is what was heard of it."""
    made = utc_day(created_second(AwemeId(one["aweme_id"])))
    cells = (made, one["source"], one["detail"], one["reason"], one["aweme_id"])
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}" for cell in cells)


def _card(found: _Found) -> str:
    key, post = found
    files: list[Mapping[str, Any]] = post["files"]
    author, title = html.escape(f"@{post['author']['handle']}"), html.escape(post["title"][:300])
    plays = post["counters"]["play"]
    seen = f"{plays:,} plays · " if plays is not None else ""
    return (
        f"<article>{_shown(files)}<h3>{author}</h3><p class=title>{title}</p>"
        f'<small>{seen}<a href="{_link(key)}">record</a> · {post["aweme_id"]}</small></article>'
    )


def _shown(files: Iterable[Mapping[str, Any]]) -> str:
    by_kind: dict[str, list[str]] = {}
    for file in files:
        is_slide = file["kind"] == "image" or (file["key"].startswith("photos/") and file["kind"] == "video")
        by_kind.setdefault("slide" if is_slide else file["kind"], []).append(_link(file["key"]))
    poster = f' poster="{by_kind["cover"][0]}"' if "cover" in by_kind else ""
    shown = [f'<video src="{link}"{poster} controls preload="none"></video>' for link in by_kind.get("video", ())]
    if slides := by_kind.get("slide"):
        shown.append(f'<div class="slides">{"".join(map(_slide, slides))}</div>')
    shown += [f'<audio src="{link}" controls preload="none"></audio>' for link in by_kind.get("audio", ())]
    return "".join(shown)


def _slide(link: str) -> str:
    if link.endswith(".mp4"):
        return f'<video src="{link}" controls preload="none"></video>'
    return f'<img src="{link}" loading="lazy" alt="">'


def _link(key: str) -> str:
    return html.escape(quote(key))
