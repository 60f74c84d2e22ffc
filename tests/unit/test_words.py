"""Words and tags: what a title is found by, whatever script it is in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.words import (
    BREAK,
    TAG_MAX,
    document,
    hashtags,
    lexeme,
    mark,
    relevance,
    tag_of,
    text_vector,
    words,
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Café CAFÉ cafe\u0301", "cafe cafe cafe"),
        ("don't Don\u2019t", "dont dont"),
        ("#fyp @a.b_c, well-known 3.5!", "fyp a b c well known 3 5"),
        ("東京タワー", "東 京 タ ワ ー"),
        ("서울에서", "서 울 에 서"),
        ("\U0001f44d\U0001f3fd ok\U0001f468\u200d\U0001f469", "\U0001f44d ok \U0001f468 \U0001f469"),
        ("\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", "\U0001f1e9\U0001f1ea \U0001f1eb\U0001f1f7"),
        ("Straße ｆｕｌｌ \u0130", "strasse full i"),
        ("हिन्दी", "हिन्दी"),
        ("مُحَمَّد", "محمد"),
        ("\x00a\ud800b \u202e!", "a b"),
        ("", ""),
    ],
)
def test_a_title_is_found_by_its_words_in_any_script(text: str, found: str) -> None:
    """Accents, case, width, skin tones and punctuation do not stand between a post and who looks for it."""
    assert words(text) == found.split()


@given(st.text())
def test_words_never_break_the_index(text: str) -> None:
    """No title, however odd, gives a word with a space, a colon or a quote in it; folding twice changes nothing."""
    found = words(text)
    assert all(word and not set(word) & set(" :'\"*()\\\x00") for word in found)
    assert words(" ".join(found)) == found


@pytest.mark.parametrize(
    ("title", "tags"),
    [
        ("#a#B ##c #d-e #1 # x", ("a", "b", "c", "d", "1")),
        ("#FYP #fyp #Fyp", ("fyp",)),
        ("#çiçek #踊ってみた ＃wide #हिन्दी", ("çiçek", "踊ってみた", "wide", "हिन्दी")),
        ("#cafe\u0301 #caf\u00e9", ("café",)),
        ("no tag, mail#", ()),
    ],
)
def test_tags_are_read_as_people_write_them(title: str, tags: tuple[str, ...]) -> None:
    """A tag ends where letters, digits and _ end, and is one tag however it is spelt."""
    assert hashtags(title) == tags


@given(st.text())
def test_a_tag_is_one_word_of_the_index(text: str) -> None:
    """What is kept as a tag is found again under the same name."""
    for tag in hashtags(text):
        assert tag_of(tag) == tag and len(tag) <= TAG_MAX and " " not in mark("tag", tag)


def test_no_phrase_spans_title_and_handle() -> None:
    """Between title, handle and nickname stands a word that nobody can ask for."""
    assert document("A b", "c.d", "E", ["x:1", "x:1"]) == "a b : c d : e : x:1"
    assert BREAK not in words(": a : b")


def test_postgresql_is_given_places_and_quotes() -> None:
    """The text of a tsvector names each word once, quoted, with its places; long ones stay within its bounds."""
    assert text_vector("a b a it's") == "'a':1,3 'b':2 'it''s':4"
    assert lexeme("a\\'") == "'a\\\\'''"
    many = text_vector(" ".join(["x"] * 20_000))
    assert many.count(",") == 254


def test_relevance_is_the_share_of_words_asked_for() -> None:
    """A title of nothing but the words asked for is more relevant than one that also says others."""
    assert relevance("cat : tag:x", ["cat"]) == 1000 > relevance("cat dog : tag:x", ["cat"]) == 500
    assert relevance(": tag:x", ["cat"]) == 0
