"""Who is let in: hosts, origins, forms, logins, roles; every route against every role."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from clipledger.core.access import Role, Scope
from clipledger.core.errors import UsageError
from clipledger.web import guard
from clipledger.web.access import csrf_of, password_grant
from clipledger.web.guard import BODY_MAX, House
from clipledger.web.turnstile import TRIES, TRIES_OF_NAME, WINDOW_S, Turnstile
from web.visiting import BASE, HOUSE, Visit, routes, rows, visit

OPEN = {("GET", "/healthz"), ("GET", "/login"), ("POST", "/login")}
ADMIN_ONLY = {
    "/api/v1/holds",
    "/api/v1/holds/release",
    "/api/v1/removals",
    "/api/v1/removals/undo",
    "/holds/place",
    "/holds/release",
    "/removals/readmit",
    "/removals/restore",
    "/removals/withdraw",
}
OPERATOR_READS = {"/api/v1/log", "/api/v1/removals/authors"}
ENDLESS = {"/live"}
SAMPLES = {"kind": "video", "position": "0", "handle": "somebody", "tag": "cats", "name": "x"}


def filled(path: str, folder: Path) -> str:
    """Fill the parameters of a path in."""
    (aweme_id,) = rows(folder, "SELECT aweme_id FROM files WHERE kind = 'video' AND position = 0")[0]
    for name, value in (SAMPLES | {"aweme_id": aweme_id}).items():
        path = path.replace("{" + name + "}", value)
    return path


STRANGERS = ["evil.example", "127.0.0.1.evil.example", "localhost:x", "8.8.8.8", "", "a@127.0.0.1", "127.0.0.1/x"]


def test_another_servers_name_is_refused(folder: Path) -> None:
    """A page that turned its own name to my machine's address gets nothing, on any path."""

    async def scenario(here: Visit) -> None:
        for host in STRANGERS:
            for path in ("/", "/api/v1/posts", "/static/clipledger.css", "/healthz", "/login"):
                answer = await here.client(host=host).get(path)
                assert answer.status_code == 421, (host, path)

    visit(folder, scenario)


def test_my_own_names_are_known(folder: Path) -> None:
    """I may come by address, by localhost, and by the names in web.hosts, on whatever port a tunnel has."""
    own = House("127.0.0.1", 8765, ["archive.example.org"])
    assert all(map(own.knows, ("127.0.0.1:8765", "localhost:9000", "[::1]:8765", "archive.example.org")))
    assert not own.knows("10.0.0.7:8765")
    assert House("0.0.0.0", 80).knows("10.0.0.7") and not House("0.0.0.0", 80).knows("evil.example")


def test_every_answer_carries_the_policy(folder: Path) -> None:
    """No inline script, no sniffing, no frame, no other site's script: on pages, files, refusals and the API alike."""

    async def scenario(here: Visit) -> None:
        client = here.client(accept="text/html")
        for path in ("/", "/nothing", "/api/v1/posts", "/api/v1/posts/1", "/static/clipledger.css", "/login"):
            headers = (await client.get(path)).headers
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy, path
            assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
            assert "access-control-allow-origin" not in headers
        assert "script-src 'self'" in (await client.get("/")).headers["content-security-policy"]

    visit(folder, scenario)


ATTACKS = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://["},
    {"origin": "http://127.0.0.1:9999"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"content-type": "text/plain"},
    {"content-type": "application/x-www-form-urlencoded"},
    {"referer": "https://evil.example/"},
    {"x-csrf-token": "0" * 64, "origin": BASE},
]


def test_another_sites_request_changes_nothing(folder: Path) -> None:
    """A page elsewhere that posts to my archive is refused, though I am at this machine and nobody set a password."""

    async def scenario(here: Visit) -> None:
        for headers in ATTACKS:
            client = here.client(**{"content-type": "application/json"} | headers)
            answer = await client.post("/api/v1/pause", content=b'{"reason": "attack"}')
            assert answer.status_code == 403, headers

    visit(folder, scenario)
    assert not rows(folder, "SELECT 1 FROM switches WHERE name = 'pause' AND state = 'paused'")


