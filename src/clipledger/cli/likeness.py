"""What `status` says of videos that were served for many posts. Must not: change anything."""

from __future__ import annotations

from typing import Any

from clipledger.db.alarms import ALLOWED

SHOWN = 20


def same_bytes_lines(body: dict[str, Any]) -> list[str]:
    """Write it for people: one line an alarm that nobody answered."""
    alarms = [alarm for alarm in body["same_bytes"]["alarms"] if alarm["state"] != ALLOWED]
    lines = [
        f"same video for many posts: {alarm['sha256'][:12]} ({alarm['state']} since {alarm['since']}): "
        f"{alarm['archived']} archived, {alarm['waiting']} waiting; real copies? `clipledger retry --reason same_bytes "
        "--accept`"
        for alarm in alarms[:SHOWN]
    ]
    if doubted := body["same_bytes"]["doubted"]:
        lines.append(f"stored with a placeholder in place of their own video: {', '.join(doubted[:SHOWN])}")
    return lines
