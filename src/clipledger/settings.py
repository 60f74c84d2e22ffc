"""The settings: one model, read from `clipledger.toml`, then the environment, then flags.

Every field says what it means, its unit and its default here and nowhere else: the commented file
that `init` writes and the reference page are made from this model. An unknown key is an error,
in the file and in the environment alike. Must not: open anything but the file and the key file.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from clipledger.core.errors import Misconfigured, UsageError
from clipledger.core.history import read_steps
from clipledger.core.links import shown
from clipledger.core.model import ApiKey, Quality
from clipledger.core.sizes import parse_size
from clipledger.sections import Duration, Lifecycle, Section, Web, duration

FILE_NAME = "clipledger.toml"
_ENV_PREFIX = "CLIPLEDGER_"
_FILE_MAX_BYTES, _KEY_MAX_BYTES = 1 << 20, 4096
_NONE = "none"
AUTO = "auto"

_CDN_HOSTS = ["tiktokcdn.com", "tiktokcdn-us.com", "tiktokcdn-eu.com", "akamaized.net", "ibyteimg.com", "tiktok.com"]


def _steps(text: str) -> str:
    try:
        read_steps(text)
    except UsageError as error:
        raise ValueError(error.detail) from None
    return text


def _reserve(text: str) -> str:
    try:
        parse_size("0" if text == AUTO else text)
    except UsageError as error:
        raise ValueError(f"{error.detail}; or {AUTO}") from None
    return text


def _unset(value: object) -> object:
    # TOML has no null, and a cap in the file must be removable by the environment.
    return None if value == _NONE else value


def _period(text: str) -> str:
    return text if text == _NONE else duration(text)


Period = Annotated[str, AfterValidator(_period)]
Steps = Annotated[str, AfterValidator(_steps)]
Reserve = Annotated[str, AfterValidator(_reserve)]
Cap = Annotated[int | None, BeforeValidator(_unset)]


class Api(Section):
    """TikLiveAPI."""

    base_url: str = Field("https://api.tikliveapi.com", description="where the API answers")
    requests_per_minute: int = Field(
        200, ge=1, le=1_000_000, description="shared by every process on the archive: no 60 s window ever holds more"
    )
    concurrency: int = Field(8, ge=1, le=1000, description="open API calls per process")


class Cdn(Section):
    """The hosts that serve the media."""

    concurrency: int = Field(20, ge=1, le=1000, description="open downloads per process")
    allowed_hosts: list[str] = Field(_CDN_HOSTS, description="host suffixes; a media URL elsewhere is refused")
    allow_insecure: bool = Field(False, description="permit http and loopback addresses: for simulators only")
    max_bytes: int = Field(2 * 2**30, ge=1024, le=2**50, description="largest file taken, bytes")
    deadline_s: float = Field(600.0, gt=0, le=604_800, description="longest time one file may take, seconds")
    floor_bytes_per_s: int = Field(
        2048, ge=0, le=2**30, description="slower than this for 30 s is a stall, bytes per second"
    )


class Database(Section):
    """The index and the queue."""

    # Out of the repr: the URL of a server may hold a password.
    url: str = Field(
        "sqlite:///clipledger.db",
        repr=False,
        description="relative paths are in the archive folder; or postgresql://USER@HOST/NAME",
    )
    patience_s: float = Field(
        60.0, ge=0, le=86_400, description="how long a lost PostgreSQL is waited for before the run stops, seconds"
    )


class Storage(Section):
    """Where the files go."""

    # Out of the repr: somebody may have written a key into it, which is refused without showing it.
    url: str = Field(
        "", repr=False, description="empty: the archive folder itself; or a folder, s3://bucket/prefix, gs://, az://"
    )
    endpoint_url: str = Field("", repr=False, description="for S3-compatible stores that are not AWS")
    region: str = Field(
        "", pattern="^[a-z0-9-]*$", description="region of the bucket; empty: as AWS's own tools are set"
    )
    addressing: Literal["auto", "path", "virtual"] = Field(
        "auto", description="bucket in the path or in the host name (virtual); auto: path where endpoint_url is set"
    )
    reserve: Reserve = Field(
        AUTO,
        description="free space on the disk below which nothing more is captured, such as 2GiB; "
        "auto: 256 MiB, on a small disk a twentieth of it",
    )


class Capture(Section):
    """What is taken of each post."""

    quality: Quality = Field(Quality.HD, description="hd (falls back to standard), standard or watermarked")
    covers: bool = Field(True, description="store the cover image")
    audio: bool = Field(False, description="store a video's sound as a file of its own; photo posts always keep theirs")
    lean: bool = Field(False, description="resolve through /download-video/: smaller answers, thin metadata")


class Queue(Section):
    """How work is handed out."""

    lease_s: float = Field(60.0, ge=5, le=3600, description="a worker silent this long has lost its videos, seconds")
    attempts_max: int = Field(5, ge=1, le=100, description="failed attempts before an id is dead")
    recheck_gone: list[Duration] = Field(
        [], description='ask for a gone post again so long after it died, such as ["24h", "7d", "30d"]; empty: never'
    )
    gone_twice: bool = Field(False, description="ask twice before a post is gone: for an API that is wrong at random")
    recheck_private: list[Duration] = Field([], description="the same for a private post; empty: as recheck_gone")
    recheck_region: list[Duration] = Field(
        [], description="the same for a post not available in the API's region, of its own; empty: as recheck_gone"
    )
    recheck_failed: list[Duration] = Field(
        ["24h"], description="the same for a post whose attempts a sick API or CDN, or dying processes, used up"
    )
    same_bytes_max: Cap = Field(
        5,
        ge=1,
        description='so many ids may have the very same bytes as video; later ones wait for you; "none": any number',
    )
    retry_base_s: float = Field(
        5.0, gt=0, le=3600, description="wait after the first failed attempt, seconds; quadruples with each further one"
    )


class Listing(Section):
    """How sources are read."""

    every: Duration = Field("6h", description="how often --follow reads a source again; adapts within a factor of 4")
    max_pages: int = Field(5000, ge=1, le=1_000_000, description="pages in one pass of one source, at most")
    backlog: bool = Field(True, description="wait with listing while more is queued than the API can resolve in 60 s")
    region: str = Field("US", pattern="^[A-Z]{2}$", description="region of searches that name none")
    short_link_url: str = Field(
        "", description="ask this address instead of vm.tiktok.com and vt.tiktok.com: for simulators only"
    )


class Budget(Section):
    """What may be spent."""

    credits_per_day: Cap = Field(None, ge=0, description='hard cap on credits in one UTC day; "none" for no cap')
    history_credits_per_day: Cap = Field(
        1000, ge=0, description='of these, what history.refresh may spend in one UTC day; "none" for no cap of its own'
    )
    repair_credits_per_day: Cap = Field(
        100, ge=0, description='of these, what janitor.repair may spend in one UTC day; "none" for no cap of its own'
    )


class History(Section):
    """Looking again at what is archived."""

    refresh: Steps = Field(
        "", description="ask each post again so long after its capture, such as 1h,6h,1d,3d,7d,30d; empty: never"
    )


class Janitor(Section):
    """What is swept, and when."""

    parts_after: Duration = Field("1h", description="age at which an abandoned .part file is removed")
    uploads_after: Duration = Field("24h", description="age at which an unfinished upload to a bucket is aborted")
    dead_letters_keep: Duration = Field("365d", description="age at which a dead letter's detail is summarised away")
    every: Duration = Field("10m", description="how often --follow sweeps")
    fixity: Period = Field("30d", description='every stored file is read again once in so long; "none": never')
    fixity_bytes_per_s: int = Field(
        20_000_000, ge=1024, le=2**40, description="reading for janitor.fixity is no faster than this, bytes per second"
    )
    repair: bool = Field(False, description="fetch again what janitor.fixity finds damaged: a credit a post")


_UNSAID: Any = {}
"""A section of which nothing is said: read like one of the file, so that one validator is built and not thirteen."""


class Settings(Section):
    """Every setting of an archive."""

    api: Api = Field(default=_UNSAID, validate_default=True)
    cdn: Cdn = Field(default=_UNSAID, validate_default=True)
    database: Database = Field(default=_UNSAID, validate_default=True)
    storage: Storage = Field(default=_UNSAID, validate_default=True)
    capture: Capture = Field(default=_UNSAID, validate_default=True)
    queue: Queue = Field(default=_UNSAID, validate_default=True)
    listing: Listing = Field(default=_UNSAID, validate_default=True)
    budget: Budget = Field(default=_UNSAID, validate_default=True)
    history: History = Field(default=_UNSAID, validate_default=True)
    janitor: Janitor = Field(default=_UNSAID, validate_default=True)
    lifecycle: Lifecycle = Field(default=_UNSAID, validate_default=True)
    web: Web = Field(default=_UNSAID, validate_default=True)


def load(archive: Path) -> Settings:
    """Read the settings of the archive in `archive`; Misconfigured names the first wrong one and what is right."""
    content = _read_file(archive / FILE_NAME)
    _check_env(os.environ)
    given = _from_env(os.environ)
    merged = content | {section: {**content.get(section, {}), **named} for section, named in given.items()}
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise Misconfigured(_first_problem(error, os.environ)) from None


def _from_env(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Give what the environment sets, section by section; lists are read as the JSON that `_check_env` found."""
    by_name = {name.upper(): value for name, value in environ.items()}
    told: dict[str, dict[str, Any]] = {}
    for dotted, default, _ in keys():
        section, name = dotted.split(".")
        if (value := by_name.get(env_name(dotted))) is not None:
            told.setdefault(section, {})[name] = json.loads(value) if isinstance(default, list) else value
    return told


