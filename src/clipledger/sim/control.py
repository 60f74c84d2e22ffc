"""The world's own doors, outside the API: its books, its truth, and its switches.

`/_sim/ledger`, `/_sim/world`, `/_sim/control`; JSON, ids as strings, no key. Must not: be reachable
under an API path, or count as a call.
"""

from __future__ import annotations

import json
from typing import Any

from clipledger.sim import names, truth
from clipledger.sim.faults import FaultPlan
from clipledger.sim.reply import Ask, FileRef, Reply
from clipledger.sim.scene import Scene

_LIMITS = ("rpm", "burst", "patience")


class Control:
    """Answers the doors of one scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def answer(self, ask: Ask) -> Reply:
        """Answer one request; an unknown word gives status 400 and says which."""
        try:
            match ask.path.rstrip("/"):
                case "/_sim/ledger":
                    return _reply(self.ledger(calls=ask.param("calls") == "1", with_files=ask.param("files") == "1"))
                case "/_sim/world":
                    return _reply(self.world(ask.param("id"), with_files=ask.param("files") == "1"))
                case "/_sim/control":
                    for name, value in ask.params:
                        self.turn(name, value)
                    return _reply(self.state())
        except ValueError as mistake:
            return _reply({"error": str(mistake)}, 400)
        return _reply({"error": "try /_sim/ledger, /_sim/world, /_sim/control"}, 404)

    def turn(self, name: str, value: str) -> None:
        """Turn one switch: a fault's `NAME=SHARE[:AMOUNT]`, or one of the words below. Raises ValueError.

        `outage=not_found|off`, `throttle=429|off`, `key=TEXT`, `balance=N|none`, `rpm|burst|patience=N|none`,
        `plan=...` (a whole plan, as `FaultPlan.parse` reads it).
        """
        scene = self._scene
        match name:
            case "plan":
                scene.plan = FaultPlan.parse(value)
            case "key":
                scene.api_key = value
            case "balance":
                scene.balance = None if value == "none" else int(value)
            case "outage" | "throttle":
                fault = {"outage": "not_found_outage", "throttle": "throttle_429"}[name]
                scene.plan = scene.plan.having(fault, 0.0 if value in ("off", "0") else 1.0)
            case _ if name in _LIMITS:
                scene.plan = scene.plan.joined(FaultPlan.parse(f"{name}={value}"), frozenset({name}))
            case _:
                share, _, amount = value.partition(":")
                scene.plan = scene.plan.having(name, float(share), float(amount) if amount else None)

    def state(self) -> dict[str, Any]:
        """Return how the switches stand."""
        scene = self._scene
        return {"plan": str(scene.plan), "balance": scene.balance, "now": scene.now(), "start": scene.start}

    def ledger(self, *, calls: bool = False, with_files: bool = False) -> dict[str, Any]:
        """Return the books; `calls` adds one row per API call, `with_files` the size and digest of what was served.

        Both take time, in which the world stands still and calls pile up.
        """
        ledger = self._scene.ledger
        report: dict[str, Any] = {
            "calls": len(ledger.calls),
            "credits": ledger.credits,
            "worst_minute": ledger.worst_minute,
            "outcomes": _tally(call.outcome for call in ledger.calls),
            "endpoints": _tally(call.path for call in ledger.calls),
            "detail_calls": ledger.calls_about("/post-detail/"),
            "detail_credits": ledger.credits_about("/post-detail/"),
            "shown": sorted(ledger.shown),
            "shown_by": {source: sorted(ids) for source, ids in ledger.shown_by.items()},
            "served": [self._served(ref, times, with_files) for ref, times in ledger.served.items()],
            "served_bytes": ledger.served_bytes,
            "fetches": dict(ledger.fetches),
            "key_leaks": ledger.key_leaks,
            "open_most": dict(ledger.open_most),
        }
        if calls:
            report["rows"] = [
                [call.at, call.path, call.subject, call.outcome, call.credits, call.status] for call in ledger.calls
            ]
        return report

    def world(self, post_id: str | None = None, *, with_files: bool = False) -> dict[str, Any]:
        """Return the truth of one id, or of all; `with_files` adds sizes and digests."""
        scene = self._scene
        people, now = scene.population, scene.now()
        ids = [post_id] if post_id else [people.post(index).id for index in range(people.size)]
        return {
            "now": now,
            "start": scene.start,
            "posts": [truth.as_json(scene, truth.of(scene, each, now), with_files=with_files) for each in ids],
            "authors": [
                {"id": author.id, "handle": author.handle(now), "first_handle": author.first_handle}
                for author in people.authors
            ],
            "tags": people.tags,
            "sounds": [sound.id for sound in people.sounds],
            "words": list(names.WORDS),
        }

    def _served(self, ref: FileRef, times: int, with_files: bool) -> dict[str, Any]:
        kinds = {"id": ref.id, "kind": ref.kind, "rendition": ref.rendition, "position": ref.position, "times": times}
        known = {file.ref: file for file in truth.true_files(self._scene, ref.id)} if with_files else {}
        if ref in known:
            kinds |= {"sha256": known[ref].sha256, "bytes": known[ref].bytes}
        return kinds


def _tally(words: Any) -> dict[str, int]:
    counted: dict[str, int] = {}
    for word in words:
        counted[word] = counted.get(word, 0) + 1
    return counted


def _reply(body: dict[str, Any], status: int = 200) -> Reply:
    text = json.dumps(body, ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")
    return Reply(status, (("Content-Type", "application/json; charset=utf-8"),), text, door="sim")
