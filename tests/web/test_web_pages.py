"""The screens without a browser: each answers, refusals are pages for people, charts tell the same as CSV."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from contextlib import closing
from html import unescape
from pathlib import Path

import pytest
from markupsafe import escape

from clipledger.core.access import Role
from clipledger.core.model import AwemeId
from clipledger.core.times import iso_time
from clipledger.db.samples import Sample
from clipledger.db.series import POINTS_MAX, Curves
from clipledger.sim.play import Play
from web.visiting import Visit, rows, visit

SCREENS = (
    "/",
    "/sources",
    "/queue",
    "/gallery",
    "/search",
    "/authors",
    "/tags",
    "/gone",
    "/budget",
    "/system",
    "/removals",
)
HTML = "text/html,*/*"


def test_every_screen_answers_and_names_its_title(folder: Path) -> None:
    """Each screen is one page with a title and one heading, and shows no more of a secret than it must."""

    async def scenario(here: Visit) -> None:
        client = here.client(accept=HTML)
        for path in SCREENS:
            answer = await client.get(path)
            assert answer.status_code == 200, path
            assert answer.text.count("<h1") == 1 and "clipledger</title>" in answer.text, path

        assert "No day stands out" in (await client.get("/gone/spikes")).text

    visit(folder, scenario)


def test_people_get_pages_and_programs_problems(folder: Path) -> None:
    """What cannot be answered is a page that says what to do next; a program is told the same as problem+json."""

    async def scenario(here: Visit) -> None:
        for path, status in (("/posts/99999999", 404), ("/gone?since=soon", 400), ("/gallery?sort=odd", 422)):
            page = await here.client(accept=HTML).get(path)
            assert page.status_code == status and "<h1>" in page.text, path
            told = await here.client().get(path)
            assert told.status_code == status and told.json()["next"], path

    visit(folder, scenario)


def test_a_chart_and_its_csv_tell_the_same(folder: Path) -> None:
    """The numbers that are drawn are those of the CSV, row for row; an unknown chart is refused."""
    aweme_id = rows(folder, "SELECT aweme_id FROM posts WHERE play_count > 0 LIMIT 1")[0][0]
    with closing(sqlite3.connect(folder / "clipledger.db")) as connection, connection:
        connection.execute("UPDATE post_metrics_history SET play_count = 1234567891 WHERE aweme_id = ?", (aweme_id,))

    async def scenario(here: Visit) -> None:
        client = here.client()
        for name in ("intake", "gone", "credits", "latency", f"plays?{aweme_id}", f"reactions?{aweme_id}"):
            chart, _, of = name.partition("?")
            drawn = (await client.get(f"/charts/{chart}.json", params={"of": of})).json()
            table = list(csv.reader(io.StringIO((await client.get(f"/charts/{chart}.csv", params={"of": of})).text)))
            assert len(table) == len(drawn["points"]) + 1 and len(table[0]) == len(drawn["lines"]) + 1
            for row, point in zip(table[1:], drawn["points"], strict=True):
                assert row[0] == point["when"]
                assert [float(cell) if cell else None for cell in row[1:]] == point["values"]
        assert drawn["points"], "the post's own curve has its capture"
        assert (await client.get("/charts/none.json")).status_code == 400
        handle, author_id = rows(folder, "SELECT handle, author_id FROM author_handles LIMIT 1")[0]
        made = rows(folder, "SELECT count(*) FROM posts WHERE author_id = ?", author_id)[0][0]
        for name, of in (("author-id", author_id), ("author", handle), ("tag", "cats")):
            life = (await client.get(f"/charts/{name}-life.json", params={"of": of})).json()
            assert life["lines"] == ["made", "vanished"] and sum(point["values"][0] for point in life["points"]) > 0
            assert name != "author-id" or sum(point["values"][0] for point in life["points"]) == made

    visit(folder, scenario)


def test_what_was_done_is_said_and_links_cannot_say_more(folder: Path) -> None:
    """After adding a source its row is there at once; a link that names another deed says nothing."""

    async def scenario(here: Visit) -> None:
        client = await here.member(Role.OPERATOR)
        client.headers["accept"] = HTML
        answer = await client.post("/sources/add", data={"what": "@somebody.new\n#newest"}, follow_redirects=True)
        assert "Added: 2 new." in answer.text and "@somebody.new" in answer.text
        assert "Added" not in (await client.get("/sources?done=Your+key+expired&n=1")).text
        assert "Added: 0 new." in (await client.get("/sources?done=added&n=<b>")).text
        refused = await client.post("/removals/withdraw", data={"what": "1", "reason": "r", "request": "q"})
        assert refused.status_code == 403, "an operator runs, an admin removes"

    visit(folder, scenario)


def test_holds_and_withdrawals_go_through_the_page(folder: Path) -> None:
    """An admin holds a post, is refused its withdrawal, ends the hold, withdraws it, and brings it back."""
    aweme_id = rows(folder, "SELECT aweme_id FROM posts LIMIT 1")[0][0]

    async def scenario(here: Visit) -> None:
        client = await here.member(Role.ADMIN)
        client.headers["accept"] = HTML
        held = {"kind": "id", "subject": aweme_id, "reason": "a court asks"}
        assert (await client.post("/holds/place", data=held)).status_code == 303
        asked = {"what": aweme_id, "reason": "asked for", "request": "ticket 7"}
        assert "legal hold" in (await client.post("/removals/withdraw", data=asked)).text
        assert (await client.post("/holds/release", data=held)).status_code == 303
        assert (await client.post("/removals/withdraw", data=asked)).headers["location"].endswith("n=1")
        assert "withheld" in (await client.get(f"/posts/{aweme_id}")).text
        assert aweme_id not in (await client.get("/gallery")).text
        back = {"id": aweme_id, "reason": "a mistake"}
        assert (await client.post("/removals/restore", data=back)).headers["location"].endswith("n=1")

    visit(folder, scenario)


def test_an_author_is_kept_out_and_let_in_again_through_the_page(folder: Path) -> None:
    """Who withdrew an author finds them on the page, and a button that brings back what it hid."""
    newest = "SELECT author_id, author_handle, max(aweme_id) FROM posts WHERE author_handle GLOB '[a-z]*'"
    ((who, handle, _),) = rows(folder, newest)

    async def scenario(here: Visit) -> None:
        client = await here.member(Role.ADMIN)
        client.headers["accept"] = HTML
        assert "Let in again" not in (await client.get("/removals")).text
        asked = {"what": f"@{handle}", "reason": "asked for", "request": "ticket 8"}
        taken = (await client.post("/removals/withdraw", data=asked)).headers["location"].partition("n=")[2]
        page = (await client.get("/removals")).text
        assert "its author is kept out" in page and "<button>Restore" not in page
        again = await client.post("/removals/withdraw", data=asked | {"request": "ticket 9"}, follow_redirects=True)
        assert "that one stands" in again.text
        slip = asked | {"what": "7300000000000000001"}
        assert "slip of the keys" in (await client.post("/removals/withdraw", data=slip, follow_redirects=True)).text
        assert f'name="author" value="{who}"' in page and "ticket 8" in page and int(taken) > 0
        back = {"author": who, "reason": "a mistake"}
        answer = await client.post("/removals/readmit", data=back, follow_redirects=True)
        assert f"came back: {taken}." in answer.text and "Let in again" not in answer.text.partition("<table")[2]
        assert (await client.post("/removals/readmit", data=back)).status_code == 400, "is not withdrawn any more"
        assert handle in (await client.get("/authors")).text

    visit(folder, scenario)


def test_tags_that_people_chose_are_blurred(folder: Path) -> None:
    """A post with one of the tags of web.blur waits for a click, in the gallery and on its own page."""
    aweme_id, title = rows(folder, "SELECT aweme_id, title FROM posts WHERE title LIKE '%#cats%' LIMIT 1")[0]
    toml = folder / "clipledger.toml"
    toml.write_text(
        toml.read_text() + '\n[web]\nblur = ["#Cats"]\n'
        if "[web]" not in toml.read_text()
        else toml.read_text().replace("[web]", '[web]\nblur = ["#Cats"]')
    )

    async def scenario(here: Visit) -> None:
        assert "#cats" in title.lower()
        assert "Sensitive: show it" in (await here.client(accept=HTML).get("/")).text, "among the newest"
        for path in (f"/posts/{aweme_id}", f"/gallery?q={aweme_id}", "/gallery?q=tag:cats"):
            text = (await here.client(accept=HTML).get(path)).text
            assert ("Sensitive: show it" in text) == ("q=" + aweme_id not in path), path
        assert "Sensitive: show it" not in (await here.client(accept=HTML).get("/gallery?q=-tag:cats")).text

    visit(folder, scenario)


def test_one_steps_through_posts_in_the_order_of_the_gallery(folder: Path) -> None:
    """From a card on, post after post comes as the gallery had them, in each of its orders, and back again."""

    async def scenario(here: Visit) -> None:
        client = here.client(accept=HTML)
        for query in (
            "sort=new",
            "sort=old",
            "sort=plays",
            "sort=growth",
            "q=cats+OR+dogs&sort=relevance",
            "q=is%3Aphoto",
        ):
            cards = re.findall(r'href="(/posts/[^"]+)" data-card', (await client.get(f"/gallery?{query}")).text)
            wanted, at = [_id_in(link) for link in cards], unescape(cards[0])
            assert len(wanted) > 4, query
            for way, ids in (("next", wanted), ("prev", wanted[::-1])):
                met = [_id_in(at)]
                while len(met) < len(ids):
                    (link,) = re.findall(rf'rel="{way}" data-step href="(/posts/[^"]+)"', (await client.get(at)).text)
                    at = unescape(link)
                    met.append(_id_in(at))
                assert met == ids, f"{query}, {way}"
            assert 'rel="prev"' not in (await client.get(at)).text, query
        odd = await client.get(f"/posts/{wanted[0]}?sort=plays&at=x")
        assert odd.status_code == 400 and "no key of this order" in unescape(odd.text)

    visit(folder, scenario)


def _id_in(link: str) -> str:
    return link.removeprefix("/posts/").partition("?")[0]


@pytest.mark.parametrize("handle", ["..", ".", "a/b", "\U0001f408 cat", "x" * 250, "%2e%2e", "?id=1#x", 'a"b<i>', ""])
def test_every_author_has_a_page_whatever_they_call_themselves(folder: Path, handle: str) -> None:
    """From a post to its author, whose page has their posts, their handles and their curve; programs find them too."""
    aweme_id, author_id = rows(folder, "SELECT aweme_id, author_id FROM posts WHERE author_id <> '' LIMIT 1")[0]
    with closing(sqlite3.connect(folder / "clipledger.db")) as connection, connection:
        connection.execute("UPDATE posts SET author_handle = ? WHERE author_id = ?", (handle, author_id))
        connection.execute("UPDATE authors SET handle = ? WHERE author_id = ?", (handle, author_id))
        connection.execute("UPDATE author_handles SET handle = ? WHERE author_id = ?", (handle, author_id))

    async def scenario(here: Visit) -> None:
        client = here.client(accept=HTML)
        for path in (f"/posts/{aweme_id}", "/authors"):
            links = re.findall(r'href="(/author[^"]*id=[^"]*)"', (await client.get(path)).text)
            assert f"/author?id={author_id}" in links, path
        page = (await client.get(f"/author?id={author_id}")).text
        assert escape(f"@{handle}" if handle else f"Author {author_id}") in page and f"/posts/{aweme_id}" in page
        assert (await client.get(f"/charts/author-id.json?of={author_id}")).json()["points"]
        assert (await client.get("/gone/lost", params={"author": author_id})).status_code == 200
        api = here.client()
        for params in ({"id": author_id}, {"handle": handle}) if handle else ({"id": author_id},):
            told = (await api.get("/api/v1/authors", params=params)).json()["authors"]
            assert (author_id, handle) in [(each["author_id"], each["handle"]) for each in told], params
        assert (await client.get("/author?id=nobody")).status_code == 404
        assert (await client.get("/tags/%2e%2e")).status_code == 404

    visit(folder, scenario)


def test_a_reply_that_could_not_be_read_stands_beside_its_post(folder: Path) -> None:
    """Among the failures and on its own page a post shows the answer that it failed by, as it came, without secrets."""
    dead, other = (row[0] for row in rows(folder, "SELECT aweme_id FROM dead_letters LIMIT 2"))
    odd = '{"code": 0, "surprise": ["<b>' + "\u2028" + '"]}'

    async def scenario(here: Visit) -> None:
        await here.archive.samples.keep(Sample(1.8e9, "/post-detail/", "no `data`", odd, AwemeId(dead)))
        client = here.client(accept=HTML)
        queue = (await client.get("/queue")).text
        assert queue.count("The reply as it came") == 1 and f"/queue/reply/{dead}" in queue
        assert queue.index('class="group"') < queue.index(f"/queue/reply/{dead}"), "rows stand under their reason"
        for path in (f"/queue/reply/{dead}", f"/posts/{dead}"):
            assert escape(odd) in (await client.get(path)).text, path
        assert (await client.get(f"/queue/reply/{other}")).status_code == 404

    visit(folder, scenario)


def test_each_facet_finds_as_many_as_it_tells(folder: Path) -> None:
    """Whatever is offered to narrow a search by, author, tag, region or month, leaves just the posts it promises."""

    async def scenario(here: Visit) -> None:
        client = here.client(accept=HTML)
        piece = (await client.get("/search/spread", params={"q": "#cats", "to": "gallery"})).text
        offered = re.findall(r'href="/gallery\?([^"]*)">(.*?) <span class="dim">([\d,]+)</span>', piece)
        assert {"Authors", "Tags", "Months"} <= set(re.findall("<dt>(.*?)</dt>", piece)) and len(offered) > 5
        for query, name, told in offered:
            found = (await client.get(f"/api/v1/search/count?{unescape(query)}")).json()["matches"]
            assert found == int(told.replace(",", "")) > 0, (name, query)

    visit(folder, scenario)


def test_an_outage_shows_on_the_first_page_with_its_evidence(tmp_path: Path) -> None:
    """While the API says of every post that it is gone, the first page says that all is paused, since when and why."""
    play = Play(tmp_path / "archive", seed=2, posts=120)
    play.add(*(source for source in play.world.sources() if source.startswith("@")))
    play.turn(outage="not_found")
    play.run()

    async def scenario(here: Visit) -> None:
        page = (await here.client(accept=HTML).get("/")).text
        banner = page[page.index('role="alert"') :].split("</div>")[0]
        evidence = (await here.client().get("/api/v1/status")).json()["breaker"]["evidence"]
        assert "Paused by the breaker since" in banner and evidence and str(escape(evidence)) in banner
        assert "Nothing is declared gone" in banner and "<time" in banner
        assert str(escape(evidence)) in (await here.client(accept=HTML).get("/system")).text

    visit(tmp_path / "archive", scenario)


def test_a_pause_says_who_must_do_what(folder: Path) -> None:
    """A paused archive says since when and why it is, and where it is resumed; then it says so no more."""

    async def scenario(here: Visit) -> None:
        client = await here.member(Role.OPERATOR)
        client.headers["accept"] = HTML
        await client.post("/system/pause", data={"reason": "the disk is <swapped>"})
        page = (await client.get("/?done=paused")).text
        assert "Paused by the operator since" in page and "the disk is &lt;swapped&gt;" in page and "<time" in page
        system = (await client.get("/system?done=paused")).text
        assert "The archive is paused" in system and "Resume the archive" in system
        await client.post("/system/resume")
        assert "Paused by the operator" not in (await client.get("/?done=resumed")).text

    visit(folder, scenario)


def test_a_long_curve_is_drawn_with_points_enough(folder: Path) -> None:
    """A post that was observed ten thousand times has a curve that a browser can draw, from its first to its last."""
    aweme_id, feed = rows(folder, "SELECT aweme_id, feed FROM post_metrics_history WHERE play_count > 0 LIMIT 1")[0]
    insert = "INSERT INTO post_metrics_history (aweme_id, feed, observed_at, play_count) VALUES (?, ?, ?, ?)"
    with closing(sqlite3.connect(folder / "clipledger.db")) as connection, connection:
        connection.execute("DELETE FROM post_metrics_history WHERE aweme_id = ?", (aweme_id,))
        connection.executemany(insert, [(aweme_id, feed, iso_time(1.8e9 + nth), nth) for nth in range(10_000)])

    async def scenario(here: Visit) -> None:
        points = (await Curves(here.archive.db).growth_of(aweme_id)).points
        assert len(points) == POINTS_MAX and (points[0][1], points[-1][1]) == (0.0, 9999.0)
        assert points == sorted(set(points))

    visit(folder, scenario)


def test_the_log_and_the_settings_are_for_operators(folder: Path) -> None:
    """Whoever may only look sees neither what happened nor how the archive is set up."""

    async def scenario(here: Visit) -> None:
        for role in Role:
            page = (await (await here.member(role)).get("/system", headers={"accept": HTML})).text
            for title in ("Settings in force", ">Log<"):
                assert (title in page) == role.covers(Role.OPERATOR), (role, title)

    visit(folder, scenario)
