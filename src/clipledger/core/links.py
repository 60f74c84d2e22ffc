"""What the user typed -> what they meant: TikTok URLs, ids, handles, tags and written sources.

Must not: open a link, know an endpoint, or guess. A text that is not plainly one of the known
forms is refused with one line that names it and says what would be right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, quote, unquote, urljoin, urlsplit

from clipledger.core.errors import UsageError
from clipledger.core.model import EARLIEST_S, AwemeId
from clipledger.core.scrub import scrub_text

MAX_TEXT = 2048
"""The longest text looked at, in characters: what browsers agree on for a URL."""

SORTS = ("relevance", "likes", "date")
"""How a search may be ordered; the position is the API's `sort_by`."""

WITHIN_DAYS = (0, 1, 7, 30, 90, 180)
"""The API's `publish_time` windows in days; 0 is no limit."""

_DAY_S = 86_400
_LOOKED_AT = 4 * MAX_TEXT  # of what cannot be meant, before it is shortened


@dataclass(frozen=True, slots=True)
class ListOptions:
    """How a list is narrowed. '' and 0 are the API's own defaults; make one with `list_options`."""

    region: str = ""
    sort: str = ""
    within: int = 0

    def given(self) -> tuple[tuple[str, str], ...]:
        """Return the options that differ from the default, in canonical order, as text."""
        pairs = (("region", self.region), ("sort", self.sort), ("within", str(self.within or "")))
        return tuple((name, value) for name, value in pairs if value)


@dataclass(frozen=True, slots=True)
class WantedPost:
    """One post. `asked_url` is its canonical URL, with the handle when the user's text told it."""

    aweme_id: AwemeId
    asked_url: str


@dataclass(frozen=True, slots=True)
class WantedSource:
    """A list. `subject` is the handle without @, the tag without #, the words, or the id."""

    kind: str
    subject: str
    options: ListOptions = ListOptions()


@dataclass(frozen=True, slots=True)
class WantedShortLink:
    """A link that must be followed once to know what it means; see `from_redirect`."""

    url: str


Wanted = WantedPost | WantedSource | WantedShortLink

RIGHT_FORMS = (
    "use @handle, #tag, search:WORDS, music:ID, playlist:ID, collection:ID, liked:@handle, stories:@handle, "
    "a TikTok URL or a post id"
)

_NO_CASE = re.I | re.A  # without A the letters \u0131, \u017f and \u212a pass for i, s and k, also in a host
# Line breaks, other controls, lone surrogates, and the marks that reverse how a line reads.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_POST_ID = re.compile(r"[1-9][0-9]{14,19}")
_ANY_ID = re.compile(r"[0-9]{1,20}")
_HANDLE = re.compile(r"[A-Za-z0-9_.]{1,64}")
_TAG = re.compile(r"[^\s#@/\\?&%<>\"]{1,200}")
_HOST = re.compile(r"(?:[a-z0-9-]+\.)*(?:tiktok|tiktokv)\.com\.?(?::(?:80|443))?", _NO_CASE)
_SHORT_HOST = re.compile(r"v[mt]\.tiktok\.com\.?(?::(?:80|443))?", _NO_CASE)
_SHORT_CODE = re.compile(r"[A-Za-z0-9_-]{4,64}")
_WRITTEN = re.compile(r"(search|music|playlist|collection|liked|stories): ?(.*)", _NO_CASE)
_OPTIONS = re.compile(r"\?((?:region|sort|within)=[A-Za-z0-9]*(?:&(?:region|sort|within)=[A-Za-z0-9]*)*)\Z")
_LINK = re.compile(r"https?:|://", _NO_CASE)
_ESCAPED = re.compile(r"%(25|3F)", _NO_CASE)

_POST_PATH = re.compile(
    r"(?:@(?P<handle>[^/]*)/(?:video|photo)|v|video|embed|embed/v[0-9]|player/v[0-9]|(?:i18n/)?share/video)"
    r"/(?P<id>[0-9]{1,40})(?:\.html)?",
    _NO_CASE,
)
_SOURCE_PATHS = (
    ("user", re.compile(r"@([^/]+)")),
    ("tag", re.compile(r"tag/([^/]+)", _NO_CASE)),
    ("music", re.compile(r"music/(?:[^/]*-)?([0-9]+)", _NO_CASE)),
    ("playlist", re.compile(r"@[^/]*/playlist/(?:[^/]*-)?([0-9]+)", _NO_CASE)),
    ("collection", re.compile(r"@[^/]*/collection/(?:[^/]*-)?([0-9]+)", _NO_CASE)),
)


