"""The commands of the web app: serve it, and say who may enter."""

from __future__ import annotations

from typing import Annotated

import typer

from clipledger.cli.app.root import app, context


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; beyond loopback it needs a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, metavar="N", help="0 picks a free one.")] = 8765,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    run: Annotated[bool, typer.Option("--run", help="Also work on the archive, as `run --follow` does.")] = False,
) -> None:
    """Show the archive in a browser: look, search, play, and run it. Needs the extra `web`."""
    from clipledger.export.extras import require

    for module in ("fastapi", "uvicorn", "jinja2", "argon2", "python_multipart"):
        require(module, "web", "`clipledger serve`")
    from clipledger.cli.web import Wanted
    from clipledger.cli.web import serve as serve_archive

    serve_archive(context, Wanted(host, port, open_, run))
