"""Each source asks in the API's own words, and its written form means what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger import sources
from clipledger.core.errors import MalformedReply, UsageError
from clipledger.core.links import ListOptions, WantedSource, understand
from clipledger.core.model import ApiCall
from clipledger.core.parse import Entity
from clipledger.sources.kind import SourceKind, SourceQuery

NOW = 1_780_000_000.0
SUBJECTS = {
    "user": ("alice", "..a_b."),
    "liked": ("alice", ".x"),
    "stories": ("alice", "a.b"),
    "tag": ("dance", "踊ってみた", "a'b"),
    "search": ("cats", "what is love?", "100% a?region=US", "%3F #x @y"),
    "music": ("7092821179534111", "107955"),
    "playlist": ("7092821179534111",),
    "collection": ("7092821179534111",),
}
VALUES = {"region": ("US", "DE"), "sort": ("likes", "date"), "within": (1, 180)}


def _options(kind: SourceKind, choice: int) -> ListOptions:
    return ListOptions(**{name: VALUES[name][choice] for name in kind.options})  # type: ignore[arg-type]


def test_every_kind_is_found_and_tried_here() -> None:
    """A source that is a file is a source the commands know, and none goes untested."""
    assert set(sources.registry()) == set(SUBJECTS)
    assert all(sources.kind(name).name == name for name in SUBJECTS)
    with pytest.raises(KeyError):
        sources.kind("link")


@pytest.mark.parametrize("name", SUBJECTS)
def test_what_a_source_writes_is_read_back(name: str) -> None:
    """The name a source has in `sources` is what I would type to add it."""
    kind = sources.kind(name)
    for subject in SUBJECTS[name]:
        for options in (ListOptions(), _options(kind, 0), _options(kind, 1)):
            assert understand(kind.write(subject, options), now=NOW) == WantedSource(name, subject, options)


@given(st.text(min_size=1, max_size=60))
def test_any_search_has_its_own_name(words: str) -> None:
    """Two different searches never share a row."""
    try:
        wanted = understand(f"search:{words}", now=NOW)
    except UsageError:
        return
    assert isinstance(wanted, WantedSource)
    written = sources.kind("search").write(wanted.subject, wanted.options)
    assert understand(written, now=NOW) == wanted


def test_canonical_texts() -> None:
    """The names of sources are stable: they are keys in the database."""
    options = ListOptions("US", "date", 7)
    assert sources.kind("user").write("alice") == "@alice"
    assert sources.kind("tag").write("dance", ListOptions("DE")) == "#dance?region=DE"
    assert sources.kind("search").write("two cats", options) == "search:two cats?region=US&sort=date&within=7"
    assert sources.kind("music").write("123") == "music:123"
    assert sources.kind("liked").write("alice") == "liked:@alice"
    assert sources.kind("stories").write("alice") == "stories:@alice"


@pytest.mark.parametrize("name", SUBJECTS)
def test_options_that_an_endpoint_does_not_take_are_refused(name: str) -> None:
    """An option that would be ignored is a usage error, not a silent surprise."""
    kind = sources.kind(name)
    for option, (value, _) in VALUES.items():
        options = ListOptions(**{option: value})  # type: ignore[arg-type]
        if option in kind.options:
            assert kind.accept(options) == options
            continue
        with pytest.raises(UsageError, match=option):
            kind.accept(options)
        with pytest.raises(UsageError):
            kind.write("x", options)


@pytest.mark.parametrize(
    ("name", "query", "path", "params"),
    [
        ("user", SourceQuery("alice", "9"), "/user-posts/", "userid=9 count=30 cursor=0"),
        ("user", SourceQuery("alice", "9", cursor="17000"), "/user-posts/", "userid=9 count=30 cursor=17000"),
        ("liked", SourceQuery("alice", "9", cursor="5"), "/user-liked/", "userid=9 count=30 cursor=5"),
        ("stories", SourceQuery("alice", "9", cursor="5"), "/user-stories/", "userid=9"),
        ("tag", SourceQuery("dance", "5932"), "/challenge-posts/", "challenge_id=5932 count=30 cursor=0"),
        ("tag", SourceQuery("dance", "1", "DE"), "/challenge-posts/", "challenge_id=1 count=30 cursor=0 region=DE"),
        ("music", SourceQuery("107955"), "/music-posts/", "music_id=107955 count=30 cursor=0"),
        ("playlist", SourceQuery("12"), "/playlist-posts/", "playlist_id=12 count=30 cursor=0"),
        ("collection", SourceQuery("12"), "/collection-posts/", "collection_id=12 count=30 cursor=0"),
        (
            "search",
            SourceQuery("cats"),
            "/search-video/",
            "keyword=cats count=30 cursor=0 publish_time=0 sort_by=0 region=US",
        ),
        (
            "search",
            SourceQuery("cats", None, "JP", "date", 180, "60"),
            "/search-video/",
            "keyword=cats count=30 cursor=60 publish_time=180 sort_by=2 region=JP",
        ),
        (
            "search",
            SourceQuery("cats", sort="likes"),
            "/search-video/",
            "keyword=cats count=30 cursor=0 publish_time=0 sort_by=1 region=US",
        ),
    ],
)
def test_pages_are_asked_for_in_the_apis_words(name: str, query: SourceQuery, path: str, params: str) -> None:
    """Every list is asked for with the parameters it takes, spelled as the API spells them."""
    told = tuple((pair.split("=")[0], pair.split("=")[1]) for pair in params.split())
    assert sources.kind(name).request(query) == ApiCall(path, told)


def test_handles_and_tags_are_looked_up_once() -> None:
    """A handle or tag costs one credit to look up; an id costs none."""
    who = ApiCall("/userinfo-by-username/", (("username", "alice"),))
    for name in ("user", "liked", "stories"):
        assert sources.kind(name).lookup("alice") == who
        body = {"user": {"id": "9", "uniqueId": "alice"}, "stats": {"videoCount": 3}}
        assert sources.kind(name).read_entity(body) == Entity("9", "alice", 3)
    assert sources.kind("tag").lookup("dance") == ApiCall("/challenge-info-name/", (("name", "dance"),))
    body = {"id": "5932", "cha_name": "dance", "user_count": 4}
    assert sources.kind("tag").read_entity(body) == Entity("5932", "dance", 4)
    for name in ("search", "music", "playlist", "collection"):
        assert sources.kind(name).lookup("1") is None
        with pytest.raises(MalformedReply):
            sources.kind(name).read_entity(body)


def test_a_handle_that_was_not_looked_up_is_not_asked_for() -> None:
    """No credit is spent on a call that cannot work."""
    for name in ("user", "liked", "stories", "tag"):
        with pytest.raises(ValueError, match="looked up"):
            sources.kind(name).request(SourceQuery("alice"))


def test_time_cursors_are_told_from_offsets() -> None:
    """A list that is ordered by time goes on where it stopped; a ranked one begins anew."""
    kinds = sources.registry().values()
    assert {kind.name for kind in kinds if kind.newest_first} == {"user", "stories"}
    assert {kind.name for kind in kinds if not kind.paged} == {"stories"}


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_kind_reads_a_page(name: str) -> None:
    """Each list is read for its posts and its cursor; a broken body is never an empty list."""
    body = {"videos": [{"video_id": "7387261234567890123"}], "cursor": 30, "hasMore": 1}
    page = sources.kind(name).read(body, NOW, True)
    assert ([post.aweme_id for post in page.posts], page.cursor, page.has_more) == (["7387261234567890123"], "30", True)
    with pytest.raises(MalformedReply):
        sources.kind(name).read({"message": "?"}, NOW, True)