def understand(text: str, *, now: float) -> Wanted:
    """Say what a SOURCE argument means. `now` is unix seconds and bounds an id's own date.

    Raises UsageError with one line: the text (shortened, control characters escaped) and what
    would be right.
    """
    typed = " ".join(text[: MAX_TEXT + 1].split())
    if len(text) > MAX_TEXT:
        raise _refused(text, f"longer than {MAX_TEXT} characters")
    if not typed or _CONTROL.search(typed):
        raise _refused(text, "holds control characters" if typed else f"empty; {RIGHT_FORMS}")
    if (written := _WRITTEN.fullmatch(typed)) is not None:
        return _written_source(written[1].lower(), written[2], text)
    if typed[0] in "@#":
        return _source("user" if typed[0] == "@" else "tag", typed[1:], text)
    if typed.isascii() and typed.isdigit():
        return _post(typed, "", text, now)
    return _from_url(typed, text, now)


def list_options(*, region: str = "", sort: str = "", within: str | int = 0) -> ListOptions:
    """Check the options of a list and bring them into one canonical form; raises UsageError."""
    if region and not re.fullmatch(r"[A-Za-z]{2}", region):
        raise _refused(region, "a region is two letters, as in US")
    if sort and sort.lower() not in SORTS:
        raise _refused(sort, f"a sort order is one of {', '.join(SORTS)}")
    if str(within or 0) not in {str(days) for days in WITHIN_DAYS}:
        raise _refused(str(within), f"published within is one of {', '.join(map(str, WITHIN_DAYS))} days")
    order = "" if sort.lower() == SORTS[0] else sort.lower()
    return ListOptions(region.upper(), order, int(within or 0))


def escape_words(words: str) -> str:
    """Write search words so that what follows a `?` can only be options: `%` and `?` are encoded."""
    return words.replace("%", "%25").replace("?", "%3F")


def plausible_id(text: str, now: float) -> bool:
    """Say whether a text is a post's id: 15-20 digits that date from 2016-01-01 to a day from `now`."""
    return bool(_POST_ID.fullmatch(text)) and EARLIEST_S <= int(text) >> 32 <= now + _DAY_S


def created_second(aweme_id: AwemeId) -> int:
    """Read the second of creation (unix) out of an id; `create_time` is 1..55 s later."""
    return int(aweme_id) >> 32


def post_url(aweme_id: AwemeId, handle: str = "_", *, is_photo: bool = False) -> str:
    """Write the canonical URL of a post; the API tolerates a wrong handle."""
    who = quote(handle or "_", safe="", errors="replace")
    return f"https://www.tiktok.com/@{who}/{'photo' if is_photo else 'video'}/{aweme_id}"


def from_redirect(location: str, now: float) -> AwemeId | None:
    """Read the post a short link leads to out of its `Location`; None when it leads elsewhere."""
    told = location if len(location) <= MAX_TEXT else location.partition("?")[0]  # tracking can be long
    try:
        wanted = understand(urljoin("https://www.tiktok.com/", told), now=now)
    except (UsageError, ValueError):
        return None
    return wanted.aweme_id if isinstance(wanted, WantedPost) else None


def shown(text: str, limit: int = 80) -> str:
    """Make a text safe for one line of an error: without signatures, shortened, control characters escaped."""
    text = scrub_text(text[:_LOOKED_AT])
    whole = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in whole)


def _refused(text: str, why: str) -> UsageError:
    return UsageError(f"'{shown(text)}': {why}")


def _written_source(kind: str, subject: str, text: str) -> WantedSource:
    return _source(kind, subject.removeprefix("@") if kind in ("liked", "stories") else subject, text)


