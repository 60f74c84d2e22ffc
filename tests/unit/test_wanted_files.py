"""Which files a post is made of, and which of its links may give them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.lifecycle import CaptureChoice, choose_files
from clipledger.core.model import AwemeId, FileKind, Post, Quality, Rendition, SignedUrl, Slide

ID = AwemeId("7387261234567890123")


def url(name: str) -> SignedUrl:
    return SignedUrl(f"https://v.tiktokcdn.com/{name}?x-signature=s")


RENDITIONS = {quality: Rendition(quality, url(quality), 1000) for quality in Quality}
COVER, SOUND = url("cover"), url("sound")
VIDEO = Post(ID, renditions=tuple(RENDITIONS.values()), covers=(COVER,), audio=(SOUND,))
PHOTO = Post(
    ID,
    slides=(Slide(image=url("1")), Slide(image=url("2"), video=url("2v")), Slide(video=url("3v"))),
    audio=(SOUND, url("sound2")),
    covers=(COVER,),
)


def _kinds(post: Post, choice: CaptureChoice) -> list[FileKind]:
    return [want.kind for want in choose_files(post, choice)]


@pytest.mark.parametrize(
    ("wanted", "there", "tried"),
    [
        (Quality.HD, set(Quality), [Quality.HD, Quality.STANDARD]),
        (Quality.HD, {Quality.STANDARD, Quality.WATERMARKED}, [Quality.STANDARD]),
        (Quality.HD, {Quality.HD}, [Quality.HD]),
        (Quality.STANDARD, set(Quality), [Quality.STANDARD, Quality.HD]),
        (Quality.STANDARD, {Quality.HD}, [Quality.HD]),
        (Quality.WATERMARKED, set(Quality), [Quality.WATERMARKED, Quality.STANDARD, Quality.HD]),
        (Quality.WATERMARKED, {Quality.HD, Quality.STANDARD}, [Quality.STANDARD, Quality.HD]),
        (Quality.HD, {Quality.WATERMARKED}, []),
        (Quality.HD, set(), []),
    ],
)
def test_the_rendition_falls_back(wanted: Quality, there: set[Quality], tried: list[Quality]) -> None:
    """Another rendition is better than none; `watermarked` alone is only taken when it was asked for."""
    post = replace(VIDEO, renditions=tuple(r for q, r in RENDITIONS.items() if q in there))
    wants = choose_files(post, CaptureChoice(wanted))
    assert [c.rendition for want in wants if want.kind is FileKind.VIDEO for c in want.candidates] == tried
    assert bool(wants) is bool(tried)


def test_one_video_is_one_file() -> None:
    """A video is stored in one rendition, not in each it has; its link and size hint come with it."""
    (want, _) = choose_files(VIDEO, CaptureChoice())
    assert (want.kind, want.required, want.position) == (FileKind.VIDEO, True, 0)
    assert [(c.link.reveal(), c.size_hint) for c in want.candidates] == [
        (RENDITIONS[q].link.reveal(), 1000) for q in (Quality.HD, Quality.STANDARD)
    ]


@pytest.mark.parametrize(
    ("choice", "kinds"),
    [
        (CaptureChoice(), [FileKind.VIDEO, FileKind.COVER]),
        (CaptureChoice(covers=False), [FileKind.VIDEO]),
        (CaptureChoice(audio=True), [FileKind.VIDEO, FileKind.AUDIO, FileKind.COVER]),
        (CaptureChoice(covers=False, audio=True), [FileKind.VIDEO, FileKind.AUDIO]),
    ],
)
def test_covers_and_sound_are_the_operators_choice(choice: CaptureChoice, kinds: list[FileKind]) -> None:
    """`capture.covers` and `capture.audio` decide what is stored beside a video; neither can make a post fail."""
    assert _kinds(VIDEO, choice) == kinds
    assert all(not want.required for want in choose_files(VIDEO, choice) if want.kind is not FileKind.VIDEO)


def test_a_photo_post_gives_its_slides_in_order_and_its_sound() -> None:
    """A photo post keeps every slide, numbered from 1, and always its sound, even with `capture.audio` off."""
    wants = choose_files(PHOTO, CaptureChoice(audio=False, covers=False))
    assert [(want.kind, want.position, want.required) for want in wants] == [
        (FileKind.IMAGE, 1, True),
        (FileKind.IMAGE, 2, True),
        (FileKind.IMAGE, 3, True),
        (FileKind.AUDIO, 0, True),
    ]
    assert [len(want.candidates) for want in wants] == [1, 2, 1, 2]
    assert wants[1].candidates[0].link == url("2v")


@given(st.sampled_from(Quality), st.booleans(), st.booleans())
def test_the_play_link_of_a_photo_post_never_becomes_an_mp4(quality: Quality, covers: bool, audio: bool) -> None:
    """What `play` holds in a photo post is sound: no choice stores it as a video."""
    trap = replace(PHOTO, renditions=VIDEO.renditions)
    assert FileKind.VIDEO not in _kinds(trap, CaptureChoice(quality, covers, audio))


def test_no_file_is_planned_without_a_link() -> None:
    """A slide without any link keeps its number and is not waited for; a post without any plans nothing."""
    hollow = replace(PHOTO, slides=(Slide(), Slide(image=url("2"))), audio=())
    wants = choose_files(hollow, CaptureChoice())
    slides = [(want.position, bool(want.candidates), want.required) for want in wants if want.kind is FileKind.IMAGE]
    assert slides == [(1, False, False), (2, True, True)]
    assert choose_files(Post(ID, covers=(COVER,), audio=(SOUND,)), CaptureChoice(audio=True)) == ()
    assert choose_files(replace(PHOTO, slides=(Slide(),)), CaptureChoice()) == ()
