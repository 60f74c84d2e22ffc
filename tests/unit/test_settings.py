"""Every setting is read from where the operator wrote it, or refused in one line that says what is right."""

from __future__ import annotations

import json
import os
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from clipledger.core.errors import Misconfigured
from clipledger.core.model import Quality
from clipledger.settings import FILE_NAME, Settings, keys, load, template

DOCUMENTED = {
    "api.base_url": "https://api.tikliveapi.com",
    "api.requests_per_minute": 200,
    "api.concurrency": 8,
    "cdn.concurrency": 20,
    "cdn.allow_insecure": False,
    "database.url": "sqlite:///clipledger.db",
    "capture.covers": True,
    "capture.audio": False,
    "capture.quality": "hd",
    "queue.lease_s": 60,
    "queue.attempts_max": 5,
    "budget.credits_per_day": None,
    "storage.url": "",
    "capture.lean": False,
    "listing.every": "6h",
    "listing.backlog": True,
}
DEFAULTS = Settings.model_validate({}).model_dump()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("CLIPLEDGER_", "TIKLIVEAPI_")):
            monkeypatch.delenv(name)


def written(folder: Path, text: str | bytes) -> Path:
    (folder / FILE_NAME).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def refusal(folder: Path) -> str:
    """Load what must be refused; give the line that the operator reads."""
    with pytest.raises(Misconfigured) as refused:
        load(folder)
    line = refused.value.detail
    assert "\n" not in line
    assert "\r" not in line
    assert line.startswith((f"{FILE_NAME}: ", "environment: "))
    assert len(line) < 400
    return line


def env_name(dotted: str) -> str:
    return "CLIPLEDGER_" + dotted.upper().replace(".", "__")


def test_an_archive_without_a_file_has_the_defaults(tmp_path: Path) -> None:
    """No file and no environment: every setting has its default."""
    assert load(tmp_path).model_dump() == DEFAULTS


def test_the_defaults_are_the_documented_ones() -> None:
    """The defaults are those that the contract names."""
    defaults = {name: default for name, default, _ in keys()}
    assert {name: defaults[name] for name in DOCUMENTED} == DOCUMENTED
    assert defaults["cdn.allowed_hosts"] == [
        "tiktokcdn.com",
        "tiktokcdn-us.com",
        "tiktokcdn-eu.com",
        "akamaized.net",
        "ibyteimg.com",
        "tiktok.com",
    ]


def test_every_setting_says_what_it_means() -> None:
    """No setting is without a meaning; one that has a unit names it."""
    for name, _, meaning in keys():
        assert len(meaning) > 10, name
        assert "\n" not in meaning, name
        if name.endswith("_s"):
            assert "second" in meaning, f"{name} does not say its unit"
        if "bytes" in name:
            assert "bytes" in meaning, f"{name} does not say its unit"


def test_a_new_archives_file_changes_nothing(tmp_path: Path) -> None:
    """The file that `init` writes holds no setting, only comments: what it says is what is true without it."""
    assert tomllib.loads(template()) == {section: {} for section in Settings.model_fields}
    assert load(written(tmp_path, template())).model_dump() == DEFAULTS


def test_the_new_file_uncommented_is_the_defaults(tmp_path: Path) -> None:
    """Every line of the new file that shows a default, uncommented, sets that very default."""
    text, count = re.subn(r"(?m)^# (\w+ = )", r"\1", template())
    assert count == len(list(keys()))
    told = {f"{section}.{name}" for section, inner in tomllib.loads(text).items() for name in inner}
    assert told == {name for name, _, _ in keys()}
    assert load(written(tmp_path, text)).model_dump() == DEFAULTS


def test_the_new_file_explains_every_setting() -> None:
    """Above each setting in the new file stands its meaning."""
    lines = template().splitlines()
    for name, _, meaning in keys():
        shown = [n for n, line in enumerate(lines) if line.startswith(f"# {name.partition('.')[2]} = ")]
        assert any(lines[n - 1] == f"# {meaning}" for n in shown), name


