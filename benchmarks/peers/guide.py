"""The founding guide's own downloader, typed in from its description: aiohttp, a semaphore of twenty, a file each.

    python guide.py LINKS FOLDER

It fetches and does nothing else: no queue, no checksum, no fsync, no second try.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp

SLOTS = 20


async def main(links: list[str], folder: Path) -> None:
    """Download every link."""
    slots = asyncio.Semaphore(SLOTS)
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(save(session, slots, link, folder) for link in links))


async def save(session: aiohttp.ClientSession, slots: asyncio.Semaphore, link: str, folder: Path) -> None:
    """Download one link into a file of its name."""
    async with slots, session.get(link) as response:
        response.raise_for_status()
        with (folder / link.rpartition("/")[2]).open("wb") as file:
            async for chunk in response.content.iter_chunked(64 * 1024):
                file.write(chunk)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]).read_text().split(), Path(sys.argv[2])))
