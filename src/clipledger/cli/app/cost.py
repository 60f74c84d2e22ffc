"""The commands about credits, and the database behind it all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipledger.cli.app.root import app, context, db


@app.command()
def plan(
    videos_per_day: Annotated[int, typer.Option(min=1, max=100_000_000, metavar="N", help="Posts a day.")],
    source_mix: Annotated[
        str | None,
        typer.Option(metavar="MIX", help="KIND=SHARE[:NEW_IDS_PER_PAGE],... such as user=0.7:28,tag=0.3:15."),
    ] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long files are kept; else for ever.")
    ] = None,
    copies: Annotated[int, typer.Option(min=1, max=10, metavar="N", help="Copies of each file.")] = 1,
    months: Annotated[int, typer.Option(min=1, max=120, metavar="N", help="Months to plan.")] = 12,
    read_share: Annotated[
        float,
        typer.Option(min=0, max=100, metavar="X", help="Part of the archive read back each month, 0.1 is a tenth."),
    ] = 0.0,
    prices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Price tables in TOML; else built-in ones.")
    ] = None,
    table: Annotated[str | None, typer.Option(metavar="NAME", help="Only this price table.")] = None,
    guide: Annotated[bool, typer.Option("--guide", help="Assume the guide's figures, not this archive's own.")] = False,
) -> None:
    """Plan calls, credits, hours, bytes and money for so many posts a day. Reads only; needs no archive."""
    from clipledger.cli.costing import PlanOptions
    from clipledger.cli.costing import plan as show_plan

    show_plan(context, PlanOptions(videos_per_day, source_mix, keep, copies, months, read_share, prices, table, guide))


@app.command("credits")
def credits_(
    since: Annotated[str, typer.Option(metavar="DURATION", help="How far back.")] = "30d",
) -> None:
    """Show the ledger by day, reason, endpoint and source, what was wasted, and a forecast."""
    from clipledger.cli.costing import show_credits

    show_credits(context, since)


@app.command()
def regions() -> None:
    """List the region codes of the API; asked once a month (one credit) and kept."""
    from clipledger.cli.running import list_regions

    list_regions(context)


@db.command("migrate")
def db_migrate() -> None:
    """Bring the archive's tables up to this program's schema."""
    from clipledger.cli.verifying import migrate

    migrate(context)


@db.command("check")
def db_check() -> None:
    """Look at the database: server, schema, indexes, latency, clock."""
    from clipledger.cli.verifying import check

    check(context)


@db.command("copy")
def db_copy(
    to: Annotated[str, typer.Option(metavar="URL", help="postgresql://USER@HOST/NAME, an empty database.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Look at both sides and count; write nothing.")] = False,
) -> None:
    """Carry the archive's tables to another database, all or nothing, and prove that both hold the same."""
    from clipledger.cli.copying import copy_database

    copy_database(context, to, dry_run=dry_run)
