"""What the user types is understood or refused; nothing in between."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from clipledger.core.errors import UsageError
from clipledger.core.links import (
    ListOptions,
    WantedPost,
    WantedShortLink,
    WantedSource,
    created_second,
    escape_words,
    from_redirect,
    list_options,
    plausible_id,
    post_url,
    understand,
)
from clipledger.core.model import EARLIEST_S, AwemeId
from clipledger.core.scrub import scrub_text

NOW = 1_780_000_000.0
ID = AwemeId("7387261234567890123")


@pytest.mark.parametrize(
    ("text", "handle"),
    [
        (ID, "_"),
        (f"  {ID}\n", "_"),
        (f"https://www.tiktok.com/@alice/video/{ID}", "alice"),
        (f"http://m.tiktok.com/@alice/video/{ID}/", "alice"),
        (f"tiktok.com/@alice/photo/{ID}", "alice"),
        (f"//www.tiktok.com/@alice/video/{ID}", "alice"),
        (f"HTTPS://WWW.TikTok.COM/@Alice.b_c/video/{ID}?lang=en&_r=1#top", "Alice.b_c"),
        (f"https://www.tiktok.com/@..a/video/{ID}", "..a"),
        (f"https://www.tiktok.com/@../video/{ID}", ".."),
        (f"https://www.tiktok.com/@/video/{ID}", "_"),
        (f"https://www.tiktok.com/@%61lice/video/{ID}", "alice"),
        (f"https://www.tiktok.com/@wr ong/video/{ID}".replace(" ", "%20"), "_"),
        (f"https://www.tiktok.com/%40alice/video/{ID}", "alice"),
        (f"https://lite.tiktok.com/@alice/video/{ID}", "alice"),
        (f"https://www.tiktok.com:443/@alice/video/{ID}", "alice"),
        (f"https://m.tiktok.com/v/{ID}.html?u_code=1", "_"),
        (f"https://m.tiktok.com/v/{ID}", "_"),
        (f"https://www.tiktok.com/video/{ID}", "_"),
        (f"https://www.tiktok.com/embed/{ID}", "_"),
        (f"https://www.tiktok.com/embed/v2/{ID}", "_"),
        (f"https://www.tiktok.com/player/v1/{ID}", "_"),
        (f"https://www.tiktok.com/share/video/{ID}", "_"),
        (f"https://www.tiktokv.com/share/video/{ID}/", "_"),
        (f"https://www.tiktok.com/foryou?lang=en&item_id={ID}", "_"),
    ],
)
def test_every_form_of_a_post_is_understood(text: str, handle: str) -> None:
    """However I paste a post, the same post is meant."""
    assert understand(text, now=NOW) == WantedPost(ID, post_url(ID, handle))


@pytest.mark.parametrize(
    ("text", "kind", "subject"),
    [
        ("@alice", "user", "alice"),
        ("@..a.", "user", "..a."),
        ("@" + "a" * 64, "user", "a" * 64),
        ("https://www.tiktok.com/@alice", "user", "alice"),
        ("https://www.tiktok.com/@alice?lang=de", "user", "alice"),
        ("www.tiktok.com/@.alice/", "user", ".alice"),
        ("#dance", "tag", "dance"),
        ("#Überraschung", "tag", "Überraschung"),
        ("#踊ってみた", "tag", "踊ってみた"),
        ("https://www.tiktok.com/tag/%E8%B8%8A%E3%81%A3", "tag", "踊っ"),
        ("https://www.tiktok.com/tag/踊っ?lang=ja", "tag", "踊っ"),
        ("search:cats", "search", "cats"),
        ("SEARCH:  two \t words ", "search", "two words"),
        ("search:what is love?", "search", "what is love?"),
        ("search:100% cats", "search", "100% cats"),
        ("https://www.tiktok.com/search?q=two+words&t=1", "search", "two words"),
        ("https://www.tiktok.com/search/video?q=%F0%9F%90%88", "search", "🐈"),
        ("music:107955", "music", "107955"),
        ("https://www.tiktok.com/music/original-sound-x-7092821179534111", "music", "7092821179534111"),
        ("https://www.tiktok.com/music/som-ção-6689804660171082501", "music", "6689804660171082501"),
        ("playlist:7092821179534111", "playlist", "7092821179534111"),
        ("https://www.tiktok.com/@alice/playlist/My-list-7092821179534111", "playlist", "7092821179534111"),
        ("https://www.tiktok.com/@alice/playlist/7092821179534111", "playlist", "7092821179534111"),
        ("collection:7092821179534111", "collection", "7092821179534111"),
        ("https://www.tiktok.com/@a/collection/x%20y-7092821179534111", "collection", "7092821179534111"),
        ("liked:@alice", "liked", "alice"),
        ("liked:alice", "liked", "alice"),
        ("stories:@alice", "stories", "alice"),
    ],
)
def test_every_form_of_a_source_is_understood(text: str, kind: str, subject: str) -> None:
    """A list is what its text says, whether I write it short or paste its URL."""
    assert understand(text, now=NOW) == WantedSource(kind, subject)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://vm.tiktok.com/ZMabc123/", "https://vm.tiktok.com/ZMabc123/"),
        ("vt.tiktok.com/ZSxyz?k=1", "https://vt.tiktok.com/ZSxyz/"),
        ("https://www.tiktok.com/t/ZTabc/", "https://www.tiktok.com/t/ZTabc/"),
        ("TIKTOK.com/t/ZTabc", "https://tiktok.com/t/ZTabc/"),
    ],
)
def test_short_links_are_known_as_such(text: str, url: str) -> None:
    """A short link is kept to be followed once."""
    assert understand(text, now=NOW) == WantedShortLink(url)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "alice",
        "@",
        "@al ice",
        "@älice",
        "@" + "a" * 65,
        "@alice/video",
        "#",
        "#a#b",
        "#two words",
        "search:",
        "search:   ",
        "search:" + "x" * 201,
        "music:abc",
        "music:" + "1" * 21,
        "liked:",
        "stories:@",
        "playlist:-1",
        "1" * 14,
        "1" * 21,
        "0" + ID,
        "７３８７２６１２３４５６７８９０１２３",
        "100000000000000000",  # 1970
        "9223372036854775807",  # 2038
        f"https://www.tiktok.com/share/user/{ID}",
        f"https://m.tiktok.com/h5/share/usr/{ID}.html",
        f"https://www.tiktok.com/?user_id={ID}",
        f"https://www.tiktok.com/share/live/{ID}",
        "https://www.tiktok.com/@alice/live",
        "https://www.tiktok.com/",
        "https://www.tiktok.com/foryou",
        "https://www.tiktok.com/@/",
        "https://www.tiktok.com/music/no-id-here",
        "https://www.tiktok.com/search/user?q=alice",
        f"https://www.tiktok.com/@alice/video/{ID}/../x",
        "https://www.tiktok.com/@a%2Fvideo%2F" + ID,
        "https://www.tiktok.com/tag/%FF",
        "https://www.tiktok.com/tag/a%00b",
        f"https://tiktok.com.evil.example/@alice/video/{ID}",
        f"https://eviltiktok.com/@alice/video/{ID}",
        f"https://tiktok.com@evil.example/@alice/video/{ID}",
        f"https://user:pw@www.tiktok.com/@alice/video/{ID}",
        f"https://evil.example/https://www.tiktok.com/@alice/video/{ID}",
        f"https://evil.example\\@www.tiktok.com/@alice/video/{ID}",
        f"https://evil.example#www.tiktok.com/@alice/video/{ID}",
        f"https://www.tiktok.com:8080/@alice/video/{ID}",
        f"ftp://www.tiktok.com/@alice/video/{ID}",
        f"javascript:alert(1)//www.tiktok.com/@alice/video/{ID}",
        f"https://www.tiktok.com /@alice/video/{ID}",
        f"https://www.tiktok.com/@alice/video/{ID}?x=1 https://www.tiktok.com/@bob/video/{ID}",
        "https://[::1",
        f"https://tıktok.com/@alice/video/{ID}",
        f"https://ti\u212atok.com/@alice/video/{ID}",
        "ſearch:cats",
        "@ali\x00ce",
        "#da\u202ence",
        "@a\udc80",
        "#a\ufeff",
        "{}",
        "-",
        "..",
        "https://www.tiktok.com/@alice?" + "x" * 2048,
    ],
)
def test_what_is_no_form_we_know_is_refused_in_one_line(text: str) -> None:
    """Garbage, look-alike hosts and links to other things are refused: one printable line, no traceback."""
    with pytest.raises(UsageError) as refused:
        understand(text, now=NOW)
    assert refused.value.detail.isprintable()
    assert len(refused.value.detail) < 600


@pytest.mark.parametrize(
    "text",
    [
        "search:https://v16.tiktokcdn.com/x/?a=1&x-signature=SECRET",
        "search:see http://h/x",
        "search:v16.tiktokcdn.com/x?x-signature=SECRET",
        "search:VSignature=SECRET",
        "https://www.tiktok.com/search?q=https%3A%2F%2Fh%2Fx%3Fsig%3DSECRET",
        "https://u:SECRET@www.tiktok.com/@a/video/7?x-signature=SECRET",
        "https://u:SECRET@www.tiktok.com/" + "x" * 3000,
        "https://h/x;x-signature=SECRET",
    ],
)
def test_a_signed_link_is_neither_kept_nor_repeated(text: str) -> None:
    """A link pasted where it does not belong is refused in one line without its password or signature."""
    with pytest.raises(UsageError) as refused:
        understand(text, now=NOW)
    assert "SECRET" not in refused.value.detail
    if text.startswith("search:"):
        assert refused.value.detail.endswith("a link is not a search")


def test_the_refusal_names_the_text_and_what_would_be_right() -> None:
    """The message shows what I typed, safe for a terminal, and the forms that exist."""
    with pytest.raises(UsageError, match=r"'al\\x1bice'"):
        understand("al\x1bice", now=NOW)
    with pytest.raises(UsageError, match=r"'alice'.*@handle.*search:WORDS"):
        understand("alice", now=NOW)


@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text: str) -> None:
    """Nothing I can type makes it stumble."""
    for typed in (text, f"@{text}", f"search:{text}", f"#{text}", f"https://www.tiktok.com/{text}"):
        try:
            understand(typed, now=NOW)
        except UsageError as refused:
            assert refused.detail.isprintable()


@given(st.integers(0, 2**64), st.floats(1.6e9, 2e9))
def test_only_ids_that_date_from_2016_to_tomorrow_are_plausible(number: int, now: float) -> None:
    """A number that cannot be a post's id is not taken for one."""
    assert plausible_id(str(number), now) == (EARLIEST_S <= number >> 32 <= now + 86_400)