def test_a_form_of_our_own_page_is_taken(folder: Path) -> None:
    """What I send from the page that I loaded works; the same without its token, or with another cookie, does not."""

    async def scenario(here: Visit) -> None:
        client = here.client(accept="text/html", origin=BASE)
        page = await client.get("/login")
        cookie = client.cookies[HOUSE.cookie]
        told = page.headers["set-cookie"].lower()
        assert "httponly" in told and "samesite=strict" in told
        assert csrf_of(cookie) in page.text
        assert (await client.post("/api/v1/pause", json={})).status_code == 403
        good = {"x-csrf-token": csrf_of(cookie)}
        for elsewhere in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
            assert (await client.post("/api/v1/pause", json={}, headers=good | elsewhere)).status_code == 403
        assert (await client.post("/api/v1/pause", json={}, headers=good)).status_code == 200
        client.cookies.set(HOUSE.cookie, "another", domain="127.0.0.1")
        stolen = here.client(origin=BASE, cookie=f"{HOUSE.cookie}=another")
        assert (await stolen.post("/api/v1/resume", json={}, headers=good)).status_code == 403

    visit(folder, scenario)


def test_a_form_that_is_out_of_date_says_so_on_a_page(folder: Path) -> None:
    """Who sends a form after the session ended reads what to do next; a program reads problem+json."""

    async def scenario(here: Visit) -> None:
        person = here.client(accept="text/html", origin=BASE)
        await person.get("/login")
        told = await person.post("/queue/retry", data={"csrf": "0" * 64})
        assert told.status_code == 403 and told.headers["content-type"].startswith("text/html")
        assert "The form is out of date" in told.text and "load the page again" in told.text
        program = await here.client(origin=BASE).post("/queue/retry", data={"csrf": "0" * 64})
        assert program.json()["title"] == "the form is out of date"
        await here.desk.doorman.access.grant(password_grant("ada", Role.VIEWER, "correct horse", 0.0))
        stranger = here.client(accept="text/html", origin=BASE)
        refused = await stranger.post("/login", data={"csrf": "0" * 64})
        assert refused.status_code == 403 and "The form is out of date" in refused.text
        assert folder.name not in refused.text and "Log out" not in refused.text
        asked = await person.post("/queue/retry", data={"csrf": "0" * 64})
        assert (asked.status_code, asked.headers["location"]) == (303, "/login")

    visit(folder, scenario)


def test_a_program_on_this_machine_needs_no_form(folder: Path) -> None:
    """With curl on my own machine I may write, as long as nobody set a password."""

    async def scenario(here: Visit) -> None:
        assert (await here.client().post("/api/v1/pause", json={"reason": "lunch"})).status_code == 200

    visit(folder, scenario)


def test_behind_a_proxy_nobody_is_at_this_machine(folder: Path) -> None:
    """A proxy makes the whole world look local: with one in front, or named in web.hosts, nobody enters unasked."""

    async def scenario(here: Visit) -> None:
        for name in ("x-forwarded-for", "forwarded", "via", "x-real-ip"):
            assert (await here.client(**{name: "203.0.113.9"}).get("/api/v1/posts")).status_code == 401, name

    async def named(here: Visit) -> None:
        assert (await here.client().get("/api/v1/posts")).status_code == 401

    visit(folder, scenario)
    visit(folder, named, House("127.0.0.1", 8765, ["archive.example.org"]))


