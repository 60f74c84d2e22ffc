"""What every route is given: the archive, who is asking, the role that is needed. Must not: answer a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from jinja2 import Environment

from clipledger.archive import Archive
from clipledger.core.access import Role, Visitor
from clipledger.web.problems import Problem


@dataclass(frozen=True, slots=True)
class Desk:
    """The open archive and what pages are drawn with."""

    archive: Archive
    templates: Environment


def the_desk(request: Request) -> Desk:
    """Give the desk of the app that answers."""
    found = request.app.state.desk
    assert isinstance(found, Desk)
    return found


def the_visitor(request: Request) -> Visitor:
    """Give whoever the guard let in."""
    found = request.state.visitor
    assert isinstance(found, Visitor)
    return found


AtDesk = Annotated[Desk, Depends(the_desk)]
Asking = Annotated[Visitor, Depends(the_visitor)]


def needs(role: Role) -> Callable[[Request], None]:
    """Make a dependency that refuses whoever has less than `role`."""

    def check(request: Request) -> None:
        if not the_visitor(request).role.covers(role):
            raise Problem(403, "not allowed", f"this needs the role {role}", "log in with an account that has it")

    return check
