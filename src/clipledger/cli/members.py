"""Who is at work: the part of `status` that tells of members, leases, the shared rate and the pause."""

from __future__ import annotations

from typing import Any

from clipledger.cli.output import size, table


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
