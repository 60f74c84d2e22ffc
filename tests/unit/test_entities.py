"""What stands behind a handle or a tag is looked up once, and only a real answer is believed."""

from __future__ import annotations

from typing import Any

import pytest

from clipledger.core import parse
from clipledger.core.errors import MalformedReply
from clipledger.core.parse import Entity


@pytest.mark.parametrize(
    ("body", "entity"),
    [
        ({"user": {"id": "107955", "uniqueId": "a"}, "stats": {"videoCount": 8}}, Entity("107955", "a", 8)),
        ({"user": {"id": 107955, "uniqueId": "a", "stats": {"videoCount": "8"}}}, Entity("107955", "a", 8)),
        ({"code": 0, "data": {"user": {"id": "1", "unique_id": "a"}, "stats": None}}, Entity("1", "a", None)),
        ({"id": "107955", "uniqueId": "a", "videoCount": 3}, Entity("107955", "a", 3)),
    ],
)
def test_a_handle_gives_id_and_declared_posts(body: Any, entity: Entity) -> None:
    """One credit tells who a handle is and how many posts there are to save."""
    assert parse.user(body) == entity


@pytest.mark.parametrize(
    ("body", "entity"),
    [
        ({"id": "5932", "cha_name": "girl", "user_count": 11, "view_count": 75264559481}, Entity("5932", "girl", 11)),
        ({"code": 0, "data": {"challenge": {"id": 5932, "cha_name": "girl"}}}, Entity("5932", "girl", None)),
    ],
)
def test_a_tag_gives_its_id(body: Any, entity: Entity) -> None:
    """One credit tells a tag's id and how many posts carry it."""
    assert parse.tag(body) == entity


@pytest.mark.parametrize("body", [{}, [], None, {"user": {"uniqueId": "a"}}, {"user": {"id": "MS4w", "uniqueId": "a"}}])
def test_an_answer_without_an_id_is_refused(body: Any) -> None:
    """A handle is never mapped to something that is no id; nor is another answer taken for a profile."""
    for reader in (parse.user, parse.tag):
        with pytest.raises(MalformedReply):
            reader(body)
    with pytest.raises(MalformedReply):
        parse.user({"id": "7387261234567890123", "play": "https://a/v", "title": "A title"})


def test_regions_are_codes_and_names() -> None:
    """The regions the API knows are listed with their names."""
    body = {"code": 0, "msg": "success", "data": {"US": "United States", "JP": "Japan", "...": "...", "DE": None}}
    assert parse.regions(body) == {"US": "United States", "JP": "Japan"}
    with pytest.raises(MalformedReply):
        parse.regions({"message": "?"})
