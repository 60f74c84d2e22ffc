"""The API: pages by key, ids as text, problems that help, and the same functions as the commands."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import httpx

from clipledger.acts.adding import LINES_MAX, LISTS_MAX
from clipledger.answers.posts import attributed
from clipledger.core.access import Role
from clipledger.core.model import AwemeId
from clipledger.db.search import Sort
from web.visiting import Visit, rows, visit

API = "/api/v1"
LISTS = {
    "posts": "posts",
    "failures": "failures",
    "sources": "sources",
    "gone": "gone",
    "authors": "authors",
    "tags": "tags",
    "credits": "credits",
    "log": "log",
}


def first(folder: Path) -> str:
    """Give the id of an archived post."""
    return str(rows(folder, "SELECT aweme_id FROM posts ORDER BY aweme_id LIMIT 1")[0][0])


def test_a_list_read_page_by_page_is_the_whole_list(folder: Path) -> None:
    """Two rows at a time or all at once: the same rows in the same order, none twice and none left out."""

    async def scenario(here: Visit) -> None:
        client = here.client()
        for _ in range(3):
            await client.post(f"{API}/resume", json={})
            await client.post(f"{API}/pause", json={})
        for name, rows_are in LISTS.items():
            whole = (await client.get(f"{API}/{name}", params={"limit": 200})).json()
            assert whole["next"] is None and len(whole[rows_are]) >= 3, name
            found, after = list[object](), dict[str, str]()
            while after != {"after": None}:
                part = (await client.get(f"{API}/{name}", params={"limit": 2} | after)).json()
                found, after = found + part[rows_are], {"after": part["next"]}
            assert found == whole[rows_are], name

    visit(folder, scenario)


def test_every_order_is_paged(folder: Path) -> None:
    """In whatever order I walk the gallery, I see each post once; one whose count is not known is in no order by it."""

    async def scenario(here: Visit) -> None:
        for sort in Sort:
            seen, after = list[str](), dict[str, str]()
            while after != {"after": None}:
                asked = {"sort": sort.value, "limit": 7} | after
                body = (await here.client().get(f"{API}/posts", params=asked)).json()
                seen, after = seen + [post["aweme_id"] for post in body["posts"]], {"after": body["next"]}
            known = {Sort.GROWTH: "plays_per_day", Sort.PLAYS: "play_count"}.get(sort, "aweme_id")
            assert len(seen) == len(set(seen)) > 7, sort
            assert len(seen) == len(rows(folder, f"SELECT 1 FROM posts WHERE {known} IS NOT NULL")), sort

    visit(folder, scenario)


def test_no_id_is_a_number(folder: Path) -> None:
    """No id loses its last digits in a reader whose numbers are floats: every long number is text."""

    async def scenario(here: Visit) -> None:
        client = here.client()
        for name in (*LISTS, "search", "now", "status", "budget", "waiting", f"posts/{first(folder)}"):
            body = json.loads((await client.get(f"{API}/{name}")).text, parse_int=_small)
            assert body is not None

    def _small(text: str) -> int:
        assert abs(int(text)) < 2**53, text
        return int(text)

    visit(folder, scenario)


def test_a_post_is_what_the_command_shows(folder: Path) -> None:
    """The API and `clipledger --json show` tell the same of a post, and its files can be fetched as told."""

    async def scenario(here: Visit) -> None:
        client, aweme_id = here.client(), first(folder)
        body = (await client.get(f"{API}/posts/{aweme_id}")).json()
        told = await attributed(here.archive, AwemeId(aweme_id))
        assert body["told"] == json.loads(json.dumps(told))
        assert {"plain", "bibtex"} <= set(body["citations"])
        for shown in body["media"]:
            answer = await client.get(shown["url"])
            assert len(answer.content) == shown["bytes"] and answer.headers["content-type"] == shown["media_type"]
        history = (await client.get(f"{API}/posts/{aweme_id}/history")).json()
        observed = rows(folder, "SELECT 1 FROM post_metrics_history WHERE aweme_id = ?", aweme_id)
        assert len(history["history"]) == len(observed)

    visit(folder, scenario)


def test_the_search_language_is_that_of_the_command(folder: Path) -> None:
    """What finds on the command line finds here; what cannot be understood is told in the same words."""

    async def scenario(here: Visit) -> None:
        client = here.client()
        handle = rows(folder, "SELECT author_handle FROM posts WHERE author_handle <> '' LIMIT 1")[0][0]
        found = (await client.get(f"{API}/search", params={"q": f"from:@{handle}", "limit": 200})).json()["posts"]
        assert {post["handle"] for post in found} == {handle}
        counted = (await client.get(f"{API}/search/count", params={"q": f"from:@{handle}", "facets": True})).json()
        assert counted["matches"] == len(found) and counted["facets"]["authors"][0]["value"] == f"@{handle}"
        wrong = await client.get(f"{API}/search", params={"q": "since:yesterday"})
        assert wrong.status_code == 400 and "since" in wrong.json()["detail"]

    visit(folder, scenario)


REFUSED = [
    ("posts?limit=0", 422),
    ("posts?limit=100000", 422),
    ("posts?after=nonsense", 400),
    ("posts?sort=best", 422),
    ("posts/12", 422),
    ("posts/7300000000000000000", 404),
    ("failures?after=2026-01-01T00:00:00Z", 400),
    ("failures?reason=whim", 422),
    ("credits?after=-1", 400),
    ("gone?since=tomorrow", 400),
    ("authors/@nobody.at.all", 404),
    ("gone?after=2020-01-01T00:00:00_1", 400),
    ("gone?after=0001-01-01T00:00:00%2B23:59_1", 400),
    ("gone?after=9999-12-31T23:59:59.9999999-23:59_1", 400),
    ("gone?after=9999-12-31T23:59:59.9999Z_1", 400),
    ("failures?after=2020-01-01T00:00:00_1", 400),
    ("nothing", 404),
    ("budget?since=x", 400),
]


def test_a_refusal_says_what_why_and_what_next(folder: Path) -> None:
    """Whatever a program asks wrongly, the answer says what is wrong, why, and what would be right."""

    async def scenario(here: Visit) -> None:
        for path, status in REFUSED:
            answer = await here.client().get(f"{API}/{path}")
            assert answer.status_code == status, path
            assert answer.headers["content-type"] == "application/problem+json"
            body = answer.json()
            assert body["status"] == status and body["title"] and body["detail"] and body["next"]

    visit(folder, scenario)


def test_writes_are_those_of_the_commands(folder: Path) -> None:
    """Adding, pausing, retrying, verifying and withdrawing do what the commands do, and stand in the log."""

    async def scenario(here: Visit) -> None:
        client = here.client()
        dead = rows(folder, "SELECT aweme_id FROM dead_letters")
        added = (await client.post(f"{API}/sources", json={"sources": ["@newcomer", "not a source"]})).json()
        assert added["sources_new"] == 1 and len(added["problems"]) == 1
        assert (await client.post(f"{API}/sources/pause", json={"sources": ["@newcomer"]})).json() == {
            "sources": ["@newcomer"]
        }
        again = (await client.post(f"{API}/failures/retry", json={"ids": [dead[0][0]]})).json()
        assert again == {"count": 1}
        assert (await client.post(f"{API}/failures/retry", json={})).status_code == 400
        assert (await client.post(f"{API}/workers/stop", json={})).status_code == 200
        held = await client.post(f"{API}/holds", json={"ids": [first(folder)], "reason": "a case"})
        assert held.status_code == 200
        gone = {"ids": [first(folder)], "reason": "asked", "request": "mail 7"}
        refused = await client.post(f"{API}/removals", json=gone)
        assert refused.status_code == 400 and "hold" in refused.json()["detail"]
        released = await client.post(f"{API}/holds/release", json={"ids": [first(folder)], "reason": "it is over"})
        assert released.status_code == 200
        taken = (await client.post(f"{API}/removals", json=gone)).json()
        assert len(taken["withdrawn"]) == 1 and taken["purge_at"]
        back = await client.post(f"{API}/removals/undo", json={"ids": taken["withdrawn"], "reason": "a mistake"})
        assert back.json() == {"restored": taken["withdrawn"]}

    visit(folder, scenario)
    acts = [act for (act,) in rows(folder, "SELECT act FROM audit_log ORDER BY seq")]
    assert acts[-8:] == ["add", "pause", "retry", "rest", "hold", "release", "withdraw", "restore"]


def test_an_author_is_withdrawn_and_let_in_again(folder: Path) -> None:
    """A withdrawn author is in no list, page, feed or facet until let in again; what is withheld is told as that."""
    newest = "SELECT author_id, author_handle, max(aweme_id) FROM posts WHERE author_handle GLOB '[a-z]*'"
    ((who, handle, aweme_id),) = rows(folder, newest)
    theirs = {row[0] for row in rows(folder, "SELECT aweme_id FROM posts WHERE author_id = ?", who)}

    async def named(client: httpx.AsyncClient) -> list[str]:
        asked = (
            "/authors",
            f"{API}/authors?limit=1000",
            f"{API}/search/count?facets=true",
            "/feeds/search.atom",
            "/gallery",
            "/search",
        )
        return [path for path in asked if handle in (await client.get(path)).text]

    async def scenario(here: Visit) -> None:
        client = await here.member(Role.ADMIN)
        assert len(await named(client)) > 3, "the test could not see what it looks for"
        asked = {"author": who, "reason": "asked", "request": "mail 8"}
        taken = (await client.post(f"{API}/removals", json=asked)).json()
        assert set(taken["withdrawn"]) == theirs and taken["purge_at"] == taken["purge_last_at"]
        assert await named(client) == []
        listed = (await client.get(f"{API}/removals/authors?limit=1")).json()
        assert [ban["author_id"] for ban in listed["authors"]] == [who] and listed["next"] is None
        assert listed["authors"][0]["request"] == "mail 8"
        for path in (f"/authors/{handle}", f"/author?id={who}", f"{API}/authors/{handle}"):
            assert (await client.get(path)).status_code == 404, path
        added = (await client.post(f"{API}/sources", json={"sources": [aweme_id]})).json()
        assert added["posts_withheld"] == [aweme_id] and added["posts_known"] == 0
        again = (await client.post(f"{API}/failures/retry", json={"ids": [aweme_id]})).json()
        assert again == {"count": 0, "withheld": [aweme_id]}
        form = await client.post("/sources/add", data={"what": aweme_id})
        assert "withheld" in (await client.get(form.headers["location"])).text
        both = {"ids": [aweme_id], "author": who, "reason": "a mistake"}
        assert (await client.post(f"{API}/removals/undo", json=both)).status_code == 400
        back = (await client.post(f"{API}/removals/undo", json={"author": who, "reason": "a mistake"})).json()
        assert set(back["restored"]) == theirs and back["author_id"] == who
        assert len(await named(client)) > 3

    visit(folder, scenario)


def test_more_sources_than_a_request_may_bring(folder: Path) -> None:
    """Hundreds of sources in one request are refused as a whole, in one line; so many posts are taken."""
    sources = [f"@somebody{nth}" for nth in range(LISTS_MAX + 1)]
    posts = [str(7_000_000_000_000_000_000 + nth) for nth in range(LISTS_MAX + 1)]

    async def scenario(here: Visit) -> None:
        member = await here.member(Role.OPERATOR)
        for many in (sources, ["!"] * (LINES_MAX + 1)):
            form = await member.post("/sources/add", data={"what": "\n".join(many)})
            assert form.status_code == 400 and "at most" in form.json()["detail"]
        refused = await member.post(f"{API}/sources", json={"sources": sources})
        assert refused.status_code == 400 and "at most" in refused.json()["detail"]
        assert (await member.post(f"{API}/sources", json={"sources": posts})).json()["posts_new"] == len(posts)

    visit(folder, scenario)
    assert not rows(folder, "SELECT 1 FROM sources WHERE source LIKE '@somebody%'")


def test_verifying_now_finds_damage(folder: Path) -> None:
    """A button reads a post's files at once: whole files hold, a changed byte is named, and the damage is known."""
    aweme_id, key = rows(folder, "SELECT aweme_id, storage_key FROM files WHERE kind = 'video' AND position = 0")[0]

    async def scenario(here: Visit) -> None:
        client = here.client(**{"content-type": "application/json"})
        assert (await client.post(f"{API}/posts/{aweme_id}/verify")).json()["holds"] is True
        body = bytearray((folder / key).read_bytes())
        body[-1] ^= 1
        (folder / key).write_bytes(bytes(body))
        found = (await client.post(f"{API}/posts/{aweme_id}/verify")).json()
        assert found["holds"] is False and key in found["findings"][0]
        assert (await client.post(f"{API}/posts/7300000000000000000/verify")).status_code == 400

    visit(folder, scenario)
    assert rows(folder, "SELECT aweme_id FROM fixity WHERE damaged_at IS NOT NULL") == [(aweme_id,)]


