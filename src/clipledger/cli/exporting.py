"""`export`: write tables for other programs to read."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

from clipledger.archive import open_archive
from clipledger.cli.output import Context, size, table
from clipledger.core.chain import Act
from clipledger.core.errors import UsageError
from clipledger.core.ports import ReplacingStore
from clipledger.export.exporting import Names, Outcome, Wish, destination, look
from clipledger.export.exporting import export as write
from clipledger.export.manifest import Kind
from clipledger.export.staging import Progress, Survey


def export(context: Context, kind: str, to: str, where: str, anew: bool, dry_run: bool) -> None:
    """Bring an export up to date, or say what that would write."""
    wish = Wish(Kind(kind), where.strip(), anew)
    if not to.strip():
        raise UsageError("--to is empty: name a folder or a bucket")
    if dry_run:
        _tell_survey(context, to, *asyncio.run(_look(context, wish, to)))
        return
    _tell(context, asyncio.run(_write(context, wish, to)))


async def _write(context: Context, wish: Wish, to: str) -> Outcome:
    async with open_archive(context.archive) as archive:
        store = destination(archive, to)
        try:
            names = Names(str(uuid.uuid4()), uuid.uuid4().hex)
            with _progress(context) as told:
                outcome = await write(archive, store, wish, names, told)
            if outcome.export_id:
                detail = f"{wish.kind.value} to {outcome.destination}, export {outcome.export_id}"
                await archive.audit.append(archive.clock.now(), Act.EXPORT, detail=detail)
            return outcome
        finally:
            await store.close()


async def _look(context: Context, wish: Wish, to: str) -> tuple[ReplacingStore, Survey]:
    async with open_archive(context.archive) as archive:
        store = destination(archive, to)
        try:
            return store, await look(archive, store, wish)
        finally:
            await store.close()


@contextmanager
def _progress(context: Context) -> Iterator[Progress]:
    """Show a bar where somebody looks."""
    if context.loudness < 0 or not sys.stderr.isatty():
        yield lambda _table, _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description:12}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda name, done, total: bar.update(
            task, description=name or "publishing", completed=done, total=max(total, 1)
        )


def _tell(context: Context, outcome: Outcome) -> None:
    written = sum(file.bytes for file in outcome.written)
    if context.json:
        context.document(
            {
                "export_id": outcome.export_id or None,
                "destination": outcome.destination,
                "full": outcome.full,
                "changed": bool(outcome.export_id),
                "rows": outcome.rows,
                "written": [asdict(file) for file in outcome.written],
                "files_written": len(outcome.written),
                "bytes_written": written,
                "files_removed": outcome.removed,
                "files_kept": outcome.kept,
                "exit": context.exit.word,
            }
        )
        return
    if not outcome.export_id:
        context.tell(f"nothing changed since the last export to {outcome.destination}")
        return
    context.tell(table(list(outcome.rows.items()), ("table", "rows")))
    what = "everything" if outcome.full else "what changed"
    context.tell(
        f"{what}: {len(outcome.written)} files written ({size(written)}), {outcome.removed} removed, "
        f"{outcome.kept} kept; {outcome.destination}"
    )


def _tell_survey(context: Context, to: str, store: ReplacingStore, found: Survey) -> None:
    counts: dict[str, int] = {}
    for piece in found.pieces:
        counts[piece.extract.name] = counts.get(piece.extract.name, 0) + 1
    if context.json:
        context.document(
            {
                "destination": store.url,
                "full": found.full,
                "files_to_write": counts,
                "files_to_remove": len(found.empty),
                "files_kept": len(found.kept),
                "dry_run": True,
                "exit": context.exit.word,
            }
        )
        return
    if counts:
        context.tell(table(list(counts.items()), ("table", "files")))
    what = "everything" if found.full else "what changed"
    context.tell(f"would write {what}: {sum(counts.values())} files to {store.url}; {len(found.kept)} stay")