def origins(archive: Path) -> dict[str, str]:
    """Tell which settings are set and where: dotted name -> the file's name, or the variable that overrides it."""
    content = _read_file(archive / FILE_NAME)
    names = {name.upper(): name for name in os.environ}
    told: dict[str, str] = {}
    for dotted in _names():
        section, name = dotted.split(".")
        if env_name(dotted) in names:
            told[dotted] = names[env_name(dotted)]
        elif name in content.get(section, {}):
            told[dotted] = FILE_NAME
    return told


def read_key(environ: Mapping[str, str] = os.environ) -> ApiKey | None:
    """Read the API key from TIKLIVEAPI_KEY or the file TIKLIVEAPI_KEY_FILE names; None when neither is set."""
    if text := environ.get("TIKLIVEAPI_KEY", "").strip():
        return checked_key(text, "TIKLIVEAPI_KEY")
    if not (name := environ.get("TIKLIVEAPI_KEY_FILE", "")):
        return None
    try:
        with Path(name).open(encoding="utf-8") as file:
            return checked_key(file.read(_KEY_MAX_BYTES + 1).strip(), "the file in TIKLIVEAPI_KEY_FILE")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise Misconfigured(f"TIKLIVEAPI_KEY_FILE: cannot read {name}: {why}") from None


