"""Errors as HTTP answers: problem details (RFC 9457), with what tells a client to try again.

Knows no protocol beyond HTTP; an error brings its status itself.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.responses import JSONResponse, Response

from chunkferry.errors import Backpressure, ChunkferryError

log = logging.getLogger(__name__)

#: Seconds after which a client may try again where nobody knows better.
_AGAIN: Final = 1


def problem(error: Exception, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a request that failed with ``error``.

    What nobody foresaw is logged and told as 500, without its text: that may hold payload.
    """
    if not isinstance(error, ChunkferryError):
        log.error("A request failed: %s", type(error).__name__, exc_info=_bare(error))
        return _problem(500, "unforeseen", "something unforeseen happened here", headers)
    status: int = getattr(error, "status", error.http_status)
    also = {**getattr(error, "headers", {}), **(headers or {})}
    if error.retryable or status == HTTPStatus.TOO_MANY_REQUESTS:
        after = error.retry_after if isinstance(error, Backpressure) else _AGAIN
        also["Retry-After"] = str(max(1, math.ceil(after)))
    if status == HTTPStatus.UNAUTHORIZED:
        also["WWW-Authenticate"] = "Bearer"
    return _problem(status, error.code, str(error), also)


def _bare(error: Exception) -> BaseException:
    """``error`` with where it happened, and without its text."""
    return RuntimeError(type(error).__name__).with_traceback(error.__traceback__)


def _problem(
    status: int, code: str, detail: str, headers: Mapping[str, str] | None
) -> JSONResponse:
    content = {"title": code.replace("_", " "), "status": status, "detail": detail, "code": code}
    return JSONResponse(
        content,
        status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type="application/problem+json",
    )
