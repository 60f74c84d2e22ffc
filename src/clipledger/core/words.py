"""Titles and handles -> the words they are found by; one way for both databases, for what is kept and what is asked.

A word is a run of letters and digits, folded: `Café` and `CAFE` are one. Scripts that put no spaces
between words (Han, Kana, Hangul, Thai ...) give one word a character, and so does every emoji; a phrase of
them finds the text. What a post *is* (author, tag, region ...) stands beside its words as marks that hold
a colon, which no word does. Must not: know a database's own search syntax beyond quoting one word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

WORDS_VERSION = "1"
"""Changes with every change of what is kept for a post: then `clipledger reindex` is due."""

WORD_MAX = 64
"""Characters of a word that count: nobody searches for more, and PostgreSQL takes no lexeme beyond 2 kB."""

TAG_MAX = 100
"""Characters of the longest tag that is kept as one."""

BREAK = ":"
"""Stands between title, handle and nickname, so that no phrase spans them; every post has it."""

GONE = "is:gone"

_ACCENTS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670]")
_APOSTROPHE = re.compile("(?<=\\w)['\u2019](?=\\w)")
_SKIN_AND_STYLE = re.compile("[\U0001f3fb-\U0001f3ff\ufe0e\ufe0f\u200c\u200d\u20e3]")
_FLAG = "[\U0001f1e6-\U0001f1ff]"
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3100-\u318f"
    "\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U0001b000-\U0001b16f"
    "\U00020000-\U0003ffff"
)
_INDIC = "\u0900-\u0963\u0966-\u0dff"  # their vowel signs are marks, which \\w leaves out
_WORD = re.compile(f"{_FLAG}{{2}}|[{_UNSPACED}]|(?:[^\\W_{_UNSPACED}]|[{_INDIC}])+|[^\\w\\s]")
_BREAKS = re.compile(r"[\x00-,/:-@\[-^`{-\x7f]")  # of ASCII all but letters, digits and ._-
_TAG = re.compile(r"[#\uff03](\w[\w\u0300-\u036f\u0900-\u0dff\u0e00-\u0eff]*)")


def words(text: str) -> list[str]:
    """Split a text into the words it is found by, in order; marks of punctuation are none."""
    return [found[:WORD_MAX] for found in _WORD.findall(fold(text)) if _is_word(found)]


def fold(text: str) -> str:
    """Bring a text into one form: no accents, no case, no width, no skin tone; NFC."""
    plain = text
    if not text.isascii():
        apart = unicodedata.normalize("NFKD", _SKIN_AND_STYLE.sub("", text))
        plain = unicodedata.normalize("NFC", _ACCENTS.sub("", apart))
    return _APOSTROPHE.sub("", plain).casefold()


def hashtags(title: str) -> tuple[str, ...]:
    """List the tags of a title without `#`, each once, in order: letters, digits and _, NFC, case-folded."""
    return tuple(dict.fromkeys(tag for found in _TAG.findall(title) if (tag := tag_of(found))))


def tag_of(text: str) -> str:
    """Bring one tag into the form it is kept in; '' for what is none."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text.lstrip("#\uff03")).casefold())
    return folded[:TAG_MAX] if _TAG.fullmatch(f"#{folded}") else ""


def document(title: str, handle: str, nickname: str, marks: Iterable[str]) -> str:
    """Write what a post is found by, words divided by spaces: title, handle, nickname, marks."""
    return " ".join((*words(title), BREAK, *words(handle), BREAK, *words(nickname), BREAK, *sorted(set(marks))))


def mark(kind: str, value: str) -> str:
    """Write a mark such as `tag:dance`; what would break a word in two is written as its number."""
    return f"{kind}:{_BREAKS.sub(lambda found: f'%{ord(found[0]):x}', value.casefold())}"


def text_vector(kept: str) -> str:
    """Write a document as the text of a PostgreSQL tsvector, each word with its places.

    A place is 1..16383 and a word has at most 255 of them: what lies beyond is found, but not in a phrase.
    """
    places: dict[str, list[str]] = {}
    for place, word in enumerate(kept.split(" "), start=1):
        places.setdefault(word, []).append(str(min(place, 16_383)))
    return " ".join(f"{lexeme(word)}:{','.join(where[:255])}" for word, where in places.items())


def lexeme(word: str) -> str:
    """Quote one word for PostgreSQL's text search."""
    doubled = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{doubled}'"


def relevance(kept: str, asked: Sequence[str]) -> int:
    """Say how much of a document's words are among those asked for, 0..1000."""
    title = [word for word in kept.split(" ") if BREAK not in word]
    wanted = set(asked)
    return round(1000 * sum(word in wanted for word in title) / len(title)) if title else 0


def _is_word(found: str) -> bool:
    # Letters, digits and symbols such as emoji; punctuation, controls, marks alone and lone surrogates are none.
    return unicodedata.category(found[0])[0] in "LN" or unicodedata.category(found[0]) in ("So", "Co", "Sc", "Cn")
