"""The commands of the web app: serve it, and say who may enter."""

from __future__ import annotations

from typing import Annotated

import typer

from clipledger.cli.app.root import app, context

access = typer.Typer(help="Who may enter over the web.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(access, name="access")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name, for the log.")]
RoleOption = Annotated[str, typer.Option(metavar="viewer|operator|admin", help="May look; also run; also remove.")]


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; beyond loopback somebody must have a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0 picks a free one.")] = 8765,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    run: Annotated[bool, typer.Option("--run", help="Also work on the archive, as `run --follow` does.")] = False,
) -> None:
    """Show the archive in a browser: look, search, play, and run it. Needs the extra `web`."""
    require_web("`clipledger serve`")
    from clipledger.cli.web import Wanted
    from clipledger.cli.web import serve as serve_archive

    serve_archive(context, Wanted(host, port, open_, run))


@access.command("password")
def access_password(name: Name = "admin", role: RoleOption = "admin") -> None:
    """Set a password, typed or from standard input; from then on nobody enters without one. Needs the extra `web`."""
    require_web("`clipledger access`")
    from clipledger.cli.entering import set_password

    set_password(context, name, role)


@access.command("token")
def access_token(
    name: Name,
    role: RoleOption = "viewer",
    scope: Annotated[str, typer.Option(metavar="api,feeds,media", help="What it opens.")] = "api,feeds,media",
    expires: Annotated[str, typer.Option(metavar="DURATION", help="How long it lasts.")] = "90d",
) -> None:
    """Make a token for a program, and print it this once. Needs the extra `web`."""
    require_web("`clipledger access`")
    from clipledger.cli.entering import make_token

    make_token(context, name, role, scope, expires)


@access.command("list")
def access_list() -> None:
    """List who may enter, without secrets. Needs the extra `web`."""
    require_web("`clipledger access`")
    from clipledger.cli.entering import list_access

    list_access(context)


@access.command("revoke")
def access_revoke(
    name: Name,
    open_again: Annotated[bool, typer.Option("--open-again", help="Also the last: then nobody is asked.")] = False,
) -> None:
    """Take a password or token away; whoever is inside under it is out. Needs the extra `web`."""
    require_web("`clipledger access`")
    from clipledger.cli.entering import revoke

    revoke(context, name, open_again)


def require_web(what: str) -> None:
    """Raise Misconfigured, which names the extra, where one of its libraries is missing."""
    from clipledger.export.extras import require

    for module in ("fastapi", "uvicorn", "jinja2", "argon2", "python_multipart"):
        require(module, "web", what)
