"""Every failure we can name, sorted by what happens next.

Adapters translate what went wrong into one of these, each in one table; nothing above them looks
at a status code. `reason` is a short stable word for tables and reports; `detail` is for people
and must not hold a secret.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a video is not archived (yet): the words in `last_reason` and `dead_letters.reason`."""

    NOT_FOUND = "not_found"
    PRIVATE = "unavailable:private"
    REGION = "unavailable:region"
    API_UNAVAILABLE = "api_unavailable"
    API_MESSAGE = "api_message"
    CDN_UNAVAILABLE = "cdn_unavailable"
    TRUNCATED = "truncated_body"
    NOT_MEDIA = "not_media"
    TOO_LARGE = "too_large"
    REFUSED_URL = "refused_url"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    STORAGE_THROTTLED = "storage_throttled"
    OPEN_FILES = "too_many_open_files"
    URL_EXPIRED = "url_expired"
    THROTTLED = "throttled"
    MALFORMED = "malformed_reply"
    WRONG_ID = "wrong_id"
    KEY_REFUSED = "key_refused"
    CREDITS_EXHAUSTED = "credits_exhausted"
    CAP_REACHED = "cap_reached"
    STORAGE_FULL = "storage_full"
    LEASE_LOST = "lease_lost"
    WORKER_KILLED = "worker_killed"
    SHUTDOWN = "shutdown"
    OUTAGE = "outage"
    PAUSED = "paused"
    SAME_BYTES = "same_bytes"


class ClipledgerError(Exception):
    """The root. `reason` is the stable word, `detail` one line for people."""

    reason: Reason = Reason.API_UNAVAILABLE

    def __init__(self, detail: str = "", *, reason: Reason | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if reason is not None:
            self.reason = reason


class Transient(ClipledgerError):
    """Try again later; counts as an attempt."""


class ApiUnavailable(Transient):
    """5xx, reset, time-out, an empty or unreadable body, or a message we do not know."""

    reason = Reason.API_UNAVAILABLE


class ApiUnreachable(ApiUnavailable):
    """The request was never sent (no address, no connection): it cannot have cost a credit."""


class CdnUnavailable(Transient):
    """The CDN answered 5xx or with headers over their cap, reset, stalled or could not be reached."""

    reason = Reason.CDN_UNAVAILABLE


class TruncatedBody(Transient):
    """Fewer bytes than declared, or a file that ends inside itself."""

    reason = Reason.TRUNCATED


class NotMedia(Transient):
    """The bytes are not what the link promised: HTML, JSON, an error page, sound for video."""

    reason = Reason.NOT_MEDIA


class TooLarge(Transient):
    """A body of more bytes than the cap allows, declared or received."""

    reason = Reason.TOO_LARGE


class RefusedUrl(Transient):
    """A media link to a host, scheme or address outside the allow-list: never opened."""

    reason = Reason.REFUSED_URL


class StorageUnavailable(Transient):
    """The store failed in a way that may pass."""

    reason = Reason.STORAGE_UNAVAILABLE


class StorageUnreachable(StorageUnavailable):
    """No connection to the store, or no answer: nothing is said of any one object."""


class StorageThrottled(StorageUnavailable):
    """The store asks to slow down (503 SlowDown, 429). `retry_after_s` when the answer told one."""

    reason = Reason.STORAGE_THROTTLED

    def __init__(self, detail: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class TooManyOpenFiles(StorageUnavailable):
    """The process or the machine has run out of file descriptors: nobody's failure, fewer at a time may do."""

    reason = Reason.OPEN_FILES

    def __init__(self, doing: str = "open") -> None:
        super().__init__(f"{doing}: Too many open files: allow more (ulimit -n), or lower cdn.concurrency")


class UrlExpired(ClipledgerError):
    """CDN 403, 404 or 410, or a link whose own date has passed: resolve again."""

    reason = Reason.URL_EXPIRED


class Throttled(ClipledgerError):
    """429, from the API or the CDN. `retry_after_s` when the answer told one.

    `costly`: the next look is paid, for it was a media link that was refused. `alone` is set by the
    stage that knows who else got through meanwhile: then it is this post's own trouble.
    """

    reason = Reason.THROTTLED

    def __init__(self, detail: str = "", *, retry_after_s: float | None = None, costly: bool = False) -> None:
        super().__init__(detail)
        self.retry_after_s, self.costly, self.alone = retry_after_s, costly, False


class Gone(ClipledgerError):
    """The API says deleted, private or not in this region. A suspect until the window closed healthy."""

    reason = Reason.NOT_FOUND


class SameBytes(ClipledgerError):
    """More posts than is usual were served this very video: a placeholder, or a clip that many posted."""

    reason = Reason.SAME_BYTES


class MalformedReply(ClipledgerError):
    """A shape we do not know. `sample` holds the start of the body, scrubbed of signatures."""

    reason = Reason.MALFORMED

    def __init__(self, detail: str = "", *, sample: str = "", reason: Reason | None = None) -> None:
        super().__init__(detail, reason=reason)
        self.sample = sample


class Halt(ClipledgerError):
    """Stop the run: work is given back untouched and nothing is burnt."""


class Misconfigured(Halt):
    """Key missing or refused, bad setting, wrong schema. `detail` says what to do next."""

    reason = Reason.KEY_REFUSED


class CreditsExhausted(Halt):
    """The account has no credits left."""

    reason = Reason.CREDITS_EXHAUSTED


class CapReached(CreditsExhausted):
    """A cap of the operator's own: credits a day, or --max-..."""

    reason = Reason.CAP_REACHED


class Outage(Halt):
    """The breaker is open: the API or the CDN cannot be believed now. `detail` is the evidence."""

    reason = Reason.OUTAGE


class Paused(Halt):
    """The operator paused the archive. `detail` says why and how to go on."""

    reason = Reason.PAUSED


class ArchiveInUse(ClipledgerError):
    """Another process holds the archive in a way that excludes this one."""


class StorageFull(Halt):
    """No space, no inodes, read-only."""

    reason = Reason.STORAGE_FULL


class StorageGone(StorageFull):
    """The place is not the one it was: unmounted, replaced or emptied. Waiting does not bring it back."""


class NotSent(ClipledgerError):
    """Nobody wants a call any more that stood in line: nothing was bought, and it is nobody's failure."""


class Held(NotSent):
    """The operator paused the archive while this call stood in line."""

    reason = Reason.PAUSED


class Stopped(NotSent):
    """The run was told to stop before this was sent."""

    reason = Reason.SHUTDOWN


class LeaseLost(ClipledgerError):
    """A settle that came too late: another worker owns the video now."""

    reason = Reason.LEASE_LOST


class UsageError(ClipledgerError):
    """What the user typed cannot be understood. `detail` names it and says what would be right."""