def test_the_border_of_plausible_ids_is_exact() -> None:
    """The first second of 2016 counts, the second before does not; a day ahead counts, more does not."""
    first, last = EARLIEST_S << 32, int(NOW + 86_400) << 32
    assert plausible_id(str(first), NOW) and not plausible_id(str(first - 1), NOW)
    assert plausible_id(str(last), NOW) and not plausible_id(str(last + (1 << 32)), NOW)
    assert not plausible_id(f" {ID}", NOW) and not plausible_id(f"{ID}\n", NOW)


def test_an_id_tells_its_second_of_creation() -> None:
    """Even a dead id can be dated for no credit."""
    assert created_second(ID) == 7387261234567890123 // 2**32 == 1_719_980_788


def test_post_urls_are_canonical() -> None:
    """The attribution URL is TikTok's own form, whatever the handle holds."""
    assert post_url(ID) == f"https://www.tiktok.com/@_/video/{ID}"
    assert post_url(ID, "al/ice\ud800", is_photo=True) == f"https://www.tiktok.com/@al%2Fice%3F/photo/{ID}"
    assert post_url(ID, "") == post_url(ID)


@pytest.mark.parametrize(
    ("location", "found"),
    [
        (f"https://www.tiktok.com/@alice/video/{ID}?_r=1&_d=x", ID),
        (f"https://www.tiktok.com/@alice/video/{ID}?" + "x" * 5000, ID),
        (f"https://m.tiktok.com/v/{ID}.html", ID),
        (f"/@alice/video/{ID}", ID),
        ("https://www.tiktok.com/@alice", None),
        ("https://www.tiktok.com/", None),
        (f"//evil.example/@alice/video/{ID}", None),
        (f"https://evil.example/@alice/video/{ID}", None),
        ("https://vm.tiktok.com/ZMabc/", None),
        ("", None),
        ("http://[", None),
    ],
)
def test_a_redirect_tells_its_post_or_nothing(location: str, found: str | None) -> None:
    """A short link that leads elsewhere gives no post."""
    assert from_redirect(location, NOW) == found