def test_a_large_body_is_refused(folder: Path) -> None:
    """Nobody fills the memory with one request, whether its length is told or not."""

    async def scenario(here: Visit) -> None:
        async def endless() -> object:
            for _ in range(3):
                yield b"x" * (BODY_MAX // 2)

        client = here.client(**{"content-type": "application/json"})
        assert (await client.post("/api/v1/sources", content=b"x" * (BODY_MAX + 1))).status_code == 413
        assert (await client.post("/api/v1/sources", content=endless())).status_code == 413

    visit(folder, scenario)


def test_a_body_that_does_not_come_is_not_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends a request drop by drop is sent away, so that others find a place."""
    monkeypatch.setattr(guard, "BODY_S", 0.01)

    async def scenario(here: Visit) -> None:
        async def dripping() -> object:
            yield b"{"
            await asyncio.Event().wait()

        client = here.client(**{"content-type": "application/json"})
        assert (await client.post("/api/v1/sources", content=dripping())).status_code == 408

    visit(folder, scenario)


def test_every_route_asks_for_its_role(folder: Path) -> None:
    """Once somebody has a password: health and login are open, looking needs a viewer, writing an operator, removing
    an admin; on every route that there is."""

    async def scenario(here: Visit) -> None:
        clients = {role: await here.member(role) for role in Role}
        nobody = here.client(origin=BASE)
        for method, path in routes(here.app):
            url = filled(path, folder)
            refused = (await nobody.request(method, url)).status_code
            assert (refused == 401) == ((method, path) not in OPEN), (method, path, refused)
            for role, client in clients.items():
                if (method == "GET" and path in ENDLESS) or path == "/logout":
                    continue
                needed = needed_for(method, path)
                answer = await client.request(method, url, json={} if method == "POST" else None)
                if path != "/login":
                    assert (answer.status_code == 403) != role.covers(needed), (method, path, role, answer.status_code)
                assert answer.status_code < 500, (method, path, answer.text)

    visit(folder, scenario)


def needed_for(method: str, path: str) -> Role:
    """Say what the documentation says."""
    if method == "POST" and path not in ("/csp", "/login", "/logout"):
        return Role.ADMIN if path in ADMIN_ONLY else Role.OPERATOR
    return Role.OPERATOR if path in OPERATOR_READS else Role.VIEWER


def test_the_table_of_roles_knows_every_route(folder: Path) -> None:
    """The table above is about routes that there are, and there are enough of them to mean something."""

    async def scenario(here: Visit) -> None:
        paths = {path for _, path in routes(here.app)}
        assert {path for _, path in OPEN} | ADMIN_ONLY | OPERATOR_READS | ENDLESS <= paths
        assert len(paths) > 30

    visit(folder, scenario)


def test_logging_in_and_out(folder: Path) -> None:
    """With the right password I am in until I log out; the log says who came and from where, and that they left."""

    async def scenario(here: Visit) -> None:
        await here.desk.doorman.access.grant(password_grant("ada", Role.OPERATOR, "correct horse", 0.0))
        client = here.client(accept="text/html", origin=BASE)
        asked = await client.get("/api/v1/posts", headers={"accept": "*/*"})
        assert asked.status_code == 401 and asked.json()["next"]
        away = await client.get("/")
        assert (away.status_code, away.headers["location"]) == (303, "/login?next=/")
        assert (await client.get("/login")).status_code == 200
        form = {"name": "ada", "next": "/", "csrf": csrf_of(client.cookies[HOUSE.cookie])}
        wrong = await client.post("/login", data=form | {"password": "wrong horse"})
        assert wrong.status_code == 403 and "do not fit" in wrong.text
        before = client.cookies[HOUSE.cookie]
        inside = await client.post("/login", data=form | {"password": "correct horse"})
        assert (inside.status_code, inside.headers["location"]) == (303, "/")
        assert client.cookies[HOUSE.cookie] != before, "a cookie from before the login must not be the session's"
        assert (await client.get("/")).status_code == 200
        out = {"csrf": csrf_of(client.cookies[HOUSE.cookie])}
        kept = client.cookies[HOUSE.cookie]
        assert (await client.post("/logout", data=out)).status_code == 303
        assert (await here.client(cookie=f"{HOUSE.cookie}={kept}").get("/api/v1/posts")).status_code == 401

    visit(folder, scenario)
    told = rows(folder, "SELECT act FROM audit_log WHERE subject = 'access:ada' ORDER BY seq")
    assert told == [("grant",), ("login",), ("logout",)]
    assert not rows(folder, "SELECT 1 FROM access_grants WHERE hash LIKE '%horse%'")


ELSEWHERE = ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"]


def test_a_login_leads_to_no_other_site(folder: Path) -> None:
    """A link to my login page cannot send me elsewhere afterwards."""

    async def scenario(here: Visit) -> None:
        await here.desk.doorman.access.grant(password_grant("ada", Role.VIEWER, "correct horse", 0.0))
        client = here.client(accept="text/html", origin=BASE)
        await client.get("/login")
        form = {"name": "ada", "password": "correct horse"}
        for back in ELSEWHERE:
            told = form | {"next": back, "csrf": csrf_of(client.cookies[HOUSE.cookie])}
            assert (await client.post("/login", data=told)).headers["location"] == "/", back

    visit(folder, scenario)


def test_guessing_is_slowed_down(folder: Path) -> None:
    """After five wrong passwords from one address even the right one has to wait."""

    async def scenario(here: Visit) -> None:
        await here.desk.doorman.access.grant(password_grant("ada", Role.VIEWER, "correct horse", 0.0))
        client = here.client(accept="text/html", origin=BASE)
        await client.get("/login")
        form = {"name": "ada", "csrf": csrf_of(client.cookies[HOUSE.cookie])}
        for _ in range(TRIES):
            assert (await client.post("/login", data=form | {"password": "guess"})).status_code == 403
        late = await client.post("/login", data=form | {"password": "correct horse"})
        assert late.status_code == 429 and 0 < int(late.headers["retry-after"]) <= WINDOW_S

    visit(folder, scenario)


def test_guessing_from_many_addresses_is_slowed_down() -> None:
    """A name that is tried from everywhere is closed to all for a while, and opens again by itself."""
    turnstile = Turnstile()
    for nth in range(TRIES_OF_NAME):
        turnstile.failed(f"10.0.0.{nth}", "ada", 100.0)
    assert turnstile.wait_s("10.9.9.9", "ada", 100.0) == WINDOW_S
    assert turnstile.wait_s("10.9.9.9", "bob", 100.0) == 0.0
    assert turnstile.wait_s("10.9.9.9", "ada", 100.0 + WINDOW_S) == 0.0


def test_a_new_password_ends_every_session(folder: Path) -> None:
    """Whoever took my session is out when I change my password, or when the grant is revoked."""

    async def scenario(here: Visit) -> None:
        client = await here.member(Role.ADMIN)
        assert (await client.get("/api/v1/posts")).status_code == 200
        await here.desk.doorman.access.grant(password_grant("admin", Role.ADMIN, "another horse", 1.0))
        assert (await client.get("/api/v1/posts")).status_code == 401
        viewer = await here.member(Role.VIEWER)
        assert await here.desk.doorman.access.revoke("viewer", 2.0, may_open=False)
        assert (await viewer.get("/api/v1/posts")).status_code == 401

    visit(folder, scenario)


def test_a_token_opens_its_scope_and_ends(folder: Path) -> None:
    """A token for feeds reads feeds and nothing else, also as a feed reader's password; one that is over is none."""

    async def scenario(here: Visit) -> None:
        feeds = await here.token(Role.VIEWER, Scope.FEEDS)
        assert (await feeds.get("/feeds/search.atom")).status_code == 200
        assert (await feeds.get("/api/v1/posts")).status_code == 401
        assert (await feeds.get("/")).status_code == 401
        token = feeds.headers["authorization"].removeprefix("Bearer ")
        basic = httpx.BasicAuth("reader", token)
        assert (await here.client().get("/feeds/search.atom", auth=basic)).status_code == 200
        api = await here.token(Role.OPERATOR, Scope.API)
        assert (await api.post("/api/v1/pause", json={"reason": "by a program"})).status_code == 200
        over = await here.token(Role.ADMIN, *Scope, lasts_s=-1.0)
        assert (await over.get("/api/v1/posts")).status_code == 401

    visit(folder, scenario)
    who = rows(folder, "SELECT operator FROM audit_log WHERE act = 'pause' AND why = 'by a program'")
    assert who == [("token-operator",)]


def test_a_token_does_not_log_in(folder: Path) -> None:
    """A feed reader's token, or a program's, typed into the login page opens nothing: only a password does."""

    async def scenario(here: Visit) -> None:
        for scope in Scope:
            program = await here.token(Role.ADMIN, scope)
            token = program.headers["authorization"].removeprefix("Bearer ")
            assert await here.desk.doorman.log_in("token-admin", token, "10.0.0.1") is None, scope

    visit(folder, scenario)
    assert not rows(folder, "SELECT 1 FROM access_sessions")


def test_logging_in_often_locks_nobody_out() -> None:
    """However often a program logs in with the right password, from however many addresses, its name stays open."""
    turnstile = Turnstile()
    for nth in range(TRIES_OF_NAME - 1):
        turnstile.failed(f"10.0.0.{nth}", "ada", 100.0)
    turnstile.failed("10.1.0.0", "ada", 100.0)
    turnstile.succeeded("10.1.0.0", "ada")
    assert turnstile.wait_s("10.9.9.9", "ada", 100.0) == 0.0


def test_revoking_the_last_grant_does_not_open_the_archive(folder: Path) -> None:
    """Taking the last password or token away is refused, unless I say that the archive is to be open again."""

    async def scenario(here: Visit) -> None:
        access = here.desk.doorman.access
        await here.member(Role.ADMIN)
        with pytest.raises(UsageError, match="--open-again"):
            await access.revoke("admin", 2.0, may_open=False)
        assert (await here.client().get("/api/v1/posts")).status_code == 401
        assert await access.revoke("admin", 3.0, may_open=True)
        assert (await here.client().get("/api/v1/posts")).status_code == 200

    visit(folder, scenario)