def _source(kind: str, written: str, text: str) -> WantedSource:
    options = _OPTIONS.search(written) if kind in ("search", "tag") else None
    if options is not None:
        written = written[: options.start()]
    if kind == "search":
        written = _ESCAPED.sub(lambda code: unquote(code[0]), written)
    return WantedSource(kind, _subject(kind, written, text), _options(options[1], text) if options else ListOptions())


def _options(tail: str, text: str) -> ListOptions:
    pairs = [pair.split("=") for pair in tail.split("&")]
    given = {name: value for name, value in pairs if value}
    if len(given) < len(pairs):
        raise _refused(text, "an option is empty or given twice")
    return list_options(region=given.get("region", ""), sort=given.get("sort", ""), within=given.get("within", 0))


def _subject(kind: str, written: str, text: str) -> str:
    if kind == "search":
        words = " ".join(written.split())
        if not 1 <= len(words) <= 200 or _CONTROL.search(words):
            raise _refused(text, "search takes 1 to 200 characters")
        if _LINK.search(words) or scrub_text(words) != words:  # kept as a name, and shown everywhere
            raise _refused(text, "a link is not a search")
        return words
    form, right = {
        "user": (_HANDLE, "a handle is 1 to 64 letters, digits, _ and dots"),
        "liked": (_HANDLE, "write liked:@handle"),
        "stories": (_HANDLE, "write stories:@handle"),
        "tag": (_TAG, "a tag has no spaces and none of # @ / \\ ? & % < > and quotes"),
    }.get(kind, (_ANY_ID, f"write {kind}:ID with an id of digits"))
    if not form.fullmatch(written) or _CONTROL.search(written):
        raise _refused(text, right)
    return written


def _post(digits: str, handle: str, text: str, now: float) -> WantedPost:
    if not plausible_id(digits, now):
        raise _refused(text, "no post can have this id: a post id has 15 to 20 digits and dates from 2016 to today")
    aweme_id = AwemeId(digits)
    return WantedPost(aweme_id, post_url(aweme_id, handle if _HANDLE.fullmatch(handle) else "_"))


def _from_url(typed: str, text: str, now: float) -> Wanted:
    parts = _split(typed)
    if parts is None or not _HOST.fullmatch(parts.netloc) or " " in typed:
        raise _refused(text, f"not a TikTok link and not a known form; {RIGHT_FORMS}")
    path = _path(parts)
    if path is None:
        raise _refused(text, "this TikTok link is not written as TikTok writes them")
    if (post := _POST_PATH.fullmatch(path)) is not None:
        return _post(post["id"], post["handle"] or "", text, now)
    return _short(parts, path) or _listed(parts, path, text, now)


def _short(parts: SplitResult, path: str) -> WantedShortLink | None:
    marked = path.startswith("t/") or _SHORT_HOST.fullmatch(parts.netloc) is not None
    if not marked or not _SHORT_CODE.fullmatch(path.removeprefix("t/")):
        return None
    host = parts.netloc.lower().split(":")[0].rstrip(".")
    return WantedShortLink(f"https://{host}/{path}/")


def _listed(parts: SplitResult, path: str, text: str, now: float) -> Wanted:
    query = parse_qs(parts.query)
    if path.lower() == "foryou" and "item_id" in query:
        return _post(query["item_id"][0], "", text, now)
    if path.lower() in ("search", "search/video", "search/top") and "q" in query:
        return WantedSource("search", _subject("search", query["q"][0], text))
    for kind, form in _SOURCE_PATHS:
        if (found := form.fullmatch(path)) is not None:
            return WantedSource(kind, _subject(kind, found[1], text))
    raise _refused(text, f"this TikTok link names neither a post nor a list; {RIGHT_FORMS}")


def _split(typed: str) -> SplitResult | None:
    bare = re.sub(r"\A(?:https?:)?//", "", typed, flags=_NO_CASE)
    try:
        return urlsplit(f"https://{bare}")
    except ValueError:
        return None


def _path(parts: SplitResult) -> str | None:
    """Decode the path and join it anew without empty segments; None when it hides a separator."""
    try:
        segments = [unquote(segment, errors="strict") for segment in parts.path.split("/") if segment]
    except UnicodeDecodeError:
        return None
    hidden = any("/" in segment or _CONTROL.search(segment) for segment in segments)
    return None if hidden else "/".join(segments)