def test_options_written_in_a_source_are_read_back() -> None:
    """The text of a source in `sources` can be pasted into `add` again, options and all."""
    options = ListOptions("US", "date", 7)
    assert understand("search:cats?region=us&sort=date&within=7", now=NOW) == WantedSource("search", "cats", options)
    assert understand("#dance?region=DE", now=NOW) == WantedSource("tag", "dance", ListOptions("DE"))
    assert understand("search:who?region=x y", now=NOW) == WantedSource("search", "who?region=x y")


@pytest.mark.parametrize(
    "text",
    ["search:a?region=", "search:a?region=USA", "search:a?sort=best", "search:a?within=8", "#a?region=US&region=DE"],
)
def test_wrong_options_are_refused(text: str) -> None:
    """An option that cannot be meant is not silently taken for search words."""
    with pytest.raises(UsageError):
        understand(text, now=NOW)


@pytest.mark.parametrize("wrong", [{"region": "usa"}, {"sort": "new"}, {"within": 2}, {"within": -1}, {"within": "x"}])
def test_option_flags_are_checked(wrong: dict[str, str]) -> None:
    """A wrong --region, --sort or --published-within is refused before anything is bought."""
    with pytest.raises(UsageError):
        list_options(**wrong)  # type: ignore[arg-type]


def test_defaults_are_not_options() -> None:
    """Saying the default aloud does not make another source."""
    assert list_options(region="", sort="relevance", within="0") == ListOptions()
    assert list_options(region="us", sort="LIKES", within="30") == ListOptions("US", "likes", 30)


@given(st.text(string.printable + "?%äあ&=", min_size=1, max_size=50))
def test_any_search_words_survive_being_written(words: str) -> None:
    """Words with ?, % and = come back as they were, never as options."""
    subject = " ".join(words.split())
    assume(subject and scrub_text(subject) == subject and not re.search("https?:|://", subject, re.I))
    assert understand(f"search:{escape_words(subject)}", now=NOW) == WantedSource("search", subject)
