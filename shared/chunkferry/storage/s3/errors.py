"""What boto3 raises, translated once: try again, give up, or the session is gone.

Texts name the action and S3's error code. They hold nothing else of the request, which may
carry session ids and signatures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own class; the builtin is not used here
    CredentialRetrievalError,
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
#: What S3's error codes look like; HTTP statuses included.
_CODE: Final = re.compile(r"[A-Za-z0-9.]{1,64}")

_TRANSIENT_STATUS: Final = frozenset({408, 412, 429})
_SERVER_ERROR: Final = 500
#: Such a status, and for good.
_NOT_OFFERED: Final = "NotImplemented"

#: Without an answer of S3. Other errors of botocore are about configuration.
_NO_ANSWER: Final = (
    ConnectionError,
    CredentialRetrievalError,
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
    # An empty element is None.
    return error.response.get("Error", {}).get("Code", "") or ""


def is_absent(error: ClientError) -> bool:
    """True if S3 says that there is no such object."""
    return code_of(error) in {"404", "NoSuchKey", "NotFound"}


def is_session_lost(error: ClientError) -> bool:
    """True if S3 says that there is no such session."""
    return code_of(error) in _SESSION_LOST


def _from_answer(error: ClientError, action: str) -> StoreError:
    code = code_of(error)
    # The server's word: anything else it could say here would end up in logs.
    shown = code if _CODE.fullmatch(code) else "an error without a code"
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind: type[StoreError] = StoreRefused
    if is_session_lost(error):
        kind = SessionLost
    elif code in _TRANSIENT or (_may_pass(status) and code != _NOT_OFFERED):
        kind = StoreUnavailable
    return kind(f"{action}: {shown} (HTTP {status})")


def _may_pass(status: int) -> bool:
    return status in _TRANSIENT_STATUS or status >= _SERVER_ERROR
