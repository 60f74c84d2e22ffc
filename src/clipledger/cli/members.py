"""Who is at work: the part of `status` that tells of members, leases, the shared rate and the pause."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from clipledger.archive import Archive
from clipledger.cli.output import size, table
from clipledger.core.times import iso_time
from clipledger.db.members import Member
from clipledger.db.paces import PaceRow
from clipledger.db.switches import PAUSE, PAUSED
from clipledger.membership import SILENT_S


async def fleet_status(archive: Archive) -> dict[str, Any]:
    """Gather what `status` tells of the processes; times are UTC text."""
    now = archive.clock.now()
    leases = {held.worker: held for held in await archive.members.leases()}
    members = await archive.members.all()
    first = min((held.first_until for held in leases.values() if held.first_until is not None), default=None)
    alive = [member for member in members if now - member.seen_at < SILENT_S]
    return {
        "members": [
            _member(member, now) | {"leases": leases[member.worker].count if member.worker in leases else 0}
            for member in members
        ],
        "fleet": {
            "members": len(alive),
            "silent": len(members) - len(alive),
            "hosts": len({member.host for member in alive}),
            "in_flight": sum(member.in_flight for member in alive),
            "videos_per_min": round(sum(member.videos_per_min for member in alive), 1),
            "credits_per_min": round(sum(member.credits_per_min for member in alive), 1),
        },
        "leases": {"count": sum(held.count for held in leases.values()), "first_ends_at": _text(first)},
        "rate": await _rate(archive, now),
        "pause": await _pause(archive),
    }


def fleet_lines(body: dict[str, Any]) -> list[str]:
    """Put what `fleet_status` gathered in words."""
    fleet, leases, rate, pause = body["fleet"], body["leases"], body["rate"], body["pause"]
    lines = []
    if pause["paused"]:
        why = f" ({pause['reason']})" if pause["reason"] else ""
        lines.append(f"paused by the operator since {pause['since']}{why}: `clipledger resume` ends it")
    lines.append(
        f"at work: {fleet['members']} processes on {fleet['hosts']} machines, {fleet['in_flight']} posts under way, "
        f"{fleet['videos_per_min']} videos/min, {fleet['credits_per_min']} credits/min"
        + (f"; {fleet['silent']} silent" if fleet["silent"] else "")
    )
    lines.append(
        f"leases: {leases['count']}" + (f", the first ends {leases['first_ends_at']}" if leases["count"] else "")
    )
    paused = f", everybody waits until {rate['paused_until']} (429)" if rate["paused_until"] else ""
    lines.append(f"rate: {rate['per_minute']} calls/min shared by all{paused}")
    return lines


def fleet_table(members: list[dict[str, Any]]) -> str:
    """Lay the members out in columns."""
    rows = [
        (
            member["worker"],
            member["host"][:24],
            member["pid"],
            member["roles"],
            member["began_at"],
            f"{member['silent_s']:.0f} s ago" + ("" if member["state"] == "at work" else f", {member['state']}"),
            member["in_flight"],
            member["leases"],
            member["captured"],
            size(member["bytes"]),
            member["videos_per_min"],
            member["credits_per_min"],
        )
        for member in members
    ]
    head = ("worker", "host", "pid", "roles", "since", "seen", "in flight", "leases", "videos", "bytes", "videos/min")
    return table(rows, (*head, "credits/min"))


def _member(member: Member, now: float) -> dict[str, Any]:
    silent_s = max(now - member.seen_at, 0.0)
    state = "silent" if silent_s >= SILENT_S else "stopping" if member.stop else "at work"
    told = asdict(member) | {
        "began_at": iso_time(member.began_at),
        "seen_at": iso_time(member.seen_at),
        "videos_per_min": round(member.videos_per_min, 1),
        "credits_per_min": round(member.credits_per_min, 1),
    }
    return told | {"silent_s": round(silent_s, 1), "state": state}


async def _rate(archive: Archive, now: float) -> dict[str, Any]:
    row = await PaceRow(archive.db, "api").look()
    paused = row is not None and row.paused_until > now
    return {
        "per_minute": archive.settings.api.requests_per_minute,
        "next_at": _text(row.next_at) if row is not None else None,
        "paused_until": _text(row.paused_until) if row is not None and paused else None,
        "throttles": row.throttles if row is not None else 0,
    }


async def _pause(archive: Archive) -> dict[str, Any]:
    switch = await archive.switches.get(PAUSE)
    if switch is None or switch.state != PAUSED:
        return {"paused": False, "since": None, "reason": None}
    return {"paused": True, "since": iso_time(switch.since), "reason": switch.evidence}


def _text(at: float | None) -> str | None:
    return iso_time(at) if at is not None else None
