"""The pages for people, one file a screen: each asks `web.reading` and draws one template."""

from __future__ import annotations

from fastapi import APIRouter

from clipledger.web.pages import now


def routers() -> tuple[APIRouter, ...]:
    """Give the routes of every screen."""
    return (now.router,)
