"""What every route is given: the archive, who is asking, the role that is needed. Must not: answer a request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from jinja2 import Environment

from clipledger.archive import Archive, signed
from clipledger.core.access import Role, Visitor
from clipledger.web.access import OPEN, Doorman
from clipledger.web.guard import House
from clipledger.web.problems import Problem
from clipledger.web.pulse import Pulse
from clipledger.web.workers import Workers


@dataclass(frozen=True, slots=True)
class Desk:
    """The open archive, what pages are drawn with, and what goes on beside the requests."""

    archive: Archive
    templates: Environment
    doorman: Doorman
    pulse: Pulse
    workers: Workers
    house: House


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


def acting_archive(desk: AtDesk, visitor: Asking) -> Archive:
    """Give the archive as the visitor acts on it: the audit log names them."""
    return desk.archive if visitor.name == OPEN.name else signed(desk.archive, visitor.name)


AsVisitor = Annotated[Archive, Depends(acting_archive)]


def needs(role: Role) -> Callable[[Request], None]:
    """Make a dependency that refuses whoever has less than `role`."""

    def check(request: Request) -> None:
        if not the_visitor(request).role.covers(role):
            raise Problem(403, "not allowed", f"this needs the role {role}", "log in with an account that has it")

    return check
