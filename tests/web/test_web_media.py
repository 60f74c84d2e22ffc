"""The files of posts: ranges as players ask for them, and every way to ask for something else."""

from __future__ import annotations

from pathlib import Path

from clipledger.core.model import AwemeId
from clipledger.db.removals import Grounds
from web.visiting import Visit, rows, visit


def a_video(folder: Path) -> tuple[str, str, bytes]:
    """Give the id, the key and the bytes of one stored video."""
    found = rows(folder, "SELECT aweme_id, storage_key FROM files WHERE kind = 'video' AND position = 0")
    aweme_id, key = found[0]
    return aweme_id, key, (folder / key).read_bytes()


def test_a_player_can_seek(folder: Path) -> None:
    """Whatever one range a player asks for it gets exactly, with where it lies in the whole."""
    aweme_id, _, body = a_video(folder)
    size = len(body)

    async def scenario(here: Visit) -> None:
        client, url = here.client(), f"/media/{aweme_id}/video/0"
        for asked, start, end in (
            ("bytes=0-", 0, size),
            ("bytes=0-0", 0, 1),
            ("bytes=5-9", 5, 10),
            (f"bytes={size - 3}-", size - 3, size),
            ("bytes=-4", size - 4, size),
            (f"bytes=-{size * 2}", 0, size),
            (f"bytes=1-{size * 9}", 1, size),
        ):
            answer = await client.get(url, headers={"range": asked})
            assert answer.status_code == 206 and answer.content == body[start:end], asked
            assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        whole = await client.get(url)
        assert whole.status_code == 200 and whole.content == body
        assert whole.headers["content-type"] == "video/mp4" and whole.headers["accept-ranges"] == "bytes"
        head = await client.head(url)
        assert (head.status_code, head.content, int(head.headers["content-length"])) == (200, b"", size)

    visit(folder, scenario)


ODD_RANGES = [
    "bytes=0-1,3-4",
    "bytes=-",
    "bytes=9999999999-",
    "bytes=5-2",
    "bytes=-0",
    "lines=0-1",
    "bytes",
    "bytes=a-b",
    "bytes=0x0-5",
    "bytes=1-2-3",
    "bytes=+1-2",
    "bytes=" + "9" * 400 + "-",
    "bytes=" + "0-1," * 2000,
]


def test_an_odd_range_is_refused(folder: Path) -> None:
    """Several ranges, ranges beyond the end and nonsense are answered 416, at once, with the size."""
    aweme_id, _, body = a_video(folder)

    async def scenario(here: Visit) -> None:
        for asked in ODD_RANGES:
            answer = await here.client().get(f"/media/{aweme_id}/video/0", headers={"range": asked})
            assert answer.status_code == 416 and answer.content == b"", asked
            assert answer.headers["content-range"] == f"bytes */{len(body)}"

    visit(folder, scenario)


def test_what_a_browser_has_is_not_sent_again(folder: Path) -> None:
    """A file that the browser keeps costs nothing a second time; a range of another version is the whole file."""
    aweme_id, _, body = a_video(folder)

    async def scenario(here: Visit) -> None:
        client, url = here.client(), f"/media/{aweme_id}/video/0"
        etag = (await client.head(url)).headers["etag"]
        again = await client.get(url, headers={"if-none-match": etag})
        assert (again.status_code, again.content) == (304, b"")
        same = await client.get(url, headers={"range": "bytes=0-4", "if-range": etag})
        assert (same.status_code, same.content) == (206, body[:5])
        other = await client.get(url, headers={"range": "bytes=0-4", "if-range": '"other"'})
        assert (other.status_code, other.content) == (200, body)

    visit(folder, scenario)


def test_no_file_is_ever_a_page(folder: Path) -> None:
    """A stored file that is really HTML runs nothing: fixed type, no sniffing, a sandbox around it."""
    aweme_id, key, body = a_video(folder)
    (folder / key).write_bytes(b"<script>alert(1)</script>".ljust(len(body)))

    async def scenario(here: Visit) -> None:
        headers = (await here.client().get(f"/media/{aweme_id}/video/0")).headers
        assert headers["content-type"] == "video/mp4" and headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "sandbox; default-src 'none'"
        kinds = rows(folder, "SELECT DISTINCT kind, position, media_type FROM files WHERE aweme_id = ?", aweme_id)
        for kind, position, media_type in kinds:
            answer = await here.client().get(f"/media/{aweme_id}/{kind}/{position}")
            assert answer.headers["content-type"].startswith(media_type)

    visit(folder, scenario)


ODD_PATHS = [
    "/media/../clipledger.toml",
    "/media/%2e%2e/%2e%2e/clipledger.db/video/0",
    "/media/1234567/..%2f..%2fclipledger.db/0",
    "/media/1234567/video/-1",
    "/media/1234567/video/0/../../../../clipledger.db",
    "/media/7300000000000000000/video/0",
    "/media/7300000000000000000%00/video/0",
    "/media/ID/video/99",
    "/media/ID/clipledger/0",
    "/media/ID/video/0%2e%2e",
    "/media/' OR 1=1 --/video/0",
    "/static/../app.py",
    "/static/..%2fapp.py",
    "/static/%2e%2e/%2e%2e/settings.py",
    "/static//etc/passwd",
    "/static/....//app.py",
]


def test_no_path_leads_elsewhere(folder: Path) -> None:
    """However a path is spelt, nothing but stored files of posts and our own static files comes out."""
    aweme_id, _, _ = a_video(folder)

    async def scenario(here: Visit) -> None:
        for path in ODD_PATHS:
            answer = await here.client().get(path.replace("ID", aweme_id))
            assert 400 <= answer.status_code < 500, (path, answer.status_code)
            assert b"import" not in answer.content and b"SQLite" not in answer.content

    visit(folder, scenario)


def test_a_planted_link_is_not_followed(folder: Path) -> None:
    """Whoever puts a link in the place of a video, or of its folder, gets no other file of the machine shown."""
    aweme_id, key, _ = a_video(folder)
    (folder / key).unlink()
    (folder / key).symlink_to(folder / "clipledger.toml")

    async def scenario(here: Visit) -> None:
        answer = await here.client().get(f"/media/{aweme_id}/video/0")
        assert answer.status_code == 502 and b"clipledger.toml" not in answer.content
        assert "verify" in answer.json()["next"]

    visit(folder, scenario)
    (folder / key).unlink()
    author = (folder / key).parent
    author.rename(author.with_name("moved"))
    author.symlink_to("/etc")
    visit(folder, scenario)


def test_a_withdrawn_post_is_not_shown(folder: Path) -> None:
    """From the moment that a post is withdrawn its files are not served, though they are not erased yet."""
    aweme_id, key, _ = a_video(folder)

    async def scenario(here: Visit) -> None:
        client, url = here.client(), f"/media/{aweme_id}/video/0"
        assert (await client.get(url)).status_code == 200
        now = here.archive.clock.now()
        await here.archive.removals.take(
            [AwemeId(aweme_id)], Grounds("asked", "mail 7", delay_s=1000.0, settle_s=0.0), now
        )
        assert (await client.get(url)).status_code == 404
        assert (await client.get("/api/v1/posts", params={"limit": 200})).text.count(aweme_id) == 0

    visit(folder, scenario)
    assert (folder / key).exists()
