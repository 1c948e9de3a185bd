"""What happens to a request before any endpoint sees it: limits, proxies, the method it means.

Pure ASGI; knows neither uploads nor Redis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from chunkferry.errors import ChunkferryError
from chunkferry.tus import protocol
from chunkferry.tus.answers import problem
from chunkferry.tus.proxies import HOST, Network, forwarded, is_trusted

#: Of an answer that is given before anybody has looked which protocol is spoken.
_MARKS: Final = {"Tus-Resumable": protocol.VERSION}


class WrongHost(ChunkferryError):
    """The request is for another host than this one (RFC 9110, section 15.5.20)."""

    code = "wrong_host"
    http_status = 421

    def __init__(self, host: str) -> None:
        super().__init__(f"Host must be one of CHUNKFERRY_HTTP_HOSTS, not {host[:80]!r}")


class Hosts:
    """Refuses requests for other hosts than ``allowed``; lets all through if that is empty.

    A page of another site can have its own name lead here, and then counts as ours (DNS
    rebinding). What a proxy says does not count: such a page may say it as well.
    """

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app = app
        self._allowed = frozenset(map(_plain, allowed))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and self._allowed:
            host = Headers(scope=scope).get("host", "")
            found = HOST.fullmatch(host)
            if found is None or _plain(found[1]) not in self._allowed:
                await problem(WrongHost(host), _MARKS)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class HeadersTooLarge(ChunkferryError):
    """All headers together are larger than allowed (RFC 6585, section 5)."""

    code = "headers_too_large"
    http_status = 431

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"headers may have {limit} bytes together, not {size}")


class HeaderLimit:
    """Refuses requests whose headers are too large."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            size = sum(len(name) + len(value) for name, value in scope["headers"])
            if size > self._limit:
                await problem(HeadersTooLarge(size, self._limit), _MARKS)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class MethodOverride:
    """Takes ``X-HTTP-Method-Override`` for the method (tus, section Headers)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            method = Headers(scope=scope).get("x-http-method-override")
            if method is not None:
                scope = {**scope, "method": method.upper()}
        await self._app(scope, receive, send)


class Proxies:
    """Believes what trusted proxies say of the request they pass on."""

    def __init__(self, app: ASGIApp, trusted: Sequence[Network]) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and is_trusted(scope.get("client"), self._trusted):
            scope = forwarded(scope, self._trusted)
        await self._app(scope, receive, send)


def _plain(host: str) -> str:
    return host.lower().strip("[]").rstrip(".")
