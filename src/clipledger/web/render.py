"""Draw pages through Jinja: everything is escaped, whatever a stranger called their post.

Must not: know a page; and no template may mark anything as safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
    return drawn


def page(request: Request, name: str, values: Mapping[str, object], status: int = 200) -> HTMLResponse:
    """Draw the template `name`; besides `values` it sees the request, the visitor and the version."""
    drawn = the_desk(request).templates.get_template(name)
    body = drawn.render(request=request, visitor=the_visitor(request), **values)
    return HTMLResponse(body, status)
