"""Counts what the front door is asked, and how it answers: a middleware of plain ASGI.

Knows no protocol and no path: nothing of one upload, or of who sends it, becomes a metric.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chunkferry import families
from chunkferry.errors import ChunkferryError
from chunkferry.tally import Tally

#: Where in a request's scope lies what is to be known about its answer.
_KEY: Final = "chunkferry.counting"
#: Whoever may send any method could otherwise make any number of metrics.
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
_UNAVAILABLE: Final = 503


@dataclass(slots=True)
class _Exchange:
    """One request and its answer."""

    began: float
    #: Bytes of the body that were read.
    size: int = 0
    #: Of the answer; 0 for none yet.
    status: int = 0
    #: Seconds until the answer began.
    took: float = 0.0
    #: Of the error that is answered; empty if nobody said.
    code: str = ""


def say(scope: Scope, error: Exception) -> None:
    """Say with which error a request is answered; nothing happens where nobody counts."""
    if _KEY in scope and isinstance(error, ChunkferryError):
        scope[_KEY].code = error.code


class Counting:
    """Counts all requests of an application."""

    def __init__(self, app: ASGIApp, tally: Tally) -> None:
        """Count into ``tally`` what ``app`` does."""
        self._app = app
        self._tally = tally

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on, and look at it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = scope[_KEY] = _Exchange(time.monotonic())

        async def receiving() -> Message:
            message = await receive()
            exchange.size += len(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                exchange.took = time.monotonic() - exchange.began
            await send(message)

        try:
            await self._app(scope, receiving, sending)
        except Exception:
            # The server answers it.
            exchange.status = exchange.status or 500
            exchange.took = exchange.took or time.monotonic() - exchange.began
            raise
        finally:
            self._count(scope["method"], exchange)

    def _count(self, method: str, exchange: _Exchange) -> None:
        method = method if method in _METHODS else "other"
        status = f"{exchange.status // 100}xx" if exchange.status else "none"
        self._tally.count(families.HTTP_REQUESTS, method, status)
        self._tally.count(families.HTTP_BYTES, by=exchange.size)
        if exchange.status:
            self._tally.observe(families.HTTP_SECONDS, exchange.took, method)
        if exchange.status == _UNAVAILABLE:
            self._tally.count(families.HTTP_UNAVAILABLE, exchange.code or "other")
