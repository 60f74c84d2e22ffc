"""The API key is read from where the operator put it, checked, and shown to nobody."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from clipledger.core.errors import Misconfigured
from clipledger.core.model import ApiKey
from clipledger.settings import read_key

KEY = "tk_0123456789abcdef"


def key_file(folder: Path, content: str | bytes) -> dict[str, str]:
    path = folder / "key"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return {"TIKLIVEAPI_KEY_FILE": str(path)}


def test_no_key_is_none() -> None:
    """Without a key most commands work; what needs one says so when it is needed."""
    assert read_key({}) is None
    assert read_key({"TIKLIVEAPI_KEY": " \n", "TIKLIVEAPI_KEY_FILE": ""}) is None


@pytest.mark.parametrize("content", [KEY, f"{KEY}\n", f"  {KEY}\r\n\n"])
def test_the_key_comes_from_the_environment_or_a_file(content: str, tmp_path: Path) -> None:
    """The key is read from TIKLIVEAPI_KEY or the file that TIKLIVEAPI_KEY_FILE names, blanks around it cut."""
    assert read_key({"TIKLIVEAPI_KEY": content}) == ApiKey(KEY)
    assert read_key(key_file(tmp_path, content)) == ApiKey(KEY)


def test_the_variable_comes_before_the_file(tmp_path: Path) -> None:
    """With both set, TIKLIVEAPI_KEY is taken, and the file need not even be there."""
    assert read_key({"TIKLIVEAPI_KEY": KEY, "TIKLIVEAPI_KEY_FILE": str(tmp_path / "absent")}) == ApiKey(KEY)


@pytest.mark.parametrize(
    "content",
    [
        f"{KEY[:4]} {KEY[4:]}",
        f"{KEY}\r\nX-Admin: 1",
        f"{KEY}\n{KEY}",
        f"{KEY}\r{KEY}",
        f"{KEY}\x00",
        f"{KEY}\x7f",
        f"{KEY}\u00e9",
        "k" * 4097,
    ],
    ids=["space", "CRLF", "LF", "CR", "NUL", "DEL", "not ASCII", "too long"],
)
def test_a_key_that_is_none_is_refused(content: str, tmp_path: Path) -> None:
    """A key with a line break or a control character could forge a header: it is refused, and not repeated."""
    for environ in ({"TIKLIVEAPI_KEY": content}, key_file(tmp_path, content)):
        with pytest.raises(Misconfigured) as refused:
            read_key(environ)
        assert next(iter(environ)) in refused.value.detail
        assert "one line of printable ASCII" in refused.value.detail
        assert KEY not in refused.value.detail
        assert refused.value.detail.isprintable()


def test_an_empty_key_file_is_refused(tmp_path: Path) -> None:
    """An empty key file is a mistake to be told, not the absence of a key."""
    with pytest.raises(Misconfigured, match="TIKLIVEAPI_KEY_FILE"):
        read_key(key_file(tmp_path, "\n"))


@pytest.mark.parametrize("case", ["absent", "folder", "not text"])
def test_an_unreadable_key_file_is_refused(case: str, tmp_path: Path) -> None:
    """A key file that cannot be read is named, with the reason."""
    environ = {"TIKLIVEAPI_KEY_FILE": str(tmp_path / "absent")}
    if case == "folder":
        environ = {"TIKLIVEAPI_KEY_FILE": str(tmp_path)}
    if case == "not text":
        environ = key_file(tmp_path, b"\xff\xfe\x00")
    with pytest.raises(Misconfigured) as refused:
        read_key(environ)
    assert environ["TIKLIVEAPI_KEY_FILE"] in refused.value.detail
    assert len(refused.value.detail.splitlines()) == 1


def test_a_key_is_never_shown() -> None:
    """Printing, formatting, logging, pickling or copying a key gives it to nobody; comparing still works."""
    key = ApiKey(KEY)
    shown = [repr(key), str(key), f"{key}", f"{key:>40}", f"{key!r}", "{0} {0!r}".format(key)]  # noqa: UP032
    shown += [repr([key]), repr({"k": key}), str(ValueError(key))]
    assert not any(KEY in text for text in shown)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(key, protocol)
    with pytest.raises(TypeError):
        copy.deepcopy(key)
    assert key.reveal() == KEY
    assert key == ApiKey(KEY)
    assert key != ApiKey("other")
    assert not hasattr(key, "__dict__")
