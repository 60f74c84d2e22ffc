"""Citations: each style as its readers expect it, whatever a stranger wrote as a title."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.citing import Citable, Style, cite

POST = Citable(
    "7387261234567890123",
    "Alice Äther",
    "alice123",
    "A {cat} & 100% #fun_day",
    1_780_000_000.0,
    1_780_086_400.5,
    "https://www.tiktok.com/@alice123/video/7387261234567890123",
    "ab" * 32,
    False,
)


def test_apa() -> None:
    """The author with the handle, the day, the first words, what it is, and where: as APA 7 asks for social media."""
    assert cite(POST, Style.APA) == (
        "Alice Äther [@alice123]. (2026, May 28). A {cat} & 100% #fun_day [Video]. TikTok. "
        "https://www.tiktok.com/@alice123/video/7387261234567890123 "
        f"(archived 2026-05-29T20:26:40.500Z; sha256 {'ab' * 32})"
    )


def test_bibtex() -> None:
    """What TeX would take for a command is spelt so that it is printed."""
    told = cite(POST, Style.BIBTEX)
    assert told.startswith("@misc{tiktok7387261234567890123,\n") and told.endswith("\n}")
    assert r"  title = {{A \{cat\} \& 100\% \#fun\_day}}," in told
    assert "  urldate = {2026-05-29}," in told and f"sha256 {'ab' * 32}" in told


def test_ris() -> None:
    """Each line has its tag, the first is the type, the last ends the record."""
    lines = cite(POST, Style.RIS).splitlines()
    assert lines[0] == "TY  - VIDEO" and lines[-1].startswith("ER  -")
    assert "AU  - Alice Äther [@alice123]" in lines and "DA  - 2026/05/28" in lines


def test_who_has_no_name_and_a_post_without_text() -> None:
    """A handle alone, or nothing, is cited too; a photo post is a photograph."""
    bare = replace(POST, author_name="", title="  ", is_photo=True)
    assert cite(bare, Style.PLAIN).startswith("@alice123: TikTok photograph 7387261234567890123 (")
    assert cite(replace(bare, author_handle=""), Style.APA).startswith("Unknown author. (2026, May 28).")


@given(st.text(), st.sampled_from([Style.APA, Style.PLAIN]))
def test_one_line_whatever_the_title(title: str, style: Style) -> None:
    """A title with line breaks cannot forge a second citation."""
    assert len(cite(replace(POST, title=title), style).splitlines()) == 1


@given(st.text())
def test_a_title_cannot_break_out_of_its_field(title: str) -> None:
    """Braces of a title are spelt out, so a BibTeX entry has the fields that we gave it; RIS has a line a field."""
    told = cite(replace(POST, title=title), Style.BIBTEX)
    plain = told
    for spelt in (r"\{", r"\}", r"\textbackslash{}", r"\textasciitilde{}", r"\textasciicircum{}"):
        plain = plain.replace(spelt, "")
    assert plain.count("{") == plain.count("}")
    assert len(told.splitlines()) == 11
    assert len(cite(replace(POST, title=title), Style.RIS).splitlines()) == 11