def test_the_file_is_read(tmp_path: Path) -> None:
    """What stands in the file is taken; what does not keeps its default."""
    got = load(written(tmp_path, "[capture]\nquality = 'standard'\n[cdn]\nallowed_hosts = ['example.org']\n"))
    assert got.capture.quality is Quality.STANDARD
    assert got.capture.covers is True
    assert got.cdn.allowed_hosts == ["example.org"]


def test_the_environment_comes_after_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins over the file, one setting at a time, in either case of its letters."""
    written(tmp_path, "[api]\nconcurrency = 3\nrequests_per_minute = 50\n")
    monkeypatch.setenv("CLIPLEDGER_API__CONCURRENCY", "4")
    monkeypatch.setenv("clipledger_queue__lease_s", "30")
    got = load(tmp_path)
    assert (got.api.concurrency, got.api.requests_per_minute, got.queue.lease_s) == (4, 50, 30)


def other_than(name: str, default: object) -> tuple[str, object]:
    """Give a right value that is not the default: as the environment writes it, and as it is then read."""
    match default:
        case bool():
            return str(not default).lower(), not default
        case Quality():
            return "standard", Quality.STANDARD
        case int() | float():
            return str(default + 1), default + 1
        case list() if name == "lifecycle.rules":
            told = {"name": "old", "action": "delete", "older_than": "365d"}
            return json.dumps([told]), [{"source": None, "region": None, "gone": None, "larger_than": None} | told]
        case list():
            return ('["90m"]', ["90m"]) if name.startswith("queue.recheck_") else ('["x.example"]', ["x.example"])

        case None:
            return "7", 7
    if name in (
        special := {
            "listing.region": "GB",
            "storage.region": "eu-west-1",
            "storage.addressing": "path",
            "lifecycle.cold_class": "STANDARD_IA",
            "history.refresh": "1h,2d",
            "storage.reserve": "2GiB",
        }
    ):
        return special[name], special[name]
    text = "90m" if str(default)[:1].isdigit() else "https://x.example"
    return text, text


@pytest.mark.parametrize(("name", "default"), [(name, default) for name, default, _ in keys()])
def test_every_setting_can_come_from_the_environment(
    name: str, default: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CLIPLEDGER_<SECTION>__<KEY>` sets each setting there is, and no other."""
    text, value = other_than(name, default)
    monkeypatch.setenv(env_name(name), text)
    section, key = name.split(".")
    assert load(tmp_path).model_dump() == DEFAULTS | {section: DEFAULTS[section] | {key: value}}


def test_a_list_in_the_environment_is_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists in the environment are JSON; anything else is refused with an example."""
    monkeypatch.setenv("CLIPLEDGER_CDN__ALLOWED_HOSTS", '["a.example", "b.example"]')
    assert load(tmp_path).cdn.allowed_hosts == ["a.example", "b.example"]
    monkeypatch.setenv("CLIPLEDGER_CDN__ALLOWED_HOSTS", "a.example,b.example")
    line = refusal(tmp_path)
    assert "CLIPLEDGER_CDN__ALLOWED_HOSTS" in line
    assert '["a", "b"]' in line


def test_a_cap_in_the_file_can_be_lifted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`none` in the environment lifts the daily cap that the file sets; 0 forbids all spending."""
    written(tmp_path, "[budget]\ncredits_per_day = 0\n")
    assert load(tmp_path).budget.credits_per_day == 0
    monkeypatch.setenv("CLIPLEDGER_BUDGET__CREDITS_PER_DAY", "none")
    assert load(tmp_path).budget.credits_per_day is None


