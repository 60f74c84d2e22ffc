"""`access`: who may enter over the web. Passwords come from a prompt or standard input, never from an argument."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from clipledger.archive import Archive, acting, open_archive
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, table
from clipledger.core.access import PASSWORD_MAX, check_password, read_name, read_role, read_scopes, write_scopes
from clipledger.core.errors import UsageError
from clipledger.core.times import iso_time, parse_duration
from clipledger.db.access import Access, Grant
from clipledger.web.access import password_grant, token_grant

T = TypeVar("T")


def set_password(context: Context, name: str, role: str) -> None:
    """Set the password of a name; whoever was logged in under it is out."""
    named, allowed = read_name(name), read_role(role)
    password = check_password(_typed(named))

    async def ask(archive: Archive) -> bool:
        return await _access(archive).grant(password_grant(named, allowed, password, archive.clock.now()))

    is_new = _with(context, ask)
    body = {"name": named, "kind": "password", "role": allowed.value, "new": is_new, "exit": Exit.OK.word}
    _say(context, body, f"{named} may enter as {allowed}" if is_new else f"{named} has a new password, as {allowed}")


def make_token(context: Context, name: str, role: str, scope: str, lasts: str) -> None:
    """Make a token and print it, this once."""
    named, allowed, scopes, lasts_s = read_name(name), read_role(role), read_scopes(scope), parse_duration(lasts)

    async def ask(archive: Archive) -> tuple[Grant, str]:
        grant, token = token_grant(named, allowed, scopes, archive.clock.now(), lasts_s)
        if await _access(archive).named(named) is not None:
            raise UsageError(f"{named}: is taken; `clipledger access revoke {named}` frees it")
        await _access(archive).grant(grant)
        return grant, token

    grant, token = _with(context, ask)
    if context.json:
        context.document(_row(grant) | {"token": token, "exit": Exit.OK.word})
    else:
        context.tell(f"{token}\nshown this once; opens {write_scopes(scopes)} as {allowed} until {_until(grant)}")


def list_access(context: Context) -> None:
    """Print who may enter; no secret."""
    rows = [_row(grant) for grant in _with(context, lambda archive: _access(archive).all())]
    if context.json:
        context.document({"access": rows})
        return
    cells = [tuple(row.values()) for row in rows]
    head = ("name", "kind", "role", "opens", "since", "until")
    context.tell(table(cells, head) if cells else "nobody: on this machine alone everybody may look and act")


def revoke(context: Context, name: str, may_open: bool) -> None:
    """Take a password or token away, and the sessions under it."""
    named = read_name(name)
    if not _with(context, lambda archive: _access(archive).revoke(named, archive.clock.now(), may_open)):
        raise UsageError(f"{named}: nobody of that name may enter; `clipledger access list` tells who may")
    _say(context, {"revoked": named, "exit": Exit.OK.word}, f"{named} may not enter any more")


def _typed(name: str) -> str:
    """Ask for a password twice on a terminal; else read one line of standard input."""
    if sys.stdin is None:
        raise UsageError("no password: standard input is closed")
    if not sys.stdin.isatty():
        return sys.stdin.readline(PASSWORD_MAX + 2).removesuffix("\n")
    password = getpass.getpass(f"Password for {name}: ")
    if password != getpass.getpass("Again: "):
        raise UsageError("the two are not the same")
    return password


def _row(grant: Grant) -> dict[str, Any]:
    return {
        "name": grant.name,
        "kind": grant.kind,
        "role": grant.role.value,
        "opens": write_scopes(grant.scopes),
        "since": iso_time(grant.made_at),
        "until": _until(grant),
    }


def _until(grant: Grant) -> str | None:
    return iso_time(grant.expires_at) if grant.expires_at is not None else None


def _access(archive: Archive) -> Access:
    return Access(archive.db, acting())


def _say(context: Context, body: dict[str, Any], words: str) -> None:
    context.document(body) if context.json else context.tell(words)


def _with(context: Context, ask: Callable[[Archive], Awaitable[T]]) -> T:
    async def asked() -> T:
        async with open_archive(context.archive) as archive:
            return await ask(archive)

    return asyncio.run(asked())
