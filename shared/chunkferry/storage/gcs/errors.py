"""What Google's SDK and ``requests`` raise, translated once: try again, or give up.

Texts name the action and the HTTP status. They hold nothing else of the request: a session URI is
a credential.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import requests
import urllib3
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.exceptions import TimeoutError as AuthTimeoutError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse

from chunkferry.errors import (
    IntegrityError,
    SessionLost,
    StoreError,
    StoreRefused,
    StoreUnavailable,
)

_NOT_FOUND: Final = 404
#: Load, time-outs, and a precondition that an earlier try of the same request may have changed.
_TRANSIENT: Final = frozenset({408, 412, 429})
_SERVER_ERROR: Final = 500
#: A session that expired, was completed long ago, was never there, or was cancelled.
SESSION_LOST: Final = frozenset({404, 410, 499})


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn what the SDK raises inside into a ``StoreError`` that begins with ``action``."""
    try:
        yield
    except RetryError as exc:
        # Only StoreUnavailable and what the SDK itself calls transient is repeated.
        cause = exc.cause
        raise (
            cause if isinstance(cause, StoreError) else _unavailable(action, cause or exc)
        ) from exc
    except GoogleAPICallError as exc:
        raise of_status(exc.code, action) from exc
    except InvalidResponse as exc:
        raise of_status(exc.response.status_code, action) from exc
    except DataCorruption as exc:
        msg = f"{action}: the store reports another checksum than that of the bytes sent"
        raise IntegrityError(msg) from exc
    except (requests.RequestException, urllib3.exceptions.HTTPError) as exc:
        raise _unavailable(action, exc) from exc
    except GoogleAuthError as exc:
        raise _of_credentials(exc, action) from exc


def of_status(status: int | None, action: str) -> StoreError:
    """The error that an answer with this HTTP status means."""
    status = status or 0
    kind: type[StoreError] = StoreRefused
    if status in _TRANSIENT or status >= _SERVER_ERROR:
        kind = StoreUnavailable
    return kind(f"{action}: HTTP {status}")


def of_session(status: int, action: str) -> StoreError:
    """The same for an answer to a request to a session URI."""
    if status in SESSION_LOST:
        return SessionLost(f"{action}: the store knows no such session (HTTP {status})")
    return of_status(status, action)


def is_absent(error: GoogleAPICallError) -> bool:
    """True if Google says that there is no such thing: the object, or its bucket."""
    return error.code == _NOT_FOUND


def _unavailable(action: str, error: BaseException) -> StoreUnavailable:
    return StoreUnavailable(f"{action}: {type(error).__name__}")


def _of_credentials(error: GoogleAuthError, action: str) -> StoreError:
    passing = isinstance(error, TransportError | AuthTimeoutError) or getattr(
        error, "retryable", False
    )
    kind = StoreUnavailable if passing else StoreRefused
    return kind(f"{action}: {type(error).__name__}")