@pytest.mark.parametrize(
    ("text", "named", "right"),
    [
        ("[api]\nconcurency = 4", "api.concurency", "did you mean api.concurrency?"),
        ("[capturing]\naudio = true", "capturing", "did you mean capture?"),
        ("[queue]\nzzz = 1", "queue.zzz", "see the reference of settings"),
        ("archive = 'here'", "archive", "is not a setting"),
        ('"a\\nb\\u202e" = 1', "a\\nb", "is not a setting"),
        ("api = 4", "api", "write [api]"),
        ("[[api]]\nconcurrency = 4", "api", "write [api]"),
        ("[api]\nconcurrency = 0", "api.concurrency = 0", "greater than or equal to 1"),
        ("[api]\nconcurrency = 9999", "api.concurrency = 9999", "less than or equal to 1000"),
        ("[api]\nconcurrency = 'many'", "api.concurrency = 'many'", "valid integer"),
        ("[api]\nconcurrency = 2.5", "api.concurrency = 2.5", "valid integer"),
        ("[api]\nconcurrency = 99999999999999999999", "api.concurrency", "less than or equal"),
        ("[capture]\nquality = 'best'", "capture.quality = 'best'", "'hd', 'standard' or 'watermarked'"),
        ("[capture]\ncovers = 'perhaps'", "capture.covers = 'perhaps'", "boolean"),
        ("[cdn]\nallowed_hosts = 'x.example'", "cdn.allowed_hosts = 'x.example'", "valid list"),
        ("[cdn]\nallowed_hosts = [1]", "cdn.allowed_hosts.0 = 1", "valid string"),
        ("[cdn]\ndeadline_s = inf", "cdn.deadline_s = inf", "finite"),
        ("[cdn]\ndeadline_s = 0", "cdn.deadline_s = 0", "greater than 0"),
        ("[queue]\nlease_s = nan", "queue.lease_s = nan", "finite"),
        ("[queue]\nattempts_max = 0", "queue.attempts_max = 0", "greater than or equal to 1"),
        ("[listing]\nevery = 'soon'", "listing.every = 'soon'", "such as 6h"),
        ("[janitor]\nevery = '0s'", "janitor.every = '0s'", "such as 6h"),
        ("[listing]\nregion = 'us'", "listing.region = 'us'", "[A-Z]{2}"),
        ("[budget]\ncredits_per_day = -1", "budget.credits_per_day = -1", "greater than or equal to 0"),
        ("[database]\nurl = 5", "database.url = 5", "valid string"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_right(text: str, named: str, right: str, tmp_path: Path) -> None:
    """A wrong line in the file is refused: the setting, what was given, what would be right."""
    line = refusal(written(tmp_path, text))
    assert line.startswith(f"{FILE_NAME}: ")
    assert named in line
    assert right in line


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("api.requests_per_minute", 1, 1_000_000),
        ("api.concurrency", 1, 1000),
        ("cdn.concurrency", 1, 1000),
        ("queue.lease_s", 5, 3600),
        ("queue.attempts_max", 1, 100),
        ("listing.max_pages", 1, None),
        ("budget.credits_per_day", 0, None),
        ("cdn.floor_bytes_per_s", 0, None),
    ],
)
def test_the_bounds_themselves_are_right(
    name: str, least: int, most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The smallest and the largest value of a setting are taken, the next beyond is refused."""
    for value in (least, least if most is None else most):
        monkeypatch.setenv(env_name(name), str(value))
        load(tmp_path)
    for value in (least - 1, least - 1 if most is None else most + 1):
        monkeypatch.setenv(env_name(name), str(value))
        assert f"{name} = '{value}'" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[api\n", "not valid TOML"),
        (b"\xff\xfe", "not valid TOML"),
        ("x = " + "1" * 5000, "not valid TOML"),
        ("x = " + "[" * 5000, "not valid TOML"),
        ("[api]\nconcurrency = 1\nconcurrency = 2\n", "not valid TOML"),
        ("[database]\n[database]\n", "each section stands once: edit the line that is there"),
        (b"#" * (1 << 20) + b"#", "larger than 1 MiB"),
    ],
    ids=["broken", "not text", "huge number", "deep", "twice", "section twice", "huge"],
)
def test_a_broken_file_is_refused(text: str | bytes, why: str, tmp_path: Path) -> None:
    """A file that is no TOML is refused in one line that says where it breaks."""
    assert why in refusal(written(tmp_path, text))


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    """A settings file that cannot be opened is told as such, not taken for an absent one."""
    (tmp_path / FILE_NAME).mkdir()
    assert "cannot read it" in refusal(tmp_path)


def test_a_file_from_windows_is_read(tmp_path: Path) -> None:
    """A file saved with a byte-order mark and CRLF is the same file."""
    assert load(written(tmp_path, b"\xef\xbb\xbf[api]\r\nconcurrency = 3\r\n")).api.concurrency == 3


@how(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec="utf-8"), max_size=60) | st.binary(max_size=60))
def test_no_file_crashes_the_program(text: str | bytes, tmp_path: Path) -> None:
    """Any bytes in the file's place are settings or one line of refusal, never a traceback."""
    written(tmp_path, text)
    try:
        load(tmp_path)
    except Misconfigured as error:
        assert error.detail.startswith(f"{FILE_NAME}: ")
        assert len(error.detail.splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CLIPLEDGER_API__CONCURENCY", "did you mean CLIPLEDGER_API__CONCURRENCY?"),
        ("CLIPLEDGER_API_CONCURRENCY", "did you mean CLIPLEDGER_API__CONCURRENCY?"),
        ("clipledger_database_url", "did you mean CLIPLEDGER_DATABASE__URL?"),
        ("CLIPLEDGER_API__CONCURRENCY__MAX", "did you mean CLIPLEDGER_API__CONCURRENCY?"),
        ("CLIPLEDGER_NOTHING__AT_ALL_LIKE_IT", "see the reference of settings"),
        ("CLIPLEDGER_API", "see the reference of settings"),
    ],
)
def test_an_unknown_variable_is_refused(name: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt variable is refused and the right one named, instead of being without effect."""
    monkeypatch.setenv(name, '{"concurrency": 4}')
    line = refusal(tmp_path)
    assert line.startswith(f"environment: {name} is not a setting")
    assert meant in line


@pytest.mark.parametrize(
    "name", ["CLIPLEDGER_ARCHIVE", "CLIPLEDGER_DATABASE_SERVICE_HOST", "CLIPLEDGER_PORT", "TIKLIVEAPI_KEY", "HOME"]
)
def test_other_variables_are_none_of_our_business(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that are no misspelt setting, such as those an orchestrator sets for services, do no harm."""
    monkeypatch.setenv(name, "/x")
    assert load(tmp_path).model_dump() == DEFAULTS


def test_the_one_to_blame_is_blamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When file and environment both set a key, the refusal names the environment, whose value it is."""
    written(tmp_path, "[api]\nconcurrency = 4\n")
    monkeypatch.setenv("CLIPLEDGER_API__CONCURRENCY", "abc")
    assert refusal(tmp_path).startswith("environment: api.concurrency = 'abc'")


def test_the_environment_does_not_excuse_a_wrong_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is wrong is refused even where the environment covers what is wrong in it."""
    written(tmp_path, "api = 3\n")
    monkeypatch.setenv("CLIPLEDGER_API__CONCURRENCY", "4")
    assert refusal(tmp_path).startswith(f"{FILE_NAME}: api ")


def test_a_database_password_is_not_shown() -> None:
    """The settings can be logged: the URL of a database, with its password, is not in their repr."""
    got = Settings.model_validate({"database": {"url": "postgresql://me:hunter2@db/clips"}})
    assert "hunter2" not in repr(got)
    assert "hunter2" not in f"{got}"


def test_settings_do_not_change_under_a_run() -> None:
    """Settings are read once: nothing in the program can change them."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().api.concurrency = 9