def checked_key(text: str, where: str) -> ApiKey:
    """Read a key; Misconfigured unless it is one line: a break in a header value would write headers of its own."""
    if len(text) > _KEY_MAX_BYTES or not re.fullmatch("[!-~]+", text):
        raise Misconfigured(
            f"{where} does not hold an API key: one line of printable ASCII is expected, without spaces; copy it again"
        )
    return ApiKey(text)


def keys() -> Iterator[tuple[str, Any, str]]:
    """List every setting as (dotted name, default, meaning), in file order."""
    for section, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)
        for name, inner in model.model_fields.items():
            yield f"{section}.{name}", inner.default, inner.description or ""


def template() -> str:
    """Write `clipledger.toml` as `init` lays it down: every setting, commented out, with its meaning and default."""
    lines = [
        "# The settings of this archive. A line that starts with # is the default.",
        "# The environment comes after this file: CLIPLEDGER_API__CONCURRENCY=4 stands for api.concurrency.",
        "# The API key is never written here: set TIKLIVEAPI_KEY or TIKLIVEAPI_KEY_FILE.",
    ]
    section = ""
    for dotted, default, meaning in keys():
        head, name = dotted.split(".")
        if head != section:
            section = head
            lines += ["", f"[{section}]"]
        lines += [f"# {meaning}", f"# {name} = {_toml(default)}"]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    return json.dumps(_NONE if value is None else value)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            body = file.read(_FILE_MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise Misconfigured(f"{path.name}: cannot read it: {error.strerror}") from None
    if len(body) > _FILE_MAX_BYTES:
        raise Misconfigured(f"{path.name}: larger than 1 MiB; is this the right file?")
    try:
        content = tomllib.loads(body.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        why = " ".join(str(error).split())
        twice = ": each section stands once: edit the line that is there" if " twice" in why else ""
        raise Misconfigured(f"{path.name}: not valid TOML: {why}{twice}") from None
    for section in Settings.model_fields:
        if not isinstance(content.get(section, {}), Mapping):
            raise Misconfigured(f"{path.name}: {section} is a section: write [{section}], and its settings below it")
    return content


def _check_env(environ: Mapping[str, str]) -> None:
    """Refuse what is meant for us and no setting: the environment must not be wrong in silence."""
    known = {env_name(name): default for name, default, _ in keys()}
    misspelt = {name.replace("__", "_") for name in known} | {env_name(name) for name in Settings.model_fields}
    for name, value in environ.items():
        upper = name.upper()
        if upper in misspelt or (upper.startswith(_ENV_PREFIX) and "__" in upper and upper not in known):
            dotted = upper.removeprefix(_ENV_PREFIX).lower().replace("__", ".")
            raise Misconfigured(f"environment: {shown(name)} is not a setting{_meant(dotted, _names(), env_name)}")
        if upper in known and not value.isascii() and value != value.encode(errors="replace").decode():
            raise Misconfigured(f"environment: {name} is not UTF-8 text")
        if isinstance(known.get(upper), list) and not _is_json(value):
            raise Misconfigured(f'environment: {name} = {shown(value)}: write a list as JSON, such as ["a", "b"]')


def env_name(dotted: str) -> str:
    """Name the variable that stands for a setting."""
    return _ENV_PREFIX + dotted.replace(".", "__").upper()


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _first_problem(error: ValidationError, environ: Mapping[str, str]) -> str:
    problem = error.errors(include_url=False)[0]
    dotted = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _names() if "." in dotted else [*Settings.model_fields, *_names()]
        return f"{FILE_NAME}: {shown(dotted)} is not a setting{_meant(dotted, known)}"
    setting = ".".join(str(part) for part in problem["loc"][:2])
    where = "environment" if env_name(setting) in {name.upper() for name in environ} else FILE_NAME
    given = repr(problem.get("input"))
    return f"{where}: {dotted} = {given[:60]}: {problem['msg'].removeprefix('Value error, ')}"


def _names() -> list[str]:
    return [name for name, _, _ in keys()]


def _meant(name: str, known: Iterable[str], spelt: Callable[[str], str] = str) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {spelt(close[0])}?" if close else "; see the reference of settings"
