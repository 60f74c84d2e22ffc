"""The commands that hand out: exports, SQL, pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from clipledger.cli.app.root import app, context

export = typer.Typer(help="Write tables for other programs to read.", no_args_is_help=True, rich_markup_mode=None)
plot = typer.Typer(help="Draw the archive.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(export, name="export")
app.add_typer(plot, name="plot")

To = Annotated[str, typer.Option("--to", metavar="PLACE", help="A folder, or s3://bucket/prefix, gs://, az://.")]
Where = Annotated[
    str, typer.Option("--where", metavar="WORDS", help="Only posts that this search finds, and what is theirs.")
]
Anew = Annotated[bool, typer.Option("--anew", help="Write everything, not only what changed.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be written; change nothing.")]
Picture = Annotated[
    Path | None, typer.Option("--to", metavar="FILE", help="FILE.svg or FILE.png; without it the terminal.")
]
Days = Annotated[int, typer.Option("--days", min=1, max=3650, metavar="N", help="How many days back.")]


@export.command("parquet")
def export_parquet(to: To, where: Where = "", anew: Anew = False, dry_run: DryRun = False) -> None:
    """Write Parquet, a file a table and day; the next time only days that changed. Needs the extra `analytics`."""
    _export("parquet", to, where, anew, dry_run)


@export.command("csv")
def export_csv(to: To, where: Where = "", anew: Anew = False, dry_run: DryRun = False) -> None:
    """Write CSV, a file a table, that no spreadsheet takes for formulas; the next time only tables that changed."""
    _export("csv", to, where, anew, dry_run)


@export.command("jsonl")
def export_jsonl(to: To, where: Where = "", anew: Anew = False, dry_run: DryRun = False) -> None:
    """Write JSON lines, a file a table; the next time only tables that changed."""
    _export("jsonl", to, where, anew, dry_run)


@export.command("ids")
def export_ids(to: To, where: Where = "", anew: Anew = False, dry_run: DryRun = False) -> None:
    """Write the ids of archived posts, one a line."""
    _export("ids", to, where, anew, dry_run)


@export.command("dataset")
def export_dataset(to: To, where: Where = "", anew: Anew = False, dry_run: DryRun = False) -> None:
    """Write Parquet with a data card: sources, dates, counts, what is missing and why, digests, how to cite."""
    _export("dataset", to, where, anew, dry_run)


def _export(kind: str, to: str, where: str, anew: bool, dry_run: bool) -> None:
    from clipledger.cli.exporting import export as write

    write(context, kind, to, where, anew, dry_run)


@app.command("sql")
def sql(
    statement: Annotated[str, typer.Argument(metavar="SELECT", help="One SELECT in DuckDB's SQL.")],
    over: Annotated[
        Path | None, typer.Option("--over", metavar="DIR", help="An export of Parquet; without it the archive itself.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000_000, metavar="N", help="At most so many rows.")] = 10_000,
) -> None:
    """Ask the tables posts, metrics, files, sightings, dead_letters, authors. Needs the extra `analytics`."""
    from clipledger.cli.querying import query

    query(context, statement, over, csv=csv, limit=limit)


@plot.command("growth")
def plot_growth(
    aweme_id: Annotated[str | None, typer.Argument(metavar="ID", help="A post id or URL.")] = None,
    author: Annotated[str | None, typer.Option(metavar="@HANDLE", help="All posts of this author.")] = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="All posts with this hashtag.")] = None,
    to: Picture = None,
) -> None:
    """Draw plays over time, as observed: of one post, an author or a tag."""
    from clipledger.cli.plotting import growth

    growth(context, aweme_id, author, tag, to)


@plot.command("intake")
def plot_intake(days: Days = 90, to: Picture = None) -> None:
    """Draw how many posts were archived each day."""
    from clipledger.cli.plotting import daily

    daily(context, "intake", days, to)


@plot.command("gone")
def plot_gone(days: Days = 90, to: Picture = None) -> None:
    """Draw how many archived posts were found to be gone each day."""
    from clipledger.cli.plotting import daily

    daily(context, "gone", days, to)


@plot.command("credits")
def plot_credits(days: Days = 90, to: Picture = None) -> None:
    """Draw how many credits were spent each day."""
    from clipledger.cli.plotting import daily

    daily(context, "credits", days, to)
