"""Draw pages through Jinja: everything is escaped, whatever a stranger called their post.

Must not: know a page; and no template may mark anything as safe.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from clipledger import __version__
from clipledger.core.sizes import shown_size
from clipledger.core.times import iso_time
from clipledger.web.desk import the_desk, the_visitor

FOLDER = Path(__file__).parent
TEMPLATES = FOLDER / "templates"
STATIC = FOLDER / "static"

_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def templates() -> Environment:
    """Make the one environment that all pages are drawn in."""
    drawn = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn.globals["version"] = __version__
    drawn.filters["size"] = shown_size
    drawn.filters["moment"] = iso_time
    drawn.filters["short"] = shown_count
    drawn.globals["author_link"] = author_link
    return drawn


def shown_count(count: int) -> str:
    """Write a count in few characters: 788.6M."""
    for unit, name in ((10**9, "B"), (10**6, "M"), (10**4, "K")):
        if count >= unit:
            value = count / (1000 if name == "K" else unit)
            return f"{value:.1f}{name}" if value < 1000 and name != "K" else f"{value:,.0f}{name}"
    return f"{count:,}"


def author_link(handle: str, author_id: str) -> str:
    """Write the link to an author's page, '' where nobody is known.

    By handle where a path can hold it. Browsers read `..`, and what holds a slash, as another place, however it is
    encoded; such authors are named by their id, which a query holds whatever it is.
    """
    if not author_id:
        return ""
    is_plain = _PLAIN.fullmatch(handle) is not None and handle.strip(".") != ""
    return f"/authors/{handle}" if is_plain else f"/author?{urlencode({'id': author_id})}"


def page(request: Request, name: str, values: Mapping[str, object], status: int = 200) -> HTMLResponse:
    """Draw the template `name`; besides `values` it sees the request, the visitor and the version."""
    drawn = the_desk(request).templates.get_template(name)
    body = drawn.render(request=request, visitor=the_visitor(request), **values)
    return HTMLResponse(body, status)
