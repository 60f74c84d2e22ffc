"""Bends a post object into the shapes that were seen in the wild: nulls, texts for numbers, missing keys.

Must not: take away what a post is known by in every place at once; a careful reader finds its id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clipledger.sim.dice import pick, roll
from clipledger.sim.population import Post

Body = dict[str, Any]

_NUMBERS = (
    "play_count", "digg_count", "comment_count", "share_count", "download_count", "collect_count", "create_time",
)  # fmt: skip
_OPTIONAL = (
    "region", "ai_dynamic_cover", "download_count", "collect_count", "share_count", "music_info", "size", "wm_size",
    "hd_size", "is_ad", "commerce_info", "images", "anchors", "content_desc",
)  # fmt: skip
_NEW_SINCE_2021 = (
    "id", "aweme_id", "ai_dynamic_cover", "duration", "size", "wm_size", "hd_size", "music_info", "share_count",
    "download_count", "collect_count", "is_ad", "commerce_info", "anchors", "content_desc", "is_top",
)  # fmt: skip
_PLAYS = ("play", "wmplay", "hdplay")
_SIZES = ("size", "wm_size", "hd_size")


def bend(body: Body, faults: frozenset[str], post: Post, *, is_detail: bool) -> Body:
    """Apply the SHAPE faults that strike, in the order of the table below."""
    for name, change in _CHANGES.items():
        if name in faults:
            change(body, post, is_detail)
    return body


def _string_numbers(body: Body, _post: Post, _is_detail: bool) -> None:
    body.update({key: str(body[key]) for key in _NUMBERS if body.get(key) is not None})
    if body.get("music_info"):
        body["music_info"]["duration"] = str(body["music_info"]["duration"])


def _float_numbers(body: Body, post: Post, _is_detail: bool) -> None:
    body["duration"] = post.duration_s
    if body.get("music_info"):
        body["music_info"]["duration"] = post.sound.duration_s + 0.042


def _null_counters(body: Body, post: Post, _is_detail: bool) -> None:
    for key in _NUMBERS[:-1]:
        if key in body and roll(0, "null", post.id, key) < 0.5:
            body[key] = None


def _lone_surrogate(body: Body, post: Post, _is_detail: bool) -> None:
    body["title"] = f"{post.title} \ud83d"


def _nul_in_title(body: Body, post: Post, _is_detail: bool) -> None:
    body["title"] = f"{post.title}\u0000!"


def _null_title(body: Body, _post: Post, _is_detail: bool) -> None:
    body["title"] = None


def _missing_keys(body: Body, post: Post, _is_detail: bool) -> None:
    # A photo post keeps its images: without them nobody could tell what it is.
    for key in _OPTIONAL:
        if roll(0, "missing", post.id, key) < 0.5 and not (key == "images" and post.is_photo):
            body.pop(key, None)


def _plain_author(body: Body, _post: Post, _is_detail: bool) -> None:
    if isinstance(body["author"], dict):
        body["author"] = body["author"]["unique_id"]


def _author_without_id(body: Body, _post: Post, _is_detail: bool) -> None:
    if isinstance(body["author"], dict):
        body["author"].pop("id", None)


def _old_shape(body: Body, post: Post, is_detail: bool) -> None:
    if post.is_photo:
        return  # there were none in 2021
    for key in _NEW_SINCE_2021:
        if is_detail or body.get(key) != post.id:  # an item keeps the one key that names it
            body.pop(key, None)
    _author_without_id(body, post, is_detail)


def _id_as_number(body: Body, _post: Post, is_detail: bool) -> None:
    key = "id" if is_detail else "video_id"
    if key in body:
        body[key] = int(body[key])


def _aweme_id_is_id(body: Body, post: Post, _is_detail: bool) -> None:
    body.pop("id", None)
    body.pop("video_id", None)
    body["aweme_id"] = post.id


def _size_lies(body: Body, post: Post, _is_detail: bool) -> None:
    for key in _SIZES:
        match pick(("zero", "null", "absent", "wrong"), roll(0, "size", post.id, key)):
            case "zero":
                body[key] = 0
            case "null":
                body[key] = None
            case "absent":
                body.pop(key, None)
            case _:
                body[key] = 1_354_097


def _relative_link(body: Body, post: Post, _is_detail: bool) -> None:
    alike = body.get("wmplay") == body.get("play")  # then they stay so: two names of one file would be no news
    for key in _PLAYS:
        if body.get(key) and not post.is_photo:
            body[key] = f"/video/media/{'play' if alike and key == 'wmplay' else key}/{post.id}.mp4"


def _signed_caption(body: Body, post: Post, _is_detail: bool) -> None:
    signed = f"https://v16m.tiktokcdn.com/{'5e' * 16}/66aabbcc/video/tos/{post.id}/?a=1&signature=5e5e"
    body["title"] = f"{post.title} {signed}"
    if isinstance(body["author"], dict):
        body["author"]["nickname"] = f"{signed} {body['author']['nickname']}"


def _images_as_objects(body: Body, post: Post, _is_detail: bool) -> None:
    if post.is_photo:
        body["images"] = [{"url_list": [link], "width": 1080} for link in body["images"]]


def _links_renamed(body: Body, post: Post, is_detail: bool) -> None:
    if is_detail:
        for key in (*_PLAYS, "images"):
            body[f"{key}_v2"] = body.pop(key, None)


def _links_as_objects(body: Body, post: Post, is_detail: bool) -> None:
    if is_detail and not post.is_photo:
        for key in _PLAYS:
            if body.get(key):
                body[key] = {"url_list": [body[key]], "uri": post.id}


def _images_gone(body: Body, post: Post, is_detail: bool) -> None:
    if post.is_photo and is_detail:
        body["images"] = None


_CHANGES: dict[str, Callable[[Body, Post, bool], None]] = {
    "null_title": _null_title,
    "signed_caption": _signed_caption,
    "images_as_objects": _images_as_objects,
    "images_gone": _images_gone,
    "links_renamed": _links_renamed,
    "links_as_objects": _links_as_objects,
    "lone_surrogate": _lone_surrogate,
    "nul_in_title": _nul_in_title,
    "float_numbers": _float_numbers,
    "null_counters": _null_counters,
    "string_numbers": _string_numbers,
    "size_lies": _size_lies,
    "relative_link": _relative_link,
    "id_as_number": _id_as_number,
    "aweme_id_is_id": _aweme_id_is_id,
    "author_without_id": _author_without_id,
    "plain_author": _plain_author,
    "missing_keys": _missing_keys,
    "old_shape": _old_shape,
}