def test_a_feed_holds_what_is_new(folder: Path) -> None:
    """My feed reader shows the newest posts of a search, whatever signs are in their titles."""

    async def scenario(here: Visit) -> None:
        answer = await here.client().get("/feeds/search.atom", params={"q": "tag:#cats <b>&"})
        assert answer.status_code == 200
        answer = await here.client().get("/feeds/search.atom", params={"q": ""})
        feed = ElementTree.fromstring(answer.text)
        entries = feed.findall("{http://www.w3.org/2005/Atom}entry")
        newest = rows(folder, "SELECT aweme_id FROM posts ORDER BY aweme_id DESC LIMIT 50")
        ids = [entry.findtext("{http://www.w3.org/2005/Atom}id") for entry in entries]
        assert ids == [f"urn:tiktok:{aweme_id}" for (aweme_id,) in newest]

    visit(folder, scenario)


def test_the_figures_are_those_of_status(folder: Path) -> None:
    """The first page's sentence and its numbers come from the books: wanted is the sum of what became of it."""

    async def scenario(here: Visit) -> None:
        now = (await here.client().get(f"{API}/now")).json()
        assert now["seen"] == now["archived"] + now["gone"] + now["blocked"] + now["withheld"] + now["owed"]
        assert now["archived"] == len(rows(folder, "SELECT 1 FROM posts")) and now["gone"] > 0
        assert f"{now['archived']:,} saved" in now["sentence"]

    visit(folder, scenario)
