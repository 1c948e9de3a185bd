"""What Azure's SDK raises, translated once: try again, or give up.

Texts name the action and Azure's error code. They hold nothing else of the request, which may carry
signatures.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
)

from chunkferry.errors import IntegrityError, StoreError, StoreRefused, StoreUnavailable

#: Retryable whatever the HTTP status: load, and bodies damaged on the way.
_TRANSIENT: Final = frozenset(
    {
        "ContainerBeingDeleted",
        "Crc64Mismatch",
        "IncompleteBody",
        "InternalError",
        "Md5Mismatch",
        "OperationTimedOut",
        "PendingCopyOperation",
        "ServerBusy",
    }
)
#: 412 also means that somebody holds a lease on the blob, or changed it meanwhile.
_TRANSIENT_STATUS: Final = frozenset({408, 412, 429})
_SERVER_ERROR: Final = 500
#: Azure answers a list with a block that is not there like this.
_BLOCKS_GONE: Final = "InvalidBlockList"
_CHANGED: Final = frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"})


@contextmanager
def translated(action: str) -> Iterator[None]:
    """Turn what the SDK raises inside into a ``StoreError`` that begins with ``action``."""
    try:
        yield
    except (ServiceRequestError, ServiceResponseError, IncompleteReadError) as exc:
        msg = f"{action}: {type(exc).__name__}"
        raise StoreUnavailable(msg) from exc
    except HttpResponseError as exc:
        raise _from_answer(exc, action) from exc
    except AzureError as exc:
        msg = f"{action}: {type(exc).__name__}"
        raise StoreRefused(msg) from exc


def code_of(error: HttpResponseError) -> str:
    """Azure's error code; empty where the answer has none."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def is_absent(error: HttpResponseError) -> bool:
    """True if Azure says that there is no such blob; an absent container is something else."""
    return code_of(error) == "BlobNotFound"


def is_changed(error: HttpResponseError) -> bool:
    """True if a condition on the blob does not hold."""
    return code_of(error) in _CHANGED


def are_blocks_gone(error: HttpResponseError) -> bool:
    """True if a listed block is not there."""
    return code_of(error) == _BLOCKS_GONE


def changed(key: str) -> IntegrityError:
    """What to raise where a blob was replaced while it was read."""
    return IntegrityError(f"{key!r} was changed while it was read")


def _from_answer(error: HttpResponseError, action: str) -> StoreError:
    code, status = code_of(error), error.status_code or 0
    kind: type[StoreError] = StoreRefused
    if code in _TRANSIENT or status in _TRANSIENT_STATUS or status >= _SERVER_ERROR:
        kind = StoreUnavailable
    if isinstance(error, ClientAuthenticationError) and not status:
        return StoreRefused(f"{action}: no credentials ({type(error).__name__})")
    return kind(f"{action}: {code or type(error).__name__} (HTTP {status})")
