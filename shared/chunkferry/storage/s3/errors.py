"""What boto3 raises, translated once: try again, give up, or the session is gone.

Texts name the action and S3's error code. They hold nothing else of the request, which may
carry session ids and signatures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own class; the builtin is not used here
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
)

from chunkferry.errors import SessionLost, StoreError, StoreRefused, StoreUnavailable

#: Ceph answers the second where AWS answers the first.
_SESSION_LOST: Final = frozenset({"NoSuchUpload", "NoSuchKey"})

#: Retryable whatever the HTTP status: load, conflicts, and bodies damaged on the way.
_TRANSIENT: Final = frozenset(
    {
        "BadDigest",
        "ConditionalRequestConflict",
        "ExpiredToken",
        "IncompleteBody",
        "InternalError",
        "OperationAborted",
        "PreconditionFailed",
        "QuotaExceeded",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequests",
        "XAmzContentChecksumMismatch",
        "XAmzContentSHA256Mismatch",
    }
)
_TRANSIENT_STATUS: Final = frozenset({408, 412, 429})
_SERVER_ERROR: Final = 500
#: What a server does not know today, such as the header of a checksum, it will not know later.
_NOT_IMPLEMENTED: Final = 501

#: Without an answer of S3, or with one that was damaged on the way. Other errors of botocore are
#: about configuration.
_NO_ANSWER: Final = (
    ConnectionError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
)


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn what boto3 raises inside into a ``StoreError`` that begins with ``action``."""
    try:
        yield
    except ClientError as exc:
        raise _from_answer(exc, action) from exc
    except BotoCoreError as exc:
        kind = StoreUnavailable if isinstance(exc, _NO_ANSWER) else StoreRefused
        msg = f"{action}: {type(exc).__name__}"
        raise kind(msg) from exc


def code_of(error: ClientError) -> str:
    """S3's error code; where the answer has no body (HEAD), the HTTP status."""
    return error.response.get("Error", {}).get("Code", "")


def is_absent(error: ClientError) -> bool:
    """True if S3 says that there is no such object."""
    return code_of(error) in {"404", "NoSuchKey", "NotFound"}


def is_changed(error: ClientError) -> bool:
    """True if S3 says that the object is another one than the request was meant for."""
    return code_of(error) in {"412", "PreconditionFailed"}


def is_beyond_end(error: ClientError) -> bool:
    """True if S3 says that the object ends before the range begins."""
    return code_of(error) in {"416", "InvalidRange"}


def is_refused(error: ClientError) -> bool:
    """True if S3 does not know what was asked for, rather than not allowing it."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return status in {400, 405, 411, 501}


def is_session_lost(error: ClientError) -> bool:
    """True if S3 says that there is no such session."""
    return code_of(error) in _SESSION_LOST


def _from_answer(error: ClientError, action: str) -> StoreError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind: type[StoreError] = StoreRefused
    if is_session_lost(error):
        kind = SessionLost
    elif status == _NOT_IMPLEMENTED:
        kind = StoreRefused
    elif code in _TRANSIENT or status in _TRANSIENT_STATUS or status >= _SERVER_ERROR:
        kind = StoreUnavailable
    return kind(f"{action}: {code} (HTTP {status})")
