"""`verify`, `db migrate` and `db check`: prove the archive, bring its tables up to date, look at its database."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from clipledger import presence
from clipledger import settings as settings_file
from clipledger.archive import SystemClock, acting, database_url, identity_of, open_archive, reach_store
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, size, table
from clipledger.cli.repairing import Wish, needed_key, repair_found, tell_repair
from clipledger.core.model import AwemeId
from clipledger.db import schema
from clipledger.db.clock import REFUSE_S, WARN_S
from clipledger.db.condition import Condition, examine
from clipledger.db.tables import SCHEMA_VERSION
from clipledger.stages.verify import Verify

SHOWN = 50
"""Findings told to people one by one; the rest is counted. JSON holds all, up to `KEPT`."""

KEPT = 100_000


def verify(context: Context, *, books: bool, files: bool, wish: Wish | None = None) -> None:
    """Check the archive, and repair its files if so wished; exit 7 when anything does not hold in the end."""
    needed_key(wish)
    body = asyncio.run(_verify(context, books, files, wish))
    body["exit"] = context.exit.word
    tell_findings(context, body, books, files)


def tell_findings(context: Context, body: dict[str, Any], books: bool, files: bool) -> None:
    """Print what was found: the document, or the first findings and a sentence."""
    if context.json:
        context.document(body)
        return
    for finding in body["findings"][:SHOWN]:
        context.warn(f"{finding['aweme_id'] or 'the books'}: {finding['what']}")
    if (more := body["count"] - SHOWN) > 0:
        context.warn(f"... and {more} more; --json lists them")
    context.tell(_in_words(body, books, files))
    if "repair" in body:
        tell_repair(context, body["repair"])


def migrate(context: Context) -> None:
    """Bring the tables up to this program's schema, alone on the archive."""
    url = database_url(context.archive, settings_file.load(context.archive))
    identity_of(context.archive)
    with presence.hold_archive(context.archive, alone=True):
        schema.migrate(url, now=SystemClock().now(), who=acting())
    if context.json:
        context.document({"schema": SCHEMA_VERSION, "exit": Exit.OK.word})
    else:
        context.tell(f"the archive is at schema {SCHEMA_VERSION}")


def check(context: Context) -> None:
    """Look at the database; exit 4 when it is not as this program needs it, 6 when it cannot be reached."""
    found = asyncio.run(_check(context))
    skew = found.skew.ahead_s if found.skew is not None else None
    context.exit = Exit.MISCONFIGURED if found.missing_indexes or abs(skew or 0.0) > REFUSE_S else Exit.OK
    body = {
        "database": found.where,
        "server": found.server,
        "schema": found.schema,
        "archive_uuid": found.archive_uuid,
        "missing_indexes": list(found.missing_indexes),
        "latency_ms": round(found.latency_s * 1000, 3),
        "clock_ahead_s": round(skew, 6) if skew is not None else None,
        "exit": context.exit.word,
    }
    if context.json:
        context.document(body)
        return
    rows = [(name.replace("_", " "), _cell(value)) for name, value in body.items() if name != "exit"]
    context.tell(table(rows, ("what", "found")))
    if found.missing_indexes:
        context.warn(f"clipledger: index {found.missing_indexes[0]} is missing: restore the database from a backup")
    if abs(skew or 0.0) > WARN_S:
        context.warn(f"clipledger: this machine's clock is {abs(skew or 0.0):.1f} s off the server's: set both by NTP")


def _cell(value: object) -> object:
    return ", ".join(value) or "none" if isinstance(value, list) else value


async def _check(context: Context) -> Condition:
    own = SystemClock()
    async with open_archive(context.archive, own) as archive:
        return await examine(archive.db, own)


async def _verify(context: Context, books: bool, files: bool, wish: Wish | None) -> dict[str, Any]:
    findings: list[dict[str, str]] = []
    hurt: dict[AwemeId, None] = {}
    count = others = 0
    async with open_archive(context.archive) as archive:
        if files:
            await reach_store(archive)
        check = Verify(archive.books, archive.catalog, archive.store)
        for wanted, found in ((books, check.books), (files, check.media)):
            if not wanted:
                continue
            async for finding in found():
                count += 1
                if found == check.media:
                    hurt[finding.aweme_id] = None
                else:
                    others += 1
                if count <= KEPT:
                    findings.append({"aweme_id": finding.aweme_id, "what": finding.what})
                _progress(context, check)
        everything = await archive.books.everything()
        context.exit = Exit.DAMAGED if count else Exit.OK
        repaired = await repair_found(context, archive, wish, [*hurt], others=others > 0) if wish else None
    return {
        "findings": findings,
        "count": count,
        "seen": everything.seen,
        "archived": everything.archived,
        "dead": everything.dead,
        "withheld": everything.withheld,
        "waiting": everything.waiting,
        "files": check.files,
        "bytes": check.bytes,
    } | ({"repair": repaired} if repaired is not None else {})


def _progress(context: Context, check: Verify) -> None:
    if context.loudness >= 0 and sys.stderr.isatty():
        sys.stderr.write(f"\r{check.ids} posts, {check.files} files, {size(check.bytes)} \r")


def _in_words(body: dict[str, Any], books: bool, files: bool) -> str:
    balance = (
        f"{body['seen']} seen = {body['archived']} archived + {body['dead']} dead + {body['withheld']} withheld "
        f"+ {body['waiting']} waiting"
    )
    read = f"; {body['files']} files, {size(body['bytes'])} read again" if files else ""
    if body["count"]:
        findings = "1 finding" if body["count"] == 1 else f"{body['count']} findings"
        mend = "; `clipledger verify --repair --dry-run` tells what mending costs" if files else ""
        return f"damaged: {findings}; {balance}{read}{mend}"
    told = " and ".join(word for word, did in (("the books balance", books), ("every file is whole", files)) if did)
    return f"{told}: {balance}{read}"
