"""Errors as HTTP answers: problem details (RFC 9457), with what tells a client to try again.

Knows no protocol beyond HTTP; an error brings its status itself.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from chunkferry.errors import ChunkferryError

log = logging.getLogger(__name__)

#: Seconds after which a client may try again where nobody knows better.
_AGAIN: Final = 1

Endpoint = Callable[[Request], Awaitable[Response]]


def answered(endpoint: Endpoint) -> Endpoint:
    """``endpoint``, with its errors as answers."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except Exception as exc:
            return problem(exc)

    return answer


def problem(
    error: Exception,
    headers: Mapping[str, str] | None = None,
    *,
    status: int | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response:
    """The answer to a request that failed with ``error``.

    What nobody foresaw is logged and told as 500, without its text: that may hold payload.

    Args:
        error: why it failed.
        headers: of the answer, beside its own.
        status: in place of the error's own.
        members: of the problem details, beside or in place of their own.
    """
    if not isinstance(error, ChunkferryError):
        log.error("A request failed: %s", type(error).__name__, exc_info=bare(error))
        return _problem(500, "unforeseen", "something unforeseen happened here", headers)
    if status is None:
        status = getattr(error, "status", error.http_status)
    also = {**getattr(error, "headers", {}), **(headers or {})}
    if error.retryable or status == HTTPStatus.TOO_MANY_REQUESTS:
        after = getattr(error, "retry_after", _AGAIN)
        also["Retry-After"] = str(max(1, math.ceil(after)))
    if status == HTTPStatus.UNAUTHORIZED:
        also["WWW-Authenticate"] = "Bearer"
    return _problem(status, error.code, str(error), also, members)


def bare(error: Exception) -> BaseException:
    """``error`` for a log: with where it happened, and without its text."""
    return RuntimeError(type(error).__name__).with_traceback(error.__traceback__)


def _problem(
    status: int,
    code: str,
    detail: str,
    headers: Mapping[str, str] | None,
    members: Mapping[str, Any] | None = None,
) -> JSONResponse:
    content = {"title": code.replace("_", " "), "status": status, "detail": detail, "code": code}
    return JSONResponse(
        {**content, **(members or {})},
        status,
        headers={"Cache-Control": "no-store", **(headers or {})},
        media_type="application/problem+json",
    )
