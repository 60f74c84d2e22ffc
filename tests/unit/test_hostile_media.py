"""Real films cut where a box begins or ends, at every level: never taken for whole."""

from __future__ import annotations

from importlib.resources import files

import pytest

from clipledger.core.errors import NotMedia, TruncatedBody
from clipledger.core.model import FileKind
from hostile.reading import borders, check
from unit import media_files

FILMS = {
    path.name: path.read_bytes()
    for path in files("clipledger.sim").joinpath("media").iterdir()
    if path.name.endswith(".mp4")
} | {
    "index first": media_files.mp4("vide", "soun"),
    "index last": media_files.mp4("vide", "soun", moov_first=False, wide=True),
}


@pytest.mark.parametrize("name", sorted(FILMS))
def test_a_film_cut_at_any_border_of_a_box_is_refused(name: str) -> None:
    """However neatly a download broke off between two boxes, what came is not archived as the whole film."""
    body = FILMS[name]
    assert check(FileKind.VIDEO, body, None) == "accepted"
    ends = [at for at in borders(body) if at < len(body)]
    assert len(ends) > 15
    for end in ends:
        with pytest.raises((NotMedia, TruncatedBody)):
            check(FileKind.VIDEO, body[:end], None)
