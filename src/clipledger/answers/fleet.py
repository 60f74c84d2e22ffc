"""What is told of the processes at work: members, leases, the shared rate, the pause."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from clipledger.archive import Archive
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
