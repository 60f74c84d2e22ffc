"""The pages for people, one file a screen: each asks `web.reading` and draws one template."""

from __future__ import annotations

from fastapi import APIRouter

from clipledger.web.pages import budget, charts, gallery, gone, now, people, post, queue, removals, sources, system


def routers() -> tuple[APIRouter, ...]:
    """Give the routes of every screen."""
    screens = (now, sources, queue, gallery, post, people, gone, budget, system, removals, charts)
    return tuple(screen.router for screen in screens)
