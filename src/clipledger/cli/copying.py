"""`db copy`: carry the archive's tables to another database, and say how to use it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from clipledger import presence
from clipledger import settings as settings_file
from clipledger.archive import SystemClock, database_at, database_url, identity_of
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, table
from clipledger.core.errors import Misconfigured, UsageError
from clipledger.db import copying

TOLD_EVERY = 50_000
"""Rows of one table between two lines of progress."""


def copy_database(context: Context, to: str, *, dry_run: bool) -> None:
    """Copy, or only count; alone on the archive."""
    target = target_of(context.archive, to)
    identity_of(context.archive)
    source = database_url(context.archive, settings_file.load(context.archive))
    now = SystemClock().now()
    with presence.hold_archive(context.archive, alone=True):
        if dry_run:
            _tell_plan(context, to, copying.plan(source, target, now))
        else:
            _tell_copy(context, to, copying.copy(source, target, now, _Progress(context)))


def target_of(folder: Path, to: str) -> str | Path:
    """Read --to; UsageError, without a word of it, when it holds a password or is no database."""
    try:
        target, parts = database_at(folder, to), urlsplit(to)
    except (Misconfigured, ValueError):
        raise UsageError("--to: write sqlite:///FILE or postgresql://USER@HOST/NAME, without a password") from None
    # Everybody on the machine can read what a command was called with.
    if parts.password is not None or re.search(r"password\s*=", unquote(unquote(to)), re.I):
        raise UsageError("--to: leave the password out, and give it by PGPASSWORD or ~/.pgpass")
    return target


class _Progress:
    """A line on stderr for each table, and one now and then within a large one."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._told = 0

    def __call__(self, name: str, done: int, total: int) -> None:
        if done < total and done - self._told < TOLD_EVERY:
            return
        self._told = done if done < total else 0
        if self._context.loudness >= 0:
            self._context.warn(f"{name}: {done} of {total} rows")


def _tell_plan(context: Context, to: str, tables: list[tuple[str, int]]) -> None:
    if context.json:
        counts = [{"table": name, "rows": rows} for name, rows in tables]
        context.document({"to": to, "dry_run": True, "tables": counts, "exit": Exit.OK.word})
        return
    context.tell(table(tables, ("table", "rows")))
    context.tell(f"would copy {sum(rows for _, rows in tables)} rows; nothing was written")


def _tell_copy(context: Context, to: str, tables: list[copying.Copied]) -> None:
    line = f"url = {json.dumps(to)}"
    if context.json:
        sums = [{"table": each.table, "rows": each.rows, "checksum": each.checksum} for each in tables]
        context.document({"to": to, "tables": sums, "equal": True, "setting": line, "exit": Exit.OK.word})
        return
    context.tell(table([(each.table, each.rows, each.checksum) for each in tables], ("table", "rows", "checksum")))
    context.tell(f"{sum(each.rows for each in tables)} rows, read back and the same on both sides")
    context.tell(f"to use the copy, put this line below [database] in {settings_file.FILE_NAME}:\n{line}")
