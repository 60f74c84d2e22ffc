"""`hold` and `holds`: keep what must not be removed, whatever rule or request says otherwise."""

from __future__ import annotations

from clipledger.acts.holding import Asked
from clipledger.acts.holding import hold as place
from clipledger.answers.custody import hold_row
from clipledger.cli.exits import Exit
from clipledger.cli.output import Context, table
from clipledger.cli.removing import with_archive
from clipledger.db.holds import ID

_TOO_LATE = (
    ("too_late", "being erased already"),
    ("erased", "erased already: nothing is left to hold"),
    ("never_kept", "kept out for its author: there was never anything to hold"),
)


def hold(context: Context, asked: Asked) -> None:
    """Place holds, or with `release` end them."""
    done = with_archive(context, lambda archive: place(archive, asked))
    word = "released" if asked.release else "held"
    if context.json:
        context.document({word: done, "exit": Exit.OK.word})
        return
    for row in done:
        covers = "" if asked.release else f": covers {row['posts']} known posts, and those to come"
        context.tell(f"{word}: {row['kind']} {row['subject']}{covers if row['kind'] != ID else ''}")
        for name, what in _TOO_LATE:
            if row.get(name):
                of_them = "it was" if row["kind"] == ID else f"{row[name]} of them were"
                context.warn(f"clipledger: {of_them} {what}")
        if row.get("never_seen"):
            context.warn(f"clipledger: {row['subject']}: never seen here: is the id right? It is held should it come")


def list_holds(context: Context, everything: bool) -> None:
    """Print the holds that last, or all there ever were."""
    rows = with_archive(context, lambda archive: archive.holds.all())
    told = [hold_row(row) for row in rows if everything or row.released_at is None]
    if context.json:
        context.document({"holds": told})
        return
    cells = [(r["kind"], r["subject"], r["placed_at"][:16], r["who"], r["reason"], r["released_at"]) for r in told]
    context.tell(table(cells, ("kind", "what", "since", "who", "reason", "released")) if cells else "nothing is held")
