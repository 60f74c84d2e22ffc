"""The one file that knows aiobotocore: a client that opens on first use, and names for its failures.

Credentials come from where the cloud's own tools take them, and go nowhere else: the library's log is
shut, its exceptions never leave. Must not: retry, know a key's meaning, or read a setting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clipledger.core.errors import (
    ClipledgerError,
    Misconfigured,
    StorageFull,
    StorageThrottled,
    StorageUnavailable,
    StorageUnreachable,
)

if TYPE_CHECKING:
    from aiobotocore.client import AioBaseClient

DEADLINE_S = 60.0
"""How long a call without a body may take; one with a body has more, see `deadline_s`."""

_FLOOR_BYTES_PER_S = 64 * 2**10  # slower than this is no link to keep an archive over
_CONNECT_S = 10.0
_SILENT_S = 60.0
_CONNECTIONS = 64
_LOGGERS = ("botocore", "aiobotocore", "boto3")
_SIGNER = "clipledger-s3v4"

_MISCONFIGURED = frozenset(
    {
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidBucketName",
        "InvalidSecurity",
        "InvalidToken",
        "NoSuchBucket",
        "NotSignedUp",
        "PermanentRedirect",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnauthorizedAccess",
    }
)
_THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "RequestLimitExceeded",
        "ServerBusy",
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "TooManyRequestsException",
        "XMinioServerNotInitialized",
    }
)
_FULL = frozenset(
    {
        "InsufficientStorage",
        "QuotaExceeded",
        "ServiceQuotaExceeded",
        "XMinioAdminBucketQuotaExceeded",
        "XMinioStorageFull",
    }
)
_BAD_SUM = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})
_ANSWERS = frozenset({304, 404, 409, 412, 501})

_WHAT_NEXT = {
    "NoSuchBucket": "there is no such bucket: create it, or mend storage.url",
    "PermanentRedirect": "the bucket is in another region: set storage.region",
    "AuthorizationHeaderMalformed": "the bucket is in another region: set storage.region",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
    "ExpiredToken": "the credentials have expired: renew them",
    "ExpiredTokenException": "the credentials have expired: renew them",
}


class Answered(Exception):
    """A refusal that means something to the caller: not there, taken, in use, damaged on the way, unknown here."""

    def __init__(self, status: int, code: str, doing: str) -> None:
        super().__init__(f"{doing}: {status} {code}")
        self.status = status
        self.code = code
        self.failure = StorageUnavailable(f"{doing}: {status} {code}")

    @property
    def is_bad_sum(self) -> bool:
        """True when the store got other bytes than their checksum says."""
        return self.code in _BAD_SUM


@dataclass(frozen=True, slots=True)
class Address:
    """Where an S3 is. `addressing`: auto, path or virtual; auto is path for an endpoint of one's own."""

    endpoint_url: str = ""
    region: str = ""
    addressing: str = "auto"


class Aws:
    """Calls to one S3 account from one event loop; opened by the first of them."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._opening = asyncio.Lock()
        self._resources = AsyncExitStack()
        self._client: AioBaseClient | None = None

    async def call(self, doing: str, operation: str, *, size_bytes: int = 0, **arguments: Any) -> Mapping[str, Any]:
        """Make one call; `doing` names it in errors, `size_bytes` is what travels with it.

        Raises `Answered`, or one of our errors. A body in the answer is read inside `reading`.
        """
        with translated(doing):
            async with asyncio.timeout(deadline_s(size_bytes)):
                client = self._client or await self._open()
                with _parsed(doing):
                    answer: Mapping[str, Any] = await getattr(client, operation)(**arguments)
                return answer

    async def close(self) -> None:
        """Close the connections; the next call opens others."""
        self._client = None
        await self._resources.aclose()

    async def _open(self) -> AioBaseClient:
        async with self._opening:
            if self._client is None:
                self._client = await self._resources.enter_async_context(_new_client(self._address))
            return self._client


@asynccontextmanager
async def reading(doing: str, answer: Mapping[str, Any]) -> AsyncIterator[Any]:
    """Read the body of an answer (`await body.read(n)`) within its deadline; the connection is given back."""
    with translated(doing):
        async with asyncio.timeout(deadline_s(answer.get("ContentLength", 0))), answer["Body"] as body:
            yield body


def deadline_s(size_bytes: int) -> float:
    """Say how long a call may take that carries so many bytes."""
    return DEADLINE_S + size_bytes / _FLOOR_BYTES_PER_S


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn whatever the library raises in the block into one of our errors: the one table."""
    import aiohttp
    from botocore import exceptions as boto

    try:
        yield
    except boto.ClientError as error:
        raise _refusal(error.response, doing) from None
    except TimeoutError:
        raise StorageUnreachable(f"{doing}: no answer in time") from None
    except (boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ReadTimeoutError) as error:
        raise StorageUnreachable(f"{doing}: {_told(error)}") from None
    except (
        boto.ConnectionError,
        boto.HTTPClientError,
        boto.ResponseStreamingError,
        aiohttp.ClientError,
        OSError,
    ) as error:
        raise StorageUnavailable(f"{doing}: {_told(error)}") from None
    except (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError) as error:
        raise Misconfigured(
            f"{doing}: no usable credentials ({type(error).__name__}): set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or give the machine a role"
        ) from None
    except boto.BotoCoreError as error:  # a profile, a region, an endpoint or a parameter that cannot be
        raise Misconfigured(f"{doing}: {_told(error)}") from None


@contextmanager
def _parsed(doing: str) -> Iterator[None]:
    """Name an answer that the library's parser stumbles over: a size that is no number, a date that is none."""
    try:
        yield
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError) as error:
        from botocore.exceptions import BotoCoreError

        if isinstance(error, BotoCoreError):
            raise
        raise StorageUnavailable(f"{doing}: an answer that cannot be read: {_told(error)}") from None


def _refusal(response: Mapping[str, Any], doing: str) -> ClipledgerError | Answered:
    code = str(response.get("Error", {}).get("Code", ""))
    told = response.get("ResponseMetadata", {})
    status = int(told.get("HTTPStatusCode", 0))
    is_bare = code.isdigit()  # the answer to a HEAD has no body to say more
    what = f"{doing}: {status} {code}" if not is_bare else f"{doing}: {status}"
    if code in _FULL or status == 507:
        return StorageFull(f"{what}: the store has no room left, or a quota is used up")
    if code in _THROTTLED or status == 429 or (is_bare and status == 503):
        return StorageThrottled(f"{what}: asked to slow down", retry_after_s=_retry_after_s(told))
    if code in _MISCONFIGURED or status in (301, 307, 401, 403):
        return Misconfigured(
            f"{what}: {_WHAT_NEXT.get(code, 'refused: check credentials, their rights, and the bucket')}"
        )
    if status in _ANSWERS or code in _BAD_SUM or code == "NotImplemented":
        return Answered(status, code, doing)
    return StorageUnavailable(what)


def _retry_after_s(told: Mapping[str, Any]) -> float | None:
    with suppress(KeyError, ValueError):
        return float(told["HTTPHeaders"]["retry-after"])
    return None


def _told(error: BaseException) -> str:
    """Say what an exception says, on one line: addresses, never headers, are in it."""
    return " ".join(str(error).split())[:200] or type(error).__name__


@asynccontextmanager
async def _new_client(address: Address) -> AsyncIterator[AioBaseClient]:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import AioSession

    _hush()
    style = "path" if address.endpoint_url and address.addressing == "auto" else address.addressing
    session = AioSession()
    region = address.region or session.get_config_variable("region") or "us-east-1"
    config = AioConfig(
        region_name=region,
        connect_timeout=_CONNECT_S,
        read_timeout=_SILENT_S,
        max_pool_connections=_CONNECTIONS,
        retries={"total_max_attempts": 1, "mode": "standard"},  # one level of retry, and it is not this one
        s3={"addressing_style": style},
        request_checksum_calculation="when_required",  # ours are known before: no trailers, which old stores refuse
        response_checksum_validation="when_required",
    )
    async with session.create_client("s3", endpoint_url=address.endpoint_url or None, config=config) as client:
        _sign_known_payloads(client)
        yield client


def _hush() -> None:
    """Shut the library's log: at debug it prints headers and credentials."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)


def _sign_known_payloads(client: AioBaseClient) -> None:
    """Sign bodies whose sha256 is known with it, so that none is read twice, over http as over https.

    Left alone, the library reads a body again to sign it over http, and does not sign it over https.
    """
    from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth

    class KnownPayloadAuth(S3SigV4Auth):  # type: ignore[misc]
        def payload(self, request: Any) -> Any:
            """Give the sha256 that the body knows of itself, else let the library find it."""
            return getattr(request.body, "sha256", None) or super().payload(request)

    AUTH_TYPE_MAPS.setdefault(_SIGNER, KnownPayloadAuth)
    for operation in ("PutObject", "UploadPart"):
        client.meta.events.register_first(f"choose-signer.s3.{operation}", lambda **_: _SIGNER)
